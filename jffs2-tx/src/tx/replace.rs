//! Makes the tree equal to another one: what an update agent does.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

#[cfg(doc)]
use super::TxError;
use super::contents::{Contents, unreadable};
use super::overlay::Entry;
use super::{Result, Transaction};
use crate::flash::FlashMut;
use crate::index::ROOT;
use crate::inode_kind::{FileKind, Meta};
use crate::source::{NodeId, SourceKind, SourceTree};
use crate::wire::MAX_NAME;

/// What [`Transaction::replace_tree`] or [`Stream`](super::Stream) found to differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplaceReport {
    /// Inodes of the new tree.
    pub inodes: u32,
    /// Inodes that are new or have new contents.
    pub written: u32,
    /// Inodes of which only metadata changes.
    pub metadata_changed: u32,
    /// Names that go away, not counting what is below them.
    pub names_removed: u32,
    /// Bytes of file contents that are written, before compression.
    pub bytes_written: u64,
}

struct Replace<'s> {
    source: &'s SourceTree,
    /// Inodes that source nodes became.
    placed: BTreeMap<NodeId, Entry>,
    /// Old inodes that a source node has taken.
    claimed: BTreeSet<u32>,
    report: ReplaceReport,
}

impl<F: FlashMut> Transaction<'_, F> {
    /// Makes the tree equal to `source` in names, types, contents, permissions, owners, modification times, links and
    /// device numbers. What is equal already is not written. Extended attributes are not compared and not written.
    /// `progress` is called with the number of source inodes done, and of all.
    ///
    /// # Errors
    /// [`TxError::Source`] if a file cannot be read or changes while it is, [`TxError::Read`], [`TxError::Write`].
    pub fn replace_tree(
        &mut self,
        source: &SourceTree,
        progress: &mut dyn FnMut(u32, u32),
    ) -> Result<ReplaceReport, F> {
        let mut work =
            Replace { source, placed: BTreeMap::new(), claimed: BTreeSet::new(), report: ReplaceReport::default() };
        let root = Entry { ino: ROOT, kind: FileKind::Directory };
        let all = source.nodes().len() as u32;
        self.place_meta(&mut work, root, source.node(0).meta)?;
        let mut pending = vec![(0, root, Vec::new())];
        while let Some((id, dir, path)) = pending.pop() {
            pending.extend(self.replace_directory(&mut work, id, dir, &path)?);
            progress(work.report.inodes, all);
        }
        Ok(work.report)
    }

    /// Makes one directory equal; the directories in it are still to do.
    fn replace_directory(
        &mut self,
        work: &mut Replace<'_>,
        id: NodeId,
        dir: Entry,
        path: &[u8],
    ) -> Result<Vec<(NodeId, Entry, Vec<u8>)>, F> {
        let source = work.source;
        let mut names = BTreeMap::new();
        let mut below = Vec::new();
        for (name, child) in source.children(id) {
            let path = [path, b"/", name].concat();
            let there = self.overlay.entry(&self.index, dir.ino, name);
            let entry = match work.placed.get(&child) {
                Some(placed) => *placed,
                None => self.place_node(work, child, there, &path)?,
            };
            names.insert(name, entry);
            if entry.kind == FileKind::Directory {
                below.push((child, entry, path));
            }
        }
        work.report.names_removed += self.set_names(dir.ino, &names);
        Ok(below)
    }

    /// Gives a directory these names and no others; how many go away.
    pub(super) fn set_names<N: Borrow<[u8]> + Ord>(&mut self, dir: u32, names: &BTreeMap<N, Entry>) -> u32 {
        let there = self.overlay.entries(&self.index, dir);
        for (name, entry) in names.iter().filter(|(name, entry)| there.get((*name).borrow()) != Some(*entry)) {
            self.overlay.set(&self.index, dir, name.borrow(), Some(*entry));
        }
        let mut removed = 0;
        for name in there.keys().filter(|name| !names.contains_key(name.as_slice())) {
            self.overlay.set(&self.index, dir, name, None);
            removed += 1;
        }
        removed
    }

    /// The inode for a source node: the old one of its name if that will do, otherwise a new one.
    fn place_node(
        &mut self,
        work: &mut Replace<'_>,
        id: NodeId,
        there: Option<Entry>,
        path: &[u8],
    ) -> Result<Entry, F> {
        let node = work.source.node(id);
        let old = there.filter(|old| !work.claimed.contains(&old.ino));
        let entry = match &node.kind {
            SourceKind::File { size, content } => {
                let mut source = content.open().map_err(|error| unreadable(path, &error))?;
                self.place_contents(old, node.meta, Contents { size: *size, source: &mut *source, path })?
            }
            kind => match old {
                Some(old) if self.is_same(old, kind) => old,
                _ => self.write_special(kind, node.meta)?,
            },
        };
        if Some(entry) == old {
            self.place_meta(work, entry, node.meta)?;
        } else {
            work.report.inodes += 1;
            work.report.written += 1;
            work.report.bytes_written += size_of(&node.kind);
        }
        work.claimed.insert(entry.ino);
        work.placed.insert(id, entry);
        Ok(entry)
    }

    fn place_meta(&mut self, work: &mut Replace<'_>, entry: Entry, meta: Meta) -> Result<(), F> {
        self.set_inode_meta(entry, meta)?;
        work.report.inodes += 1;
        work.report.metadata_changed += u32::from(self.overlay.metas.contains_key(&entry.ino));
        Ok(())
    }

    /// Whether an old inode has the type of a source node that is no file, and what that holds.
    pub(super) fn is_same(&self, entry: Entry, kind: &SourceKind) -> bool {
        // An inode that cannot be read is replaced: that is what an update is for.
        let Ok(stat) = self.old_tree().stat(entry.ino) else { return false };
        stat.kind == kind.file_kind()
            && match kind {
                SourceKind::File { .. } => false,
                SourceKind::Symlink(target) => self.old_tree().read_link(entry.ino).is_ok_and(|old| old == *target),
                SourceKind::CharDevice(device) | SourceKind::BlockDevice(device) => stat.device == Some(*device),
                SourceKind::Directory(_) | SourceKind::Fifo | SourceKind::Socket => true,
            }
    }

    /// A new inode for anything but a file.
    pub(super) fn write_special(&mut self, kind: &SourceKind, meta: Meta) -> Result<Entry, F> {
        let data = match kind {
            SourceKind::Symlink(target) => target.clone(),
            SourceKind::CharDevice(device) | SourceKind::BlockDevice(device) => device.encode(self.endian()),
            SourceKind::File { .. } | SourceKind::Directory(_) | SourceKind::Fifo | SourceKind::Socket => Vec::new(),
        };
        debug_assert!(data.len() <= MAX_NAME);
        let kind = kind.file_kind();
        let mode = if kind == FileKind::Symlink { 0o777 } else { meta.mode };
        let ino = self.add_inode(kind, Meta { mode, ..meta }, data)?;
        Ok(Entry { ino, kind })
    }
}

/// Bytes of a file's contents; 0 for anything else.
fn size_of(kind: &SourceKind) -> u64 {
    if let SourceKind::File { size, .. } = kind { u64::from(*size) } else { 0 }
}
