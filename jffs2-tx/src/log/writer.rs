//! Writes a transaction's payload: nodes, one after the other, into eraseblocks taken from the pool.

use alloc::{vec, vec::Vec};

use super::blocks::{Pool, erase};
use super::{WriteError, program, retire, sync};
use crate::flash::{FlashKind, FlashMut, Geometry};
use crate::wire::{Endian, emit_padding};

/// Bytes that are gathered on NOR before they are programmed.
const NOR_CHUNK: usize = 4096;

/// Bytes at the end of an eraseblock that no node reaches into: file data there could look like a summary's trailer.
pub(crate) const TAIL: u32 = 8;
/// Eraseblocks that may fail in one transaction: more of them is a failing device, not failing eraseblocks, and no reason
/// to mark the whole flash bad.
pub(crate) const MAX_FAILED: usize = 8;

/// Where a node stands: by payload block, so that it stays true when a failed eraseblock is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// Which payload block, from 0.
    pub ordinal: u32,
    /// Offset in it, bytes.
    pub offset: u32,
}

/// A payload block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenBlock {
    /// Index of the eraseblock; `None` where the flash was full and the block is only counted.
    pub block: Option<u32>,
    /// End of its last node, padding included, bytes from its start.
    pub used: u32,
    /// Number of nodes, padding left out.
    pub nodes: u32,
}

/// Appends nodes to eraseblocks of a pool. Each block starts with a node that `first_node` makes.
///
/// When the pool runs dry the writer goes on without writing: [`PayloadWriter::missing`] then tells how many blocks
/// more it would have taken. One that is [`dry`](PayloadWriter::dry) takes blocks, too, but leaves them as they are.
#[derive(Debug)]
pub struct PayloadWriter {
    geometry: Geometry,
    endian: Endian,
    dry: bool,
    blocks: Vec<WrittenBlock>,
    failed: Vec<u32>,
    erased: u32,
    programmed: u64,
    /// Bytes of the open block from `flushed` on that are not programmed yet.
    buffer: Vec<u8>,
    flushed: u32,
}

impl PayloadWriter {
    /// A writer that has taken no block yet.
    #[must_use]
    pub fn new(geometry: Geometry, endian: Endian) -> Self {
        Self {
            geometry,
            endian,
            dry: false,
            blocks: Vec::new(),
            failed: Vec::new(),
            erased: 0,
            programmed: 0,
            buffer: Vec::new(),
            flushed: 0,
        }
    }

    /// A writer that erases and programs nothing, but counts as if it did. What it was given cannot be read back.
    #[must_use]
    pub fn dry(geometry: Geometry, endian: Endian) -> Self {
        Self { dry: true, ..Self::new(geometry, endian) }
    }

    /// Blocks so far.
    #[must_use]
    pub fn blocks(&self) -> &[WrittenBlock] {
        &self.blocks
    }

    /// Eraseblocks that failed and were given up.
    #[must_use]
    pub fn failed(&self) -> &[u32] {
        &self.failed
    }

    /// Eraseblocks erased.
    #[must_use]
    pub fn erased(&self) -> u32 {
        self.erased
    }

    /// Bytes programmed.
    #[must_use]
    pub fn programmed(&self) -> u64 {
        self.programmed
    }

    /// Blocks that were only counted.
    #[must_use]
    pub fn missing(&self) -> u32 {
        self.blocks.iter().filter(|block| block.block.is_none()).count() as u32
    }

    /// Bytes that a node can take in the open block before a new one is begun; 0 if none is open.
    #[must_use]
    pub fn room(&self) -> usize {
        match self.blocks.last() {
            Some(_) => (self.geometry.eraseblock() - TAIL).saturating_sub(self.position()) as usize,
            None => 0,
        }
    }

    fn position(&self) -> u32 {
        self.flushed + self.buffer.len() as u32
    }

    /// Begins a new block; `first_node` makes its first node from its number.
    ///
    /// # Errors
    /// [`WriteError`]: if spare blocks run out while failed ones are replaced.
    pub fn open_block<F: FlashMut>(
        &mut self,
        flash: &mut F,
        pool: &mut Pool,
        first_node: impl FnOnce(u32, &mut Vec<u8>),
    ) -> Result<(), WriteError<F::Error>> {
        self.close_block(flash, pool)?;
        let block = self.prepare(flash, pool)?;
        if let (None, Some(failed)) = (block, self.failed.get(MAX_FAILED - 1)) {
            return Err(WriteError::NoReplacement { offset: self.geometry.offset_of(*failed) });
        }
        self.blocks.push(WrittenBlock { block, used: 0, nodes: 0 });
        self.flushed = 0;
        let mut node = Vec::new();
        first_node(self.blocks.len() as u32 - 1, &mut node);
        self.append(flash, pool, &node)?;
        Ok(())
    }

