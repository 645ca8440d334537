//! Inode nodes: metadata of an inode and one range of its data.

use alloc::vec::Vec;

use super::{Endian, WireError, emit_header, emit_pad4, fields_crc, nodetype, parse_as};
use crate::crc::crc32;

/// Size of an inode node without its data, bytes.
pub const INODE_SIZE: usize = 68;

/// How a node's data is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Stored as it is.
    None,
    /// All zeros, nothing stored: a hole.
    Zero,
    /// Runs by last occurrence.
    Rtime,
    /// Rubin's coder with fixed probabilities. Reserved; Linux does not read it.
    Rubinmips,
    /// Reserved, and written by nobody; Linux does not read it, nor does this library.
    Copy,
    /// Rubin's coder with probabilities of its own.
    Dynrubin,
    /// A zlib stream.
    Zlib,
    /// LZO1X, as Linux writes where it may.
    Lzo,
    /// A raw LZMA stream, as OpenWrt's Linux writes; stock Linux does not read it.
    Lzma,
    /// A compressor that this library does not know, by its number.
    Other(u8),
}

/// Compressors by number on flash (Linux include/uapi/linux/jffs2.h; 8 is OpenWrt's).
const COMPRESSIONS: [(Compression, &str); 9] = [
    (Compression::None, "none"),
    (Compression::Zero, "zero"),
    (Compression::Rtime, "rtime"),
    (Compression::Rubinmips, "rubinmips"),
    (Compression::Copy, "copy"),
    (Compression::Dynrubin, "dynrubin"),
    (Compression::Zlib, "zlib"),
    (Compression::Lzo, "lzo"),
    (Compression::Lzma, "lzma"),
];

impl Compression {
    /// From the number on flash.
    #[must_use]
    pub fn from_id(id: u8) -> Self {
        COMPRESSIONS.get(usize::from(id)).map_or(Self::Other(id), |known| known.0)
    }

    /// The number on flash.
    #[must_use]
    pub fn id(self) -> u8 {
        match self {
            Self::Other(id) => id,
            known => COMPRESSIONS.iter().position(|other| other.0 == known).map_or(u8::MAX, |id| id as u8),
        }
    }

    /// Its name, as in mkfs.jffs2's options; "unknown" for a number that has none.
    #[must_use]
    pub fn name(self) -> &'static str {
        COMPRESSIONS.iter().find(|known| known.0 == self).map_or("unknown", |known| known.1)
    }
}

/// An inode node's fields; its data follows them on flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Inode number, 1 is the root directory.
    pub ino: u32,
    /// Counts up over an inode's nodes; the highest has the metadata.
    pub version: u32,
    /// Type and permission bits as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u16,
    /// Group.
    pub gid: u16,
    /// Size of the file after this node, bytes.
    pub isize: u32,
    /// Access time, seconds since 1970.
    pub atime: u32,
    /// Modification time, seconds since 1970.
    pub mtime: u32,
    /// Change time, seconds since 1970.
    pub ctime: u32,
    /// Where the node's data starts in the file, bytes.
    pub offset: u32,
    /// Bytes stored in this node.
    pub csize: u32,
    /// Bytes of the file that this node covers.
    pub dsize: u32,
    /// How the data is stored.
    pub compression: Compression,
    /// CRC of the stored bytes. [`Inode::emit`] computes it.
    pub data_crc: u32,
}

impl Inode {
    /// Reads a node, marked obsolete or not, and checks its node CRC and that its lengths agree; [`Inode::data_is_good`] checks the data.
    ///
    /// # Errors
    /// [`WireError`]. As Linux does, a node whose offset lies past its isize, or whose csize does not fit its total
    /// length, is no node ([`WireError::Length`]).
    pub fn parse(endian: Endian, bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = parse_as(endian, bytes, nodetype::INODE, INODE_SIZE)?;
        if fields_crc::<60>(endian, bytes) != endian.u32(bytes, 64) {
            return Err(WireError::NodeCrc);
        }
        let node = Self::fields(endian, bytes);
        let stored = u64::from(node.csize) + INODE_SIZE as u64;
        if stored.next_multiple_of(4) != (bytes.len() as u64).next_multiple_of(4) || node.offset > node.isize {
            return Err(WireError::Length);
        }
        Ok(node)
    }

    /// The fields of the node whose first [`INODE_SIZE`] bytes, at least, are `bytes`; nothing is checked.
    pub(crate) fn fields(endian: Endian, bytes: &[u8]) -> Self {
        let u32_at = |at| endian.u32(bytes, at);
        Self {
            ino: u32_at(12),
            version: u32_at(16),
            mode: u32_at(20),
            uid: endian.u16(bytes, 24),
            gid: endian.u16(bytes, 26),
            isize: u32_at(28),
            atime: u32_at(32),
            mtime: u32_at(36),
            ctime: u32_at(40),
            offset: u32_at(44),
            csize: u32_at(48),
            dsize: u32_at(52),
            compression: Compression::from_id(bytes[56]),
            data_crc: u32_at(60),
        }
    }

    /// The stored data of the node that `bytes` holds.
    #[must_use]
    pub fn data<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(INODE_SIZE..)?.get(..self.csize as usize)
    }

    /// Whether the stored data agrees with its CRC.
    #[must_use]
    pub fn data_is_good(&self, bytes: &[u8]) -> bool {
        self.data(bytes).is_some_and(|data| crc32(data) == self.data_crc)
    }

    /// Bytes that the node takes on flash with `csize` bytes of data, padding included.
    #[must_use]
    pub const fn flash_size(csize: usize) -> usize {
        (INODE_SIZE + csize).next_multiple_of(4)
    }

    /// Appends the node with `data` as stored; csize and the CRCs are computed.
    pub fn emit(&self, endian: Endian, out: &mut Vec<u8>, data: &[u8]) {
        let totlen = (INODE_SIZE + data.len()) as u32;
        let start = emit_header(endian, out, nodetype::INODE, totlen);
        for value in [self.ino, self.version, self.mode] {
            endian.put_u32(out, value);
        }
        endian.put_u16(out, self.uid);
        endian.put_u16(out, self.gid);
        for value in [self.isize, self.atime, self.mtime, self.ctime, self.offset, data.len() as u32, self.dsize] {
            endian.put_u32(out, value);
        }
        out.extend_from_slice(&[self.compression.id(), 0, 0, 0]);
        let node_crc = crc32(&out[start..]);
        endian.put_u32(out, crc32(data));
        endian.put_u32(out, node_crc);
        out.extend_from_slice(data);
        emit_pad4(out, start);
    }
}
