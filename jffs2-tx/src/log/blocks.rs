//! Which eraseblocks a transaction may take, and how one becomes free.

use alloc::{collections::VecDeque, vec, vec::Vec};

use super::{WriteError, program, sync};
use crate::flash::{Ecc, Flash, FlashKind, FlashMut};
use crate::index::Index;
use crate::scan::{BlockState, EMPTY_SCAN_SIZE, blank_prefix, written_end};
use crate::wire::{Cleanmarker, Endian, SUMMARY_MAGIC};

const SUMMARY_MAGIC_SIZE: u32 = 4;
/// Bytes that NOR programs at once, at most, in the parts that are known.
const WRITE_BUFFER: usize = 1024;
/// How often zeros are programmed over what is hidden before its eraseblock is left alone.
const DESTROY_ATTEMPTS: u32 = 8;

/// Eraseblocks in which no reader sees a node that matters, ascending.
#[derive(Clone, Debug)]
pub struct Pool {
    blocks: VecDeque<u32>,
    reserve: u32,
}

impl Pool {
    /// The blocks that `index`, and every index in `others`, can do without; `reserve` of them are never handed out.
    #[must_use]
    pub fn new(index: &Index, others: &[&Index], reserve: u32) -> Self {
        let blocks = (0..index.geometry().blocks())
            .filter(|block| reusable(index, *block) && others.iter().all(|other| reusable(other, *block)))
            .collect();
        Self { blocks, reserve }
    }

    /// The blocks in which no reader sees any node, needed or not: those that may change while the flash is mounted
    /// read-only. Linux reads an inode's nodes, dead ones too, when the inode is first looked up.
    #[must_use]
    pub fn unseen(index: &Index, reserve: u32) -> Self {
        let unseen = |block: &u32| reusable(index, *block) && !is_seen(index, *block);
        Self { blocks: (0..index.geometry().blocks()).filter(unseen).collect(), reserve }
    }

    /// Eraseblocks in the pool, the reserve included.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Eraseblocks that stay free for the kernel.
    #[must_use]
    pub fn reserve(&self) -> u32 {
        self.reserve
    }

    /// Leaves these to others.
    pub(crate) fn give_up(&mut self, blocks: &[u32]) {
        self.blocks.retain(|block| !blocks.contains(block));
    }

    /// Takes the lowest block, if one is left above the reserve.
    pub fn take_lowest(&mut self) -> Option<u32> {
        if self.len() > self.reserve { self.blocks.pop_front() } else { None }
    }

    /// Takes the highest block, if one is left above the reserve.
    pub fn take_highest(&mut self) -> Option<u32> {
        if self.len() > self.reserve { self.blocks.pop_back() } else { None }
    }
}

/// Whether the tree does not need the eraseblock: it is empty, hidden, or holds no live node.
#[must_use]
pub fn reusable(index: &Index, block: u32) -> bool {
    index.blocks().get(block as usize).is_some_and(|info| match info.state {
        BlockState::Bad => false,
        BlockState::Blank | BlockState::Clean | BlockState::Hidden => true,
        BlockState::Used => info.live == 0,
    })
}

/// Whether a reader, with summaries or without, sees nodes in the eraseblock. What is hidden from those with summaries is
/// hidden from the others, too.
fn is_seen(index: &Index, block: u32) -> bool {
    index.blocks().get(block as usize).is_none_or(|info| info.state == BlockState::Used)
}

/// Fails unless every byte of the eraseblock is 0xFF and its OOB area holds no cleanmarker.
///
/// # Errors
/// [`WriteError`].
pub fn blank_check<F: Flash>(flash: &F, block: u32) -> Result<(), WriteError<F::Error>> {
    let geometry = *flash.geometry();
    let offset = geometry.offset_of(block);
    let device = |error| WriteError::Device { operation: "read back", offset, error };
    let mut bytes = vec![0; geometry.eraseblock() as usize];
    let ecc = flash.read(offset, &mut bytes).map_err(device)?;
    if ecc == Ecc::Uncorrectable {
        return Err(WriteError::ReadBack { operation: "erase", offset });
    }
    let blank = blank_prefix(&bytes);
    if blank < bytes.len() {
        return Err(WriteError::ReadBack { operation: "erase", offset: offset + blank as u32 });
    }
    if flash.has_oob_cleanmarker(block).map_err(device)? {
        return Err(WriteError::ReadBack { operation: "erase of the OOB area", offset });
    }
    Ok(())
}

