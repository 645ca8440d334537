//! What the flash still holds beyond the live tree: deleted and replaced names, old versions of files, transactions
//! that were never committed (`FORMAT.md` section 10).
//!
//! [`Index`] keeps what a reader sees; this reads every inode node and dirent whose CRCs hold, also those that are
//! marked obsolete, hidden behind a blank head or a cleanmarker, or not listed in their summary. It is evidence, not a
//! tree: nothing here is seen by a kernel that mounts the flash.
//!
//! Memory: at most 4 bytes for each byte of flash.

use alloc::vec::Vec;

use crate::error::ReadError;
use crate::flash::Flash;
use crate::index::Index;
use crate::scan::InodeRecord;

mod collect;
mod lives;
mod names;
#[cfg(test)]
mod tests;
mod transactions;
mod uncommitted;

use collect::{Evidence, Node};
pub use lives::Recovery;
use names::Parent;
pub use names::{Fate, LostName, PastPath};
pub use transactions::{TxRecord, TxState, transactions};
use uncommitted::is_alive;

/// What a node is to the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The tree would change without it.
    Current,
    /// A newer node has taken its place.
    Superseded,
    /// Seen by readers, but no name leads to it any more.
    Deleted,
    /// Its ACCURATE bit is cleared: the kernel has done with it.
    MarkedObsolete,
    /// No reader sees it, and no transaction explains it.
    Hidden,
    /// Of a transaction that was never committed.
    Uncommitted,
    /// Seen by readers, of an inode that no name has ever led to, as far as the flash says.
    Orphan,
}

/// Which of the inodes that had one number: see [`History::inodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Life {
    /// An earlier one.
    Former,
    /// The last one, alive or not.
    Last,
    /// What an uncommitted transaction would have made of it.
    Uncommitted {
        /// Index in [`History::transactions`]; `None` if the flash does not say which.
        tx: Option<u32>,
    },
}

/// Whether readers see a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Hidden,
    Obsolete,
    Visible,
}

/// What is known of a node beside its [`InodeRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeNote {
    /// Modification time in it, seconds since 1970.
    pub mtime: u32,
    /// What it is to the tree.
    pub standing: Standing,
}

/// A dirent of any standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastDirent {
    /// Inode number of the directory.
    pub pino: u32,
    /// Version.
    pub version: u32,
    /// Inode number that the name leads to, 0 for a deletion.
    pub ino: u32,
    /// The directory's time.
    pub mctime: u32,
    /// Flash offset of the node.
    pub at: u32,
    /// DT_* type.
    pub kind: u8,
    /// What it is to the tree.
    pub standing: Standing,
    /// Index in [`History::transactions`] if it is uncommitted and the flash says of which.
    pub tx: Option<u32>,
    seen: Seen,
    name_start: u32,
    name_len: u8,
}

/// An inode in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastInode {
    /// Inode number.
    pub ino: u32,
    /// Which of the inodes of that number.
    pub life: Life,
    /// The root leads to it, and it is what readers see.
    pub alive: bool,
    /// How much is left of its newest state.
    pub recovery: Recovery,
    first: u32,
    count: u32,
}

/// Everything that the flash holds.
#[derive(Clone, Debug)]
pub struct History {
    /// Ascending by inode number, life, version, offset.
    records: Vec<InodeRecord>,
    notes: Vec<NodeNote>,
    /// Ascending by directory, name, version, offset.
    dirents: Vec<PastDirent>,
    arena: Vec<u8>,
    inodes: Vec<PastInode>,
    /// Ascending by inode number.
    parents: Vec<Parent>,
    lost: Vec<LostName>,
    transactions: Vec<TxRecord>,
}

impl History {
    /// Reads all of `flash`; `index` is of the same flash.
    ///
    /// # Errors
    /// [`ReadError::Device`].
    pub fn read<F: Flash>(flash: &F, index: &Index) -> Result<Self, ReadError<F::Error>> {
        let transactions = transactions(flash, index)?;
        let mut evidence = Evidence::read(flash, index)?;
        uncommitted::mark(index, &mut evidence, &transactions);
        lives::sort(index, &mut evidence.nodes);
        names::sort(&mut evidence);
        let live = index.live_nodes();
        names::judge(index, &live, &mut evidence);
        let named = names::ever_named(&evidence);
        let judge = |node: &Node| NodeNote { mtime: node.mtime, standing: standing(index, &live, &named, node) };
        let mut history = Self {
            records: evidence.nodes.iter().map(|node| node.record).collect(),
            notes: evidence.nodes.iter().map(judge).collect(),
            inodes: inodes(index, &evidence.nodes),
            parents: names::parents(&evidence),
            dirents: evidence.dirents,
            arena: evidence.names,
            lost: Vec::new(),
            transactions,
        };
        history.lost = names::lost(index, &history);
        Ok(history)
    }

