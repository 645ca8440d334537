//! Makes the tree equal to one that comes as a stream, such as a tar archive: entry after entry, in any order. Nothing of it
//! is kept but its names.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::io::Read;
use std::vec::Vec;

#[cfg(doc)]
use super::TxError;
use super::contents::{Contents, unreadable};
use super::overlay::{Entry, Overlay};
use super::{ReplaceReport, Result, Transaction};
use crate::check::MAX_PATH;
use crate::flash::FlashMut;
use crate::index::ROOT;
use crate::inode_kind::{FileKind, Meta};
use crate::source::{Refusal, SourceKind, SourceNode, check_name, check_node, printable};
use crate::tree::components;

/// What a directory has that no entry was about.
const IMPLIED: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

/// A new tree that comes entry by entry, from [`Transaction::replace_stream`].
///
/// - Paths are bytes. Slashes in front, behind and doubled are ignored, and `.`; `..` is refused.
/// - A directory may come before what is in it, after it, or not at all: then root owns it, its mode is 0755 and its time
///   0. A root that does not come keeps what it has.
/// - Of entries with one path the last one counts, as if what came before had been removed first. A directory that has
///   names by then stays a directory, or the entry is refused.
/// - Nothing is put below a symlink.
///
/// After an error, or dropped before [`Stream::finish`], the transaction can only be aborted.
#[derive(Debug)]
pub struct Stream<'t, 'f, F: FlashMut> {
    tx: &'t mut Transaction<'f, F>,
    /// The new tree: what came, by directory.
    names: BTreeMap<u32, BTreeMap<Box<[u8]>, Entry>>,
    /// Inodes of the new tree, and the names that each has.
    links: BTreeMap<u32, u32>,
    bytes_written: u64,
    finished: bool,
}

impl<'f, F: FlashMut> Transaction<'f, F> {
    /// Makes the tree equal to one that comes entry by entry, in all that [`Transaction::replace_tree`] compares. File
    /// contents are read once: they are not written as long as they are those of the old file of that path.
    pub fn replace_stream(&mut self) -> Stream<'_, 'f, F> {
        let names = BTreeMap::from([(ROOT, BTreeMap::new())]);
        Stream { tx: self, names, links: BTreeMap::from([(ROOT, 1)]), bytes_written: 0, finished: false }
    }
}

impl<F: FlashMut> Stream<'_, '_, F> {
    /// Anything but a hard link. A directory comes without names; a file's content is read at once.
    ///
    /// # Errors
    /// [`TxError::Source`] if the format cannot hold it, it is in the way of what came before, or its content cannot be
    /// read; [`TxError::Write`], [`TxError::Read`].
    pub fn node(&mut self, path: &[u8], node: SourceNode) -> Result<(), F> {
        check_node(&node).map_err(|reason| reason.at(path))?;
        match node.kind {
            SourceKind::Directory(_) => self.directory(path, node.meta),
            SourceKind::File { size, content } => {
                let mut source = content.open().map_err(|error| unreadable(path, &error))?;
                self.file(path, node.meta, size.into(), &mut *source)
            }
            kind => self.special(path, node.meta, &kind),
        }
    }

    /// A regular file of `size` bytes, which `content` gives; all of them are read.
    ///
    /// # Errors
    /// As [`Stream::node`]; and [`TxError::Source`] if `content` gives fewer bytes, or more.
    pub fn file(&mut self, path: &[u8], meta: Meta, size: u64, content: &mut dyn Read) -> Result<(), F> {
        let size = u32::try_from(size).map_err(|_| Refusal::FileSize(size).at(path))?;
        if meta.mode > 0o7777 {
            return Err(Refusal::Mode(meta.mode).at(path).into());
        }
        let (dir, name) = self.place(path)?;
        let old = self.vacate(dir, &name, path)?;
        let entry = self.tx.place_contents(old, meta, Contents { size, source: content, path })?;
        if Some(entry) == old {
            self.tx.set_inode_meta(entry, meta)?;
        } else {
            self.bytes_written += u64::from(size);
        }
        self.set(dir, name, entry);
        Ok(())
    }

