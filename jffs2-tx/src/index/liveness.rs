//! Which eraseblocks can go: those without a live node.
//!
//! A node is live if the tree could change when it goes, alone or with others of its eraseblock, in any order: an
//! erase that power cuts short leaves any subset of them. So only winners are live. A loser is not: as long as its
//! winner stands elsewhere nothing else matters, and where winner and loser share an eraseblock that one has a live
//! node and stays. Exceptions below: nodes that make an inode unreadable, names that alone make a directory exist, a node
//! that only makes its file long. Of copies with equal versions, as garbage collectors leave them, one is live.

use alloc::vec::Vec;

use super::{Index, extents};
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
}

fn live_inode_nodes(index: &Index, ino: u32, live: &mut Vec<u32>) {
    let nodes = index.nodes(ino);
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
        }
    }
}

fn is_special(node: &InodeRecord) -> bool {
    !matches!(FileKind::from_mode(u32::from(node.mode)), Some(FileKind::File | FileKind::Directory))
}
