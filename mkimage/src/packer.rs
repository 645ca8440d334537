//! Fills eraseblocks with nodes: what goes first and last in each, and no node across two.

use std::io::Write;

use jffs2_tx::wire::{
    Cleanmarker, Dirent, Endian, Header, INODE_SIZE, Inode, Summary, SummaryEntry, Xattr, Xref, nodetype,
};

use crate::{BuildError, Options, Pad};

/// Largest summary. Linux writes none over 64 KiB, and allocates its whole length in one piece to read it.
const MAX_SUMMARY: usize = 64 << 10;

/// Holds the eraseblock that is being filled, and writes it out when it is full.
pub(crate) struct Packer<W> {
    out: W,
    endian: Endian,
    eraseblock: usize,
    /// Length of the cleanmarker, bytes; 0 for none.
    cleanmarker: usize,
    with_summary: bool,
    /// What has been placed in the eraseblock; empty until the first node comes.
    block: Vec<u8>,
    /// A node that is being made.
    node: Vec<u8>,
    /// This eraseblock is to have a summary.
    listing: bool,
    /// Where in the eraseblock the nodes are that its summary lists.
    listed: Vec<u32>,
    /// Bytes of their entries.
    listed_bytes: usize,
    /// Eraseblocks that have been begun.
    blocks: u32,
    /// Those that got no summary, though they should.
    unlisted_blocks: u32,
    nodes: u64,
    /// Bytes that the nodes take, with what pads them.
    node_bytes: u64,
}

/// What a finished image measures.
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) eraseblocks: u32,
    /// Of those, without the summary that was asked for.
    pub(crate) unlisted_blocks: u32,
    pub(crate) nodes: u64,
}

impl<W: Write> Packer<W> {
    pub(crate) fn new(out: W, options: &Options) -> Self {
        Self {
            out,
            endian: options.endian,
            eraseblock: options.eraseblock as usize,
            cleanmarker: if options.cleanmarkers && options.nand.is_none() {
                options.cleanmarker_size as usize
            } else {
                0
            },
            with_summary: options.summary,
            block: Vec::with_capacity(options.eraseblock as usize),
            node: Vec::new(),
            listing: options.summary,
            listed: Vec::new(),
            listed_bytes: 0,
            blocks: 0,
            unlisted_blocks: 0,
            nodes: 0,
            node_bytes: 0,
        }
    }

    pub(crate) fn endian(&self) -> Endian {
        self.endian
    }

    pub(crate) fn node_bytes(&self) -> u64 {
        self.node_bytes
    }

    pub(crate) fn dirent(&mut self, dirent: &Dirent<'_>) -> Result<(), BuildError> {
        self.emit(|endian, out| dirent.emit(endian, out))
    }

    /// Places an inode node with `data` as stored: at most [`Packer::data_room`] bytes in a fresh eraseblock.
    pub(crate) fn inode(&mut self, inode: &Inode, data: &[u8]) -> Result<(), BuildError> {
        self.emit(|endian, out| inode.emit(endian, out, data))
    }

    /// Places an extended attribute.
    pub(crate) fn xattr(&mut self, xattr: &Xattr<'_>) -> Result<(), BuildError> {
        self.emit(|endian, out| xattr.emit(endian, out)).map_err(|error| match error {
            BuildError::Node { .. } => BuildError::Xattr(xattr.value.len()),
            error => error,
        })
    }

    /// Places the tie of an extended attribute to an inode.
    pub(crate) fn xref(&mut self, xref: &Xref) -> Result<(), BuildError> {
        self.emit(|endian, out| xref.emit(endian, out))
    }

    fn emit(&mut self, emit: impl FnOnce(Endian, &mut Vec<u8>)) -> Result<(), BuildError> {
        let mut node = std::mem::take(&mut self.node);
        node.clear();
        emit(self.endian, &mut node);
        let placed = self.place(&node);
        self.node = node;
        placed
    }

    /// Places a node as it is: of any type, in this byte order, with or without its padding to a multiple of four.
    ///
    /// One that no summary can list, or that leaves no room for one, takes its eraseblock's summary away: readers look at
    /// every node then.
    pub(crate) fn place(&mut self, node: &[u8]) -> Result<(), BuildError> {
        let size = node.len().next_multiple_of(4);
        let entry = entry(self.endian, node, 0).map(|entry| entry.size());
        self.make_room(size, entry.unwrap_or(0))?;
        match entry.filter(|&entry| self.listing && self.room(entry) >= size) {
            Some(entry) => {
                self.listed.push(self.block.len() as u32);
                self.listed_bytes += entry;
            }
            None => self.place_unlisted(size)?,
        }
        self.nodes += 1;
        self.node_bytes += size as u64;
        let end = self.block.len() + size;
        self.block.extend_from_slice(node);
        self.block.resize(end, 0xff);
        Ok(())
    }