    /// The transactions whose markers are on the flash, by sequence number.
    #[must_use]
    pub fn transactions(&self) -> &[TxRecord] {
        &self.transactions
    }

    /// Every inode in each of its lives, ascending. One number has several lives if the kernel gave it away again, or
    /// if an uncommitted transaction would have changed the inode.
    #[must_use]
    pub fn inodes(&self) -> &[PastInode] {
        &self.inodes
    }

    /// Place of an inode in [`History::inodes`].
    #[must_use]
    pub fn place(&self, ino: u32, life: Life) -> Option<u32> {
        let found = self.inodes.binary_search_by_key(&(ino, life), |inode| (inode.ino, inode.life));
        found.ok().map(|at| at as u32)
    }

    /// An inode in one of its lives.
    #[must_use]
    pub fn inode(&self, ino: u32, life: Life) -> Option<&PastInode> {
        self.place(ino, life).and_then(|at| self.inodes.get(at as usize))
    }

    /// An inode number in each of its lives.
    #[must_use]
    pub fn lives(&self, ino: u32) -> &[PastInode] {
        let start = self.inodes.partition_point(|inode| inode.ino < ino);
        let len = self.inodes[start..].partition_point(|inode| inode.ino == ino);
        &self.inodes[start..start + len]
    }

    /// Its nodes, ascending by version: the state at a version is made of those up to it.
    #[must_use]
    pub fn nodes(&self, inode: &PastInode) -> &[InodeRecord] {
        &self.records[inode.range()]
    }

    /// What is known of each of its nodes, in the same order.
    #[must_use]
    pub fn notes(&self, inode: &PastInode) -> &[NodeNote] {
        &self.notes[inode.range()]
    }

    /// Its nodes up to a version.
    #[must_use]
    pub fn nodes_until(&self, inode: &PastInode, version: u32) -> &[InodeRecord] {
        let nodes = self.nodes(inode);
        &nodes[..nodes.partition_point(|node| node.version <= version)]
    }

    /// Names that led somewhere and do not any more, those that uncommitted transactions would have made or deleted,
    /// and inodes that have no name.
    #[must_use]
    pub fn lost(&self) -> &[LostName] {
        &self.lost
    }

    /// Every dirent, ascending by directory, name, version and offset.
    #[must_use]
    pub fn dirents(&self) -> &[PastDirent] {
        &self.dirents
    }

    /// The bytes of a name.
    #[must_use]
    pub fn name(&self, dirent: &PastDirent) -> &[u8] {
        names::name(&self.arena, dirent)
    }
}

impl PastInode {
    fn range(&self) -> core::ops::Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
}

fn inodes(index: &Index, nodes: &[Node]) -> Vec<PastInode> {
    let mut found = Vec::new();
    let mut first = 0;
    let of_one = |a: &Node, b: &Node| (a.record.ino, a.life) == (b.record.ino, b.life);
    for nodes in nodes.chunk_by(of_one) {
        let (ino, life, count) = (nodes[0].record.ino, nodes[0].life, nodes.len() as u32);
        let alive = life == Life::Last && is_alive(index, ino);
        // A transaction changes nothing of an old inode but what it says of itself.
        let has_contents = alive || (life > Life::Last && is_alive(index, ino));
        let recovery = if has_contents {
            Recovery::Whole
        } else if lives::is_mixed(nodes) {
            Recovery::Mixed
        } else {
            Recovery::of(&nodes.iter().map(|node| node.record).collect::<Vec<_>>())
        };
        found.push(PastInode { ino, life, alive, recovery, first, count });
        first += count;
    }
    found
}

fn standing(index: &Index, live: &[u32], named: &[u32], node: &Node) -> Standing {
    match (node.life, node.seen) {
        (Life::Uncommitted { .. }, _) => Standing::Uncommitted,
        (_, Seen::Obsolete) => Standing::MarkedObsolete,
        (_, Seen::Hidden) => Standing::Hidden,
        _ if live.binary_search(&node.record.at).is_ok() => Standing::Current,
        _ if is_alive(index, node.record.ino) => Standing::Superseded,
        _ if named.binary_search(&node.record.ino).is_ok() => Standing::Deleted,
        _ => Standing::Orphan,
    }
}
