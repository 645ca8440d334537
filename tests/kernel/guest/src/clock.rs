//! Where the time of a job goes.

use std::fmt;
use std::time::{Duration, Instant};

/// What time is spent on.
#[derive(Clone, Copy)]
pub(crate) enum On {
    Preparing,
    Mounting,
    Walking,
    Working,
    Unmounting,
}

const NAMES: [&str; 5] = ["prepare", "mount", "walk", "work", "unmount"];

/// Time spent on each so far.
#[derive(Default)]
pub(crate) struct Clock([Duration; NAMES.len()]);

impl Clock {
    /// Does something, and counts the time that it takes.
    pub(crate) fn time<T>(&mut self, on: On, act: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let outcome = act();
        self.0[on as usize] += start.elapsed();
        outcome
    }
}

impl fmt::Display for Clock {
    /// `name=milliseconds`, one behind the other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = NAMES.iter().zip(&self.0).map(|(name, time)| format!("{name}={}", time.as_millis()));
        f.write_str(&fields.collect::<Vec<_>>().join(" "))
    }
}
