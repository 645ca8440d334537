//! Extended attribute nodes: the attribute (xattr) and its tie to an inode (xref).

use alloc::vec::Vec;

use super::{Endian, WireError, emit_header, emit_pad4, nodetype, parse_as};
use crate::crc::crc32;

const XATTR_SIZE: usize = 32;
/// Size of an xref node, bytes.
pub const XREF_SIZE: usize = 28;
/// Longest name of an attribute without its prefix, bytes: its length has one byte.
pub const MAX_XATTR_NAME: usize = 255;
/// Longest value of an attribute, bytes: its length has two bytes.
pub const MAX_XATTR_VALUE: usize = 65_535;

/// Set in the sequence number of a tie that takes the attribute away.
const DELETE_MARKER: u32 = 1;

/// Prefixes of names by their numbers on flash (Linux include/uapi/linux/jffs2.h). Of the two POSIX ACLs the prefix is
/// the whole name.
pub mod xprefix {
    /// `user.`
    pub const USER: u8 = 1;
    /// `security.`
    pub const SECURITY: u8 = 2;
    /// `system.posix_acl_access`; the value is an ACL as [`crate::acl`] says.
    pub const ACL_ACCESS: u8 = 3;
    /// `system.posix_acl_default`; the value is an ACL as [`crate::acl`] says.
    pub const ACL_DEFAULT: u8 = 4;
    /// `trusted.`
    pub const TRUSTED: u8 = 5;
}

const PREFIXES: [(u8, &[u8]); 5] = [
    (xprefix::USER, b"user."),
    (xprefix::SECURITY, b"security."),
    (xprefix::ACL_ACCESS, b"system.posix_acl_access"),
    (xprefix::ACL_DEFAULT, b"system.posix_acl_default"),
    (xprefix::TRUSTED, b"trusted."),
];

/// Whether the prefix is the whole name: then nothing may follow it, otherwise something must.
fn is_whole_name(prefix: &[u8]) -> bool {
    !prefix.ends_with(b".")
}

/// The number of a full name's prefix, and the rest of the name; `None` for a name that JFFS2 cannot hold.
#[must_use]
pub fn split_xattr_name(full: &[u8]) -> Option<(u8, &[u8])> {
    let (number, rest) =
        PREFIXES.iter().find_map(|(number, prefix)| full.strip_prefix(*prefix).map(|rest| (*number, rest)))?;
    (join_xattr_name(number, rest)? == full).then_some((number, rest))
}

/// The full name; `None` if the prefix is unknown or nobody could ask a kernel for such a name.
#[must_use]
pub fn join_xattr_name(number: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let prefix = PREFIXES.iter().find(|known| known.0 == number)?.1;
    let possible = is_whole_name(prefix) == rest.is_empty() && rest.len() <= MAX_XATTR_NAME && !rest.contains(&0);
    possible.then(|| [prefix, rest].concat())
}

/// An extended attribute; several inodes may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattr<'a> {
    /// Number of the attribute.
    pub xid: u32,
    /// The highest version of an xid wins.
    pub version: u32,
    /// Number of the name's prefix: [`xprefix`].
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
        let bytes = checked(endian, bytes)?;
        let data = &bytes[XATTR_SIZE..][..data_len(endian, bytes)];
        let (name, value) = data.split_at(usize::from(bytes[21]));
        // Linux takes the byte between them for a NUL, also in the CRC.
        if crc32(data) != endian.u32(bytes, 24) || value[0] != 0 {
            return Err(WireError::NodeCrc);
        }
        Ok(Self {
            xid: endian.u32(bytes, 12),
            version: endian.u32(bytes, 16),
            prefix: bytes[20],
            name,
            value: &value[1..],
        })
    }

    /// The xid and the version of a node whose name and value may be damaged.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn identity(endian: Endian, bytes: &[u8]) -> Result<(u32, u32), WireError> {
        let bytes = checked(endian, bytes)?;
        Ok((endian.u32(bytes, 12), endian.u32(bytes, 16)))
    }

    /// Total length of the node, padding included, bytes.
    #[must_use]
    pub const fn flash_size(&self) -> usize {
        (XATTR_SIZE + self.name.len() + 1 + self.value.len()).next_multiple_of(4)
    }

    /// Appends the node; its total length is padded, as the kernel checks. Names over 255 and values over 65,535
    /// bytes are the caller's error.
    pub fn emit(&self, endian: Endian, out: &mut Vec<u8>) {
        debug_assert!(self.name.len() <= 255 && self.value.len() <= 65_535);
        let mut data = Vec::with_capacity(self.name.len() + 1 + self.value.len());
        data.extend_from_slice(self.name);
        data.push(0);
        data.extend_from_slice(self.value);
        let start = emit_header(endian, out, nodetype::XATTR, self.flash_size() as u32);
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

/// The node's bytes, if its node CRC is right and its lengths agree: Linux wants the padded length, no other.
fn checked(endian: Endian, bytes: &[u8]) -> Result<&[u8], WireError> {
    let bytes = parse_as(endian, bytes, nodetype::XATTR, XATTR_SIZE)?;
    if crc32(&bytes[..28]) != endian.u32(bytes, 28) {
        return Err(WireError::NodeCrc);
    }
    if bytes.len() != (XATTR_SIZE + data_len(endian, bytes)).next_multiple_of(4) {
        return Err(WireError::Length);
    }
    Ok(bytes)
}

/// Bytes of name, NUL and value.
fn data_len(endian: Endian, bytes: &[u8]) -> usize {
    usize::from(bytes[21]) + 1 + usize::from(endian.u16(bytes, 22))
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
        if bytes.len() != XREF_SIZE {
            return Err(WireError::Length);
        }
        Ok(Self { ino: endian.u32(bytes, 12), xid: endian.u32(bytes, 16), seqno: endian.u32(bytes, 20) })
    }

    /// Whether this takes the attribute from the inode.
    #[must_use]
    pub fn is_deletion(&self) -> bool {
        self.seqno & DELETE_MARKER != 0
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