/// Erases the eraseblock and checks that it is blank. On return it is durably so.
///
/// # Errors
/// [`WriteError`].
pub(crate) fn erase<F: FlashMut>(flash: &mut F, block: u32) -> Result<(), WriteError<F::Error>> {
    let offset = flash.geometry().offset_of(block);
    forget_summary(flash, block)?;
    destroy_hidden(flash, block)?;
    flash.erase(block).map_err(|error| WriteError::Device { operation: "erase", offset, error })?;
    sync(flash, offset)?;
    blank_check(flash, block)
}

/// Clears the eraseblock's last bytes if a summary's magic is there. Linux follows the offset beside a good magic without
/// a check where NOR is mapped into memory: were an erase cut short between the two, the mount would oops. Does nothing where
/// bytes cannot be programmed again.
pub(crate) fn forget_summary<F: FlashMut>(flash: &mut F, block: u32) -> Result<(), WriteError<F::Error>> {
    let geometry = *flash.geometry();
    if !geometry.can_overwrite() {
        return Ok(());
    }
    let offset = geometry.offset_of(block) + geometry.eraseblock() - SUMMARY_MAGIC_SIZE;
    let mut last = [0; SUMMARY_MAGIC_SIZE as usize];
    flash.read(offset, &mut last).map_err(|error| WriteError::Device { operation: "read", offset, error })?;
    if ![SUMMARY_MAGIC.to_le_bytes(), SUMMARY_MAGIC.to_be_bytes()].contains(&last) {
        return Ok(());
    }
    program(flash, offset, &[0; SUMMARY_MAGIC_SIZE as usize])?;
    sync(flash, offset)
}

/// Erases the eraseblock and marks it clean, as Linux does after an erase.
///
/// What stands in it must be of no use to any reader.
///
/// # Errors
/// [`WriteError`].
pub fn free_block<F: FlashMut>(flash: &mut F, endian: Endian, block: u32) -> Result<(), WriteError<F::Error>> {
    let geometry = *flash.geometry();
    erase(flash, block)?;
    let offset = geometry.offset_of(block);
    match geometry.kind() {
        FlashKind::Nor => {
            let mut marker = Vec::new();
            Cleanmarker::emit(endian, &mut marker, geometry.cleanmarker_size());
            program(flash, offset, &marker)?;
        }
        FlashKind::Nand => flash.write_oob_cleanmarker(block).map_err(|error| WriteError::Device {
            operation: "cleanmarker",
            offset,
            error,
        })?,
    }
    sync(flash, offset)
}

/// Clears every bit of what is written behind a blank head, if there is one, where the flash can do that. What stands
/// there is hidden, from readers without summaries at least, and may not become visible on the way: an erase that the
/// power cuts short may leave zeros in the head, and old nodes behind it.
fn destroy_hidden<F: FlashMut>(flash: &mut F, block: u32) -> Result<(), WriteError<F::Error>> {
    let geometry = *flash.geometry();
    if !geometry.can_overwrite() {
        return Ok(());
    }
    let start = geometry.offset_of(block);
    let mut bytes = vec![0; geometry.eraseblock() as usize];
    flash.read(start, &mut bytes).map_err(|error| WriteError::Device { operation: "read", offset: start, error })?;
    let unit = geometry.write_size() as usize;
    let (first, end) = (blank_prefix(&bytes), written_end(&bytes));
    if first < EMPTY_SCAN_SIZE || first >= end {
        return Ok(());
    }
    // What a cut program had begun behind the last byte that shows may show the next time.
    let end = bytes.len().min(end.next_multiple_of(WRITE_BUFFER) + WRITE_BUFFER);
    let first = first / unit * unit;
    let zeros = &mut bytes[first..end];
    zeros.fill(0);
    // Cells that an interrupted erase has left weak do not all take the first time.
    let mut done = program(flash, start + first as u32, zeros);
    for _ in 1..DESTROY_ATTEMPTS {
        if !matches!(done, Err(WriteError::ReadBack { .. })) {
            break;
        }
        done = program(flash, start + first as u32, zeros);
    }
    done?;
    sync(flash, start)
}
