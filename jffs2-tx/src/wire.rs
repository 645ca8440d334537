//! What stands on the flash: one file per node type, each with its fields by name, `parse` and `emit`.
//!
//! Every integer is in the image's endianness. `parse` takes exactly the node's bytes (`totlen` of them) and checks
//! its node CRC; the header's CRC is checked by [`Header::parse`]. `emit` appends the node, its CRCs computed,
//! padded with 0xFF to a multiple of four bytes. Layouts: `FORMAT.md` section 2.

use alloc::vec::Vec;
use byteorder::{BigEndian, ByteOrder, LittleEndian};

use crate::crc::crc32;

mod cleanmarker;
mod copy_marker;
mod dirent;
mod inode;
mod marker;
mod summary;
#[cfg(test)]
mod tests;
mod xattr;

pub use cleanmarker::{Cleanmarker, OOB_CLEANMARKER, emit_padding};
pub use copy_marker::{COPY_MARKER_SIZE, CopyMarker, CopyStage};
pub use dirent::{DIRENT_SIZE, Dirent, MAX_NAME};
pub use inode::{Compression, INODE_SIZE, Inode};
pub use marker::{
    CommitPoint, HEAD_COPY_OFFSETS, HEAD_SIZE, MARKER_SIZE, MAX_HEAD_LABEL, MAX_LABEL, Marker, MarkerKind,
};
pub use summary::{SUMMARY_MAGIC, SUMMARY_SIZE, Summary, SummaryEntry};
pub use xattr::{MAX_XATTR_NAME, MAX_XATTR_VALUE, XREF_SIZE, Xattr, Xref, join_xattr_name, split_xattr_name, xprefix};

/// First two bytes of every node.
pub const MAGIC: u16 = 0x1985;
/// Size of the header that all nodes share, bytes.
pub const HEADER_SIZE: usize = 12;
/// Cleared in a node's type on flash to mark the node obsolete; set in every CRC.
pub const ACCURATE: u16 = 0x2000;
/// Bits of the node type that say what a reader that does not know it must do.
pub const COMPAT_MASK: u16 = 0xc000;

/// Node types, ACCURATE bit set.
pub mod nodetype {
    /// A name in a directory.
    pub const DIRENT: u16 = 0xe001;
    /// Metadata and a range of data of an inode.
    pub const INODE: u16 = 0xe002;
    /// The eraseblock was completely erased.
    pub const CLEANMARKER: u16 = 0x2003;
    /// Fills space.
    pub const PADDING: u16 = 0x2004;
    /// Lists the nodes of its eraseblock.
    pub const SUMMARY: u16 = 0x2006;
    /// An extended attribute.
    pub const XATTR: u16 = 0xe008;
    /// Ties an extended attribute to an inode.
    pub const XREF: u16 = 0xe009;
    /// A transaction's begin or commit marker, RWCOMPAT_DELETE: stock readers skip it and drop it when they clean.
    pub const TX_MARKER: u16 = 0x2054;
    /// A collection's marker in an eraseblock that takes nodes, RWCOMPAT_DELETE, too.
    pub const COPY_MARKER: u16 = 0x2055;
}

/// What a reader must do with a node type that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// 0xExxx: refuse the file system.
    Incompatible,
    /// 0xAxxx: mount read-only.
    ReadOnly,
    /// 0x6xxx: keep the node when cleaning.
    Copy,
    /// 0x2xxx: drop the node when cleaning.
    Delete,
}

impl Compat {
    /// The class of a node type.
    #[must_use]
    pub fn of(nodetype: u16) -> Self {
        match nodetype & COMPAT_MASK {
            0xc000 => Self::Incompatible,
            0x8000 => Self::ReadOnly,
            0x4000 => Self::Copy,
            _ => Self::Delete,
        }
    }
}

/// Byte order of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// The `u16` at `at`. The caller has checked that the bytes are there.
    #[must_use]
    pub fn u16(self, bytes: &[u8], at: usize) -> u16 {
        match self {
            Self::Little => LittleEndian::read_u16(&bytes[at..]),
            Self::Big => BigEndian::read_u16(&bytes[at..]),
        }
    }

    /// The `u32` at `at`. The caller has checked that the bytes are there.
    #[must_use]
    pub fn u32(self, bytes: &[u8], at: usize) -> u32 {
        match self {
            Self::Little => LittleEndian::read_u32(&bytes[at..]),
            Self::Big => BigEndian::read_u32(&bytes[at..]),
        }
    }

    /// The `u64` at `at`. The caller has checked that the bytes are there.
    #[must_use]
    pub fn u64(self, bytes: &[u8], at: usize) -> u64 {
        match self {
            Self::Little => LittleEndian::read_u64(&bytes[at..]),
            Self::Big => BigEndian::read_u64(&bytes[at..]),
        }
    }

    /// Appends a `u16`.
    pub fn put_u16(self, out: &mut Vec<u8>, value: u16) {
        out.extend_from_slice(&match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        });
    }

    /// Appends a `u32`.
    pub fn put_u32(self, out: &mut Vec<u8>, value: u32) {
        out.extend_from_slice(&match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        });
    }

    /// Appends a `u64`.
    pub fn put_u64(self, out: &mut Vec<u8>, value: u64) {
        out.extend_from_slice(&match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        });
    }

    /// Overwrites the `u32` at `at`.
    pub(crate) fn set_u32(self, out: &mut [u8], at: usize, value: u32) {
        out[at..at + 4].copy_from_slice(&match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        });
    }
}

