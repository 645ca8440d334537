//! Geometry, known at run time, and what follows from it.

use crate::wire::HEADER_SIZE;

/// NOR or NAND.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlashKind {
    /// Programs any write unit in any order; cleanmarkers are nodes.
    Nor,
    /// Programs whole pages in ascending order; cleanmarkers stand in the OOB area; has bad blocks.
    Nand,
}

/// Size and shape of a flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    kind: FlashKind,
    size: u32,
    eraseblock: u32,
    write_size: u32,
}

/// Why a geometry cannot hold a JFFS2 file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Eraseblocks are powers of two from 4 KiB to 16 MiB.
    #[error("eraseblock size {0} is not a power of two from 4 KiB to 16 MiB")]
    Eraseblock(u32),
    /// NOR write units are powers of two from 1 to 64 bytes, NAND pages from 256 bytes to a quarter of an eraseblock.
    #[error("write size {0} does not suit this kind of flash")]
    WriteSize(u32),
    /// The size is not a whole number of eraseblocks, is nothing, or is 4 GiB or more.
    #[error("size {size} is not a whole number of eraseblocks of {eraseblock} bytes below 4 GiB")]
    Size {
        /// Size of the flash, bytes.
        size: u64,
        /// Eraseblock size, bytes.
        eraseblock: u32,
    },
}

impl Geometry {
    /// Checks and builds a geometry. `write_size` is the page on NAND; all sizes in bytes.
    ///
    /// # Errors
    /// [`GeometryError`].
    pub fn new(kind: FlashKind, size: u64, eraseblock: u32, write_size: u32) -> Result<Self, GeometryError> {
        if !eraseblock.is_power_of_two() || !(4096..=16 << 20).contains(&eraseblock) {
            return Err(GeometryError::Eraseblock(eraseblock));
        }
        let write_sizes = match kind {
            FlashKind::Nor => 1..=64,
            FlashKind::Nand => 256..=eraseblock / 4,
        };
        if !write_size.is_power_of_two() || !write_sizes.contains(&write_size) {
            return Err(GeometryError::WriteSize(write_size));
        }
        let whole = size != 0 && size.is_multiple_of(u64::from(eraseblock));
        match u32::try_from(size) {
            Ok(small) if whole => Ok(Self { kind, size: small, eraseblock, write_size }),
            _ => Err(GeometryError::Size { size, eraseblock }),
        }
    }

    /// NOR or NAND.
    #[must_use]
    pub fn kind(&self) -> FlashKind {
        self.kind
    }

    /// Whole flash, bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// One eraseblock, bytes.
    #[must_use]
    pub fn eraseblock(&self) -> u32 {
        self.eraseblock
    }

    /// Least unit of programming, bytes: the page on NAND.
    #[must_use]
    pub fn write_size(&self) -> u32 {
        self.write_size
    }

    /// Number of eraseblocks.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.size / self.eraseblock
    }

    /// Offset of an eraseblock, bytes.
    #[must_use]
    pub fn offset_of(&self, block: u32) -> u32 {
        block * self.eraseblock
    }

    /// Eraseblock that holds an offset.
    #[must_use]
    pub fn block_of(&self, offset: u32) -> u32 {
        offset / self.eraseblock
    }

    /// Length of an in-band cleanmarker, bytes; 0 on NAND. Linux: 12, and at least 16 and the write size on NOR with
    /// a write buffer.
    #[must_use]
    pub fn cleanmarker_size(&self) -> u32 {
        match self.kind {
            FlashKind::Nand => 0,
            FlashKind::Nor if self.write_size == 1 => HEADER_SIZE as u32,
            FlashKind::Nor => self.write_size.max(16),
        }
    }

    /// Whether programmed bytes can be programmed again to clear more bits: NOR without ECC.
    #[must_use]
    pub fn can_overwrite(&self) -> bool {
        self.kind == FlashKind::Nor && self.write_size <= 4
    }

    /// Bytes at the start of a commit block that stay blank until it is committed (`FORMAT.md` section 6): enough for
    /// every reader that takes a block with a blank head for empty. 4096 on NOR, 8192 on NAND, a quarter of smaller
    /// eraseblocks, never less than 1024 and a page.
    #[must_use]
    pub fn blank_head(&self) -> u32 {
        let wanted = match self.kind {
            FlashKind::Nor => 4096,
            FlashKind::Nand => 8192,
        };
        wanted.min(self.eraseblock / 4).max(1024).max(self.write_size)
    }

    /// Free eraseblocks that Linux wants to see before it lets anyone write or delete, and one to merge into.
    /// Linux fs/jffs2/build.c does the same sum.
    #[must_use]
    pub fn kernel_reserve(&self) -> u32 {
        let overhead = u64::from(self.size) / 50 + u64::from(self.blocks()) * 100 + u64::from(self.eraseblock) - 1;
        2 + (overhead / u64::from(self.eraseblock)) as u32 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be() {
        let new = |kind, size, eb, ws| Geometry::new(kind, size, eb, ws);
        assert!(new(FlashKind::Nor, 1 << 20, 65536, 1).is_ok());
        assert_eq!(new(FlashKind::Nor, 1 << 20, 65535, 1), Err(GeometryError::Eraseblock(65535)));
        assert_eq!(new(FlashKind::Nor, 1 << 20, 65536, 512), Err(GeometryError::WriteSize(512)));
        assert_eq!(new(FlashKind::Nand, 1 << 20, 16384, 1), Err(GeometryError::WriteSize(1)));
        assert!(matches!(new(FlashKind::Nor, 100_000, 65536, 1), Err(GeometryError::Size { .. })));
        assert!(matches!(new(FlashKind::Nor, 1 << 32, 65536, 1), Err(GeometryError::Size { .. })));
        assert!(matches!(new(FlashKind::Nor, 0, 65536, 1), Err(GeometryError::Size { .. })));
    }

    #[test]
    fn reserve_and_head_as_documented() {
        let nor = Geometry::new(FlashKind::Nor, 4 << 20, 65536, 1).unwrap();
        assert_eq!((nor.kernel_reserve(), nor.blank_head(), nor.cleanmarker_size()), (5, 4096, 12));
        let small = Geometry::new(FlashKind::Nor, 256 << 10, 4096, 1).unwrap();
        assert_eq!(small.blank_head(), 1024);
        let nand = Geometry::new(FlashKind::Nand, 16 << 20, 131_072, 2048).unwrap();
        assert_eq!((nand.blank_head(), nand.cleanmarker_size(), nand.can_overwrite()), (8192, 0, false));
    }
}
