//! Dirent nodes: a name in a directory, or its deletion.

use alloc::vec::Vec;

use super::{Endian, WireError, emit_header, emit_pad4, fields_crc, nodetype, parse_as};
use crate::crc::crc32;

/// Size of a dirent node without its name, bytes.
pub const DIRENT_SIZE: usize = 40;
/// Longest name, bytes (Linux: JFFS2_MAX_NAME_LEN).
pub const MAX_NAME: usize = 254;

/// A dirent node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent<'a> {
    /// Inode number of the directory.
    pub pino: u32,
    /// Counts up over the directory's dirents and inode nodes; the highest for a name wins.
    pub version: u32,
    /// What the name leads to; 0 deletes the name.
    pub ino: u32,
    /// The directory's modification time as of this node, seconds since 1970; 0 leaves it alone.
    pub mctime: u32,
    /// DT_* type of the inode, 0 for a deletion.
    pub kind: u8,
    /// The name, 1 to 254 bytes.
    pub name: &'a [u8],
}

impl<'a> Dirent<'a> {
    /// Reads a node, marked obsolete or not, and checks its node CRC and its name's.
    ///
    /// # Errors
    /// [`WireError`]; a name with a NUL in it is no name to any reader ([`WireError::Name`]).
    pub fn parse(endian: Endian, bytes: &'a [u8]) -> Result<Self, WireError> {
        let bytes = parse_as(endian, bytes, nodetype::DIRENT, DIRENT_SIZE)?;
        if fields_crc::<32>(endian, bytes) != endian.u32(bytes, 32) {
            return Err(WireError::NodeCrc);
        }
        let name = bytes[DIRENT_SIZE..].get(..usize::from(bytes[28])).ok_or(WireError::Length)?;
        if name.is_empty() || name.contains(&0) || crc32(name) != endian.u32(bytes, 36) {
            return Err(WireError::Name);
        }
        Ok(Self::fields(endian, bytes))
    }

    /// The fields of the node whose first [`DIRENT_SIZE`] bytes, at least, are `bytes`, and as much of its name as is
    /// there; nothing is checked.
    pub(crate) fn fields(endian: Endian, bytes: &'a [u8]) -> Self {
        let rest = &bytes[DIRENT_SIZE..];
        Self {
            pino: endian.u32(bytes, 12),
            version: endian.u32(bytes, 16),
            ino: endian.u32(bytes, 20),
            mctime: endian.u32(bytes, 24),
            kind: bytes[29],
            name: &rest[..rest.len().min(usize::from(bytes[28]))],
        }
    }

    /// Bytes that a node with a name of `len` bytes takes on flash, padding included.
    #[must_use]
    pub const fn flash_size(len: usize) -> usize {
        (DIRENT_SIZE + len).next_multiple_of(4)
    }

    /// Appends the node. Names longer than 254 bytes are the caller's error: refused before anything is written.
    pub fn emit(&self, endian: Endian, out: &mut Vec<u8>) {
        debug_assert!(self.name.len() <= MAX_NAME);
        let totlen = (DIRENT_SIZE + self.name.len()) as u32;
        let start = emit_header(endian, out, nodetype::DIRENT, totlen);
        for value in [self.pino, self.version, self.ino, self.mctime] {
            endian.put_u32(out, value);
        }
        out.extend_from_slice(&[self.name.len() as u8, self.kind, 0, 0]);
        let node_crc = crc32(&out[start..]);
        endian.put_u32(out, node_crc);
        endian.put_u32(out, crc32(self.name));
        out.extend_from_slice(self.name);
        emit_pad4(out, start);
    }
}