/// Why bytes are not the node that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first two bytes are not the magic number.
    #[error("no magic number")]
    Magic,
    /// Fewer bytes than the node needs, or a length field that does not fit.
    #[error("a length does not fit")]
    Length,
    /// The header's CRC is wrong.
    #[error("bad header CRC")]
    HeaderCrc,
    /// The node's CRC is wrong.
    #[error("bad node CRC")]
    NodeCrc,
    /// The CRC of the data is wrong.
    #[error("bad data CRC")]
    DataCrc,
    /// The name's CRC is wrong, or the name is empty or holds a NUL.
    #[error("bad name")]
    Name,
    /// A field has a value that this version does not know.
    #[error("unknown value in a field")]
    Value,
}

/// The header that every node starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Node type with the ACCURATE bit set; see [`nodetype`].
    pub nodetype: u16,
    /// Length of the node with its header, bytes, as written (not rounded up).
    pub totlen: u32,
    /// The ACCURATE bit is cleared on flash: readers skip the node.
    pub obsolete: bool,
}

impl Header {
    /// Reads the header at the start of `bytes` and checks its magic number and CRC.
    ///
    /// # Errors
    /// [`WireError::Length`] under 12 bytes, [`WireError::Magic`], [`WireError::HeaderCrc`].
    pub fn parse(endian: Endian, bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = bytes.get(..HEADER_SIZE).ok_or(WireError::Length)?;
        if endian.u16(bytes, 0) != MAGIC {
            return Err(WireError::Magic);
        }
        let nodetype = endian.u16(bytes, 2) | ACCURATE;
        let totlen = endian.u32(bytes, 4);
        if header_crc(endian, nodetype, totlen) != endian.u32(bytes, 8) {
            return Err(WireError::HeaderCrc);
        }
        Ok(Self { nodetype, totlen, obsolete: endian.u16(bytes, 2) & ACCURATE == 0 })
    }
}

/// `len` rounded up to a multiple of four: nodes start on such offsets.
#[must_use]
pub const fn pad4(len: u32) -> u32 {
    len.saturating_add(3) & !3
}

fn header_crc(endian: Endian, nodetype: u16, totlen: u32) -> u32 {
    let mut head = Vec::with_capacity(HEADER_SIZE);
    endian.put_u16(&mut head, MAGIC);
    endian.put_u16(&mut head, nodetype);
    endian.put_u32(&mut head, totlen);
    crc32(&head)
}

/// CRC of a node's first `N` bytes as they were before the node was marked obsolete.
fn fields_crc<const N: usize>(endian: Endian, bytes: &[u8]) -> u32 {
    let mut fields = [0; N];
    fields.copy_from_slice(&bytes[..N]);
    let high_byte = if endian == Endian::Big { 2 } else { 3 };
    fields[high_byte] |= ACCURATE.to_be_bytes()[0];
    crc32(&fields)
}

/// Appends a header and returns where the node starts in `out`.
fn emit_header(endian: Endian, out: &mut Vec<u8>, nodetype: u16, totlen: u32) -> usize {
    let start = out.len();
    endian.put_u16(out, MAGIC);
    endian.put_u16(out, nodetype);
    endian.put_u32(out, totlen);
    endian.put_u32(out, header_crc(endian, nodetype, totlen));
    start
}

/// Fills with 0xFF so that the node that began at `start` has a length that is a multiple of four.
fn emit_pad4(out: &mut Vec<u8>, start: usize) {
    while !(out.len() - start).is_multiple_of(4) {
        out.push(0xff);
    }
}

/// `bytes` as the node of `kind`: its header, and the bytes cut to its length.
fn parse_as(endian: Endian, bytes: &[u8], nodetype: u16, min: usize) -> Result<&[u8], WireError> {
    let header = Header::parse(endian, bytes)?;
    let totlen = header.totlen as usize;
    if header.nodetype != nodetype {
        return Err(WireError::Value);
    }
    if totlen < min {
        return Err(WireError::Length);
    }
    bytes.get(..totlen).ok_or(WireError::Length)
}
