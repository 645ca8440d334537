//! Work that several threads do and one takes, in the order in which it was given out.

use std::io;
use std::panic;
use std::thread::{self, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Jobs that are given out and not taken yet, for each thread that works. A few: some take longer than others.
const JOBS_PER_THREAD: usize = 4;
/// More would not be of use.
const MAX_THREADS: usize = 256;

/// `produce` hands out jobs on a thread of its own, until it is told `false`: nobody wants more. Each of `threads`
/// threads does jobs with its own `worker()`. `consume` runs here and gets what they made, in the order of the jobs; it
/// may end early. All threads have ended when this returns. A panic in any of them goes on here.
///
/// # Errors
/// The host's, if it lets no thread start.
pub(crate) fn run<Job: Send, Made: Send, Worker: FnMut(Job) -> Made, R>(
    threads: usize,
    produce: impl FnOnce(&mut dyn FnMut(Job) -> bool) + Send,
    worker: impl Fn() -> Worker + Sync,
    consume: impl FnOnce(InOrder<'_, Made>) -> R,
) -> io::Result<R> {
    let threads = threads.min(MAX_THREADS);
    let limit = threads * JOBS_PER_THREAD;
    thread::scope(|scope| {
        let (promise, promised) = bounded::<Receiver<Made>>(limit);
        let (job, jobs) = bounded::<(Job, Sender<Made>)>(limit);
        for _ in 0..threads {
            let (jobs, worker) = (jobs.clone(), &worker);
            thread::Builder::new().spawn_scoped(scope, move || {
                let mut work = worker();
                for (job, made) in jobs {
                    // If `consume` has ended nobody wants it.
                    let _ = made.send(work(job));
                }
            })?;
        }
        // The workers' alone: if all panic, nobody waits for them.
        drop(jobs);
        let mut hand_out = move |next| {
            let (made, receiver) = bounded(1);
            promise.send(receiver).is_ok() && job.send((next, made)).is_ok()
        };
        let producer = thread::Builder::new().spawn_scoped(scope, move || produce(&mut hand_out))?;
        Ok(consume(InOrder { promised, producer: Some(producer) }))
    })
}

/// What is made, in the order of the jobs.
pub(crate) struct InOrder<'scope, Made> {
    promised: Receiver<Receiver<Made>>,
    producer: Option<ScopedJoinHandle<'scope, ()>>,
}

impl<Made> Iterator for InOrder<'_, Made> {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        if let Ok(receiver) = self.promised.recv() {
            // A worker has said on the way down what went wrong.
            return Some(receiver.recv().unwrap_or_else(|_| panic!("a thread that compresses panicked")));
        }
        if let Some(Err(payload)) = self.producer.take().map(ScopedJoinHandle::join) {
            panic::resume_unwind(payload);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Hands out the numbers below `jobs`, and counts them.
    fn numbers(jobs: usize, count: &AtomicUsize) -> impl FnOnce(&mut dyn FnMut(usize) -> bool) + Send {
        move |hand_out| {
            for job in 0..jobs {
                count.fetch_add(1, Ordering::SeqCst);
                if !hand_out(job) {
                    return;
                }
            }
        }
    }

    fn panics(run: impl FnOnce()) -> bool {
        panic::catch_unwind(panic::AssertUnwindSafe(run)).is_err()
    }

    #[test]
    fn keeps_the_order_whoever_is_quicker() {
        for threads in [1, 2, 7] {
            let slow_at_times = || {
                |job: usize| {
                    thread::sleep(Duration::from_micros(if job.is_multiple_of(5) { 900 } else { 0 }));
                    job * 2
                }
            };
            let made = run(threads, numbers(200, &AtomicUsize::new(0)), slow_at_times, |made| made.collect::<Vec<_>>());
            assert_eq!(made.unwrap(), (0..200).map(|job| job * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_more_is_handed_out_than_the_limit_and_nothing_when_nobody_wants_it() {
        for threads in [1, 3] {
            let count = AtomicUsize::new(0);
            let ended = run(
                threads,
                numbers(usize::MAX, &count),
                || |job| job,
                |mut made| {
                    assert_eq!(made.nth(9), Some(9));
                    thread::sleep(Duration::from_millis(50));
                    // Ten are taken, and one waits for room.
                    assert!(count.load(Ordering::SeqCst) <= 10 + threads * JOBS_PER_THREAD + 1);
                },
            );
            assert!(ended.is_ok());
        }
    }

    #[test]
    fn a_panic_anywhere_goes_on_here() {
        let count = AtomicUsize::new(0);
        for threads in [1, 2] {
            let last = |made: InOrder<'_, usize>| made.last();
            assert!(panics(|| {
                let _ = run(
                    threads,
                    numbers(usize::MAX, &count),
                    || |job| if job == 20 { panic!("job") } else { job },
                    last,
                );
            }));
            assert!(panics(|| {
                let _ = run(threads, numbers(usize::MAX, &count), || -> fn(usize) -> usize { panic!("worker") }, last);
            }));
            assert!(panics(|| {
                let _ = run(threads, |_| panic!("producer"), || |job| job, last);
            }));
            assert!(panics(|| {
                let _ = run(threads, numbers(usize::MAX, &count), || |job| job, |_| panic!("consumer"));
            }));
        }
    }
}
