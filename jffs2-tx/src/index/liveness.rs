//! Which eraseblocks can go: those without a live node.
//!
//! A node is live if the tree could change when it goes, alone or with others of its eraseblock, in any order: an
//! erase that power cuts short leaves any subset of them. So only winners are live. A loser is not: as long as its
//! winner stands elsewhere nothing else matters, and where winner and loser share an eraseblock that one has a live
//! node and stays. Exceptions below: nodes that make an inode unreadable, names that alone make a directory exist, a node
//! that only makes its file long. Copies say the same with the same version, as garbage collectors leave them, or a name once more
//! with a higher one: all are live, since a write that power has cut may read well now and not the next time. But for what a
//! collection of ours has copied and vouches for: that stands.

use alloc::vec::Vec;

use super::{Copies, Index, extents};
use crate::inode_kind::FileKind;
use crate::scan::InodeRecord;

pub(super) fn count(index: &mut Index) {
    for at in index.live_nodes() {
        let block = index.geometry.block_of(at) as usize;
        if let Some(info) = index.blocks.get_mut(block) {
            info.live += 1;
        }
    }
}

impl Index {
    /// Flash offsets of the live nodes, ascending.
    #[must_use]
    pub fn live_nodes(&self) -> Vec<u32> {
        let mut live = self.xattrs.live().to_vec();
        for ino in self.reachable() {
            live_inode_nodes(self, ino, &mut live);
            live_dirents(self, ino, &mut live);
        }
        live.sort_unstable();
        live.dedup();
        live
    }

    /// Whether the node at `kept` is sure to stand when the one at `gone` has gone, which says the same.
    fn outlasts(&self, kept: u32, gone: u32) -> bool {
        let copies = |at: u32| self.copies(self.geometry.block_of(at));
        let Some(kept) = copies(kept).filter(Copies::last) else { return false };
        copies(gone).is_none_or(|gone| gone.generation < kept.generation)
    }
}

fn live_inode_nodes(index: &Index, ino: u32, live: &mut Vec<u32>) {
    let nodes = index.nodes(ino);
    let first = live.len();
    match index.latest(ino) {
        Some(latest) => live.push(latest.at),
        // Bad as they are, they are what makes the inode exist.
        None => live.extend(nodes.iter().map(|node| node.at)),
    }
    // Linux refuses a symlink or device for a node too many: such a one is live, or the inode comes back when it goes.
    if index.latest(ino).is_some_and(is_special) && !index.inode(ino).one_node {
        live.extend(nodes.iter().map(|node| node.at));
    }
    let (size, found) = extents(nodes);
    // Where the end is a gap the size comes from a node behind it that has been cut off.
    if found.last().is_some_and(|last| last.end < size) || found.is_empty() && size > 0 {
        let end = |node: &&InodeRecord| node.offset.saturating_add(node.dsize);
        live.extend(nodes.iter().filter(|node| node.good && node.dsize > 0).max_by_key(end).map(|node| node.at));
    }
    live.extend(found.iter().map(|extent| nodes[extent.node].at));
    let mut counting = live.split_off(first);
    counting.sort_unstable();
    for same in nodes.chunk_by(|a, b| InodeRecord { at: b.at, ..*a } == *b) {
        let all = || same.iter().map(|node| node.at);
        if let Some(counts) = all().find(|at| counting.binary_search(at).is_ok()) {
            live.extend(all().filter(|at| *at == counts || !index.outlasts(counts, *at)));
        }
    }
}

fn live_dirents(index: &Index, dir: u32, live: &mut Vec<u32>) {
    let dirents = index.dirents(dir);
    let timed = index.newest_time(dir).map(|name| name.at);
    // Without a node of its own, names in it are what makes a directory exist: deletions, too.
    let vouch = index.nodes(dir).is_empty();
    for name in dirents {
        let leads_somewhere = name.ino != 0 && index.exists(name.ino);
        if leads_somewhere || vouch || name.shadows_older || timed == Some(name.at) {
            live.push(name.at);
            live.extend(index.said_before(name.at).filter(|before| !index.outlasts(name.at, *before)));
        }
    }
}

fn is_special(node: &InodeRecord) -> bool {
    !matches!(FileKind::from_mode(u32::from(node.mode)), Some(FileKind::File | FileKind::Directory))
}
