//! Which nodes belong to transactions that were never committed (`FORMAT.md` sections 4 to 8).
//!
//! Two kinds: what stands in a commit block that readers do not see, and payload that no name leads to but those. A
//! marker alone says little: the kernel drops commit markers when it cleans. So an inode that the tree needs, or that
//! a name outside the transaction has led to, was committed; and with the first inode of a payload block all of its
//! transaction was, because the kernel only ever appends.

use alloc::vec::Vec;

use super::collect::Evidence;
use super::transactions::{TxRecord, TxState};
use super::{Life, Standing};
use crate::index::{Index, ROOT};

/// Marks nodes and dirents of uncommitted transactions; `tx` is then the transaction's index in `transactions`.
pub(super) fn mark(index: &Index, evidence: &mut Evidence, transactions: &[TxRecord]) {
    let blocks = Blocks::of(index, evidence, transactions);
    let payload = Payload::of(index, evidence, &blocks, transactions);
    let of_commit = |at: u32| blocks.commit_of(index, at);
    for node in &mut evidence.nodes {
        let of_payload = payload.tx_of(node.record.ino).map(Some);
        if let Some(tx) = of_payload.or_else(|| of_commit(node.record.at)) {
            node.life = Life::Uncommitted { tx };
        }
    }
    for dirent in &mut evidence.dirents {
        let here = blocks.payload_of(index, dirent.at);
        let of_payload = payload.tx_of(dirent.pino).filter(|tx| here == Some(*tx)).map(Some);
        if let Some(tx) = of_payload.or_else(|| of_commit(dirent.at)) {
            (dirent.standing, dirent.tx) = (Standing::Uncommitted, tx);
        }
    }
}

/// Which eraseblocks are whose.
struct Blocks {
    /// Transaction without a commit whose payload block it is.
    payload: Vec<Option<u32>>,
    /// Commit block that readers do not see; the transaction, if that can be told.
    commit: Vec<Option<Option<u32>>>,
}

impl Blocks {
    fn of(index: &Index, evidence: &Evidence, transactions: &[TxRecord]) -> Self {
        let leftovers = || {
            let numbered = transactions.iter().enumerate().map(|(at, tx)| (at as u32, tx));
            numbered.filter(|(_, tx)| tx.state == TxState::Leftover)
        };
        // A commit block whose marker was not written yet: if only one transaction can have begun it, it did.
        let without_marker = || leftovers().filter(|(_, tx)| tx.commit_block.is_none());
        let sole = without_marker().next().map(|(at, _)| at).filter(|_| without_marker().count() == 1);
        let mut payload = alloc::vec![None; index.blocks().len()];
        let mut commit: Vec<_> = evidence.blocks.iter().map(|note| note.unfinished.then_some(sole)).collect();
        for (at, tx) in leftovers() {
            for block in &tx.payload_blocks {
                payload[*block as usize] = Some(at);
            }
            if let Some(slot) = tx.commit_block.and_then(|block| commit[block as usize].as_mut()) {
                *slot = Some(at);
            }
        }
        Self { payload, commit }
    }

    fn payload_of(&self, index: &Index, at: u32) -> Option<u32> {
        self.payload.get(index.geometry().block_of(at) as usize).copied().flatten()
    }

    fn commit_of(&self, index: &Index, at: u32) -> Option<Option<u32>> {
        self.commit.get(index.geometry().block_of(at) as usize).copied().flatten()
    }
}

/// Inodes that only uncommitted names lead to.
struct Payload {
    /// Inode numbers, ascending, and their transactions.
    inodes: Vec<(u32, u32)>,
}

impl Payload {
    fn of(index: &Index, evidence: &Evidence, blocks: &Blocks, transactions: &[TxRecord]) -> Self {
        let nodes = evidence.nodes.iter().map(|node| (node.record.ino, node.record.at));
        // A directory's names come before its own node.
        let directories = evidence.dirents.iter().map(|dirent| (dirent.pino, dirent.at));
        let mut inodes: Vec<(u32, u32)> = nodes
            .chain(directories)
            .filter_map(|(ino, at)| Some((ino, blocks.payload_of(index, at)?)))
            .filter(|(ino, _)| !is_alive(index, *ino))
            .collect();
        inodes.sort_unstable();
        inodes.dedup_by_key(|entry| entry.0);
        let committed = committed(index, evidence, blocks, &inodes);
        let mut whole: Vec<bool> = transactions.iter().map(|_| false).collect();
        for (block, tx) in blocks.payload.iter().enumerate() {
            let first = evidence.blocks.get(block).and_then(|note| note.first_ino);
            if let (Some(tx), Some(ino)) = (tx, first) {
                whole[*tx as usize] |= is_alive(index, ino) || is_committed(&inodes, &committed, ino);
            }
        }
        let mut slot = committed.iter();
        inodes.retain(|entry| !slot.next().copied().unwrap_or(false) && !whole[entry.1 as usize]);
        Self { inodes }
    }

    fn tx_of(&self, ino: u32) -> Option<u32> {
        find(&self.inodes, ino).map(|at| self.inodes[at].1)
    }
}

/// Which of `inodes` a name that is not of their transaction leads to, straight or through directories.
fn committed(index: &Index, evidence: &Evidence, blocks: &Blocks, inodes: &[(u32, u32)]) -> Vec<bool> {
    let mut committed = alloc::vec![false; inodes.len()];
    let mut queue: Vec<u32> = Vec::new();
    let mut names: Vec<(u32, u32)> = Vec::new();
    for dirent in evidence.dirents.iter().filter(|dirent| blocks.commit_of(index, dirent.at).is_none()) {
        let Some(target) = find(inodes, dirent.ino) else { continue };
        let here = blocks.payload_of(index, dirent.at);
        if here == Some(inodes[target].1) && find(inodes, dirent.pino).is_some() {
            names.push((dirent.pino, dirent.ino));
        } else {
            queue.push(dirent.ino);
        }
    }
    names.sort_unstable();
    while let Some(ino) = queue.pop() {
        let Some(at) = find(inodes, ino).filter(|at| !committed[*at]) else { continue };
        committed[at] = true;
        let first = names.partition_point(|name| name.0 < ino);
        queue.extend(names[first..].iter().take_while(|name| name.0 == ino).map(|name| name.1));
    }
    committed
}

fn is_committed(inodes: &[(u32, u32)], committed: &[bool], ino: u32) -> bool {
    find(inodes, ino).is_some_and(|at| committed[at])
}

fn find(inodes: &[(u32, u32)], ino: u32) -> Option<usize> {
    inodes.binary_search_by_key(&ino, |entry| entry.0).ok()
}

/// Whether the root leads to the inode.
pub(super) fn is_alive(index: &Index, ino: u32) -> bool {
    ino == ROOT || index.links(ino) > 0
}
