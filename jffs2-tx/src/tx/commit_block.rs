//! The commit block: what makes a transaction visible, and the instant at which it does (`FORMAT.md` section 6).

use alloc::{vec, vec::Vec};

use super::digest::PayloadDigest;
use super::{Result, Transaction, TxError};
use crate::flash::{FlashKind, FlashMut, Geometry};
use crate::log::{MAX_FAILED, WriteError, erase, is_lasting, program, sync};
use crate::scan::{Place, Places};
use crate::wire::{
    CommitPoint, Dirent, Endian, HEAD_COPY_OFFSETS, HEAD_SIZE, HEADER_SIZE, INODE_SIZE, Inode, SUMMARY_MAGIC, Summary,
    SummaryEntry, emit_padding, nodetype,
};

/// Nodes of a commit block's body, and their summary entries.
#[derive(Debug)]
pub(super) struct CommitNodes {
    endian: Endian,
    pub(super) bytes: Vec<u8>,
    listed: Vec<Listed>,
}

/// What a summary says of a node; offsets from the start of the body.
#[derive(Debug)]
enum Listed {
    Dirent { offset: u32, totlen: u32, pino: u32, version: u32, ino: u32, kind: u8, name: Vec<u8> },
    Inode { offset: u32, totlen: u32, ino: u32, version: u32 },
}

/// What writing a commit block took.
#[derive(Debug, Default)]
pub(super) struct CommitWritten {
    pub nodes: u32,
    pub bytes: u64,
    pub erased: u32,
}

impl CommitNodes {
    pub(super) fn new(endian: Endian) -> Self {
        Self { endian, bytes: Vec::new(), listed: Vec::new() }
    }

    pub(super) fn push_dirent(&mut self, dirent: &Dirent<'_>) {
        let offset = self.bytes.len() as u32;
        dirent.emit(self.endian, &mut self.bytes);
        let &Dirent { pino, version, ino, kind, name, .. } = dirent;
        let totlen = (crate::wire::DIRENT_SIZE + name.len()) as u32;
        self.listed.push(Listed::Dirent { offset, totlen, pino, version, ino, kind, name: name.to_vec() });
    }

    pub(super) fn push_inode(&mut self, fields: &Inode, data: &[u8]) {
        let offset = self.bytes.len() as u32;
        fields.emit(self.endian, &mut self.bytes, data);
        let totlen = (crate::wire::INODE_SIZE + data.len()) as u32;
        self.listed.push(Listed::Inode { offset, totlen, ino: fields.ino, version: fields.version });
    }

    /// The nodes that stand in `body`, end to end.
    pub(super) fn of_body(endian: Endian, body: &[u8]) -> Self {
        let mut nodes = Self::new(endian);
        for place in Places::new(endian, body, 0) {
            let Place::Node { header, bytes, .. } = place else { continue };
            match header.nodetype {
                nodetype::DIRENT => {
                    if let Ok(dirent) = Dirent::parse(endian, bytes) {
                        nodes.push_dirent(&dirent);
                    }
                }
                nodetype::INODE => {
                    if let Ok(inode) = Inode::parse(endian, bytes) {
                        nodes.push_inode(&inode, &bytes[INODE_SIZE..]);
                    }
                }
                _ => {}
            }
        }
        nodes
    }

    pub(super) fn summary(&self, body_start: u32) -> Summary<'_> {
        let entry = |listed: &'_ Listed| match *listed {
            Listed::Dirent { offset, totlen, pino, version, ino, kind, .. } => {
                SummaryEntry::Dirent { totlen, offset: body_start + offset, pino, version, ino, kind, name: &[] }
            }
            Listed::Inode { offset, totlen, ino, version } => {
                SummaryEntry::Inode { ino, version, offset: body_start + offset, totlen }
            }
        };
        let named = |listed| match (entry(listed), listed) {
            (SummaryEntry::Dirent { totlen, offset, pino, version, ino, kind, .. }, Listed::Dirent { name, .. }) => {
                SummaryEntry::Dirent { totlen, offset, pino, version, ino, kind, name }
            }
            (other, _) => other,
        };
        Summary { cleanmarker: 0, padded: 0, entries: self.listed.iter().map(named).collect() }
    }

    /// The one dirent of a *dirent* commit, with a version one higher.
    pub(super) fn sealing_dirent(&self) -> Option<Vec<u8>> {
        let dirent = Dirent::parse(self.endian, &self.bytes).ok()?;
        let mut out = Vec::new();
        Dirent { version: dirent.version + 1, ..dirent }.emit(self.endian, &mut out);
        Some(out)
    }
}

