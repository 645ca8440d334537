//! Summary nodes: the list of an eraseblock's nodes, at its very end.

use alloc::vec::Vec;

use super::{Endian, WireError, XREF_SIZE, emit_header, nodetype, parse_as};
use crate::crc::crc32;

/// Size of a summary node before its entries, bytes.
pub const SUMMARY_SIZE: usize = 32;
/// The last four bytes of an eraseblock that has a summary.
pub const SUMMARY_MAGIC: u32 = 0x0285_1885;
/// The eraseblock's last bytes: where the summary starts, and the magic.
const TRAILER_SIZE: usize = 8;

/// One node as a summary lists it. Offsets are from the start of the eraseblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryEntry<'a> {
    /// An inode node.
    Inode {
        /// Inode number.
        ino: u32,
        /// Version of the node.
        version: u32,
        /// Offset in the eraseblock, bytes.
        offset: u32,
        /// Length of the node, bytes.
        totlen: u32,
    },
    /// A dirent node.
    Dirent {
        /// Length of the node, bytes.
        totlen: u32,
        /// Offset in the eraseblock, bytes.
        offset: u32,
        /// Inode number of the directory.
        pino: u32,
        /// Version of the node.
        version: u32,
        /// What the name leads to.
        ino: u32,
        /// DT_* type.
        kind: u8,
        /// The name.
        name: &'a [u8],
    },
    /// An extended attribute node.
    Xattr {
        /// Number of the attribute.
        xid: u32,
        /// Version of the node.
        version: u32,
        /// Offset in the eraseblock, bytes.
        offset: u32,
        /// Length of the node, bytes.
        totlen: u32,
    },
    /// A tie of an attribute to an inode.
    Xref {
        /// Offset in the eraseblock, bytes.
        offset: u32,
    },
}

impl SummaryEntry<'_> {
    /// Size in the summary, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Inode { .. } | Self::Xattr { .. } => 18,
            Self::Dirent { name, .. } => 24 + name.len(),
            Self::Xref { .. } => 6,
        }
    }

    /// Where the node stands in its eraseblock, bytes.
    #[must_use]
    pub fn offset(&self) -> u32 {
        match self {
            Self::Inode { offset, .. }
            | Self::Dirent { offset, .. }
            | Self::Xattr { offset, .. }
            | Self::Xref { offset } => *offset,
        }
    }

    /// Where the node ends, padding included, by what the summary says of it: bytes from the start of its eraseblock.
    #[must_use]
    pub fn end(&self) -> u32 {
        let totlen = match self {
            Self::Inode { totlen, .. } | Self::Dirent { totlen, .. } | Self::Xattr { totlen, .. } => *totlen,
            Self::Xref { .. } => XREF_SIZE as u32,
        };
        self.offset().saturating_add(totlen.saturating_add(3) & !3)
    }

    fn emit(&self, endian: Endian, out: &mut Vec<u8>) {
        match *self {
            Self::Inode { ino, version, offset, totlen } => {
                endian.put_u16(out, nodetype::INODE);
                for value in [ino, version, offset, totlen] {
                    endian.put_u32(out, value);
                }
            }
            Self::Dirent { totlen, offset, pino, version, ino, kind, name } => {
                endian.put_u16(out, nodetype::DIRENT);
                for value in [totlen, offset, pino, version, ino] {
                    endian.put_u32(out, value);
                }
                out.extend_from_slice(&[name.len() as u8, kind]);
                out.extend_from_slice(name);
            }
            Self::Xattr { xid, version, offset, totlen } => {
                endian.put_u16(out, nodetype::XATTR);
                for value in [xid, version, offset, totlen] {
                    endian.put_u32(out, value);
                }
            }
            Self::Xref { offset } => {
                endian.put_u16(out, nodetype::XREF);
                endian.put_u32(out, offset);
            }
        }
    }

    /// The entry at the start of `bytes`; the caller moves on by its [`SummaryEntry::size`].
    fn parse(endian: Endian, bytes: &[u8]) -> Result<SummaryEntry<'_>, WireError> {
        let kind = bytes.get(..2).ok_or(WireError::Length)?;
        let need = |len: usize| bytes.get(..len).ok_or(WireError::Length);
        match endian.u16(kind, 0) {
            nodetype::INODE => {
                let b = need(18)?;
                Ok(SummaryEntry::Inode {
                    ino: endian.u32(b, 2),
                    version: endian.u32(b, 6),
                    offset: endian.u32(b, 10),
                    totlen: endian.u32(b, 14),
                })
            }
            nodetype::DIRENT => {
                let b = need(24)?;
                let name = bytes[24..].get(..usize::from(b[22])).ok_or(WireError::Length)?;
                Ok(SummaryEntry::Dirent {
                    totlen: endian.u32(b, 2),
                    offset: endian.u32(b, 6),
                    pino: endian.u32(b, 10),
                    version: endian.u32(b, 14),
                    ino: endian.u32(b, 18),
                    kind: b[23],
                    name,
                })
            }
            nodetype::XATTR => {
                let b = need(18)?;
                Ok(SummaryEntry::Xattr {
                    xid: endian.u32(b, 2),
                    version: endian.u32(b, 6),
                    offset: endian.u32(b, 10),
                    totlen: endian.u32(b, 14),
                })
            }
            nodetype::XREF => Ok(SummaryEntry::Xref { offset: endian.u32(need(6)?, 2) }),
            _ => Err(WireError::Value),
        }
    }
}

