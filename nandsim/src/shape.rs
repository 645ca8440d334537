//! A flash as it is before an update: its size, the image on it, and cleanmarkers where a kernel would have left them.

use jffs2_mkimage::{BuildError, Options, build};
use jffs2_tx::flash::{Flash, FlashKind, FlashMut, Geometry, GeometryError};
use jffs2_tx::source::SourceTree;
use jffs2_tx::wire::{Cleanmarker, Endian, HEADER_SIZE};

use crate::chip::{Chip, ChipError, is_blank};

/// Eraseblocks beyond what an update needs.
const SPARE: u32 = 3;

/// All of a flash but its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// NOR or NAND.
    pub kind: FlashKind,
    /// Eraseblock, bytes.
    pub eraseblock: u32,
    /// Least unit of programming, bytes: the page on NAND.
    pub write_size: u32,
    /// Byte order of the file system on it.
    pub endian: Endian,
}

impl Shape {
    /// Image of a tree: on NOR with cleanmarkers, if they are of the usual length.
    ///
    /// # Errors
    /// The image builder's.
    pub fn image(&self, tree: &SourceTree) -> Result<Vec<u8>, BuildError> {
        let cleanmarkers = self.kind == FlashKind::Nor && self.write_size as usize <= HEADER_SIZE;
        let options = Options { endian: self.endian, eraseblock: self.eraseblock, cleanmarkers, ..Options::default() };
        let mut image = Vec::new();
        build(tree, &options, &mut image)?;
        Ok(image)
    }

    /// A flash of `size` bytes.
    ///
    /// # Errors
    /// [`GeometryError`].
    pub fn geometry(&self, size: u64) -> Result<Geometry, GeometryError> {
        Geometry::new(self.kind, size, self.eraseblock, self.write_size)
    }

    /// A flash that has room for the old tree, a whole new one and the kernel's reserve, each given by the bytes of its
    /// image.
    ///
    /// # Errors
    /// [`GeometryError::Size`] if that is 4 GiB or more.
    pub fn geometry_for(&self, old: usize, new: usize) -> Result<Geometry, GeometryError> {
        let eraseblock = u64::from(self.eraseblock);
        let trees = (old as u64).div_ceil(eraseblock) + (new as u64 + new as u64 / 8).div_ceil(eraseblock);
        let mut blocks = trees + u64::from(SPARE);
        loop {
            let geometry = self.geometry(blocks * eraseblock)?;
            let needed = trees + u64::from(geometry.kernel_reserve() + SPARE);
            if blocks >= needed {
                return Ok(geometry);
            }
            blocks = needed;
        }
    }

    /// A chip with `image` on it. Of the blank eraseblocks behind it all have a cleanmarker on NAND, every second one on
    /// NOR, so that an update meets both kinds.
    ///
    /// # Errors
    /// [`ChipError::Range`] if the image is larger than the chip.
    pub fn flashed(&self, geometry: Geometry, image: &[u8], seed: u64) -> Result<Chip, ChipError> {
        self.flashed_on(Chip::new(geometry, seed), image)
    }

    /// An erased chip with the same on it.
    ///
    /// # Errors
    /// [`ChipError::Range`] if the image is larger than the chip.
    pub fn flashed_on(&self, erased: Chip, image: &[u8]) -> Result<Chip, ChipError> {
        let mut chip = erased.programmed(image)?;
        let geometry = *chip.geometry();
        let blank: Vec<u32> = (0..geometry.blocks()).filter(|&block| is_blank(chip.block_data(block))).collect();
        let mut marker = Vec::new();
        Cleanmarker::emit(self.endian, &mut marker, geometry.cleanmarker_size());
        for block in blank {
            match self.kind {
                FlashKind::Nand => chip.write_oob_cleanmarker(block)?,
                FlashKind::Nor if block % 2 == 0 => chip.program(geometry.offset_of(block), &marker)?,
                FlashKind::Nor => {}
            }
        }
        Ok(chip)
    }
}
