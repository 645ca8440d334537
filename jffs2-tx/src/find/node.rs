//! A node wherever it stands, and where the next one could.

use crate::detect::{END_MARK, MAX_DETECTED};
use crate::wire::{Dirent, Endian, HEADER_SIZE, Header, Inode, nodetype, pad4};

/// Longest cleanmarker, bytes.
const MAX_CLEANMARKER: u32 = 64;

/// A node in a file of anything.
pub(super) struct Node {
    pub(super) endian: Endian,
    /// Bytes, with its padding.
    pub(super) len: u64,
    pub(super) kind: Kind,
}

/// What a node is to the search.
pub(super) enum Kind {
    /// Inode node or dirent: its own CRC holds too. No file system has two of a key that differ.
    Keyed {
        key: (u16, u32, u32),
        crcs: [u32; 2],
    },
    Cleanmarker,
    /// No more than a header to go by.
    Other,
}

impl Node {
    /// The node at the start of `bytes`; `None` if there is none, or of a type that nobody has.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let endian = match bytes {
            [0x85, 0x19, ..] => Endian::Little,
            [0x19, 0x85, ..] => Endian::Big,
            _ => return None,
        };
        let header = Header::parse(endian, bytes).ok()?;
        let node = bytes.get(..header.totlen as usize).filter(|node| node.len() >= HEADER_SIZE)?;
        let kind = match header.nodetype {
            _ if header.totlen > MAX_DETECTED => return None,
            nodetype::INODE => {
                let inode = Inode::parse(endian, node).ok()?;
                Kind::Keyed {
                    key: (nodetype::INODE, inode.ino, inode.version),
                    crcs: [60, 64].map(|at| endian.u32(node, at)),
                }
            }
            nodetype::DIRENT => {
                let dirent = Dirent::parse(endian, node).ok()?;
                Kind::Keyed {
                    key: (nodetype::DIRENT, dirent.pino, dirent.version),
                    crcs: [32, 36].map(|at| endian.u32(node, at)),
                }
            }
            nodetype::CLEANMARKER if header.totlen <= MAX_CLEANMARKER => Kind::Cleanmarker,
            nodetype::PADDING
            | nodetype::SUMMARY
            | nodetype::XATTR
            | nodetype::XREF
            | nodetype::TX_MARKER
            | nodetype::COPY_MARKER => Kind::Other,
            _ => return None,
        };
        Some(Self { endian, len: u64::from(pad4(header.totlen)), kind })
    }
}

/// Bytes up to the next magic number, in either byte order, or end mark; up to the last byte if there is none.
pub(super) fn until_magic(bytes: &[u8]) -> usize {
    let mut at = 0;
    // Without a branch for each byte, so that it becomes vector code.
    while let Some(block) = bytes.get(at..at + 65) {
        let pairs = block[..64].iter().zip(&block[1..]);
        if pairs.fold(false, |any, (first, second)| any | is_magic(*first, *second)) {
            break;
        }
        at += 64;
    }
    let found = bytes[at..].windows(2).position(|pair| is_magic(pair[0], pair[1]));
    found.map_or(bytes.len().saturating_sub(1), |more| at + more)
}

fn is_magic(first: u8, second: u8) -> bool {
    let is = |a: u8, b: u8| (first == a) & (second == b);
    is(0x85, 0x19) | is(0x19, 0x85) | is(END_MARK[0], END_MARK[1])
}
