//! Which extended attributes an inode has (Linux fs/jffs2/xattr.c).
//!
//! Of an attribute's nodes the highest version counts, of equal versions the later scanned. Of the ties of one attribute
//! to one inode the highest sequence number counts. Which of several attributes with the same name an inode has can
//! only be told when they are read: the one whose tie has the highest sequence number.

use alloc::vec::Vec;

use crate::scan::{BlockScan, XattrRecord, XrefRecord};

/// Extended attributes of a file system. Takes no memory when there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Xattrs {
    /// The counting node of each, ascending by xid.
    attributes: Vec<XattrRecord>,
    /// Ties to attributes that are there, ascending by inode number and sequence number.
    ties: Vec<XrefRecord>,
    /// Flash offsets of the nodes that count, those that take attributes away included.
    live: Vec<u32>,
}

impl Xattrs {
    pub(super) fn add(&mut self, found: &BlockScan) {
        self.attributes.extend_from_slice(&found.xattrs);
        self.ties.extend_from_slice(&found.xrefs);
    }

    /// Keeps what counts, once everything is added.
    pub(super) fn finish(&mut self) {
        // Stable: where versions are equal the later scanned stays last, and wins.
        self.attributes.sort_by_key(|node| (node.xid, node.version));
        keep_last(&mut self.attributes, |node| node.xid);
        self.ties.sort_unstable_by_key(|tie| (tie.xref.ino, tie.xref.xid, tie.xref.seqno, tie.at));
        keep_last(&mut self.ties, |tie| (tie.xref.ino, tie.xref.xid));
        self.live = self.attributes.iter().map(|node| node.at).chain(self.ties.iter().map(|tie| tie.at)).collect();
        let attributes = &self.attributes;
        self.ties.retain(|tie| !tie.xref.is_deletion() && find(attributes, tie.xref.xid).is_some());
        self.ties.sort_unstable_by_key(|tie| (tie.xref.ino, tie.xref.seqno, tie.xref.xid));
        self.ties.shrink_to_fit();
    }

    /// Nodes of the attributes that are tied to an inode, the tie with the highest sequence number first.
    pub(super) fn of(&self, ino: u32) -> impl Iterator<Item = &XattrRecord> {
        let start = self.ties.partition_point(|tie| tie.xref.ino < ino);
        let len = self.ties[start..].partition_point(|tie| tie.xref.ino == ino);
        self.ties[start..start + len].iter().rev().filter_map(|tie| find(&self.attributes, tie.xref.xid))
    }

    /// Flash offsets of the nodes that count: the newest of each attribute, tied or not, for Linux would give its number
    /// away again; the newest tie of each attribute to an inode, also one that takes it away.
    pub(super) fn live(&self) -> &[u32] {
        &self.live
    }

    pub(super) fn memory(&self) -> usize {
        self.attributes.capacity() * size_of::<XattrRecord>()
            + self.ties.capacity() * size_of::<XrefRecord>()
            + self.live.capacity() * size_of::<u32>()
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
