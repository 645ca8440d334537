//! Appending nodes to erased eraseblocks: which blocks may be taken, and writing to them so that what is written is
//! known to be there.

mod blocks;
mod writer;

pub use blocks::{Pool, blank_check, free_block, reusable};
pub(crate) use blocks::{erase, forget_summary};
pub(crate) use writer::{MAX_FAILED, TAIL};
pub use writer::{NodeAddress, PayloadWriter, WrittenBlock};

use crate::flash::{Ecc, FlashMut};
use alloc::vec;

/// Writing to the flash failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The device gave an error.
    #[error("{operation} at {offset:#x}: {error}")]
    Device {
        /// What was tried.
        operation: &'static str,
        /// Flash offset, bytes.
        offset: u32,
        /// The device's error.
        error: E,
    },
    /// The device said that it was done, but what is there is something else.
    #[error("{operation} at {offset:#x} did not take: what reads back is not what was written")]
    ReadBack {
        /// What was tried.
        operation: &'static str,
        /// First offset that differs, bytes.
        offset: u32,
    },
    /// More eraseblocks failed than there are spare ones.
    #[error("no eraseblock is left to replace a failed one at {offset:#x}")]
    NoReplacement {
        /// Start of the failed eraseblock, bytes.
        offset: u32,
    },
}

/// Whether no other eraseblock would do better.
pub(crate) fn is_lasting<F: FlashMut>(flash: &F, error: &WriteError<F::Error>) -> bool {
    matches!(error, WriteError::Device { error, .. } if flash.is_lasting(error))
}

/// Retires an eraseblock that failed, so that another one can take its place; gives the error back if no other would do
/// better.
pub(crate) fn retire<F: FlashMut>(
    flash: &mut F,
    block: u32,
    error: WriteError<F::Error>,
) -> Result<(), WriteError<F::Error>> {
    if is_lasting(flash, &error) {
        return Err(error);
    }
    // If even marking it fails it is left out all the same, and the next recovery tries it again.
    let _ = flash.mark_bad(block);
    Ok(())
}

/// Programs `data` and reads it back.
///
/// # Errors
/// [`WriteError::Device`] or [`WriteError::ReadBack`].
pub fn program<F: FlashMut>(flash: &mut F, offset: u32, data: &[u8]) -> Result<(), WriteError<F::Error>> {
    flash.program(offset, data).map_err(|error| WriteError::Device { operation: "program", offset, error })?;
    let mut back = vec![0; data.len()];
    let ecc =
        flash.read(offset, &mut back).map_err(|error| WriteError::Device { operation: "read back", offset, error })?;
    match back.iter().zip(data).position(|(is, wanted)| is != wanted) {
        Some(at) => Err(WriteError::ReadBack { operation: "program", offset: offset + at as u32 }),
        None if ecc == Ecc::Uncorrectable => Err(WriteError::ReadBack { operation: "program", offset }),
        None => Ok(()),
    }
}

/// Makes everything before it durable. `offset` is for the message.
///
/// # Errors
/// [`WriteError::Device`].
pub fn sync<F: FlashMut>(flash: &mut F, offset: u32) -> Result<(), WriteError<F::Error>> {
    flash.sync().map_err(|error| WriteError::Device { operation: "sync", offset, error })
}
