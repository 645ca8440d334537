//! Fills eraseblocks with nodes: what goes first and last in each, and no node across two.

use std::io::Write;

use jffs2_tx::wire::{
    Cleanmarker, Dirent, Endian, HEADER_SIZE, INODE_SIZE, Inode, Summary, SummaryEntry, XREF_SIZE, Xattr, Xref,
};

use crate::{BuildError, Options, Pad};

/// Largest summary. Linux writes none over 64 KiB, and allocates its whole length in one piece to read it.
const MAX_SUMMARY: usize = 64 << 10;

/// Holds the eraseblock that is being filled, and writes it out when it is full.
pub(crate) struct Packer<'t, W> {
    out: W,
    endian: Endian,
    eraseblock: usize,
    /// Length of the cleanmarker, bytes; 0 for none.
    cleanmarker: usize,
    with_summary: bool,
    /// What has been placed in the eraseblock; empty until the first node comes.
    block: Vec<u8>,
    listed: Vec<SummaryEntry<'t>>,
    listed_bytes: usize,
    /// Eraseblocks that have been begun.
    blocks: u32,
    nodes: u64,
}

/// What a finished image measures.
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) eraseblocks: u32,
    pub(crate) nodes: u64,
}

impl<'t, W: Write> Packer<'t, W> {
    pub(crate) fn new(out: W, options: &Options) -> Self {
        Self {
            out,
            endian: options.endian,
            eraseblock: options.eraseblock as usize,
            cleanmarker: if options.cleanmarkers { HEADER_SIZE } else { 0 },
            with_summary: options.summary,
            block: Vec::with_capacity(options.eraseblock as usize),
            listed: Vec::new(),
            listed_bytes: 0,
            blocks: 0,
            nodes: 0,
        }
    }

    pub(crate) fn endian(&self) -> Endian {
        self.endian
    }

    pub(crate) fn dirent(&mut self, dirent: &Dirent<'t>) -> Result<(), BuildError> {
        let Dirent { pino, version, ino, kind, name, .. } = *dirent;
        let totlen = (jffs2_tx::wire::DIRENT_SIZE + name.len()) as u32;
        let entry = |offset| SummaryEntry::Dirent { totlen, offset, pino, version, ino, kind, name };
        self.make_room(Dirent::flash_size(name.len()), entry(0).size())?;
        self.list(entry(self.block.len() as u32));
        dirent.emit(self.endian, &mut self.block);
        Ok(())
    }

    /// Places an inode node with `data` as stored: at most [`Packer::data_room`] bytes in a fresh eraseblock.
    pub(crate) fn inode(&mut self, inode: &Inode, data: &[u8]) -> Result<(), BuildError> {
        self.make_room(Inode::flash_size(data.len()), inode_entry(inode, 0, data.len()).size())?;
        self.list(inode_entry(inode, self.block.len(), data.len()));
        inode.emit(self.endian, &mut self.block, data);
        Ok(())
    }

    /// Places an extended attribute.
    pub(crate) fn xattr(&mut self, xattr: &Xattr<'_>) -> Result<(), BuildError> {
        let Xattr { xid, version, .. } = *xattr;
        let totlen = xattr.flash_size() as u32;
        let entry = |offset| SummaryEntry::Xattr { xid, version, offset, totlen };
        self.make_room(xattr.flash_size(), entry(0).size())?;
        if self.room(entry(0).size()) < xattr.flash_size() {
            return Err(BuildError::Xattr(xattr.value.len()));
        }
        self.list(entry(self.block.len() as u32));
        xattr.emit(self.endian, &mut self.block);
        Ok(())
    }

    /// Places the tie of an extended attribute to an inode.
    pub(crate) fn xref(&mut self, xref: &Xref) -> Result<(), BuildError> {
        let entry = |offset| SummaryEntry::Xref { offset };
        self.make_room(XREF_SIZE, entry(0).size())?;
        self.list(entry(self.block.len() as u32));
        xref.emit(self.endian, &mut self.block);
        Ok(())
    }

    /// Most stored bytes of an inode node that still go into this eraseblock: a multiple of four.
    pub(crate) fn data_room(&self) -> usize {
        const ENTRY: SummaryEntry<'_> = SummaryEntry::Inode { ino: 0, version: 0, offset: 0, totlen: 0 };
        self.room(ENTRY.size()).saturating_sub(INODE_SIZE)
    }

