//! Nodes of new inodes, into payload blocks: file data, special files, directories.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use super::overlay::{Entry, NewNode};
use super::{NewFile, Result, Transaction, TxError};
use crate::codec::Encode;
use crate::flash::FlashMut;
use crate::inode_kind::{FileKind, Meta};
use crate::log::{NodeAddress, TAIL};
use crate::wire::{Compression, Dirent, INODE_SIZE, Inode, MARKER_SIZE, MAX_LABEL, Marker, MarkerKind};

/// A piece of a file smaller than this is not split off to fill an eraseblock up.
const SPLIT_MIN: usize = 128;
/// Bytes of an old file that are read at once to copy it.
const COPY_CHUNK: usize = 64 << 10;

/// An inode node's fields for an inode of which this is the only metadata.
pub(super) fn inode_fields(ino: u32, version: u32, kind: FileKind, meta: Meta) -> Inode {
    Inode {
        ino,
        version,
        mode: kind.mode_bits() | meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        isize: 0,
        // Times of use and of change are the modification time: the host's would differ from build to build.
        atime: meta.mtime,
        mtime: meta.mtime,
        ctime: meta.mtime,
        offset: 0,
        csize: 0,
        dsize: 0,
        compression: Compression::None,
        data_crc: 0,
    }
}

