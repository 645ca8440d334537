//! Why a chip did not do as it was told.

/// An operation on a chip failed. All but [`ProgramFailed`](Self::ProgramFailed) and
/// [`EraseFailed`](Self::EraseFailed) are mistakes of the code that uses the chip, which did nothing then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChipError {
    /// Outside the chip, across eraseblocks, or not in whole write units.
    #[error("{len} bytes at {offset:#x} do not fit the chip, an eraseblock or its write units")]
    Range {
        /// Start, bytes.
        offset: u32,
        /// Length, bytes.
        len: usize,
    },
    /// The data needs bits set that are programmed already.
    #[error("program over programmed cells at {offset:#x}")]
    Overwrite {
        /// First such byte.
        offset: u32,
    },
    /// A page, or a write unit of NOR with ECC, is programmed already, even if it reads blank.
    #[error("second program of the page at {offset:#x} since its erase")]
    Reprogram {
        /// Start of the page, bytes.
        offset: u32,
    },
    /// A NAND page behind this one is programmed already.
    #[error("program of the page at {offset:#x} after a later page of its eraseblock")]
    PageOrder {
        /// Start of the page, bytes.
        offset: u32,
    },
    /// A NAND page was programmed as often as the part allows.
    #[error("program {} of the page at {offset:#x} since its erase; the part takes {limit}", limit + 1)]
    PagePrograms {
        /// Start of the page, bytes.
        offset: u32,
        /// Programs between erases.
        limit: u8,
    },
    /// The eraseblock is marked bad.
    #[error("eraseblock {0} is marked bad")]
    Bad(u32),
    /// The cleanmarker can be written only once after an erase, before the first page.
    #[error("cleanmarker for eraseblock {0}, whose first page is not erased")]
    NotErased(u32),
    /// More operations than the work can need: it may never end.
    #[error("still not done after {0} operations")]
    Endless(usize),
    /// The device reports that a program failed: a planned fault.
    #[error("program failed at {offset:#x}")]
    ProgramFailed {
        /// Start, bytes.
        offset: u32,
    },
    /// The device reports that an erase failed: a planned fault.
    #[error("erase of eraseblock {0} failed")]
    EraseFailed(u32),
}

impl ChipError {
    /// Whether the code that uses the chip broke a rule, as opposed to a fault of the device.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        !matches!(self, Self::ProgramFailed { .. } | Self::EraseFailed(_))
    }
}
