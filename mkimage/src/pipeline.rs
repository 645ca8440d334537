//! Work that several threads do and one takes, in the order in which it was given out.

use std::io;
use std::panic;
use std::thread::{self, ScopedJoinHandle};

use crossbeam_channel::{Receiver, bounded};

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
    let worker = &worker;
    thread::scope(|scope| {
        let (promise, promised) = bounded(limit);
        let (job, jobs) = bounded(limit);
        for _ in 0..threads {
            let jobs: Receiver<(Job, _)> = jobs.clone();
            thread::Builder::new().spawn_scoped(scope, move || {
                let mut work = worker();
                for (job, made) in jobs {
                    // Nobody wants it if `consume` has ended.
                    let _ = crossbeam_channel::Sender::send(&made, work(job));
                }
            })?;
        }
        drop(jobs);
        let hand_out = move |next| {
            let (made, receiver) = bounded(1);
            promise.send(receiver).is_ok() && job.send((next, made)).is_ok()
        };
        let producer = thread::Builder::new().spawn_scoped(scope, move || produce(&mut { hand_out }))?;
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
