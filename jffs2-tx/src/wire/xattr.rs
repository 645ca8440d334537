//! Extended attribute nodes: the attribute (xattr) and its tie to an inode (xref).

use alloc::vec::Vec;

use super::{Endian, WireError, emit_header, emit_pad4, nodetype, parse_as};
use crate::crc::crc32;

const XATTR_SIZE: usize = 32;
const XREF_SIZE: usize = 28;

/// An extended attribute; several inodes may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattr<'a> {
    /// Number of the attribute.
    pub xid: u32,
    /// The highest version of an xid wins.
    pub version: u32,
    /// Number of the name's prefix: 1 user, 2 security, 3 and 4 POSIX ACL access and default, 5 trusted.
    pub prefix: u8,
    /// Name without its prefix.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

impl<'a> Xattr<'a> {
    /// Reads a node and checks its CRCs.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn parse(endian: Endian, bytes: &'a [u8]) -> Result<Self, WireError> {
        let bytes = parse_as(endian, bytes, nodetype::XATTR, XATTR_SIZE)?;
        if crc32(&bytes[..28]) != endian.u32(bytes, 28) {
            return Err(WireError::NodeCrc);
        }
        let name_len = usize::from(bytes[21]);
        let data_len = name_len + 1 + usize::from(endian.u16(bytes, 22));
        let data = bytes[XATTR_SIZE..].get(..data_len).ok_or(WireError::Length)?;
        if crc32(data) != endian.u32(bytes, 24) {
            return Err(WireError::NodeCrc);
        }
        Ok(Self {
            xid: endian.u32(bytes, 12),
            version: endian.u32(bytes, 16),
            prefix: bytes[20],
            name: &data[..name_len],
            value: &data[name_len + 1..],
        })
    }

    /// Appends the node; its total length is padded, as the kernel checks. Names over 255 and values over 65,535
    /// bytes are the caller's error.
    pub fn emit(&self, endian: Endian, out: &mut Vec<u8>) {
        debug_assert!(self.name.len() <= 255 && self.value.len() <= 65_535);
        let mut data = Vec::with_capacity(self.name.len() + 1 + self.value.len());
        data.extend_from_slice(self.name);
        data.push(0);
        data.extend_from_slice(self.value);
        let totlen = (XATTR_SIZE + data.len()).next_multiple_of(4) as u32;
        let start = emit_header(endian, out, nodetype::XATTR, totlen);
        endian.put_u32(out, self.xid);
        endian.put_u32(out, self.version);
        out.extend_from_slice(&[self.prefix, self.name.len() as u8]);
        endian.put_u16(out, self.value.len() as u16);
        endian.put_u32(out, crc32(&data));
        let node_crc = crc32(&out[start..]);
        endian.put_u32(out, node_crc);
        out.extend_from_slice(&data);
        emit_pad4(out, start);
    }
}

/// Ties an extended attribute to an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xref {
    /// Inode number.
    pub ino: u32,
    /// Number of the attribute.
    pub xid: u32,
    /// Steps by two; bit 0 set deletes the tie.
    pub seqno: u32,
}

impl Xref {
    /// Reads a node and checks its CRC.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn parse(endian: Endian, bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = parse_as(endian, bytes, nodetype::XREF, XREF_SIZE)?;
        if crc32(&bytes[..24]) != endian.u32(bytes, 24) {
            return Err(WireError::NodeCrc);
        }
        Ok(Self { ino: endian.u32(bytes, 12), xid: endian.u32(bytes, 16), seqno: endian.u32(bytes, 20) })
    }

    /// Appends the node.
    pub fn emit(&self, endian: Endian, out: &mut Vec<u8>) {
        let start = emit_header(endian, out, nodetype::XREF, XREF_SIZE as u32);
        for value in [self.ino, self.xid, self.seqno] {
            endian.put_u32(out, value);
        }
        let node_crc = crc32(&out[start..]);
        endian.put_u32(out, node_crc);
    }
}
