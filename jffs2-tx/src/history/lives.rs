//! Inodes from nodes. One number can have been several inodes: once a kernel has marked the nodes of a deleted inode
//! obsolete, the next mount may give its number away. Their nodes must not be mixed.

use alloc::vec::Vec;

use super::collect::Node;
use super::uncommitted::is_alive;
use super::{Life, Seen};
use crate::index::{Index, ROOT, extents};
use crate::inode_kind::FileKind;
use crate::scan::InodeRecord;

/// How much of an inode's contents is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Every byte, and no version that could have changed one is missing.
    Whole,
    /// Every byte, but versions are missing that may have changed some.
    Likely,
    /// Some bytes.
    Partly,
    /// Nothing.
    Gone,
    /// Nodes of several inodes of this number cannot be told apart.
    Mixed,
}

/// Sorts nodes by inode number, life, version and offset, and tells the lives of each number apart.
pub(super) fn sort(index: &Index, nodes: &mut [Node]) {
    nodes.sort_by_key(|node| (node.record.ino, node.record.version, node.record.at));
    let same = |a: &Node, b: &Node| a.record.ino == b.record.ino;
    for inode in nodes.chunk_by_mut(same).filter(|inode| inode[0].record.ino != ROOT) {
        if was_reused(index, inode) {
            let unseen = inode.iter_mut().filter(|node| node.life == Life::Last && node.seen != Seen::Visible);
            unseen.for_each(|node| node.life = Life::Former);
        }
    }
    nodes.sort_by_key(|node| (node.record.ino, node.life, node.record.version, node.record.at));
}

/// Whether nodes that readers do not see are another inode's than those that they see: one version twice and not the
/// same, another type, or a version above the newest of an inode that is alive (its newest node is never obsolete).
fn was_reused(index: &Index, inode: &[Node]) -> bool {
    let good: Vec<&Node> = inode.iter().filter(|node| node.record.good && node.life == Life::Last).collect();
    let is_seen = |node: &&Node| node.seen == Seen::Visible;
    let Some(newest) = good.iter().rev().find(|node| is_seen(node)) else { return false };
    let alive = is_alive(index, newest.record.ino);
    let kind = |node: &Node| node.record.mode & 0o170_000;
    let unlike = |node: &&Node| kind(node) != kind(newest) || (alive && node.record.version > newest.record.version);
    good.iter().filter(|node| !is_seen(node)).any(unlike)
        || clashes(&good).any(|same| same.iter().any(is_seen) && !same.iter().all(is_seen))
}

/// Whether nodes that readers do not see compete for one version. Of those that they see the later one wins.
pub(super) fn is_mixed(inode: &[Node]) -> bool {
    let good: Vec<&Node> = inode.iter().filter(|node| node.record.good).collect();
    clashes(&good).any(|same| same.iter().any(|node| node.seen != Seen::Visible))
}

/// Nodes of one version that are no copies of each other.
fn clashes<'a, 'n>(nodes: &'a [&'n Node]) -> impl Iterator<Item = &'a [&'n Node]> {
    let same_version = |a: &&Node, b: &&Node| a.record.version == b.record.version;
    nodes.chunk_by(same_version).filter(|same| same.iter().any(|node| node.sums != same[0].sums))
}

impl Recovery {
    /// Of the state that `nodes`, ascending by version, leave.
    #[must_use]
    pub fn of(nodes: &[InodeRecord]) -> Self {
        let Some(latest) = nodes.iter().rev().find(|node| node.good) else { return Self::Gone };
        match FileKind::from_mode(u32::from(latest.mode)) {
            Some(FileKind::File) => Self::of_file(nodes, latest),
            Some(FileKind::Symlink | FileKind::CharDevice | FileKind::BlockDevice) if latest.dsize == 0 => Self::Gone,
            Some(_) => Self::Whole,
            None => Self::Gone,
        }
    }

    fn of_file(nodes: &[InodeRecord], latest: &InodeRecord) -> Self {
        let (_, found) = extents(nodes);
        let there: u64 = found.iter().map(|extent| u64::from(extent.end - extent.start)).sum();
        let oldest = found.iter().map(|extent| nodes[extent.node].version).min().unwrap_or(latest.version);
        if there < u64::from(latest.isize) {
            return if there == 0 { Self::Gone } else { Self::Partly };
        }
        if has_all_versions(nodes, oldest) { Self::Whole } else { Self::Likely }
    }
}

/// Whether no version from `oldest` to the newest is missing.
fn has_all_versions(nodes: &[InodeRecord], oldest: u32) -> bool {
    let mut versions = nodes.iter().filter(|node| node.good).map(|node| node.version).skip_while(|v| *v < oldest);
    let Some(mut last) = versions.next() else { return false };
    versions.all(|version| {
        let follows = version - last <= 1;
        last = version;
        follows
    })
}
