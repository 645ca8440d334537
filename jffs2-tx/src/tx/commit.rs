//! The commit: payload closed and checked, then the commit block, then the commit point.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use super::commit_block::CommitNodes;
use super::digest::PayloadDigest;
use super::overlay::{Directory, Entry};
use super::plan::{Direct, Plan, View};
use super::{CommitReport, Result, Transaction, TxError};
use crate::flash::FlashMut;
use crate::inode_kind::{FileKind, Meta};
use crate::scan::{BlockState, Rules, scan_block};
use crate::wire::{CommitPoint, Dirent, Inode, Marker, MarkerKind};

/// Versions from here on are signed in some readers.
pub(super) const MAX_VERSION: u32 = 1 << 31;

impl<F: FlashMut> Transaction<'_, F> {
    /// Makes the change visible, all of it or nothing. When this returns it is durable, and the next mount sees the
    /// new tree.
    ///
    /// # Errors
    /// [`TxError::NoSpace`], [`TxError::CommitBlockFull`], [`TxError::CommitPoint`], [`TxError::Payload`] and
    /// [`TxError::Write`]: the tree is the old one and the eraseblocks taken are free again.
    /// [`TxError::Uncertain`]: it is the old one or the new one. [`TxError::DryRun`].
    pub fn commit(mut self) -> Result<CommitReport, F> {
        if self.options.dry_run {
            return Err(TxError::DryRun);
        }
        match self.try_commit() {
            // What was written and taken back has no name: its eraseblocks are not needed.
            Ok(report) if report.commit_point.is_none() => self.release().map(|()| report),
            Ok(report) => Ok(report),
            Err(error @ TxError::Uncertain { .. }) => Err(error),
            Err(error) => {
                // The error that matters is the first one; what cannot be erased now is erased by the next begin.
                let _ = self.release();
                Err(error)
            }
        }
    }

    pub(super) fn try_commit(&mut self) -> Result<CommitReport, F> {
        if self.poisoned {
            return Err(TxError::Poisoned);
        }
        let overlay = self.overlay.clone();
        let index = Arc::clone(&self.index);
        let view = View::new(&index, &overlay);
        let Some(plan) = self.plan(&view)? else { return Ok(self.report(None, 0)) };
        let moved = self.write_moved(&view, &plan)?;
        self.writer.close_block(self.flash, &mut self.pool)?;
        let digest = if self.options.dry_run {
            PayloadDigest::new(index.geometry())
        } else {
            self.check_space()?;
            self.verify_payload()?
        };
        let nodes = self.commit_nodes(&view.direct(&plan.shadows, &plan.copies), &moved)?;
        let written = self.write_commit(plan.point, &nodes, &digest)?;
        let mut report = self.report(Some(plan.point), written.nodes);
        report.bytes_programmed += written.bytes;
        report.eraseblocks_erased += written.erased;
        report.eraseblocks_failed += written.erased - 1;
        report.directories_shadowed = plan.shadows.len() as u32;
        report.files_copied = plan.copies.len() as u32;
        Ok(report)
    }

    /// Writes everything new that has not been written yet; the new inode numbers of what moves.
    fn write_moved(&mut self, view: &View<'_>, plan: &Plan) -> Result<BTreeMap<u32, u32>, F> {
        let mut moved = BTreeMap::new();
        for dir in &plan.shadows {
            let ino = self.overlay.allocate().ok_or(TxError::Exhausted { what: "inode numbers" })?;
            moved.insert(*dir, ino);
        }
        for file in &plan.copies {
            let meta = self.stat_inode(Entry { ino: *file, kind: FileKind::File })?.meta;
            let ino = self.copy_file(*file, meta)?;
            self.write_pending(ino)?;
            moved.insert(*file, ino);
        }
        for dir in &view.directories {
            for entry in dir.entries.values() {
                if view.moves_with(entry.ino, &plan.shadows) {
                    let ino = self.copy_special(*entry)?;
                    moved.insert(entry.ino, ino);
                }
                self.write_pending(moved.get(&entry.ino).copied().unwrap_or(entry.ino))?;
            }
        }
        for dir in &view.directories {
            if let Some(ino) = moved.get(&dir.ino).copied().or(self.overlay.is_new(dir.ino).then_some(dir.ino)) {
                self.write_moved_directory(dir, ino, &moved)?;
            }
        }
        Ok(moved)
    }

    fn write_moved_directory(&mut self, dir: &Directory, ino: u32, moved: &BTreeMap<u32, u32>) -> Result<(), F> {
        let meta = self.stat_inode(Entry { ino: dir.ino, kind: FileKind::Directory })?.meta;
        let entries = dir.entries.iter().map(|(name, entry)| (name.clone(), follow(*entry, moved))).collect();
        self.write_directory(ino, meta, &entries)
    }

    /// A new inode like an old symlink, device, pipe or socket.
    fn copy_special(&mut self, entry: Entry) -> Result<u32, F> {
        let stat = self.stat_inode(entry)?;
        let data = self.special_data(entry.ino, stat.kind)?;
        self.add_inode(stat.kind, stat.meta, data)
    }

    fn special_data(&self, ino: u32, kind: FileKind) -> Result<Vec<u8>, F> {
        let tree = self.old_tree();
        Ok(match kind {
            FileKind::Symlink => tree.read_link(ino)?,
            FileKind::CharDevice | FileKind::BlockDevice => {
                tree.stat(ino)?.device.map_or_else(Vec::new, |device| device.encode(self.endian()))
            }
            _ => Vec::new(),
        })
    }

    /// Fails if the payload did not all find room, or the commit block would not.
    fn check_space(&self) -> Result<(), F> {
        let missing = self.writer.missing() + u32::from(self.commit_block.is_none());
        if missing == 0 {
            return Ok(());
        }
        Err(TxError::NoSpace {
            needed: self.writer.blocks().len() as u32 + 1,
            free: self.free_at_begin,
            reserve: self.pool.reserve(),
        })
    }

    /// Reads the whole payload back: every node must be there, good, and visible to a stock reader.
    fn verify_payload(&mut self) -> Result<PayloadDigest, F> {
        let geometry = *self.index.geometry();
        let rules = Rules { endian: self.endian(), summaries: true };
        let mut digest = PayloadDigest::new(&geometry);
        for written in self.writer.blocks() {
            let Some(block) = written.block else { continue };
            let bytes = digest.add(&*self.flash, block, written.used)?;
            let found = scan_block(&geometry, rules, block, &bytes, false);
            let nodes = found.inodes.len() + found.dirents.len() + found.markers.len();
            if found.damage_count != 0 || found.state != BlockState::Used || nodes != written.nodes as usize {
                return Err(TxError::Payload { offset: geometry.offset_of(block) });
            }
            digest.nodes += written.nodes;
        }
        Ok(digest)
    }

    /// The nodes that make the change visible, versions and all.
    fn commit_nodes(&self, direct: &[Direct], moved: &BTreeMap<u32, u32>) -> Result<CommitNodes, F> {
        let mut nodes = CommitNodes::new(self.endian());
        let mut versions: BTreeMap<u32, u32> = BTreeMap::new();
        let mut next = |ino: u32| {
            let version = versions.entry(ino).or_insert_with(|| self.index.max_version(ino));
            *version = version.saturating_add(1);
            // Two more are kept for a sealing dirent.
            (*version < MAX_VERSION - 2).then_some(*version).ok_or(TxError::Exhausted { what: "version numbers" })
        };
        for node in direct {
            match node {
                Direct::Name { dir, name, entry } => {
                    let target = entry.map(|entry| follow(entry, moved));
                    nodes.push_dirent(&Dirent {
                        pino: *dir,
                        version: next(*dir)?,
                        ino: target.map_or(0, |entry| entry.ino),
                        mctime: self.stat_inode(Entry { ino: *dir, kind: FileKind::Directory })?.meta.mtime,
                        kind: target.map_or(0, |entry| entry.kind.dirent_type()),
                        name,
                    });
                }
                Direct::Meta { ino, .. } => {
                    let (fields, data) = self.metadata_node(*ino, next(*ino)?)?;
                    nodes.push_inode(&fields, &data);
                }
            }
        }
        Ok(nodes)
    }

    /// A node with new metadata of an old inode.
    fn metadata_node(&self, ino: u32, version: u32) -> Result<(Inode, Vec<u8>), F> {
        let stat = match self.index.latest(ino) {
            Some(_) => self.old_tree().stat(ino)?,
            None => self.stat_inode(Entry { ino, kind: FileKind::Directory })?,
        };
        let meta: Meta = self.overlay.metas.get(&ino).copied().unwrap_or(stat.meta);
        let data = self.special_data(ino, stat.kind)?;
        let fields = Inode {
            isize: stat.size,
            atime: stat.atime,
            dsize: data.len() as u32,
            ..super::payload::inode_fields(ino, version, stat.kind, meta)
        };
        Ok((fields, data))
    }

    /// The commit marker for a commit block.
    pub(super) fn commit_marker(&self, point: CommitPoint, block: u32, digest: &PayloadDigest, body: &[u8]) -> Marker {
        Marker {
            kind: MarkerKind::Commit,
            commit_point: Some(point),
            sequence: self.sequence,
            txid: self.options.txid,
            commit_block: block,
            nodes: digest.nodes,
            bytes: digest.bytes,
            time: self.options.time,
            digest: digest.finish(body),
            label: self.options.label.clone(),
        }
    }

    fn report(&self, commit_point: Option<CommitPoint>, commit_nodes: u32) -> CommitReport {
        let payload: u32 = self.writer.blocks().iter().map(|written| written.nodes).sum();
        let taken = self.writer.blocks().len() as u32 + u32::from(commit_point.is_some());
        CommitReport {
            commit_point,
            sequence: self.sequence,
            bytes_programmed: self.writer.programmed(),
            nodes: payload + commit_nodes,
            eraseblocks_taken: taken,
            eraseblocks_erased: self.begin_erased + self.writer.erased(),
            eraseblocks_failed: self.writer.failed().len() as u32,
            directories_shadowed: 0,
            files_copied: 0,
            eraseblocks_free: self.pool.len() + u32::from(commit_point.is_none() && self.commit_block.is_some()),
        }
    }
}

fn follow(entry: Entry, moved: &BTreeMap<u32, u32>) -> Entry {
    Entry { ino: moved.get(&entry.ino).copied().unwrap_or(entry.ino), kind: entry.kind }
}