impl<F: FlashMut> Transaction<'_, F> {
    /// Writes data of a new file, at most a page of it; more than one node where an eraseblock ends.
    pub(super) fn write_data(&mut self, ino: u32, meta: Meta, mut offset: u32, mut data: &[u8]) -> Result<(), F> {
        while !data.is_empty() {
            let len = self.write_piece(ino, meta, offset, data)?;
            offset += len as u32;
            data = &data[len..];
        }
        Ok(())
    }

    /// Writes as much of `data` as fits the open eraseblock, or all of it to the next; the number of bytes.
    fn write_piece(&mut self, ino: u32, meta: Meta, offset: u32, data: &[u8]) -> Result<usize, F> {
        let mut encoder = self.encoder.take().unwrap_or_default();
        let here = self.writer.room().saturating_sub(INODE_SIZE) & !3;
        let room = if here < SPLIT_MIN { self.fresh_room() } else { here };
        let (compression, stored) = encoder.encode(data).unwrap_or((Compression::None, data));
        let outcome = if stored.len() <= room {
            self.emit_data(ino, meta, offset, data.len(), compression, stored).map(|()| data.len())
        } else {
            let part = &data[..room.min(data.len())];
            let (compression, stored) = encoder.encode(part).unwrap_or((Compression::None, part));
            self.emit_data(ino, meta, offset, part.len(), compression, stored).map(|()| part.len())
        };
        self.encoder = Some(encoder);
        outcome
    }

    /// Bytes of data that a node can have in a payload block of its own.
    fn fresh_room(&self) -> usize {
        let geometry = self.index.geometry();
        let taken = TAIL as usize + MARKER_SIZE + MAX_LABEL + INODE_SIZE;
        geometry.eraseblock() as usize - taken
    }

    fn emit_data(
        &mut self,
        ino: u32,
        meta: Meta,
        offset: u32,
        dsize: usize,
        compression: Compression,
        stored: &[u8],
    ) -> Result<(), F> {
        let dsize = dsize as u32;
        let version = self.overlay.new.get(&ino).map_or(0, |inode| inode.version) + 1;
        let fields = Inode {
            isize: offset.saturating_add(dsize),
            offset,
            dsize,
            compression,
            ..inode_fields(ino, version, FileKind::File, meta)
        };
        let address = self.write_inode(&fields, stored)?;
        self.note_node(ino, NewNode { offset, dsize, csize: stored.len() as u32, address }, meta);
        Ok(())
    }

    /// Writes a range of zeros as one node without data.
    pub(super) fn write_hole(&mut self, ino: u32, meta: Meta, start: u32, end: u32) -> Result<(), F> {
        self.emit_data(ino, meta, start, (end - start) as usize, Compression::Zero, &[])
    }

    /// Writes the nodes that a new inode still lacks: all of a special file, the one node of an empty file, metadata
    /// that was changed after the data.
    pub(super) fn write_pending(&mut self, ino: u32) -> Result<(), F> {
        let Some(inode) = self.overlay.new.get(&ino) else { return Ok(()) };
        if inode.kind == FileKind::Directory || inode.written == Some(inode.meta) {
            return Ok(());
        }
        let (kind, meta, data) = (inode.kind, inode.meta, inode.data.clone());
        let fields = Inode {
            isize: match kind {
                FileKind::File => inode.size,
                FileKind::Symlink => data.len() as u32,
                // A device has data, but no size: Linux writes 0 and shows what it finds.
                _ => 0,
            },
            dsize: data.len() as u32,
            ..inode_fields(ino, inode.version + 1, kind, meta)
        };
        self.write_inode(&fields, &data)?;
        if let Some(inode) = self.overlay.new.get_mut(&ino) {
            inode.version += 1;
            inode.written = Some(meta);
        }
        Ok(())
    }

    /// Writes a directory whole: its names, then its inode node, whose version is the highest so that its time counts.
    pub(super) fn write_directory(
        &mut self,
        ino: u32,
        meta: Meta,
        entries: &BTreeMap<Vec<u8>, Entry>,
    ) -> Result<(), F> {
        let mut version = 0;
        for (name, entry) in entries {
            version += 1;
            let kind = entry.kind.dirent_type();
            let dirent = Dirent { pino: ino, version, ino: entry.ino, mctime: meta.mtime, kind, name };
            let mut node = Vec::new();
            dirent.emit(self.endian(), &mut node);
            self.append_node(&node)?;
        }
        self.write_inode(&inode_fields(ino, version + 1, FileKind::Directory, meta), &[])?;
        Ok(())
    }

    /// A new inode with the contents of an old file.
    pub(super) fn copy_file(&mut self, old: u32, meta: Meta) -> Result<u32, F> {
        let size = self.old_tree().open(old)?.size();
        let mut copy = self.create(meta)?;
        self.copy_start(old, size, &mut copy)?;
        self.finish(&mut copy)?;
        Ok(copy.ino())
    }

    /// Appends the first `len` bytes of an old file.
    pub(super) fn copy_start(&mut self, old: u32, len: u32, copy: &mut NewFile) -> Result<(), F> {
        let mut extents = None;
        let mut chunk = vec![0; COPY_CHUNK];
        let mut offset = 0;
        while offset < len {
            let wanted = chunk.len().min((len - offset) as usize);
            let mut file = match extents.take() {
                None => self.old_tree().open(old)?,
                Some(known) => self.old_tree().open_again(old, known),
            };
            let read = file.read_at(offset, &mut chunk[..wanted])?;
            extents = Some(file.into_extents());
            self.append(copy, &chunk[..read])?;
            offset += read as u32;
            if read < wanted {
                break;
            }
        }
        Ok(())
    }

    fn write_inode(&mut self, fields: &Inode, stored: &[u8]) -> Result<NodeAddress, F> {
        let mut node = Vec::with_capacity(Inode::flash_size(stored.len()));
        fields.emit(self.endian(), &mut node, stored);
        self.append_node(&node)
    }

    /// Appends a node, in a new payload block if the open one has no room.
    fn append_node(&mut self, node: &[u8]) -> Result<NodeAddress, F> {
        if self.poisoned {
            return Err(TxError::Poisoned);
        }
        let outcome = self.append_to_payload(node);
        self.poisoned = outcome.is_err();
        outcome
    }

    fn append_to_payload(&mut self, node: &[u8]) -> Result<NodeAddress, F> {
        if self.writer.room() < node.len() {
            let endian = self.endian();
            let begin = Marker {
                kind: MarkerKind::Begin,
                commit_point: None,
                sequence: self.sequence,
                txid: self.options.txid,
                commit_block: u32::MAX,
                nodes: 0,
                bytes: 0,
                time: self.options.time,
                digest: [0; 32],
                label: self.options.label.clone(),
            };
            self.writer.open_block(self.flash, &mut self.pool, |ordinal, out| {
                Marker { nodes: ordinal, ..begin }.emit(endian, out);
            })?;
        }
        Ok(self.writer.append(self.flash, &mut self.pool, node)?)
    }
}
