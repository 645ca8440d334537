//! How far a command has come, on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts inodes of a directory's tree.
pub(crate) fn inodes(all: usize) -> ProgressBar {
    bar(Some(all as u64), "{bar:40} {pos}/{len} inodes, {eta} left")
}

/// Counts bytes of an archive, whose size may not be known.
pub(crate) fn bytes(all: Option<u64>) -> ProgressBar {
    match all {
        Some(_) => bar(all, "{bar:40} {bytes}/{total_bytes}, {eta} left"),
        None => bar(None, "{spinner} {bytes}, {bytes_per_sec}"),
    }
}

/// Counts eraseblocks that are freed; how many there are to be is set later.
pub(crate) fn eraseblocks() -> ProgressBar {
    bar(Some(0), "{bar:40} {pos}/{len} eraseblocks, {eta} left")
}

fn bar(all: Option<u64>, template: &str) -> ProgressBar {
    let is_shown = std::io::stderr().is_terminal();
    let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(all, target);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    if is_shown && all.is_none() {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}
