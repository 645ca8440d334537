//! What was done to a chip, in order, so that it can be done again and cut anywhere.

use std::fmt;
use std::sync::Arc;

use jffs2_tx::flash::{Ecc, Flash, FlashMut, Geometry};
use jffs2_tx::scan::{self, BlockScan};

use crate::chip::{Chip, ChipError, Rules};

mod violation;

pub use violation::Violation;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// [`FlashMut::program`].
    Program {
        /// Start, bytes.
        offset: u32,
        /// What was programmed.
        data: Vec<u8>,
    },
    /// [`FlashMut::erase`].
    Erase {
        /// Index of the eraseblock.
        block: u32,
    },
    /// [`FlashMut::write_oob_cleanmarker`].
    OobCleanmarker {
        /// Index of the eraseblock.
        block: u32,
    },
    /// [`FlashMut::mark_bad`].
    MarkBad {
        /// Index of the eraseblock.
        block: u32,
    },
    /// [`FlashMut::sync`].
    Sync,
}

impl Op {
    /// Does the operation.
    ///
    /// # Errors
    /// The device's.
    pub fn apply<F: FlashMut>(&self, flash: &mut F) -> Result<(), F::Error> {
        match self {
            Self::Program { offset, data } => flash.program(*offset, data),
            Self::Erase { block } => flash.erase(*block),
            Self::OobCleanmarker { block } => flash.write_oob_cleanmarker(*block),
            Self::MarkBad { block } => flash.mark_bad(*block),
            Self::Sync => flash.sync(),
        }
    }

    /// The eraseblock that it changes; `None` for a sync.
    #[must_use]
    pub fn block(&self, geometry: &Geometry) -> Option<u32> {
        match *self {
            Self::Program { offset, .. } => Some(geometry.block_of(offset)),
            Self::Erase { block } | Self::OobCleanmarker { block } | Self::MarkBad { block } => Some(block),
            Self::Sync => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { offset, data } => write!(f, "program of {} bytes at {offset:#x}", data.len()),
            Self::Erase { block } => write!(f, "erase of eraseblock {block}"),
            Self::OobCleanmarker { block } => write!(f, "cleanmarker for eraseblock {block}"),
            Self::MarkBad { block } => write!(f, "bad-block mark on eraseblock {block}"),
            Self::Sync => write!(f, "sync"),
        }
    }
}

/// Operations on a chip of one geometry, in order.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The chip's.
    pub geometry: Geometry,
    /// The chip's.
    pub rules: Rules,
    /// The operations.
    pub ops: Vec<Op>,
}

impl Trace {
    /// Bytes that all programs together program.
    #[must_use]
    pub fn programmed_bytes(&self) -> u64 {
        let len = |op: &Op| if let Op::Program { data, .. } = op { data.len() as u64 } else { 0 };
        self.ops.iter().map(len).sum()
    }
}

/// A chip that keeps a trace. Operations that the chip refused are not in it: they did nothing. Those that failed are,
/// and fail again when they are done again.
#[derive(Clone, Debug)]
pub struct Recorder {
    chip: Chip,
    trace: Trace,
    most: usize,
    changes: usize,
    violation: Option<Violation>,
}

impl Recorder {
    /// Records from this state on. Keep a copy of the chip to walk the trace from.
    #[must_use]
    pub fn new(chip: Chip) -> Self {
        Self::limited(chip, usize::MAX)
    }

    /// Refuses all but the first `most` operations, so that what never ends is found out.
    #[must_use]
    pub(crate) fn limited(chip: Chip, most: usize) -> Self {
        let trace = Trace { geometry: *chip.geometry(), rules: *chip.rules(), ops: Vec::new() };
        Self { chip, trace, most, changes: 0, violation: None }
    }

    /// The chip as it is.
    #[must_use]
    pub fn chip(&self) -> &Chip {
        &self.chip
    }

    /// Programs, erases and cleanmarkers so far that succeeded.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// The operations so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The chip and the operations that led there.
    #[must_use]
    pub fn into_parts(self) -> (Chip, Trace) {
        (self.chip, self.trace)
    }

    /// The first operation that broke a rule of the chip, with those that led there.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    fn record(&mut self, op: Op) -> Result<(), ChipError> {
        if self.trace.ops.len() >= self.most {
            return Err(ChipError::Endless(self.most));
        }
        let result = op.apply(&mut self.chip);
        self.changes += usize::from(result.is_ok() && !matches!(op, Op::Sync | Op::MarkBad { .. }));
        match result {
            Err(error) if error.is_violation() => {
                self.violation.get_or_insert_with(|| Violation::new(&self.trace, &op, error));
            }
            _ => self.trace.ops.push(op),
        }
        result
    }
}

impl Flash for Recorder {
    type Error = ChipError;

    fn geometry(&self) -> &Geometry {
        self.chip.geometry()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, ChipError> {
        self.chip.read(offset, buf)
    }

    fn is_bad(&self, block: u32) -> Result<bool, ChipError> {
        self.chip.is_bad(block)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, ChipError> {
        self.chip.has_oob_cleanmarker(block)
    }

    fn known_scan(&self, rules: scan::Rules, block: u32) -> Option<Arc<BlockScan>> {
        self.chip.known_scan(rules, block)
    }
}

impl FlashMut for Recorder {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        self.record(Op::Program { offset, data: data.to_vec() })
    }

    fn erase(&mut self, block: u32) -> Result<(), ChipError> {
        self.record(Op::Erase { block })
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), ChipError> {
        self.record(Op::OobCleanmarker { block })
    }

    fn mark_bad(&mut self, block: u32) -> Result<(), ChipError> {
        self.record(Op::MarkBad { block })
    }

    fn sync(&mut self) -> Result<(), ChipError> {
        self.record(Op::Sync)
    }
}
