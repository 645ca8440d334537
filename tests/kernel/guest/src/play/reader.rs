//! Programs keep running while the flash is updated below them: this one reads a whole tree again and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use kernel_guest::listing;

use crate::memo::Memo;

const LIMIT: Duration = Duration::from_secs(100);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// It goes on in a thread of its own until it is stopped, or sees anything but the tree it shall see.
pub(super) struct Reader {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    rounds: AtomicU32,
}

impl Reader {
    pub(super) fn start(dir: &str, digest: &str) -> Self {
        let shared = Arc::<Shared>::default();
        let (dir, digest, theirs) = (PathBuf::from(dir), digest.to_owned(), Arc::clone(&shared));
        Self { shared, thread: thread::spawn(move || theirs.read_on(&dir, &digest)) }
    }

    /// Waits until it has begun and ended so many rounds more; how many it has ended in all.
    pub(super) fn wait_for(&self, more: u32) -> Result<u32> {
        let start = Instant::now();
        let rounds = || self.shared.rounds.load(Ordering::SeqCst);
        // The round that is going on has begun before.
        let wanted = rounds() + more + u32::from(more > 0);
        while rounds() < wanted {
            if self.thread.is_finished() || start.elapsed() > LIMIT {
                bail!("the reader has ended or hangs after {} rounds", rounds());
            }
            sleep(LOOK_EVERY);
        }
        Ok(rounds())
    }

    /// Stops it; how many rounds there were.
    pub(super) fn stop(self) -> Result<u32> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| anyhow!("the reader panicked"))??;
        Ok(self.shared.rounds.load(Ordering::SeqCst))
    }
}

impl Shared {
    fn read_on(&self, dir: &Path, digest: &str) -> Result<()> {
        let mut memo = Memo::default();
        let mut lines = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            forget_files()?;
            let entries = memo.walk(dir)?;
            let now = listing::lines(&entries);
            if listing::digest(&entries) != digest {
                let new: Vec<&String> = now.iter().filter(|line| !lines.contains(*line)).take(3).collect();
                bail!("round {} read another tree, with {new:?}", self.rounds.load(Ordering::SeqCst));
            }
            lines = now;
            self.rounds.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Has the kernel forget what files hold, so that it reads them from the flash again.
fn forget_files() -> Result<()> {
    fs::write("/proc/sys/vm/drop_caches", "3\n").context("drop caches")
}
