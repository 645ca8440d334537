//! The new tree as changes over the old one: names, new inodes, changed metadata. All of it is in memory; file data
//! is not.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::index::{Index, NameRecord, ROOT};
use crate::inode_kind::{FileKind, Meta};
use crate::log::NodeAddress;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Inode number.
    pub ino: u32,
    /// Type.
    pub kind: FileKind,
}

impl Entry {
    fn of(record: &NameRecord) -> Option<Self> {
        Some(Self { ino: record.ino, kind: FileKind::from_dirent_type(record.kind)? })
    }
}

/// An inode that this transaction made.
#[derive(Clone, Debug)]
pub(super) struct NewInode {
    pub kind: FileKind,
    pub meta: Meta,
    /// Data of a symlink or device.
    pub data: Vec<u8>,
    /// Size of a file, bytes.
    pub size: u32,
    /// Data nodes of a file, ascending.
    pub nodes: Vec<NewNode>,
    /// Version of the last node written.
    pub version: u32,
    /// The metadata that the last node written has.
    pub written: Option<Meta>,
}

/// A data node of a new file.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewNode {
    pub offset: u32,
    pub dsize: u32,
    pub csize: u32,
    pub address: NodeAddress,
}

/// Changes over an index.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    changes: BTreeMap<u32, BTreeMap<Vec<u8>, Option<Entry>>>,
    pub new: BTreeMap<u32, NewInode>,
    /// New metadata of old inodes.
    pub metas: BTreeMap<u32, Meta>,
    /// Those of them whose time alone changes.
    pub time_only: BTreeSet<u32>,
    next_ino: u32,
}

impl Overlay {
    pub(super) fn new(index: &Index) -> Self {
        Self {
            changes: BTreeMap::new(),
            new: BTreeMap::new(),
            metas: BTreeMap::new(),
            time_only: BTreeSet::new(),
            next_ino: index.max_ino().saturating_add(1),
        }
    }

    /// The next inode number; `None` when they have run out.
    pub(super) fn allocate(&mut self) -> Option<u32> {
        let ino = self.next_ino;
        self.next_ino = ino.checked_add(1)?;
        Some(ino)
    }

    pub(super) fn is_new(&self, ino: u32) -> bool {
        self.new.contains_key(&ino)
    }

    /// Drops what is known of an inode that has no name in the new tree.
    pub(super) fn forget(&mut self, ino: u32) {
        self.new.remove(&ino);
        self.metas.remove(&ino);
        self.time_only.remove(&ino);
    }

    /// The entry of a name in the old tree.
    pub(super) fn old_entry(index: &Index, dir: u32, name: &[u8]) -> Option<Entry> {
        let record = index.find(dir, name)?;
        if record.ino == 0 || !index.exists(record.ino) { None } else { Entry::of(record) }
    }

    pub(super) fn entry(&self, index: &Index, dir: u32, name: &[u8]) -> Option<Entry> {
        match self.changes.get(&dir).and_then(|names| names.get(name)) {
            Some(change) => *change,
            None => Self::old_entry(index, dir, name),
        }
    }

    /// All names of a directory, in byte order.
    pub(super) fn entries(&self, index: &Index, dir: u32) -> BTreeMap<Vec<u8>, Entry> {
        let mut all: BTreeMap<Vec<u8>, Entry> =
            index.names(dir).filter_map(|record| Some((index.name(record).to_vec(), Entry::of(record)?))).collect();
        for (name, change) in self.changes(dir) {
            match change {
                Some(entry) => all.insert(name.clone(), *entry),
                None => all.remove(name),
            };
        }
        all
    }

    /// Names of a directory that are not as in the old tree.
    pub(super) fn changes(&self, dir: u32) -> impl Iterator<Item = (&Vec<u8>, &Option<Entry>)> {
        self.changes.get(&dir).into_iter().flatten()
    }

    pub(super) fn set(&mut self, index: &Index, dir: u32, name: &[u8], entry: Option<Entry>) {
        let names = self.changes.entry(dir).or_default();
        if Self::old_entry(index, dir, name) == entry {
            names.remove(name);
        } else {
            names.insert(name.to_vec(), entry);
        }
    }

    /// Every directory that the root leads to, with its parent, parents first.
    pub(super) fn directories(&self, index: &Index) -> Vec<Directory> {
        let mut found = Vec::new();
        let mut entered = BTreeSet::new();
        let mut pending = Vec::from([(ROOT, None)]);
        while let Some((ino, parent)) = pending.pop() {
            // A loop on a damaged flash is walked once.
            if !entered.insert(ino) {
                continue;
            }
            let entries = self.entries(index, ino);
            let below = entries.iter().filter(|(_, entry)| entry.kind == FileKind::Directory);
            pending.extend(below.map(|(name, entry)| (entry.ino, Some((ino, name.clone())))));
            found.push(Directory { ino, parent, entries });
        }
        found
    }
}

/// A directory of the new tree.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub ino: u32,
    pub parent: Option<(u32, Vec<u8>)>,
    pub entries: BTreeMap<Vec<u8>, Entry>,
}
