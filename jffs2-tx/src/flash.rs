//! The device below: what the library asks of raw flash, and what it takes for granted when the power fails.
//!
//! # The power-loss contract
//! Every implementation (an MTD device, an image file, the simulator) keeps these rules, and the transaction relies on
//! nothing else:
//!
//! 1. **Erase** sets every bit of an eraseblock to one. A cut during an erase leaves any mixture of old bits, zeros and
//!    ones in *that* eraseblock, or one that reads blank but is weak; no other eraseblock changes. Where programmed
//!    bytes cannot be programmed again (NAND, NOR with ECC) it leaves no zeros that were not there: `DESIGN.md`
//!    section 5 says why that is relied on.
//! 2. **Program** only turns ones into zeros. A cut during a program leaves any subset of the bits that it was to clear
//!    cleared, within the write units that it covered; nothing else changes (but see 4).
//! 3. What was programmed or erased before a [`FlashMut::sync`] that returned is there after a cut. Without a sync
//!    between them, operations on *different* eraseblocks may reach the flash in any order; those on one keep theirs.
//! 4. On MLC NAND a cut may also destroy earlier pages *of the same eraseblock*.
//! 5. A device may fail to program or erase, and say so or not. The library reads back what it wrote.
//! 6. Reads return what is there, ECC failures included: the bytes are given raw, with [`Ecc::Uncorrectable`], as
//!    Linux's JFFS2 takes them.
//!
//! Offsets and lengths are in bytes; an eraseblock is named by its index.

use alloc::sync::Arc;
use core::fmt;

use crate::scan::{BlockScan, Rules};

#[cfg(feature = "std")]
mod container;
mod geometry;
#[cfg(feature = "std")]
mod image;
mod mem;
#[cfg(feature = "mtd")]
pub mod mtd;
pub mod oob;
mod read_only;

#[cfg(feature = "std")]
pub use container::{Container, DataReader};
pub use geometry::{FlashKind, Geometry, GeometryError};
#[cfg(feature = "std")]
pub use image::{ImageError, ImageFlash};
pub use mem::{MemError, MemFlash};
#[cfg(feature = "mtd")]
pub use mtd::{MtdError, MtdFlash, MtdInfo, MtdKind};
pub use oob::OobLayout;
pub use read_only::{ReadOnly, ReadOnlyError};

/// What error correction said about a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ecc {
    /// Nothing to correct.
    Clean,
    /// Bits were flipped and corrected; the data is right.
    Corrected,
    /// More bits were flipped than can be corrected; the data is as read.
    Uncorrectable,
}

/// A flash to read from.
pub trait Flash {
    /// What the device reports when an operation fails.
    type Error: fmt::Display + fmt::Debug;

    /// Kind, size, eraseblock and write unit.
    fn geometry(&self) -> &Geometry;

    /// Fills `buf` from `offset` bytes on.
    ///
    /// # Errors
    /// The device's, if nothing could be read. An ECC failure is no error: see [`Ecc`].
    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, Self::Error>;

    /// Whether the eraseblock is marked bad. NOR has none.
    ///
    /// # Errors
    /// The device's.
    fn is_bad(&self, block: u32) -> Result<bool, Self::Error>;

    /// NAND: whether the OOB area of the eraseblock holds a cleanmarker. Always false on NOR, where cleanmarkers are
    /// nodes, and on files that hold no OOB.
    ///
    /// # Errors
    /// The device's.
    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, Self::Error>;

    /// What [`scan_one`](crate::scan::scan_one) finds in an eraseblock by these rules, if that is known without a read.
    /// Simulators keep it: of all eraseblocks few change between two scans.
    fn known_scan(&self, _rules: Rules, _block: u32) -> Option<Arc<BlockScan>> {
        None
    }
}

/// A flash to write to. See the [power-loss contract](self#the-power-loss-contract).
pub trait FlashMut: Flash {
    /// Clears the bits that are zero in `data`. `offset` and `data.len()` are multiples of the write size and stay
    /// within one eraseblock. On NAND each page is programmed at most once between erases, in ascending order.
    ///
    /// # Errors
    /// The device's; the caller then treats the eraseblock as failed.
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), Self::Error>;

    /// Sets all of the eraseblock, its OOB included, to ones.
    ///
    /// # Errors
    /// The device's; the caller then treats the eraseblock as failed.
    fn erase(&mut self, block: u32) -> Result<(), Self::Error>;

    /// NAND: writes the cleanmarker to the OOB area of an erased eraseblock. Does nothing elsewhere.
    ///
    /// # Errors
    /// The device's.
    fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), Self::Error>;

    /// NAND: marks the eraseblock bad for good. Does nothing elsewhere.
    ///
    /// # Errors
    /// The device's.
    fn mark_bad(&mut self, block: u32) -> Result<(), Self::Error>;

    /// Returns when everything before it is durable.
    ///
    /// # Errors
    /// The device's.
    fn sync(&mut self) -> Result<(), Self::Error>;

    /// Whether an operation failed for a reason that no other eraseblock would change: the device is gone, or may not be
    /// written to. Then nothing else is tried, and no eraseblock is marked bad for it.
    fn is_lasting(&self, _error: &Self::Error) -> bool {
        false
    }
}

impl<F: Flash + ?Sized> Flash for &F {
    type Error = F::Error;

    fn geometry(&self) -> &Geometry {
        (**self).geometry()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, Self::Error> {
        (**self).read(offset, buf)
    }

    fn is_bad(&self, block: u32) -> Result<bool, Self::Error> {
        (**self).is_bad(block)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, Self::Error> {
        (**self).has_oob_cleanmarker(block)
    }

    fn known_scan(&self, rules: Rules, block: u32) -> Option<Arc<BlockScan>> {
        (**self).known_scan(rules, block)
    }
}

impl<F: Flash + ?Sized> Flash for &mut F {
    type Error = F::Error;

    fn geometry(&self) -> &Geometry {
        (**self).geometry()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, Self::Error> {
        (**self).read(offset, buf)
    }

    fn is_bad(&self, block: u32) -> Result<bool, Self::Error> {
        (**self).is_bad(block)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, Self::Error> {
        (**self).has_oob_cleanmarker(block)
    }

    fn known_scan(&self, rules: Rules, block: u32) -> Option<Arc<BlockScan>> {
        (**self).known_scan(rules, block)
    }
}

impl<F: FlashMut + ?Sized> FlashMut for &mut F {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), Self::Error> {
        (**self).program(offset, data)
    }

    fn erase(&mut self, block: u32) -> Result<(), Self::Error> {
        (**self).erase(block)
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), Self::Error> {
        (**self).write_oob_cleanmarker(block)
    }

    fn mark_bad(&mut self, block: u32) -> Result<(), Self::Error> {
        (**self).mark_bad(block)
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        (**self).sync()
    }

    fn is_lasting(&self, error: &Self::Error) -> bool {
        (**self).is_lasting(error)
    }
}
