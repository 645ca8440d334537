//! Makes the tree equal to another one: what an update agent does.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::io::Read;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use super::overlay::Entry;
use super::{Result, Transaction, TxError};
use crate::flash::FlashMut;
use crate::index::ROOT;
use crate::inode_kind::{Device, FileKind, Meta};
use crate::source::{Content, NodeId, SourceKind, SourceTree};
use crate::wire::MAX_NAME;

/// Bytes of a source file that are read at once.
const CHUNK: usize = 64 << 10;

/// What [`Transaction::replace_tree`] found to differ.
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
        let wanted: BTreeMap<&[u8], NodeId> = source.children(id).collect();
        for name in self.overlay.entries(&self.index, dir.ino).into_keys() {
            if !wanted.contains_key(name.as_slice()) {
                self.overlay.set(&self.index, dir.ino, &name, None);
                work.report.names_removed += 1;
            }
        }
        let mut below = Vec::new();
        for (name, child) in wanted {
            let path = [path, b"/", name].concat();
            let there = self.overlay.entry(&self.index, dir.ino, name);
            let entry = match work.placed.get(&child) {
                Some(placed) => *placed,
                None => self.place_node(work, child, there, &path)?,
            };
            if there != Some(entry) {
                self.overlay.set(&self.index, dir.ino, name, Some(entry));
            }
            if entry.kind == FileKind::Directory {
                below.push((child, entry, path));
            }
        }
        Ok(below)
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
        let kept = match there {
            Some(entry) if !work.claimed.contains(&entry.ino) && self.is_same(entry, &node.kind, path)? => Some(entry),
            _ => None,
        };
        let entry = match kept {
            Some(entry) => {
                self.place_meta(work, entry, node.meta)?;
                entry
            }
            None => {
                work.report.inodes += 1;
                work.report.written += 1;
                self.write_node(work, &node.kind, node.meta, path)?
            }
        };
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

    /// Whether an old inode has the type and contents of a source node.
    fn is_same(&self, entry: Entry, kind: &SourceKind, path: &[u8]) -> Result<bool, F> {
        // An inode that cannot be read is replaced: that is what an update is for.
        let Ok(stat) = self.old_tree().stat(entry.ino) else { return Ok(false) };
        Ok(match kind {
            SourceKind::Directory(_) => stat.kind == FileKind::Directory,
            SourceKind::File { size, content } => {
                stat.kind == FileKind::File && stat.size == *size && self.has_content(entry.ino, content, path)?
            }
            SourceKind::Symlink(target) => {
                stat.kind == FileKind::Symlink && self.old_tree().read_link(entry.ino).is_ok_and(|old| old == *target)
            }
            SourceKind::CharDevice(device) => stat.kind == FileKind::CharDevice && stat.device == Some(*device),
            SourceKind::BlockDevice(device) => stat.kind == FileKind::BlockDevice && stat.device == Some(*device),
            SourceKind::Fifo => stat.kind == FileKind::Fifo,
            SourceKind::Socket => stat.kind == FileKind::Socket,
        })
    }

    fn has_content(&self, ino: u32, content: &Content, path: &[u8]) -> Result<bool, F> {
        let mut source = content.open().map_err(|error| unreadable(path, &error))?;
        let Ok(mut file) = self.old_tree().open(ino) else { return Ok(false) };
        let (mut old, mut new) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut offset = 0;
        loop {
            let len = fill(&mut *source, &mut new).map_err(|error| unreadable(path, &error))?;
            match file.read_at(offset, &mut old) {
                Ok(there) if there == len && old[..len] == new[..len] => {}
                _ => return Ok(false),
            }
            offset += len as u32;
            if len < CHUNK {
                return Ok(true);
            }
        }
    }

    fn write_node(&mut self, work: &mut Replace<'_>, kind: &SourceKind, meta: Meta, path: &[u8]) -> Result<Entry, F> {
        let endian = self.endian();
        let (kind, data) = match kind {
            SourceKind::File { size, content } => return self.write_source_file(work, *size, content, meta, path),
            SourceKind::Directory(_) => (FileKind::Directory, Vec::new()),
            SourceKind::Symlink(target) => (FileKind::Symlink, target.clone()),
            SourceKind::CharDevice(device) => (FileKind::CharDevice, Device::encode(*device, endian)),
            SourceKind::BlockDevice(device) => (FileKind::BlockDevice, Device::encode(*device, endian)),
            SourceKind::Fifo => (FileKind::Fifo, Vec::new()),
            SourceKind::Socket => (FileKind::Socket, Vec::new()),
        };
        debug_assert!(data.len() <= MAX_NAME);
        let mode = if kind == FileKind::Symlink { 0o777 } else { meta.mode };
        let ino = self.add_inode(kind, Meta { mode, ..meta }, data)?;
        Ok(Entry { ino, kind })
    }

    fn write_source_file(
        &mut self,
        work: &mut Replace<'_>,
        size: u32,
        content: &Content,
        meta: Meta,
        path: &[u8],
    ) -> Result<Entry, F> {
        let mut source = content.open().map_err(|error| unreadable(path, &error))?;
        let mut file = self.create(meta)?;
        let mut chunk = vec![0; CHUNK];
        let mut done = 0u64;
        loop {
            let len = fill(&mut *source, &mut chunk).map_err(|error| unreadable(path, &error))?;
            done += len as u64;
            if done > u64::from(size) {
                break;
            }
            self.append(&mut file, &chunk[..len])?;
            if len < CHUNK {
                break;
            }
        }
        if done != u64::from(size) {
            let reason = format!("size changed while it was read: {size} bytes before, {done} now");
            return Err(TxError::Source { path: shown(path), reason });
        }
        self.finish(&mut file)?;
        work.report.bytes_written += done;
        Ok(Entry { ino: file.ino(), kind: FileKind::File })
    }
}

/// Reads until the buffer is full or the source ends.
fn fill(source: &mut dyn Read, buf: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match source.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn unreadable<E>(path: &[u8], error: &std::io::Error) -> TxError<E> {
    TxError::Source { path: shown(path), reason: error.to_string() }
}
