//! Walks a trace once and makes the chip that each cut leaves.

use std::collections::BTreeMap;

use super::damage::tear_op;
use super::{Cut, Tear};
use crate::chip::Chip;
use crate::rng::Rng;
use crate::trace::{Op, Trace};

/// Gives each cut with the chip that it leaves, the power back on. Cuts are cheapest in ascending order of operations:
/// each costs a copy of one eraseblock; a step back starts the walk over.
///
/// # Panics
/// When it gets to an operation that the chip refuses: the trace was recorded from another state.
#[derive(Clone, Debug)]
pub struct Walker<'t, I> {
    trace: &'t Trace,
    cuts: I,
    seed: u64,
    start: Chip,
    /// After the operations before `at`.
    chip: Chip,
    at: usize,
    /// After the last sync before `at`, and the operation that follows it.
    synced: (Chip, usize),
}

impl<'t, I: Iterator<Item = Cut>> Walker<'t, I> {
    /// Walks `trace`, which was recorded from the state `start`. `seed` picks what is random in the tears.
    #[must_use]
    pub fn new(start: Chip, trace: &'t Trace, seed: u64, cuts: I) -> Self {
        Self { trace, cuts, seed, chip: start.clone(), at: 0, synced: (start.clone(), 0), start }
    }

    /// Does the operations before `op`.
    fn go_to(&mut self, op: usize) {
        if op < self.at {
            (self.chip, self.at, self.synced) = (self.start.clone(), 0, (self.start.clone(), 0));
        }
        while let Some(next) = self.trace.ops[self.at..op.min(self.trace.ops.len())].first() {
            // Operations that failed when they were recorded fail again, and have done as much.
            let result = next.apply(&mut self.chip);
            assert!(!result.is_err_and(|e| e.is_violation()), "the trace was recorded from another state");
            self.at += 1;
            if *next == Op::Sync {
                self.synced = (self.chip.clone(), self.at);
            }
        }
    }

    fn torn(&self, cut: Cut) -> Chip {
        let mut rng = Rng::keyed(&[self.seed, cut.op as u64, tear_key(cut.tear)]);
        if let Tear::Unsynced { variant } = cut.tear {
            return self.with_unsynced_lost(variant, &mut rng);
        }
        let mut chip = self.chip.clone();
        if let Some(op) = self.trace.ops.get(cut.op) {
            tear_op(&mut chip, op, cut.tear, &mut rng);
        }
        chip
    }

    /// The state at the last sync, and of the operations since then the first few on each eraseblock.
    fn with_unsynced_lost(&self, variant: u32, rng: &mut Rng) -> Chip {
        let (mut chip, from) = self.synced.clone();
        let window = &self.trace.ops[from..self.at];
        let block_of = |op: &Op| op.block(&self.trace.geometry);
        let mut arriving = BTreeMap::new();
        for op in window {
            *arriving.entry(block_of(op)).or_insert(0_u64) += 1;
        }
        let last = window.last().and_then(block_of);
        for (block, count) in &mut arriving {
            *count = match variant {
                0 if *block == last => *count,
                0 => 0,
                _ => rng.below(*count + 1),
            };
        }
        for op in window {
            if let Some(left @ 1..) = arriving.get_mut(&block_of(op)) {
                *left -= 1;
                // Faults planned by number strike other operations now; what the rules forbid then is lost as well.
                let _ = op.apply(&mut chip);
            }
        }
        chip
    }
}

impl<I: Iterator<Item = Cut>> Iterator for Walker<'_, I> {
    type Item = (Cut, Chip);

    fn next(&mut self) -> Option<(Cut, Chip)> {
        let cut = self.cuts.next()?;
        self.go_to(cut.op);
        Some((cut, self.torn(cut)))
    }
}

/// A number of its own for each tear.
fn tear_key(tear: Tear) -> u64 {
    let (kind, a, b) = match tear {
        Tear::Before => (0, 0, 0),
        Tear::Unsynced { variant } => (1, 0, variant),
        Tear::Cleanmarker => (2, 0, 0),
        Tear::Program { unit, damage, n } => (16 + damage as u64, unit, n),
        Tear::Erase { damage, n, oob_kept } => (32 + damage as u64, u32::from(oob_kept), n),
    };
    // Units and lengths are below 2^28: an eraseblock has at most 16 MiB.
    kind << 56 | u64::from(a) << 28 | u64::from(b)
}
