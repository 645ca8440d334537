//! Nodes with a good header and a bad body: no reader counts them, but what they say of themselves tells what is lost.

use crate::wire::{Endian, INODE_SIZE, WireError, nodetype};

/// A damaged node. Its fields are hints: any of them may be what is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Flash offset of the node.
    pub at: u32,
    /// Inode number; of a dirent that of its directory.
    pub ino: u32,
    /// Version.
    pub version: u32,
    /// What is lost with it.
    pub held: Held,
}

/// What a damaged node held, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A range of its inode's data, in bytes; its metadata too.
    Data {
        /// Start in the file.
        start: u32,
        /// End in the file.
        end: u32,
        /// File size as of the node, bytes.
        isize: u32,
    },
    /// A name in its directory.
    Name {
        /// Inode number that the name led to, 0 for a deletion.
        target: u32,
    },
}

impl Suspect {
    /// What the node at flash offset `at` says of itself; `reason` is what is wrong with it. `None` for other types,
    /// and for those that were written as they are.
    #[must_use]
    pub fn of(endian: Endian, at: u32, nodetype: u16, node: &[u8], reason: WireError) -> Option<Self> {
        let u32_at = |at: usize| node.get(at..at + 4).map(|bytes| endian.u32(bytes, 0));
        let held = match (nodetype, reason) {
            (nodetype::INODE, WireError::NodeCrc) if node.len() >= INODE_SIZE => {
                let start = u32_at(44)?;
                Held::Data { start, end: start.saturating_add(u32_at(52)?), isize: u32_at(28)? }
            }
            (nodetype::DIRENT, WireError::NodeCrc | WireError::Name | WireError::Length) => {
                Held::Name { target: u32_at(20)? }
            }
            _ => return None,
        };
        Some(Self { at, ino: u32_at(12)?, version: u32_at(16)?, held })
    }
}
