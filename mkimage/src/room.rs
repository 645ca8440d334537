//! What an image leaves of its flash for updates.

use jffs2_tx::flash::{FlashKind, Geometry};
use jffs2_tx::wire::{INODE_SIZE, MARKER_SIZE, MAX_LABEL};
use serde::Serialize;

use crate::{BuildError, Options, Report};

/// Eraseblocks that a transaction takes beside those of its contents: the one that commits it.
const COMMIT: u32 = 1;
/// Most bytes of an eraseblock that a transaction keeps for itself, besides the first page on NAND: cleanmarker and marker.
const OVERHEAD: u32 = 12 + (MARKER_SIZE + MAX_LABEL) as u32;
/// Most bytes of a file that it writes in one node.
const PAGE: u32 = 4096;

/// Room on a flash that holds an image. Serializes to an object with these fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Eraseblocks of the flash.
    pub eraseblocks: u32,
    /// Those that the image leaves free.
    pub free: u32,
    /// Free ones that a transaction leaves to the kernel, which lets nobody write without them.
    pub kernel_reserve: u32,
    /// The largest transaction: eraseblocks of new contents.
    pub transaction_eraseblocks: u32,
    /// The same in bytes of new files that do not compress; of others, more.
    pub transaction_bytes: u64,
}

impl Room {
    /// The room beside an image on a flash of `flash_size` bytes.
    ///
    /// # Errors
    /// [`BuildError::PadSize`] if that is not the size of a flash, [`BuildError::TooLarge`] if the image is larger.
    pub fn new(report: &Report, options: &Options, flash_size: u64) -> Result<Self, BuildError> {
        let eraseblock = options.eraseblock;
        let geometry = Geometry::new(FlashKind::Nor, flash_size, eraseblock, 1)
            .map_err(|_| BuildError::PadSize { size: flash_size, eraseblock })?;
        let bytes = u64::from(report.eraseblocks) * u64::from(eraseblock);
        let free = geometry.blocks().checked_sub(report.eraseblocks);
        let free = free.ok_or(BuildError::TooLarge { bytes, size: flash_size })?;
        let kernel_reserve = geometry.kernel_reserve();
        let transaction_eraseblocks = free.saturating_sub(kernel_reserve + COMMIT);
        Ok(Self {
            eraseblocks: geometry.blocks(),
            free,
            kernel_reserve,
            transaction_eraseblocks,
            transaction_bytes: u64::from(transaction_eraseblocks) * u64::from(data_room(eraseblock)),
        })
    }
}

/// Bytes of files that do not compress which an eraseblock takes, at least.
fn data_room(eraseblock: u32) -> u32 {
    let room = eraseblock - OVERHEAD;
    // Whole pages and, at both ends, parts of one.
    let nodes = room / (INODE_SIZE as u32 + PAGE) + 2;
    room - nodes * INODE_SIZE as u32
}