/// Where the body of a commit block starts, bytes from the start of the eraseblock.
pub(super) fn body_start(geometry: &Geometry, point: Option<CommitPoint>) -> u32 {
    match point {
        Some(CommitPoint::Head | CommitPoint::Summary) => geometry.blank_head(),
        _ => 0,
    }
}

impl<F: FlashMut> Transaction<'_, F> {
    /// Writes the commit block and commits. If an eraseblock fails, another one gets the same: were both visible,
    /// they would say the same.
    pub(super) fn write_commit(
        &mut self,
        point: CommitPoint,
        nodes: &CommitNodes,
        digest: &PayloadDigest,
    ) -> Result<CommitWritten, F> {
        let mut written = CommitWritten::default();
        // A dry run goes on where there is no room, to tell how much there would have to be.
        let mut next = self.commit_block.or(self.options.dry_run.then_some(0));
        let mut failure: Option<(u32, WriteError<F::Error>, bool)> = None;
        let mut failed = Vec::new();
        while failed.len() < MAX_FAILED
            && let Some(block) = next
        {
            written.erased += 1;
            let mut reached = false;
            match self.try_commit_block(point, block, nodes, digest, &mut written, &mut reached) {
                Ok(()) => {
                    self.commit_block = None;
                    // Of two blocks that say the same the one at the higher offset would count: let it be the good one.
                    for block in failed.into_iter().filter(|_| self.index.geometry().kind() == FlashKind::Nor) {
                        let _ = erase(self.flash, block);
                    }
                    return Ok(written);
                }
                Err(error) => {
                    let uncertain = reached || failure.as_ref().is_some_and(|failed| failed.2);
                    let lasting = is_lasting(self.flash, &error);
                    failure = Some((block, error, uncertain));
                    if lasting {
                        break;
                    }
                    let _ = self.flash.mark_bad(block);
                    failed.push(block);
                    next = self.pool.take_highest();
                }
            }
        }
        match failure {
            Some((block, error, true)) => {
                Err(TxError::Uncertain { offset: self.index.geometry().offset_of(block), error })
            }
            Some((_, error, false)) => Err(error.into()),
            None => Err(TxError::NoSpace { needed: 1, free: self.free_at_begin, reserve: self.pool.reserve() }),
        }
    }

    /// One attempt. `reached` is set when the commit point itself is about to be programmed.
    fn try_commit_block(
        &mut self,
        point: CommitPoint,
        block: u32,
        nodes: &CommitNodes,
        digest: &PayloadDigest,
        written: &mut CommitWritten,
        reached: &mut bool,
    ) -> core::result::Result<(), WriteError<F::Error>> {
        let geometry = *self.index.geometry();
        let start = geometry.offset_of(block);
        if !self.options.dry_run {
            erase(self.flash, block)?;
        }
        let marker = self.commit_marker(
            point,
            block,
            digest,
            match point {
                CommitPoint::Dirent => &[],
                CommitPoint::Head | CommitPoint::Summary => &nodes.bytes,
            },
        );
        let mut marker_bytes = Vec::new();
        marker.emit(nodes.endian, &mut marker_bytes);
        let at = body_start(&geometry, Some(point));
        let dry = self.options.dry_run;
        let mut out = BlockProgram { flash: self.flash, geometry, start, at, endian: nodes.endian, bytes: 0, dry };
        match point {
            CommitPoint::Summary => {
                out.put(&[&nodes.bytes, &marker_bytes])?;
                *reached = true;
                out.put_summary(&nodes.summary(body_start(&geometry, Some(point))))?;
                written.nodes += 1;
            }
            CommitPoint::Head => {
                out.put(&[&nodes.bytes, &marker_bytes])?;
                *reached = true;
                out.put_head(&marker.head(nodes.endian))?;
                written.nodes += HEAD_COPY_OFFSETS.len() as u32;
            }
            CommitPoint::Dirent => {
                out.put(&[&marker_bytes])?;
                *reached = true;
                out.put(&[&nodes.bytes])?;
                if let Some(seal) = nodes.sealing_dirent() {
                    out.put(&[&seal])?;
                    out.put_witness()?;
                    written.nodes += 1;
                }
            }
        }
        written.nodes += nodes.listed.len() as u32 + 1;
        written.bytes += out.bytes;
        Ok(())
    }
}

