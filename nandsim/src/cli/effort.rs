//! How much is tried, and on how many threads.

use std::thread::available_parallelism;

/// More threads than this no machine has that this runs on.
const MOST_THREADS: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cuts {
    All,
    Sample(usize),
}

pub(super) fn parse_cuts(text: &str) -> Result<Cuts, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Cuts::All),
        (_, Ok(n @ 1..)) => Ok(Cuts::Sample(n)),
        _ => Err("give `all` or a number from 1 on".into()),
    }
}

pub(super) fn parse_threads(text: &str) -> Result<usize, String> {
    let threads = text.parse().ok().filter(|threads| (1..=MOST_THREADS).contains(threads));
    threads.ok_or_else(|| format!("give a number from 1 to {MOST_THREADS}"))
}

/// As many as asked for, or one for each core.
pub(super) fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| available_parallelism().map_or(1, usize::from))
}
