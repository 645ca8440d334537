//! Which cuts there are in a trace: those that can be named and lead to a state.

use jffs2_tx::flash::FlashKind;

use super::damage::unit_range;
use super::plan::Tears;
use super::{Cut, EraseDamage, ProgramDamage, Tear};
use crate::fault::{FlashClass, Hazard};
use crate::trace::{Op, Trace};

impl Cut {
    /// Whether `trace` can be cut there: the operation is there and of that kind, what is left of it is less than all, and
    /// the flash is one on which this happens. Random choices beyond those that are tried count.
    #[must_use]
    pub fn is_in(self, trace: &Trace) -> bool {
        let flash = FlashClass::of(trace.geometry.kind(), &trace.rules);
        let happens = Hazard::from(self.tear).tier(flash).is_some();
        happens && self.op <= trace.ops.len() && fits(trace, self)
    }
}

fn fits(trace: &Trace, Cut { op, tear }: Cut) -> bool {
    match (trace.ops.get(op), tear) {
        (_, Tear::Before) => true,
        (_, Tear::Unsynced { .. }) => Tears::of(trace, op).can_lose(),
        (Some(Op::Program { offset, data }), Tear::Program { unit, damage, n }) => {
            let torn = unit_range(*offset, data.len(), unit, trace.rules.torn_unit(&trace.geometry));
            !torn.is_empty() && program_fits(trace, torn.len(), damage, n)
        }
        (Some(Op::Erase { .. }), Tear::Erase { damage, n, oob_kept }) => erase_fits(trace, damage, n, oob_kept),
        (Some(Op::OobCleanmarker { .. }), Tear::Cleanmarker) => true,
        _ => false,
    }
}

/// Of a page or write buffer of which `len` bytes are programmed.
fn program_fits(trace: &Trace, len: usize, damage: ProgramDamage, n: u32) -> bool {
    use ProgramDamage as P;
    let (geometry, n) = (&trace.geometry, n as usize);
    let is_nor = geometry.kind() == FlashKind::Nor;
    let whole = trace.rules.torn_unit(geometry) as usize;
    match damage {
        P::Prefix | P::UnstablePrefix => n < if is_nor { len } else { whole },
        P::Suffix => n < whole,
        P::LooksBlank | P::NoEcc => !is_nor,
        P::Paired | P::PairedBlank | P::PairedDone => (1..geometry.eraseblock() as usize / whole).contains(&n),
        P::WeakBlank => is_nor,
        P::Bytes | P::Bits | P::OneBit | P::AllButOneBit | P::UnstableBits | P::Disturbed => true,
    }
}

fn erase_fits(trace: &Trace, damage: EraseDamage, n: u32, oob_kept: bool) -> bool {
    use EraseDamage as E;
    let is_nor = trace.geometry.kind() == FlashKind::Nor;
    let is_within = n <= trace.geometry.eraseblock();
    (!is_nor || !oob_kept)
        && match damage {
            E::Zeros | E::UnstableZeros => is_nor && is_within,
            E::Mixed => is_nor,
            E::Prefix | E::Suffix | E::Unstable => is_within,
            E::Bits | E::Blank => true,
        }
}
