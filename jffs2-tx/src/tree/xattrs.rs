//! Extended attributes of an inode, as Linux shows them.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use super::{Result, Tree};
use crate::acl;
use crate::error::ReadError;
use crate::flash::Flash;
use crate::scan::XattrRecord;
use crate::wire::{Xattr, join_xattr_name, xprefix};

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Full name, such as `user.mime`, `security.selinux` or `system.posix_acl_access`.
    pub name: Vec<u8>,
    /// Value as `getxattr` gives it: a POSIX ACL as [`crate::acl`] shows it.
    pub value: Vec<u8>,
}

/// A node of an extended attribute that is tied to an inode and cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostAttribute {
    /// Flash offset of the node.
    pub at: u32,
    /// What is wrong.
    pub what: &'static str,
}

impl<F: Flash> Tree<'_, F> {
    /// Extended attributes of an inode, by name. Those that cannot be shown are left out: see
    /// [`Tree::lost_xattrs`]. Names and values together take no more memory than the flash has bytes.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if a node reads differently than before, [`ReadError::Device`].
    pub fn xattrs(&self, ino: u32) -> Result<Vec<Attribute>, F> {
        let mut shown = BTreeMap::new();
        for node in self.index.xattrs(ino).filter(|node| node.good) {
            // The first of a name counts, also if it cannot be shown.
            if let Some(Shown { name, value }) = self.read_xattr(ino, node)? {
                shown.entry(name).or_insert(value);
            }
        }
        let attributes = shown.into_iter().filter_map(|(name, value)| Some(Attribute { name, value: value? }));
        Ok(attributes.collect())
    }

    /// What of an inode's extended attributes Linux drops or refuses to show, and so [`Tree::xattrs`] does. Where a node
    /// fails its CRC, its name is not known, and an older value of that name shows if it is still there.
    ///
    /// # Errors
    /// As [`Tree::xattrs`].
    pub fn lost_xattrs(&self, ino: u32) -> Result<Vec<LostAttribute>, F> {
        let mut lost = Vec::new();
        for node in self.index.xattrs(ino) {
            let what = if !node.good {
                "extended attribute fails its CRC"
            } else {
                match self.read_xattr(ino, node)? {
                    None => "extended attribute has an impossible name",
                    Some(Shown { value: None, .. }) => "POSIX ACL makes no sense",
                    Some(_) => continue,
                }
            };
            lost.push(LostAttribute { at: node.at, what });
        }
        Ok(lost)
    }

    /// `None` if the name cannot be.
    fn read_xattr(&self, ino: u32, node: &XattrRecord) -> Result<Option<Shown>, F> {
        let endian = self.index.rules().endian;
        let mut bytes = vec![0; node.totlen as usize];
        self.flash.read(node.at, &mut bytes).map_err(|error| ReadError::Device { offset: node.at, error })?;
        // Checked again: bits of a worn or torn page can read differently each time.
        let what = "node reads differently than before";
        let xattr = Xattr::parse(endian, &bytes).map_err(|_| ReadError::Damaged { ino, offset: node.at, what })?;
        let Some(name) = join_xattr_name(xattr.prefix, xattr.name) else { return Ok(None) };
        let is_acl = matches!(xattr.prefix, xprefix::ACL_ACCESS | xprefix::ACL_DEFAULT);
        let value = if is_acl { acl::shown(endian, xattr.value) } else { Some(xattr.value.to_vec()) };
        Ok(Some(Shown { name, value }))
    }
}

/// An attribute as it was read; no value if it is a POSIX ACL that Linux refuses.
struct Shown {
    name: Vec<u8>,
    value: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests;
