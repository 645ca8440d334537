//! Cuts beyond those of [`cuts_all`](super::cuts_all), by tier.

use jffs2_tx::flash::FlashKind;

use super::damage::unit_range;
use super::plan::{Tears, cuts_sampled};
use super::{Cut, EraseDamage, ProgramDamage, Tear};
use crate::chip::Pairing;
use crate::fault::Tier;
use crate::trace::{Op, Trace};

/// The cuts of a tier that [`cuts_all`](super::cuts_all) does not give, by operation. It gives all of tier 1 but NOR that
/// reads blank and is weak.
pub fn cuts_of_tier(trace: &Trace, tier: Tier) -> impl Iterator<Item = Cut> + '_ {
    (0..trace.ops.len()).flat_map(move |op| tears(trace, op, tier).into_iter().map(move |tear| Cut { op, tear }))
}

/// Every cut that is modelled up to a tier, by operation.
pub fn cuts_up_to(trace: &Trace, tier: Tier) -> impl Iterator<Item = Cut> + '_ {
    let tiers = move || Tier::ALL.into_iter().filter(move |of| *of <= tier);
    (0..=trace.ops.len()).flat_map(move |op| {
        let all = Tears::of(trace, op);
        let more = tiers().filter(move |_| op < trace.ops.len()).flat_map(move |tier| tears(trace, op, tier));
        (0..all.len()).map(move |i| all.get(i)).chain(more).map(move |tear| Cut { op, tear })
    })
}

/// All of them if they are no more than `n`; else `n` as [`cuts_sampled`] picks them, and of those that it does not know
/// `n` more, evenly.
#[must_use]
pub fn cuts_sampled_up_to(trace: &Trace, tier: Tier, n: usize, seed: u64) -> Vec<Cut> {
    if cuts_up_to(trace, tier).nth(n).is_none() {
        return cuts_up_to(trace, tier).collect();
    }
    let others: Vec<Cut> =
        Tier::ALL.into_iter().filter(|of| *of <= tier).flat_map(|tier| cuts_of_tier(trace, tier)).collect();
    let mut cuts = cuts_sampled(trace, n, seed);
    cuts.extend(others.iter().step_by(1 + others.len() / n.max(1)));
    cuts.sort_unstable();
    cuts
}

fn tears(trace: &Trace, op: usize, tier: Tier) -> Vec<Tear> {
    match &trace.ops[op] {
        Op::Program { offset, data } => {
            let torn_unit = trace.rules.torn_unit(&trace.geometry);
            let of_unit = |unit| {
                let len = unit_range(*offset, data.len(), unit, torn_unit).len() as u32;
                damages(trace, tier, len).into_iter().map(move |(damage, n)| Tear::Program { unit, damage, n })
            };
            Tears::of(trace, op).units(*offset, data.len()).flat_map(of_unit).collect()
        }
        Op::Erase { .. } if tier == Tier::Two => unstable_erases(trace),
        _ => Vec::new(),
    }
}

/// Of a page or write buffer of which `len` bytes are programmed.
fn damages(trace: &Trace, tier: Tier, len: u32) -> Vec<(ProgramDamage, u32)> {
    let kind = trace.geometry.kind();
    let is_mlc = kind == FlashKind::Nand && trace.rules.pairing != Pairing::Unknown;
    match tier {
        Tier::One if kind == FlashKind::Nor => vec![(ProgramDamage::WeakBlank, 0)],
        Tier::Two => {
            let mut prefixes = vec![0, 1, len / 4, len / 2, len * 3 / 4, len.saturating_sub(1)];
            prefixes.sort_unstable();
            prefixes.dedup();
            let prefixes = prefixes.into_iter().filter(|n| *n < len).map(|n| (ProgramDamage::UnstablePrefix, n));
            let bits = [(ProgramDamage::UnstableBits, 0), (ProgramDamage::UnstableBits, 1)];
            let disturbed = is_mlc.then_some((ProgramDamage::Disturbed, 0));
            prefixes.chain(bits).chain(disturbed).collect()
        }
        Tier::Three if kind == FlashKind::Nor => vec![(ProgramDamage::Disturbed, 0), (ProgramDamage::Disturbed, 1)],
        Tier::One | Tier::Three => Vec::new(),
    }
}

fn unstable_erases(trace: &Trace) -> Vec<Tear> {
    let (whole, head) = (trace.geometry.eraseblock(), trace.geometry.blank_head());
    let mut damages: Vec<_> = [0, head, whole / 2].map(|n| (EraseDamage::Unstable, n)).into();
    let mut kept = vec![false];
    match trace.geometry.kind() {
        // Not from 0 on: DESIGN.md, section 11, has what a kernel does with a cleanmarker that is left so.
        FlashKind::Nor => damages.extend([64, head, whole / 2].map(|n| (EraseDamage::UnstableZeros, n))),
        FlashKind::Nand => kept.push(true),
    }
    damages.dedup();
    let tear = |(damage, n)| kept.iter().map(move |&oob_kept| Tear::Erase { damage, n, oob_kept });
    damages.into_iter().flat_map(tear).collect()
}