/// Programs a commit block piece by piece; each piece is durable and read back before the next.
pub(super) struct BlockProgram<'a, F> {
    pub flash: &'a mut F,
    pub geometry: Geometry,
    /// Start of the eraseblock on the flash.
    pub start: u32,
    /// Where the next piece goes, from the start of the eraseblock.
    pub at: u32,
    pub endian: Endian,
    pub bytes: u64,
    /// Only count.
    pub dry: bool,
}

impl<F: FlashMut> BlockProgram<'_, F> {
    /// Nodes, padded to the write size.
    pub(super) fn put(&mut self, nodes: &[&[u8]]) -> core::result::Result<(), WriteError<F::Error>> {
        let mut piece = nodes.concat();
        let unit = self.geometry.write_size() as usize;
        let pad = piece.len().next_multiple_of(unit) - piece.len();
        emit_padding(self.endian, &mut piece, pad as u32);
        self.program(self.at, &piece)?;
        self.at += piece.len() as u32;
        Ok(())
    }

    /// Behind the seal of a *dirent* commit: that anything stands there says that dirent and seal were programmed to the end, and it
    /// says nothing else, so that it does not matter what it reads as itself. Not on NAND, where a cut could destroy pages
    /// before it.
    pub(super) fn put_witness(&mut self) -> core::result::Result<(), WriteError<F::Error>> {
        if self.geometry.kind() == FlashKind::Nand {
            return Ok(());
        }
        let mut witness = Vec::new();
        emit_padding(self.endian, &mut witness, HEADER_SIZE as u32);
        let fits =
            self.at + (witness.len() as u32).next_multiple_of(self.geometry.write_size()) <= self.geometry.eraseblock();
        if fits { self.put(&[&witness]) } else { Ok(()) }
    }

    /// The summary, at the very end of the eraseblock.
    pub(super) fn put_summary(&mut self, summary: &Summary<'_>) -> core::result::Result<(), WriteError<F::Error>> {
        let eraseblock = self.geometry.eraseblock();
        let entries = summary.entries.iter().map(SummaryEntry::size).sum();
        let len = Summary::flash_size(entries).next_multiple_of(self.geometry.write_size() as usize);
        let mut piece = Vec::new();
        summary.emit(self.endian, &mut piece, len, eraseblock);
        // The magic comes last: a Linux that maps NOR into memory follows the offset in front of it wherever it
        // points, and oopses if that is torn.
        let magic = if self.geometry.can_overwrite() { len - size_of_val(&SUMMARY_MAGIC) } else { len };
        let (body, magic) = piece.split_at(magic);
        self.program(eraseblock - len as u32, body)?;
        if magic.is_empty() { Ok(()) } else { self.program(eraseblock - magic.len() as u32, magic) }
    }

    /// Both copies of the head: the first bit of the first one commits, the second one makes sure that it stays.
    pub(super) fn put_head(&mut self, head: &[u8; HEAD_SIZE]) -> core::result::Result<(), WriteError<F::Error>> {
        if self.geometry.kind() == FlashKind::Nand {
            let mut page = vec![0xff; self.geometry.write_size().max(HEAD_SIZE as u32) as usize];
            page[..HEAD_SIZE].copy_from_slice(head);
            return self.program(0, &page);
        }
        let copy = HEAD_COPY_OFFSETS[1] as usize;
        self.program(0, &head[..copy])?;
        self.program(copy as u32, &head[copy..])
    }

    fn program(&mut self, at: u32, piece: &[u8]) -> core::result::Result<(), WriteError<F::Error>> {
        self.bytes += piece.len() as u64;
        if self.dry {
            return Ok(());
        }
        program(self.flash, self.start + at, piece)?;
        sync(self.flash, self.start + at)
    }
}
