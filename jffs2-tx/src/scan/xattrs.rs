//! Nodes of extended attributes (Linux fs/jffs2/scan.c, `jffs2_scan_xattr_node` and `jffs2_scan_xref_node`).

use super::BlockScan;
use crate::wire::{Endian, WireError, Xattr, Xref};

/// An extended attribute; its name and value stay on the flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrRecord {
    /// Number of the attribute.
    pub xid: u32,
    /// Version.
    pub version: u32,
    /// Flash offset of the node.
    pub at: u32,
    /// Length of the node, bytes.
    pub totlen: u32,
    /// Name and value agree with their CRC. If not, the node still hides older versions, as it does from Linux.
    pub good: bool,
}

/// A tie of an extended attribute to an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XrefRecord {
    /// What it ties.
    pub xref: Xref,
    /// Flash offset of the node.
    pub at: u32,
}

pub(super) fn take_xattr(endian: Endian, at: u32, node: &[u8], found: &mut BlockScan) -> Result<(), WireError> {
    let (xid, version) = Xattr::identity(endian, node)?;
    let outcome = Xattr::parse(endian, node);
    let good = outcome.is_ok();
    found.xattrs.push(XattrRecord { xid, version, at, totlen: node.len() as u32, good });
    outcome.map(drop)
}

pub(super) fn take_xref(endian: Endian, at: u32, node: &[u8], found: &mut BlockScan) -> Result<(), WireError> {
    let xref = Xref::parse(endian, node)?;
    // An inode made anew with this number would get the attribute.
    found.max_ino = found.max_ino.max(xref.ino);
    found.xrefs.push(XrefRecord { xref, at });
    Ok(())
}
