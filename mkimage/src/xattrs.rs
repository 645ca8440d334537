//! Extended attributes: each different one once, and a tie to it from each inode that has it.

use std::collections::BTreeMap;
use std::io::Write;

use jffs2_tx::acl;
use jffs2_tx::tree::Attribute;
use jffs2_tx::wire::{Xattr, Xref, split_xattr_name, xprefix};

use crate::BuildError;
use crate::packer::Packer;

/// The version of an attribute's first node.
const FIRST_VERSION: u32 = 1;
/// Sequence numbers of ties: bit 0 would take the attribute away.
const SEQNO_STEP: u32 = 2;

/// Those that have been written.
#[derive(Default)]
pub(crate) struct Xattrs<'t> {
    /// Numbers by name and value.
    known: BTreeMap<(&'t [u8], &'t [u8]), u32>,
    seqno: u32,
}

impl<'t> Xattrs<'t> {
    /// Writes an inode's attributes, which the source tree has checked.
    pub(crate) fn write<W: Write>(
        &mut self,
        packer: &mut Packer<W>,
        ino: u32,
        xattrs: &'t [Attribute],
    ) -> Result<(), BuildError> {
        for xattr in xattrs {
            let next = self.known.len() as u32 + 1;
            let xid = *self.known.entry((&xattr.name, &xattr.value)).or_insert(next);
            if xid == next {
                attribute(packer, xid, xattr)?;
            }
            self.seqno += SEQNO_STEP;
            packer.xref(&Xref { ino, xid, seqno: self.seqno })?;
        }
        Ok(())
    }
}

fn attribute<W: Write>(packer: &mut Packer<W>, xid: u32, xattr: &Attribute) -> Result<(), BuildError> {
    let Some((prefix, name)) = split_xattr_name(&xattr.name) else { return Ok(()) };
    let is_acl = matches!(prefix, xprefix::ACL_ACCESS | xprefix::ACL_DEFAULT);
    let stored = if is_acl { acl::stored(packer.endian(), &xattr.value) } else { None };
    let value = stored.as_deref().unwrap_or(&xattr.value);
    packer.xattr(&Xattr { xid, version: FIRST_VERSION, prefix, name, value })
}