    /// Appends a node that fits the [`PayloadWriter::room`]. It is durable after [`PayloadWriter::close_block`].
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn append<F: FlashMut>(
        &mut self,
        flash: &mut F,
        pool: &mut Pool,
        node: &[u8],
    ) -> Result<NodeAddress, WriteError<F::Error>> {
        debug_assert!(node.len() <= self.room() && node.len().is_multiple_of(4));
        let address = NodeAddress { ordinal: self.blocks.len() as u32 - 1, offset: self.position() };
        self.buffer.extend_from_slice(node);
        if let Some(open) = self.blocks.last_mut() {
            open.nodes += 1;
        }
        let unit = match self.geometry.kind() {
            FlashKind::Nand => self.geometry.write_size() as usize,
            FlashKind::Nor => NOR_CHUNK,
        };
        let whole = self.buffer.len() / unit * unit;
        self.flush(flash, pool, whole)?;
        Ok(address)
    }

    /// Programs what is left of the open block, padded to the write size, and makes it durable.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn close_block<F: FlashMut>(&mut self, flash: &mut F, pool: &mut Pool) -> Result<(), WriteError<F::Error>> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let unit = self.geometry.write_size();
        let pad = self.position().next_multiple_of(unit) - self.position();
        emit_padding(self.endian, &mut self.buffer, pad);
        self.flush(flash, pool, self.buffer.len())?;
        let used = self.flushed;
        if let Some(open) = self.blocks.last_mut() {
            open.used = used;
            let offset = self.geometry.offset_of(open.block.unwrap_or(0));
            if !self.dry {
                sync(flash, offset)?;
            }
        }
        Ok(())
    }

    /// Reads from a payload block, programmed or not.
    ///
    /// # Errors
    /// [`WriteError::Device`].
    pub fn read<F: FlashMut>(
        &self,
        flash: &F,
        address: NodeAddress,
        buf: &mut [u8],
    ) -> Result<(), WriteError<F::Error>> {
        let is_open = address.ordinal as usize + 1 == self.blocks.len();
        let flushed = if is_open { self.flushed } else { u32::MAX };
        let on_flash = (flushed.saturating_sub(address.offset) as usize).min(buf.len());
        if let Some(block) = self.blocks[address.ordinal as usize].block.filter(|_| !self.dry) {
            let offset = self.geometry.offset_of(block) + address.offset;
            flash.read(offset, &mut buf[..on_flash]).map_err(|error| WriteError::Device {
                operation: "read",
                offset,
                error,
            })?;
        }
        let from = (address.offset + on_flash as u32).saturating_sub(self.flushed) as usize;
        let rest = &mut buf[on_flash..];
        if !rest.is_empty() {
            rest.copy_from_slice(&self.buffer[from..from + rest.len()]);
        }
        Ok(())
    }

    /// Takes a block and erases it, whatever it holds: a cleanmarker may have outlived an erase that the power cut
    /// short, and on NAND it would let a block with a torn first page pass for free. `None` if the pool has none.
    fn prepare<F: FlashMut>(&mut self, flash: &mut F, pool: &mut Pool) -> Result<Option<u32>, WriteError<F::Error>> {
        while self.failed.len() < MAX_FAILED
            && let Some(block) = pool.take_lowest()
        {
            self.erased += 1;
            let erased = if self.dry { Ok(()) } else { erase(flash, block) };
            match erased {
                Ok(()) => return Ok(Some(block)),
                Err(error) => self.give_up(flash, block, error)?,
            }
        }
        Ok(None)
    }

    fn give_up<F: FlashMut>(
        &mut self,
        flash: &mut F,
        block: u32,
        error: WriteError<F::Error>,
    ) -> Result<(), WriteError<F::Error>> {
        self.failed.push(block);
        retire(flash, block, error)
    }

    /// Programs the first `len` bytes of the buffer.
    fn flush<F: FlashMut>(&mut self, flash: &mut F, pool: &mut Pool, len: usize) -> Result<(), WriteError<F::Error>> {
        if len == 0 {
            return Ok(());
        }
        let block = self.blocks.last().and_then(|open| open.block);
        if let Some(block) = block.filter(|_| !self.dry) {
            let offset = self.geometry.offset_of(block) + self.flushed;
            if let Err(error) = program(flash, offset, &self.buffer[..len]) {
                self.replace_open_block(flash, pool, block, len, error)?;
            }
        }
        if block.is_some() || self.dry {
            self.programmed += len as u64;
        }
        self.buffer.drain(..len);
        self.flushed += len as u32;
        Ok(())
    }

    /// The open block failed: another one gets what it held, and what was to be added.
    fn replace_open_block<F: FlashMut>(
        &mut self,
        flash: &mut F,
        pool: &mut Pool,
        failed: u32,
        len: usize,
        error: WriteError<F::Error>,
    ) -> Result<(), WriteError<F::Error>> {
        let offset = self.geometry.offset_of(failed);
        let mut held = vec![0; self.flushed as usize];
        flash.read(offset, &mut held).map_err(|error| WriteError::Device { operation: "read", offset, error })?;
        held.extend_from_slice(&self.buffer[..len]);
        // Only now: Linux erases an eraseblock before it marks it.
        self.give_up(flash, failed, error)?;
        while let Some(block) = self.prepare(flash, pool)? {
            match program(flash, self.geometry.offset_of(block), &held) {
                Ok(()) => {
                    self.programmed += u64::from(self.flushed);
                    if let Some(open) = self.blocks.last_mut() {
                        open.block = Some(block);
                    }
                    return Ok(());
                }
                Err(error) => self.give_up(flash, block, error)?,
            }
        }
        Err(WriteError::NoReplacement { offset })
    }
}
