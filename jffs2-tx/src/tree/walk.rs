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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::{FlashKind, Geometry, MemFlash};
    use crate::wire::{Dirent, Endian};
    use crate::{Rules, Tree};

    const SIZE: u32 = 8 << 20;

    /// Paths of a tree of directories that names alone make: (directory, name, what it leads to).
    fn walk(names: impl Iterator<Item = (u32, &'static [u8], u32)>) -> Vec<Vec<u8>> {
        let endian = Endian::Little;
        let mut bytes = Vec::new();
        for (version, (pino, name, ino)) in names.enumerate() {
            Dirent { pino, version: version as u32, ino, mctime: 1, kind: 4, name }.emit(endian, &mut bytes);
        }
        let geometry = Geometry::new(FlashKind::Nor, SIZE.into(), SIZE, 1).unwrap();
        let flash = MemFlash::with_data(geometry, bytes);
        let index = Index::open(&flash, Rules { endian, summaries: true }).unwrap();
        Tree::new(&flash, &index).walk(1).map(|step| step.path).collect()
    }

    #[test]
    fn directories_come_before_what_is_in_them() {
        let names = [(1, &b"b"[..], 2), (2, b"y", 4), (2, b"x", 3), (3, b"z", 4), (1, b"a", 4), (4, b"nothing", 9)];
        assert_eq!(walk(names.into_iter()), [&b""[..], b"a", b"b", b"b/x", b"b/x/z", b"b/y"]);
    }

    #[test]
    fn a_chain_is_followed_as_far_as_paths_go() {
        let paths = walk((1..100_000).map(|ino| (ino, &b"d"[..], ino + 1)));
        assert_eq!(paths.len(), 1 + MAX_PATH / 2 + 1);
        assert_eq!(paths.last().map(Vec::len), Some(MAX_PATH + 1));
    }

    #[test]
    fn circles_are_walked_once() {
        let names = [(1, &b"a"[..], 2), (2, b"b", 3), (3, b"self", 3), (3, b"up", 2), (3, b"root", 1)];
        assert_eq!(walk(names.into_iter()), [&b""[..], b"a", b"a/b", b"a/b/root", b"a/b/self", b"a/b/up"]);
    }
}
