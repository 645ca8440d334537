//! How far extraction has come, on a terminal and only if it takes a while.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less time shows nothing.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    hidden: AtomicBool,
}

impl Progress {
    pub(super) fn new(bytes: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {eta} left");
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, started: Instant::now(), hidden: AtomicBool::new(std::io::stderr().is_terminal()) }
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
        if self.started.elapsed() > QUIET && self.hidden.swap(false, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    pub(super) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
