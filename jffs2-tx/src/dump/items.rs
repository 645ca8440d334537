//! An eraseblock as items without gaps.

use super::node::{DumpedNode, dump_node};
use super::{BlockDump, BlockState};
use crate::scan::{Place, Places};
use crate::wire::WireError;

/// A part of an eraseblock. Offsets are from the start of the flash, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A node whose header is good, with what fills it up to a multiple of 4.
    Node(DumpedNode<'a>),
    /// No node where there should be one.
    Garbage {
        /// Where it starts.
        start: u32,
        /// Where it ends: at the next node or blank word.
        end: u32,
        /// Why there is no node at its start.
        reason: WireError,
    },
    /// Bytes behind nodes that mean nothing: zeros, or less than a header at the eraseblock's end.
    Filler {
        /// Where they start.
        start: u32,
        /// Where they end.
        end: u32,
    },
    /// Bytes that are 0xFF.
    Blank {
        /// Where they start.
        start: u32,
        /// Where they end.
        end: u32,
    },
    /// An eraseblock that is marked bad.
    Bad {
        /// Where it starts.
        start: u32,
        /// Where it ends.
        end: u32,
    },
}

impl Item<'_> {
    /// Where it starts and ends.
    #[must_use]
    pub fn range(&self) -> (u32, u32) {
        match *self {
            Self::Node(DumpedNode { at: start, end, .. })
            | Self::Garbage { start, end, .. }
            | Self::Filler { start, end }
            | Self::Blank { start, end }
            | Self::Bad { start, end } => (start, end),
        }
    }
}

/// The items of an eraseblock; see [`BlockDump::items`].
#[derive(Debug)]
pub struct Items<'a> {
    block: &'a BlockDump<'a>,
    places: Places<'a>,
    /// Found, but behind a gap that comes first.
    next: Option<Place<'a>>,
    at: usize,
}

impl<'a> Items<'a> {
    pub(super) fn new(block: &'a BlockDump<'a>) -> Self {
        let mut places = Places::new(block.endian, &block.bytes, 0);
        let next = places.next();
        Self { block, places, next, at: 0 }
    }

    /// What lies between places, from `self.at` to `end`: a run of blank words, or one of others.
    fn gap(&mut self, end: usize) -> Item<'a> {
        let gap = &self.block.bytes[self.at..end];
        let is_blank = |word: &&[u8]| word.iter().all(|byte| *byte == 0xff);
        let blank = gap.chunks(4).next().is_some_and(|word| is_blank(&word));
        let len: usize = gap.chunks(4).take_while(|word| is_blank(word) == blank).map(<[u8]>::len).sum();
        let start = self.block.start + self.at as u32;
        let end = start + len as u32;
        self.at += len;
        if blank { Item::Blank { start, end } } else { Item::Filler { start, end } }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let (block, len) = (self.block, self.block.bytes.len());
        if self.at >= len {
            return None;
        }
        if block.state == BlockState::Bad {
            self.at = len;
            return Some(Item::Bad { start: block.start, end: block.start + len as u32 });
        }
        let (at, end) = self.next.map_or((len, len), |place| place.range());
        let end = end.min(len);
        if self.at < at {
            return Some(self.gap(at));
        }
        self.at = end;
        let (start, end) = (block.start + at as u32, block.start + end as u32);
        let found = match self.next? {
            Place::Node { header, bytes, .. } => Item::Node(dump_node(block, start, end, header, bytes)),
            Place::Garbage { reason, .. } => Item::Garbage { start, end, reason },
        };
        self.next = self.places.next();
        Some(found)
    }
}
