//! What an image is to look like.

use std::num::NonZeroUsize;
use std::thread;

use jffs2_tx::flash::{FlashKind, Geometry, GeometryError, OobLayout};
use jffs2_tx::wire::{Endian, HEADER_SIZE};

use crate::{BuildError, Compress, nand};

/// What an image is to look like. The default suits NOR flash with eraseblocks of 64 KiB and a little-endian CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Byte order of the CPU that will read it.
    pub endian: Endian,
    /// Eraseblock size, bytes: a power of two from 4 KiB to 16 MiB.
    pub eraseblock: u32,
    /// Whether each eraseblock has a cleanmarker: at its start, so yes on NOR, no on NAND and UBI; with `nand` in its spare
    /// bytes, so yes.
    pub cleanmarkers: bool,
    /// For a NAND programmer: pages with so many spare bytes behind each, up to the end of the last eraseblock. ECC bytes are
    /// left to the programmer. One of [`LAYOUTS`](jffs2_tx::detect::LAYOUTS).
    pub nand: Option<OobLayout>,
    /// Length of a cleanmarker, bytes: 12, or more where the flash writes more at once; at most half an eraseblock.
    pub cleanmarker_size: u32,
    /// Most bytes of a file in one node: the CPU's page size, a power of two from 256 bytes to 64 KiB.
    pub page_size: u32,
    /// What follows the last node.
    pub pad: Pad,
    /// Whether each eraseblock ends in a summary, which makes mounting faster.
    pub summary: bool,
    /// Paths of files whose nodes come first in the image, in this order: of a directory all that is in it. What a slow boot
    /// reader wants then stands in one place. No symlinks.
    pub first: Vec<Vec<u8>>,
    /// Whether all metadata stands before all files' data.
    pub sort: bool,
    /// How file data is compressed.
    pub compress: Compress,
    /// Threads that compress; as many as the host offers if not given. The image is the same for any number.
    pub threads: Option<NonZeroUsize>,
}

/// What follows the last node of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pad {
    /// Nothing, but a summary if there are any.
    None,
    /// 0xFF to the end of its eraseblock.
    Eraseblock,
    /// 0xFF to this size of the image, bytes: a whole number of eraseblocks, less than 4 GiB.
    To(u64),
    /// 0xFF to the end of its eraseblock, then eraseblocks that are empty but for their cleanmarkers, which saves the first
    /// mount erasing them, until the image has this size or more, bytes.
    AtLeast(u64),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endian: Endian::Little,
            eraseblock: 64 << 10,
            cleanmarkers: true,
            nand: None,
            cleanmarker_size: HEADER_SIZE as u32,
            page_size: 4096,
            pad: Pad::None,
            summary: false,
            first: Vec::new(),
            sort: false,
            compress: Compress::default(),
            threads: None,
        }
    }
}

impl Options {
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let eraseblock = self.eraseblock;
        let size = match self.pad {
            Pad::To(size) => size,
            Pad::AtLeast(size) => size.max(1).next_multiple_of(u64::from(eraseblock).max(1)),
            Pad::None | Pad::Eraseblock => u64::from(eraseblock),
        };
        match Geometry::new(FlashKind::Nor, size, eraseblock, 1) {
            Err(GeometryError::Size { .. }) => return Err(BuildError::PadSize { size, eraseblock }),
            Err(_) => return Err(BuildError::Eraseblock(eraseblock)),
            Ok(_) => {}
        }
        self.nand.map_or(Ok(()), |layout| nand::check(layout, eraseblock))?;
        if !self.page_size.is_power_of_two() || !(256..=64 << 10).contains(&self.page_size) {
            return Err(BuildError::PageSize(self.page_size));
        }
        let marker = self.cleanmarker_size;
        if self.cleanmarkers && !(HEADER_SIZE as u32..=eraseblock / 2).contains(&marker) {
            return Err(BuildError::Cleanmarker(marker));
        }
        self.compress.check()
    }
}
