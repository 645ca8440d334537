//! Which extended attributes an inode has (Linux fs/jffs2/xattr.c).
//!
//! Of an attribute's nodes the highest version counts, of equal versions the later scanned. Of the ties of one attribute
//! to one inode the highest sequence number counts. Which of several attributes with the same name an inode has can
//! only be told when they are read: the one whose tie has the highest sequence number.

use alloc::vec::Vec;

use crate::scan::{BlockScan, XattrRecord};
use crate::wire::Xref;

/// Extended attributes of a file system. Takes no memory when there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Xattrs {
    /// The counting node of each, ascending by xid.
    attributes: Vec<XattrRecord>,
    /// Ties to attributes that are there, ascending by inode number and sequence number.
    ties: Vec<Xref>,
}

impl Xattrs {
    pub(super) fn add(&mut self, found: &BlockScan) {
        self.attributes.extend_from_slice(&found.xattrs);
        self.ties.extend(found.xrefs.iter().map(|record| record.xref));
    }

    /// Keeps what counts, once everything is added.
    pub(super) fn finish(&mut self) {
        // Stable: where versions are equal the later scanned stays last, and wins.
        self.attributes.sort_by_key(|node| (node.xid, node.version));
        keep_last(&mut self.attributes, |node| node.xid);
        self.ties.sort_unstable_by_key(|tie| (tie.ino, tie.xid, tie.seqno));
        keep_last(&mut self.ties, |tie| (tie.ino, tie.xid));
        let attributes = &self.attributes;
        self.ties.retain(|tie| !tie.is_deletion() && find(attributes, tie.xid).is_some());
        self.ties.sort_unstable_by_key(|tie| (tie.ino, tie.seqno, tie.xid));
        self.ties.shrink_to_fit();
    }

    /// Nodes of the attributes that are tied to an inode, the tie with the highest sequence number first.
    pub(super) fn of(&self, ino: u32) -> impl Iterator<Item = &XattrRecord> {
        let start = self.ties.partition_point(|tie| tie.ino < ino);
        let len = self.ties[start..].partition_point(|tie| tie.ino == ino);
        self.ties[start..start + len].iter().rev().filter_map(|tie| find(&self.attributes, tie.xid))
    }

    pub(super) fn memory(&self) -> usize {
        self.attributes.capacity() * size_of::<XattrRecord>() + self.ties.capacity() * size_of::<Xref>()
    }
}

fn find(attributes: &[XattrRecord], xid: u32) -> Option<&XattrRecord> {
    attributes.binary_search_by_key(&xid, |node| node.xid).ok().and_then(|at| attributes.get(at))
}

/// Keeps the last of each run of items with the same key.
fn keep_last<T: Copy, K: PartialEq>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    items.reverse();
    items.dedup_by_key(|item| key(item));
    items.reverse();
    items.shrink_to_fit();
}
