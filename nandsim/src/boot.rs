//! Simulated chips as boot firmware meets them.

use jffs2_tx::flash::{Flash, FlashKind, Geometry};
use jffs2_tx::wire::Endian;

use crate::chip::{Block, Chip};
use crate::firmware::{ByteOrder, Files, Firmware, FirmwareError, Part, RawBlock};

impl Part {
    /// The part that a chip of this geometry is.
    #[must_use]
    pub fn of(geometry: &Geometry, endian: Endian) -> Self {
        Self {
            order: if endian == Endian::Little { ByteOrder::Little } else { ByteOrder::Big },
            nand: geometry.kind() == FlashKind::Nand,
            page: geometry.write_size() as usize,
        }
    }
}

impl Block {
    /// What firmware gets of it.
    pub(crate) fn raw(&self) -> RawBlock<'_> {
        RawBlock { cells: self.data(), unreadable: self.unreadable() }
    }
}

impl Firmware {
    /// Mounts what is on a chip.
    ///
    /// # Errors
    /// Those of [`mount`](Self::mount).
    pub fn boot(self, chip: &Chip, endian: Endian) -> Result<Files, FirmwareError> {
        let blocks: Vec<_> = chip.good_blocks().map(|(_, block)| block.raw()).collect();
        self.mount(&Part::of(chip.geometry(), endian), &blocks)
    }
}