    /// Fills the rest of the eraseblock and writes it out; nothing to do before its first node.
    pub(crate) fn finish_block(&mut self) -> Result<(), BuildError> {
        if self.block.is_empty() {
            return Ok(());
        }
        if self.with_summary {
            self.summary();
        }
        self.block.resize(self.eraseblock, 0xff);
        self.write_out()
    }

    /// Ends the image.
    pub(crate) fn finish(mut self, pad: Pad) -> Result<Size, BuildError> {
        let last = self.block.len();
        if self.with_summary || pad != Pad::None {
            self.finish_block()?;
        }
        let full = u64::from(self.blocks) * self.eraseblock as u64;
        let bytes = if self.block.is_empty() { full } else { full - (self.eraseblock - last) as u64 };
        self.write_out()?;
        let padding = match pad {
            Pad::To(size) => size.checked_sub(bytes).ok_or(BuildError::TooLarge { bytes, size })?,
            Pad::None | Pad::Eraseblock => 0,
        };
        self.block.resize(self.eraseblock, 0xff);
        for _ in 0..padding / self.eraseblock as u64 {
            self.out.write_all(&self.block).map_err(BuildError::Write)?;
        }
        self.out.flush().map_err(BuildError::Write)?;
        Ok(Size { bytes: bytes + padding, eraseblocks: self.blocks, nodes: self.nodes })
    }

    /// Bytes for a node whose summary entry has `entry` bytes.
    fn room(&self, entry: usize) -> usize {
        let summary = if self.with_summary { Summary::flash_size(self.listed_bytes + entry) } else { 0 };
        if summary > MAX_SUMMARY {
            return 0;
        }
        self.eraseblock.saturating_sub(self.block.len().max(self.cleanmarker) + summary)
    }

    fn make_room(&mut self, size: usize, entry: usize) -> Result<(), BuildError> {
        if self.room(entry) < size {
            self.finish_block()?;
        }
        if self.block.is_empty() {
            self.begin_block()?;
        }
        Ok(())
    }

    fn begin_block(&mut self) -> Result<(), BuildError> {
        self.blocks += 1;
        if u64::from(self.blocks) * self.eraseblock as u64 > u64::from(u32::MAX) {
            return Err(BuildError::FourGib);
        }
        if self.cleanmarker != 0 {
            Cleanmarker::emit(self.endian, &mut self.block, self.cleanmarker as u32);
        }
        Ok(())
    }

    fn list(&mut self, entry: SummaryEntry<'t>) {
        self.nodes += 1;
        if self.with_summary {
            self.listed_bytes += entry.size();
            self.listed.push(entry);
        }
    }

    /// Ends the eraseblock in a summary that reaches back to the last node, so that no space looks dirty; but not
    /// further than [`MAX_SUMMARY`].
    fn summary(&mut self) {
        let len = (self.eraseblock - self.block.len()).min(MAX_SUMMARY);
        self.block.resize(self.eraseblock - len, 0xff);
        let entries = std::mem::take(&mut self.listed);
        self.listed_bytes = 0;
        let summary = Summary { cleanmarker: self.cleanmarker as u32, padded: 0, entries };
        summary.emit(self.endian, &mut self.block, len, self.eraseblock as u32);
    }

    fn write_out(&mut self) -> Result<(), BuildError> {
        self.out.write_all(&self.block).map_err(BuildError::Write)?;
        self.block.clear();
        Ok(())
    }
}

fn inode_entry(inode: &Inode, offset: usize, stored: usize) -> SummaryEntry<'static> {
    let totlen = (INODE_SIZE + stored) as u32;
    SummaryEntry::Inode { ino: inode.ino, version: inode.version, offset: offset as u32, totlen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_ends_below_4_gib() {
        let dirent = Dirent { pino: 1, version: 1, ino: 2, mctime: 0, kind: 8, name: b"x" };
        let mut packer = Packer::new(std::io::sink(), &Options::default());
        packer.blocks = (u32::MAX >> 16) - 1;
        assert!(packer.dirent(&dirent).is_ok());
        packer.finish_block().unwrap();
        assert!(matches!(packer.dirent(&dirent), Err(BuildError::FourGib)));
    }
}
