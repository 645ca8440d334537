//! How long operations take, by the part's times.

use jffs2_tx::flash::FlashKind;

use super::Step;
use crate::parts::{Span, Times};
use crate::trace::{Op, Trace};

/// Takes the time of operations. A NOR write buffer that is filled in part counts as a full one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    times: Times,
    kind: FlashKind,
    /// What is programmed at once, bytes.
    unit: u32,
}

impl Clock {
    pub(super) fn new(times: Times, trace: &Trace) -> Self {
        Self { times, kind: trace.geometry.kind(), unit: trace.rules.torn_unit(&trace.geometry).max(1) }
    }

    /// Gives each step the time at which it begins.
    pub(super) fn stamp(&self, trace: &Trace, steps: &mut [Step]) {
        let mut at = 0;
        for (step, op) in steps.iter_mut().zip(&trace.ops) {
            let takes = self.takes(op, |span| Some(span.typical)).unwrap_or(0);
            step.time = Some((at, takes));
            at += takes;
        }
    }

    /// The longest that all of it takes, microseconds, if the part's limits are known.
    pub(super) fn longest(&self, ops: &[Op]) -> Option<u64> {
        ops.iter().map(|op| self.takes(op, |span| span.max)).sum()
    }

    /// NAND: reading each programmed page once, without the bus, microseconds.
    pub(super) fn read_back(&self, ops: &[Op]) -> Option<u64> {
        let units: u64 = ops.iter().map(|op| self.units(op)).sum();
        (self.kind == FlashKind::Nand).then(|| units * u64::from(self.times.read_us))
    }

    fn takes(&self, op: &Op, of: fn(Span) -> Option<u32>) -> Option<u64> {
        let (span, times) = match op {
            Op::Erase { .. } => (self.times.erase_us, 1),
            _ => (self.times.program_us, self.units(op)),
        };
        if times == 0 { Some(0) } else { Some(u64::from(of(span)?) * times) }
    }

    /// Pages or write buffers that it programs.
    fn units(&self, op: &Op) -> u64 {
        match op {
            Op::Program { offset, data } if !data.is_empty() => {
                let end = u64::from(*offset) + data.len() as u64;
                end.div_ceil(u64::from(self.unit)) - u64::from(offset / self.unit)
            }
            Op::OobCleanmarker { .. } | Op::MarkBad { .. } => u64::from(self.kind == FlashKind::Nand),
            _ => 0,
        }
    }
}