    /// Makes room in an eraseblock without a summary: this one, if that is enough.
    fn place_unlisted(&mut self, size: usize) -> Result<(), BuildError> {
        self.stop_listing();
        if self.room(0) < size {
            self.finish_block()?;
            self.begin_block()?;
            self.stop_listing();
        }
        if self.room(0) < size {
            return Err(BuildError::Node { size, room: self.room(0) });
        }
        Ok(())
    }

    fn stop_listing(&mut self) {
        self.unlisted_blocks += u32::from(self.listing);
        self.listing = false;
        self.listed.clear();
        self.listed_bytes = 0;
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
        if self.listing {
            self.summary();
        }
        self.block.resize(self.eraseblock, 0xff);
        self.listing = self.with_summary;
        self.listed.clear();
        self.listed_bytes = 0;
        self.write_out()
    }

    /// Ends the image.
    pub(crate) fn finish(mut self, pad: Pad) -> Result<Size, BuildError> {
        let last = self.block.len();
        if self.listing || pad != Pad::None {
            self.finish_block()?;
        }
        let full = u64::from(self.blocks) * self.eraseblock as u64;
        let bytes = if self.block.is_empty() { full } else { full - (self.eraseblock - last) as u64 };
        self.write_out()?;
        let padding = match pad {
            Pad::To(size) => size.checked_sub(bytes).ok_or(BuildError::TooLarge { bytes, size })?,
            Pad::AtLeast(size) => size.next_multiple_of(self.eraseblock as u64).saturating_sub(bytes),
            Pad::None | Pad::Eraseblock => 0,
        };
        if matches!(pad, Pad::AtLeast(_)) {
            self.mark();
        }
        self.block.resize(self.eraseblock, 0xff);
        for _ in 0..padding / self.eraseblock as u64 {
            self.out.write_all(&self.block).map_err(BuildError::Write)?;
        }
        self.out.flush().map_err(BuildError::Write)?;
        let (eraseblocks, unlisted_blocks) = (self.blocks, self.unlisted_blocks);
        Ok(Size { bytes: bytes + padding, eraseblocks, unlisted_blocks, nodes: self.nodes })
    }

    /// Bytes for a node whose summary entry has `entry` bytes.
    fn room(&self, entry: usize) -> usize {
        let summary = if self.listing { Summary::flash_size(self.listed_bytes + entry) } else { 0 };
        if summary > MAX_SUMMARY {
            return 0;
        }
        self.eraseblock.saturating_sub(self.block.len().max(self.cleanmarker.next_multiple_of(4)) + summary)
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
        self.mark();
        Ok(())
    }

    /// Puts a cleanmarker, if there are to be any, in an empty eraseblock.
    fn mark(&mut self) {
        if self.cleanmarker != 0 {
            Cleanmarker::emit(self.endian, &mut self.block, self.cleanmarker as u32);
            self.block.resize(self.cleanmarker.next_multiple_of(4), 0xff);
        }
    }

    /// Ends the eraseblock in a summary that reaches back to the last node, so that no space looks dirty; but not
    /// further than [`MAX_SUMMARY`].
    fn summary(&mut self) {
        let len = (self.eraseblock - self.block.len()).min(MAX_SUMMARY);
        let entries = self.listed.iter().filter_map(|&at| entry(self.endian, &self.block[at as usize..], at)).collect();
        let summary = Summary { cleanmarker: self.cleanmarker as u32, padded: 0, entries };
        let mut node = Vec::with_capacity(len);
        summary.emit(self.endian, &mut node, len, self.eraseblock as u32);
        self.block.resize(self.eraseblock - len, 0xff);
        self.block.extend_from_slice(&node);
    }

    fn write_out(&mut self) -> Result<(), BuildError> {
        self.out.write_all(&self.block).map_err(BuildError::Write)?;
        self.block.clear();
        Ok(())
    }
}

/// What a summary says of the node at the start of `bytes`, which stands at `offset` in its eraseblock; `None` for types
/// that it cannot list.
fn entry(endian: Endian, bytes: &[u8], offset: u32) -> Option<SummaryEntry<'_>> {
    let Header { nodetype, totlen, .. } = Header::parse(endian, bytes).ok()?;
    match nodetype {
        nodetype::INODE => {
            let Inode { ino, version, .. } = Inode::parse(endian, bytes).ok()?;
            Some(SummaryEntry::Inode { ino, version, offset, totlen })
        }
        nodetype::DIRENT => {
            let Dirent { pino, version, ino, kind, name, .. } = Dirent::parse(endian, bytes).ok()?;
            Some(SummaryEntry::Dirent { totlen, offset, pino, version, ino, kind, name })
        }
        nodetype::XATTR => {
            let (xid, version) = Xattr::identity(endian, bytes).ok()?;
            Some(SummaryEntry::Xattr { xid, version, offset, totlen })
        }
        nodetype::XREF => Some(SummaryEntry::Xref { offset }),
        _ => None,
    }
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