    /// One more name for what has come at the path `target`, which is no directory.
    ///
    /// # Errors
    /// [`TxError::Source`] if nothing has come there, or a directory has; otherwise as [`Stream::node`].
    pub fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), F> {
        let missing = || Refusal::LinkTarget(printable(target)).at(path);
        let entry = self.find(target).filter(|entry| entry.kind != FileKind::Directory).ok_or_else(missing)?;
        let (dir, name) = self.place(path)?;
        if self.names[&dir].get(&name) != Some(&entry) {
            self.vacate(dir, &name, path)?;
            self.set(dir, name, entry);
        }
        Ok(())
    }

    /// The whole tree has come: names that have not come go away. What is equal already is not written.
    ///
    /// # Errors
    /// None so far.
    pub fn finish(mut self) -> Result<ReplaceReport, F> {
        let mut report = ReplaceReport { bytes_written: self.bytes_written, ..ReplaceReport::default() };
        for (dir, names) in &self.names {
            report.names_removed += self.tx.set_names(*dir, names);
        }
        let overlay = &self.tx.overlay;
        report.inodes = self.links.len() as u32;
        report.written = self.links.keys().filter(|ino| overlay.is_new(**ino)).count() as u32;
        report.metadata_changed = self.links.keys().filter(|ino| overlay.metas.contains_key(ino)).count() as u32;
        self.finished = true;
        Ok(report)
    }

    fn directory(&mut self, path: &[u8], meta: Meta) -> Result<(), F> {
        if components(path).next().is_none() {
            return self.tx.set_inode_meta(Entry { ino: ROOT, kind: FileKind::Directory }, meta);
        }
        let (dir, name) = self.place(path)?;
        match self.names[&dir].get(&name) {
            Some(there) if there.kind == FileKind::Directory => self.tx.set_inode_meta(*there, meta),
            _ => self.put(dir, name, meta, &SourceKind::Directory(BTreeMap::new()), path).map(drop),
        }
    }

    fn special(&mut self, path: &[u8], meta: Meta, kind: &SourceKind) -> Result<(), F> {
        let (dir, name) = self.place(path)?;
        self.put(dir, name, meta, kind, path).map(drop)
    }

    /// Anything but a regular file, in place of what came under the name: the old inode of the name if that will do.
    fn put(&mut self, dir: u32, name: Box<[u8]>, meta: Meta, kind: &SourceKind, path: &[u8]) -> Result<Entry, F> {
        let old = self.vacate(dir, &name, path)?;
        let entry = match old {
            Some(old) if self.tx.is_same(old, kind) => {
                self.tx.set_inode_meta(old, meta)?;
                old
            }
            _ => self.tx.write_special(kind, meta)?,
        };
        self.set(dir, name, entry);
        Ok(entry)
    }

    fn set(&mut self, dir: u32, name: Box<[u8]>, entry: Entry) {
        if entry.kind == FileKind::Directory {
            self.names.insert(entry.ino, BTreeMap::new());
        }
        *self.links.entry(entry.ino).or_default() += 1;
        self.names.entry(dir).or_default().insert(name, entry);
    }

    /// Takes back what came under a name; the old tree's entry of the name, unless the new tree has that inode already.
    fn vacate(&mut self, dir: u32, name: &[u8], path: &[u8]) -> Result<Option<Entry>, F> {
        if let Some(there) = self.names[&dir].get(name).copied() {
            if self.names.get(&there.ino).is_some_and(|names| !names.is_empty()) {
                return Err(Refusal::Occupied.at(path).into());
            }
            self.names.entry(dir).or_default().remove(name);
            self.unlink(there);
        }
        let old = Overlay::old_entry(&self.tx.index, dir, name);
        Ok(old.filter(|old| !self.links.contains_key(&old.ino)))
    }

    fn unlink(&mut self, entry: Entry) {
        if let Some(links) = self.links.get_mut(&entry.ino) {
            *links -= 1;
            if *links > 0 {
                return;
            }
        }
        self.links.remove(&entry.ino);
        self.names.remove(&entry.ino);
        self.tx.overlay.forget(entry.ino);
    }

    /// What has come at a path.
    fn find(&self, path: &[u8]) -> Option<Entry> {
        let root = Entry { ino: ROOT, kind: FileKind::Directory };
        components(path).try_fold(root, |at, name| self.names.get(&at.ino)?.get(name).copied())
    }

    /// The directory and the last name of a path. Directories that have not come are made.
    fn place(&mut self, path: &[u8]) -> Result<(u32, Box<[u8]>), F> {
        if path.len() > MAX_PATH {
            return Err(Refusal::PathLength(path.len()).at(path).into());
        }
        let names: Vec<&[u8]> = components(path).collect();
        names.iter().try_for_each(|name| check_name(name)).map_err(|reason| reason.at(path))?;
        // The root is a directory, and stays one.
        let (last, above) = names.split_last().ok_or_else(|| Refusal::NotADirectory.at(b"/"))?;
        let mut dir = ROOT;
        for (depth, name) in above.iter().enumerate() {
            let entry = match self.names[&dir].get(*name) {
                Some(there) => *there,
                None => self.put(dir, (*name).into(), IMPLIED, &SourceKind::Directory(BTreeMap::new()), path)?,
            };
            if entry.kind != FileKind::Directory {
                return Err(Refusal::NotADirectory.at(&above[..=depth].join(&b'/')).into());
            }
            dir = entry.ino;
        }
        Ok((dir, (*last).into()))
    }
}

impl<F: FlashMut> Drop for Stream<'_, '_, F> {
    fn drop(&mut self) {
        // Half a tree must not be committed.
        self.tx.poisoned |= !self.finished;
    }
}
