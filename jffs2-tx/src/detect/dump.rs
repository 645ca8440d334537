//! Whether a file is a NAND dump with spare bytes between its pages: from where nodes go on.
//!
//! Nodes stand end to end. In a dump, one that reaches its page's end goes on behind the spare bytes, and so does what
//! follows it; in a plain image what follows is where the length says. Each layout gets a vote for a node of the first
//! kind, and one against it for a node of the second.

use std::format;
use std::string::String;

use crate::flash::OobLayout;
use crate::wire::{Cleanmarker, Endian, Header};

/// Layouts that are detected; any other must be given.
pub const LAYOUTS: [OobLayout; 11] = [
    OobLayout::known(512, 16),
    OobLayout::known(2048, 64),
    OobLayout::known(2048, 128),
    OobLayout::known(4096, 128),
    OobLayout::known(4096, 218),
    OobLayout::known(4096, 224),
    OobLayout::known(4096, 232),
    OobLayout::known(4096, 256),
    OobLayout::known(8192, 256),
    OobLayout::known(8192, 448),
    OobLayout::known(8192, 640),
];
/// Fewest votes for a layout.
const FEWEST: u64 = 2;
/// Votes for a layout to each one against it, at least.
const MAJORITY: u64 = 8;
/// Votes that make it sure, if there is none against it.
const SURE: u64 = 8;

/// Spare bytes between an image's pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oob {
    /// Pages and their spare bytes.
    pub layout: OobLayout,
    /// What speaks for it, in words.
    pub evidence: String,
    /// The evidence leaves no doubt.
    pub sure: bool,
}

/// What the nodes and cleanmarkers in a file as it is say of each layout.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes {
    votes: [Vote; LAYOUTS.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Vote {
    nodes: u64,
    cleanmarkers: u64,
    against: u64,
}

impl Vote {
    fn total(&self) -> u64 {
        self.nodes + self.cleanmarkers
    }
}

impl Votes {
    /// Counts the node at `at`, at the start of `rest`, `len` bytes with its padding.
    pub(super) fn take_node(&mut self, endian: Endian, at: u64, len: usize, rest: &[u8]) {
        let is_node = |skip: u64| {
            let behind = usize::try_from(skip).ok().and_then(|skip| rest.get(skip..));
            behind.is_some_and(|bytes| Header::parse(endian, bytes).is_ok())
        };
        let plain = is_node(len as u64);
        for (layout, vote) in LAYOUTS.iter().zip(&mut self.votes) {
            // A node that starts in spare bytes is none of this layout's.
            let next = layout.in_data(at).map(|data| layout.in_dump(data + len as u64) - at);
            match next {
                Some(next) if next == len as u64 => {}
                Some(_) if plain => vote.against += 1,
                Some(next) => vote.nodes += u64::from(is_node(next)),
                None => vote.against += 1,
            }
        }
    }

    /// Counts the bytes at the start of `rest` if they are a cleanmarker as in spare bytes.
    pub(super) fn take_cleanmarker(&mut self, at: u64, rest: &[u8]) {
        let is = |endian| rest.starts_with(&Cleanmarker::oob(endian));
        if !is(Endian::Little) && !is(Endian::Big) {
            return;
        }
        for (layout, vote) in LAYOUTS.iter().zip(&mut self.votes) {
            let place = at % layout.unit();
            if place >= u64::from(layout.page()) && place + 8 <= layout.unit() {
                vote.cleanmarkers += 1;
            } else {
                vote.against += 1;
            }
        }
    }

    /// The layout, if the file is a dump of a layout that is known.
    pub(super) fn conclude(&self) -> Option<Oob> {
        let (layout, vote) = LAYOUTS.iter().zip(&self.votes).rev().max_by_key(|(_, vote)| vote.total())?;
        if vote.total() < FEWEST || vote.total() <= vote.against.saturating_mul(MAJORITY) {
            return None;
        }
        let evidence =
            format!("{} nodes go on behind spare bytes, {} cleanmarkers in them", vote.nodes, vote.cleanmarkers);
        Some(Oob { layout: *layout, evidence, sure: vote.total() >= SURE && vote.against == 0 })
    }
}