/// A summary node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary<'a> {
    /// Length of the cleanmarker at the start of the eraseblock, 0 if there is none in band.
    pub cleanmarker: u32,
    /// Bytes of padding nodes in the eraseblock.
    pub padded: u32,
    /// The nodes, ascending by offset.
    pub entries: Vec<SummaryEntry<'a>>,
}

impl<'a> Summary<'a> {
    /// Where the summary of an eraseblock would start, by its last eight bytes; `None` if they do not say.
    #[must_use]
    pub fn locate(endian: Endian, eraseblock: &[u8]) -> Option<usize> {
        let trailer = eraseblock.len().checked_sub(TRAILER_SIZE)?;
        if endian.u32(eraseblock, trailer + 4) != SUMMARY_MAGIC {
            return None;
        }
        let start = endian.u32(eraseblock, trailer) as usize;
        (start.checked_add(SUMMARY_SIZE + TRAILER_SIZE)? <= eraseblock.len()).then_some(start)
    }

    /// Reads the node that fills `bytes` (to the end of the eraseblock) and checks its three CRCs.
    ///
    /// # Errors
    /// [`WireError`]; [`WireError::Value`] for an entry of an unknown type, with all CRCs good.
    pub fn parse(endian: Endian, bytes: &'a [u8]) -> Result<Self, WireError> {
        let node = parse_as(endian, bytes, nodetype::SUMMARY, SUMMARY_SIZE + TRAILER_SIZE)?;
        if node.len() != bytes.len() {
            return Err(WireError::Length);
        }
        let listed = &node[SUMMARY_SIZE..];
        if crc32(&node[..24]) != endian.u32(node, 28) || crc32(listed) != endian.u32(node, 24) {
            return Err(WireError::NodeCrc);
        }
        let count = endian.u32(node, 12) as usize;
        let mut rest = &listed[..listed.len() - TRAILER_SIZE];
        let mut entries = Vec::new();
        for _ in 0..count {
            let entry = SummaryEntry::parse(endian, rest)?;
            rest = &rest[entry.size()..];
            entries.push(entry);
        }
        Ok(Self { cleanmarker: endian.u32(node, 16), padded: endian.u32(node, 20), entries })
    }

    /// Least bytes that a summary with entries of `entry_bytes` in all needs.
    #[must_use]
    pub const fn flash_size(entry_bytes: usize) -> usize {
        (SUMMARY_SIZE + entry_bytes + TRAILER_SIZE).next_multiple_of(4)
    }

    /// Appends the node, `len` bytes long, to a buffer that then reaches the end of its eraseblock of `eraseblock`
    /// bytes. `len` is a multiple of four, at least [`Summary::flash_size`].
    pub fn emit(&self, endian: Endian, out: &mut Vec<u8>, len: usize, eraseblock: u32) {
        let start = emit_header(endian, out, nodetype::SUMMARY, len as u32);
        for value in [self.entries.len() as u32, self.cleanmarker, self.padded, 0, 0] {
            endian.put_u32(out, value);
        }
        for entry in &self.entries {
            entry.emit(endian, out);
        }
        debug_assert!(out.len() + TRAILER_SIZE <= start + len);
        out.resize(start + len - TRAILER_SIZE, 0xff);
        endian.put_u32(out, eraseblock - len as u32);
        endian.put_u32(out, SUMMARY_MAGIC);
        let sum_crc = crc32(&out[start + SUMMARY_SIZE..]);
        endian.set_u32(out, start + 24, sum_crc);
        let node_crc = crc32(&out[start..start + 24]);
        endian.set_u32(out, start + 28, node_crc);
    }
}
