//! Every path, directories before what is in them.

use alloc::{collections::BTreeSet, vec, vec::Vec};
use core::slice;

use crate::check::MAX_PATH;
use crate::index::{Index, NameRecord};

/// A step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkEntry {
    /// Path from the root, no slash in front; empty for the root itself.
    pub path: Vec<u8>,
    /// Inode number.
    pub ino: u32,
}

/// Paths below a directory; see [`Tree::walk`](super::Tree::walk). In memory are the directories on the way down to
/// where it is, not what is in them.
#[derive(Debug)]
pub struct Walk<'a> {
    index: &'a Index,
    /// The directory to start at, until it was given.
    start: Option<u32>,
    /// Path of the directory that names are taken from.
    path: Vec<u8>,
    /// That directory last, those that it is in before it: names still to come, and length of the path.
    open: Vec<(slice::Iter<'a, NameRecord>, usize)>,
    entered: BTreeSet<u32>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(index: &'a Index, from: u32) -> Self {
        Self { index, start: Some(from), path: Vec::new(), open: vec![], entered: BTreeSet::new() }
    }

    /// The next name of the innermost directory that has one left; leaves those that have none.
    fn next_name(&mut self) -> Option<&'a NameRecord> {
        loop {
            let (names, len) = self.open.last_mut()?;
            self.path.truncate(*len);
            match names.find(|name| name.ino != 0 && self.index.exists(name.ino)) {
                Some(name) => return Some(name),
                None => self.open.pop(),
            };
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = WalkEntry;

    fn next(&mut self) -> Option<WalkEntry> {
        let ino = match self.start.take() {
            Some(from) => from,
            None => {
                let name = self.next_name()?;
                if !self.path.is_empty() {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(self.index.name(name));
                name.ino
            }
        };
        if self.path.len() <= MAX_PATH && self.index.is_directory(ino) && self.entered.insert(ino) {
            self.open.push((self.index.dirents(ino).iter(), self.path.len()));
        }
        Some(WalkEntry { path: self.path.clone(), ino })
    }
}
