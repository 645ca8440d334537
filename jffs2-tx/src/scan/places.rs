//! What stands in an eraseblock, node by node, whoever sees it.

use super::blank_prefix;
use crate::wire::{Endian, HEADER_SIZE, Header, WireError, pad4};

/// A place in an eraseblock. Offsets are from the start of the eraseblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A node whose header is good; nothing is said of its body.
    Node {
        /// Where it starts.
        at: usize,
        /// Its header; it may be marked obsolete.
        header: Header,
        /// All of it: `header.totlen` bytes.
        bytes: &'a [u8],
    },
    /// Bytes that are no node, up to the next node or blank word.
    Garbage {
        /// Where they start.
        at: usize,
        /// Where they end.
        end: usize,
        /// Why there is no node at their start.
        reason: WireError,
    },
}

impl Place<'_> {
    /// Where it starts and ends, a node's padding to a multiple of 4 included.
    #[must_use]
    pub fn range(&self) -> (usize, usize) {
        match *self {
            Self::Node { at, header, .. } => (at, at.saturating_add(pad4(header.totlen).max(4) as usize)),
            Self::Garbage { at, end, .. } => (at, end),
        }
    }
}

/// Every [`Place`] of an eraseblock, ascending. Blank bytes and zeros, the filler of Linux's write buffer, are stepped
/// over; garbage is searched for nodes a word at a time, as Linux does.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    endian: Endian,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Places<'a> {
    /// The places of the eraseblock that `bytes` are, from `first`, a multiple of 4, on.
    #[must_use]
    pub fn new(endian: Endian, bytes: &'a [u8], first: usize) -> Self {
        Self { endian, bytes, at: first }
    }

    /// The node at `at`, if there is a good header and all of the node fits.
    fn node(&self, at: usize) -> Result<(Header, &'a [u8]), WireError> {
        let rest = &self.bytes[at..];
        let header = Header::parse(self.endian, rest)?;
        rest.get(..header.totlen as usize).map(|bytes| (header, bytes)).ok_or(WireError::Length)
    }
}

impl<'a> Iterator for Places<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        let mut garbage: Option<(usize, WireError)> = None;
        while self.at + HEADER_SIZE <= self.bytes.len() {
            let at = self.at;
            let rest = &self.bytes[at..];
            let blank = rest[..4] == [0xff; 4];
            let found = if blank { Err(WireError::Magic) } else { self.node(at) };
            if let Some((start, reason)) = garbage.filter(|_| blank || found.is_ok()) {
                return Some(Place::Garbage { at: start, end: at, reason });
            }
            match found {
                Ok((header, bytes)) => {
                    self.at += (pad4(header.totlen) as usize).max(4);
                    return Some(Place::Node { at, header, bytes });
                }
                Err(_) if blank => self.at += blank_prefix(rest) & !3,
                Err(reason) => {
                    if rest[..2] != [0, 0] {
                        garbage = garbage.or(Some((at, reason)));
                    }
                    self.at += 4;
                }
            }
        }
        garbage.map(|(at, reason)| Place::Garbage { at, end: self.bytes.len(), reason })
    }
}
