//! What a chip holds beyond its cells, which an image of it cannot hold.

use std::ops::Range;

use jffs2_tx::flash::Flash;

use crate::chip::{Chip, OobState};

/// What is to be said of an eraseblock beyond its cells, a few words each; nothing of one that is as after an erase or a
/// program.
pub(super) fn beyond_cells(chip: &Chip, block: u32) -> Vec<String> {
    let Some(state) = chip.block(block) else { return Vec::new() };
    let start = chip.geometry().offset_of(block);
    let mut said: Vec<String> = Vec::new();
    let mut say = |so: bool, what: &str| said.extend(so.then(|| what.to_owned()));
    say(state.bad, "marked bad");
    say(state.broken, "every program and erase fails");
    say(state.weak, "weak since an erase was interrupted: what is programmed loses bits");
    say(state.oob == OobState::Cleanmarker, "cleanmarker in OOB");
    say(state.oob == OobState::Dirty, "part of a cleanmarker in OOB");
    let lost = joined(state.unreadable());
    if !lost.is_empty() {
        let shown: Vec<String> =
            lost.iter().map(|r| format!("{:#x}-{:#x}", start as usize + r.start, start as usize + r.end)).collect();
        said.push(format!("uncorrectable at {}", shown.join(", ")));
    }
    said
}

fn joined(ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

/// The same of the whole chip, a line for each eraseblock of which something is to be said.
#[must_use]
pub fn beyond_image(chip: &Chip) -> String {
    let line = |block| {
        let said = beyond_cells(chip, block);
        (!said.is_empty()).then(|| format!("eraseblock {block}: {}\n", said.join("; ")))
    };
    (0..chip.geometry().blocks()).filter_map(line).collect()
}
