//! What a tree must be after changes: kept by paths, knowing nothing of flash.

use std::collections::{BTreeMap, HashMap};

use kernel_guest::listing::{self, Entry};

/// A tree; paths are those of [`Entry`].
#[derive(Clone)]
pub(super) struct Model {
    names: BTreeMap<Vec<u8>, u64>,
    /// Path and number of links are the name's business.
    inodes: HashMap<u64, Entry>,
    /// No inode has this number or a higher one.
    next: u64,
}

impl Model {
    /// The tree with these entries and the number of each one's inode.
    pub(super) fn new(entries: &[Entry], inos: &[u64]) -> Self {
        let names = entries.iter().map(|entry| entry.path.clone()).zip(inos.iter().copied()).collect();
        let inodes = inos.iter().copied().zip(entries.iter().cloned()).collect();
        Self { names, inodes, next: inos.iter().max().map_or(0, |ino| ino + 1) }
    }

    /// Everything, as the kernel would list it.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut links: HashMap<u64, u64> = HashMap::new();
        self.names.values().for_each(|ino| *links.entry(*ino).or_default() += 1);
        let named = |(path, ino): (&Vec<u8>, &u64)| {
            let inode = self.inodes.get(ino)?;
            Some(Entry { path: path.clone(), nlink: links[ino], ..inode.clone() })
        };
        let mut entries: Vec<Entry> = self.names.iter().filter_map(named).collect();
        listing::count_links_as_jffs2(&mut entries);
        entries
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Of all paths, the root's too, those of which that is so.
    pub(super) fn paths(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Vec<u8>> {
        let is_wanted = |ino| self.inodes.get(ino).is_some_and(&wanted);
        self.names.iter().filter(|(_, ino)| is_wanted(*ino)).map(|(path, _)| path.clone()).collect()
    }

    /// To change what all names of an inode show.
    pub(super) fn get_mut(&mut self, path: &[u8]) -> Option<&mut Entry> {
        self.inodes.get_mut(self.names.get(path)?)
    }

    /// A new inode, in place of what had the name.
    pub(super) fn put(&mut self, entry: Entry) {
        self.names.insert(entry.path.clone(), self.next);
        self.inodes.insert(self.next, entry);
        self.next += 1;
    }

    pub(super) fn link(&mut self, existing: &[u8], path: &[u8]) {
        if let Some(ino) = self.names.get(existing) {
            self.names.insert(path.to_vec(), *ino);
        }
    }

    /// With everything below.
    pub(super) fn remove(&mut self, path: &[u8]) {
        self.names.retain(|name, _| name != path && !is_below(name, path));
    }

    /// With everything below, in place of what had the name; of two names of one inode both stay.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) {
        if self.names.get(from) == self.names.get(to) {
            return;
        }
        let moved = |name: &Vec<u8>| [to, &name[from.len()..]].concat();
        let (going, mut names): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.names).into_iter().partition(|(name, _)| name == from || is_below(name, from));
        names.extend(going.iter().map(|(name, ino)| (moved(name), *ino)));
        self.names = names;
    }
}

/// Whether a path leads through a directory.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}
