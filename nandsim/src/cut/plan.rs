//! Which cuts to try: all of a trace, or a sample that looks hardest at its end, where a transaction commits.

use std::collections::BTreeSet;
use std::ops::Range;

use jffs2_tx::flash::{FlashKind, Geometry};

use super::{Cut, EraseDamage, ProgramDamage, Tear};
use crate::chip::{Pairing, Rules};
use crate::rng::Rng;
use crate::trace::{Op, Trace};

/// Choices of what is lost where operations have not been synced.
const UNSYNCED_VARIANTS: u32 = 3;
/// The last programs that a sample looks hardest at.
const LAST_PROGRAMS: usize = 8;

/// Besides a prefix for each byte and two suffixes, what may become of a NOR write buffer.
const NOR_RANDOM: [(ProgramDamage, u32); 8] = [
    (ProgramDamage::Bytes, 0),
    (ProgramDamage::Bytes, 1),
    (ProgramDamage::Bits, 0),
    (ProgramDamage::Bits, 1),
    (ProgramDamage::OneBit, 0),
    (ProgramDamage::OneBit, 1),
    (ProgramDamage::AllButOneBit, 0),
    (ProgramDamage::AllButOneBit, 1),
];

/// Every cut of tier 1, by operation: each byte of each program on NOR, each page on NAND with its variants, each
/// erase half done, and the end of the trace.
pub fn cuts_all(trace: &Trace) -> impl Iterator<Item = Cut> + '_ {
    (0..=trace.ops.len()).flat_map(move |op| {
        let tears = Tears::of(trace, op);
        (0..tears.len()).map(move |i| Cut { op, tear: tears.get(i) })
    })
}

/// About `n` cuts, by operation: up to half in the last programs and what stands between them, up to a quarter between
/// operations, the rest anywhere, half of them by bytes and half by operations. The same for the same seed.
#[must_use]
pub fn cuts_sampled(trace: &Trace, n: usize, seed: u64) -> Vec<Cut> {
    let sums = tear_sums(trace);
    let end = trace.ops.len();
    let all = sums[end];
    if all <= n as u64 {
        return cuts_all(trace).collect();
    }
    let mut cuts = BTreeSet::new();
    let tail = start_of_last_programs(trace)..end + 1;
    for op in tail.clone() {
        let tears = Tears::of(trace, op);
        cuts.extend(evenly(n / 2 / tail.len(), tears.len()).map(|i| Cut { op, tear: tears.get(i) }));
    }
    cuts.extend(evenly(n / 4, end as u64 + 1).map(|op| Cut { op: op as usize, tear: Tear::Before }));
    let mut rng = Rng::keyed(&[seed, n as u64]);
    while cuts.len() < n {
        cuts.insert(nth_cut(trace, &sums, rng.below(all)));
        let op = rng.below(end as u64 + 1) as usize;
        let tears = Tears::of(trace, op);
        cuts.insert(Cut { op, tear: tears.get(rng.below(tears.len())) });
    }
    cuts.into_iter().collect()
}

fn start_of_last_programs(trace: &Trace) -> usize {
    let programs = trace.ops.iter().enumerate().rev().filter(|(_, op)| matches!(op, Op::Program { .. }));
    programs.map(|(i, _)| i).take(LAST_PROGRAMS).last().unwrap_or(0)
}

/// For each operation, the cuts in it and in all before it.
fn tear_sums(trace: &Trace) -> Vec<u64> {
    let counts = (0..=trace.ops.len()).map(|op| Tears::of(trace, op).len());
    counts
        .scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
        .collect()
}

/// The cut that [`cuts_all`] gives at `i`.
fn nth_cut(trace: &Trace, sums: &[u64], i: u64) -> Cut {
    let op = sums.partition_point(|&sum| sum <= i);
    let before = if op == 0 { 0 } else { sums[op - 1] };
    Cut { op, tear: Tears::of(trace, op).get(i - before) }
}

/// At most `n` of the numbers below `end`, its first and last among them; the last if there is but one.
fn evenly(n: usize, end: u64) -> impl Iterator<Item = u64> {
    let n = end.min(n as u64);
    (0..n).map(move |i| if i + 1 == n { end - 1 } else { i * (end - 1) / (n - 1) })
}

/// The tears of one operation, numbered.
pub(super) struct Tears<'t> {
    geometry: Geometry,
    rules: Rules,
    op: Option<&'t Op>,
    unsynced: u32,
}

impl<'t> Tears<'t> {
    pub(super) fn of(trace: &'t Trace, op: usize) -> Self {
        // With one operation to lose there is nothing new: that is the cut before it.
        let synced = op < 2 || trace.ops[op - 1] == Op::Sync || trace.ops[op - 2] == Op::Sync;
        let unsynced = if synced { 0 } else { UNSYNCED_VARIANTS };
        Self { geometry: trace.geometry, rules: trace.rules, op: trace.ops.get(op), unsynced }
    }

    /// Whether there are operations before this one that may be lost.
    pub(super) fn can_lose(&self) -> bool {
        self.unsynced > 0
    }

    pub(super) fn len(&self) -> u64 {
        let own = match self.op {
            Some(Op::Program { offset, data }) => {
                let prefixes = if self.geometry.kind() == FlashKind::Nor { data.len() as u64 } else { 0 };
                prefixes
                    + self
                        .units(*offset, data.len())
                        .map(|unit| self.damages_of(*offset, unit).len() as u64)
                        .sum::<u64>()
            }
            Some(Op::Erase { .. }) => erase_tears(&self.geometry).len() as u64,
            Some(Op::OobCleanmarker { .. }) => 1,
            Some(Op::MarkBad { .. } | Op::Sync) | None => 0,
        };
        1 + u64::from(self.unsynced) + own
    }

    /// The tear at `i`, which is below [`len`](Self::len).
    pub(super) fn get(&self, i: u64) -> Tear {
        if i == 0 {
            return Tear::Before;
        }
        if i <= u64::from(self.unsynced) {
            return Tear::Unsynced { variant: i as u32 - 1 };
        }
        let i = (i - 1 - u64::from(self.unsynced)) as usize;
        match self.op {
            Some(Op::Program { offset, data }) => match self.geometry.kind() {
                FlashKind::Nor if i < data.len() => self.prefix(*offset, i as u32),
                FlashKind::Nor => self.damage(*offset, data.len(), i - data.len()),
                FlashKind::Nand => self.damage(*offset, data.len(), i),
            },
            Some(Op::Erase { .. }) => erase_tears(&self.geometry)[i],
            Some(Op::OobCleanmarker { .. }) => Tear::Cleanmarker,
            Some(Op::MarkBad { .. } | Op::Sync) | None => Tear::Before,
        }
    }

    /// The pages or write buffers that a program covers, in part or whole.
    pub(super) fn units(&self, offset: u32, len: usize) -> Range<u32> {
        let unit = self.rules.torn_unit(&self.geometry);
        0..(offset % unit + len as u32).div_ceil(unit)
    }

    /// NOR: a program stopped after `done` bytes.
    fn prefix(&self, offset: u32, done: u32) -> Tear {
        let buffer = self.rules.write_buffer;
        let head = offset % buffer;
        let unit = (head + done) / buffer;
        let start = (unit * buffer).saturating_sub(head);
        Tear::Program { unit, damage: ProgramDamage::Prefix, n: done - start }
    }

    /// The damage at `i` of all that the units of a program may take.
    fn damage(&self, offset: u32, len: usize, mut i: usize) -> Tear {
        for unit in self.units(offset, len) {
            let damages = self.damages_of(offset, unit);
            if let Some(&(damage, n)) = damages.get(i) {
                return Tear::Program { unit, damage, n };
            }
            i -= damages.len();
        }
        Tear::Before
    }

    fn damages_of(&self, offset: u32, unit: u32) -> Vec<(ProgramDamage, u32)> {
        match self.geometry.kind() {
            FlashKind::Nor => nor_damage(self.rules.write_buffer),
            FlashKind::Nand => {
                let (page, pages) =
                    (self.geometry.write_size(), self.geometry.eraseblock() / self.geometry.write_size());
                nand_damage(page, paired_damage(self.rules.pairing, (offset / page + unit) % pages, pages))
            }
        }
    }
}

fn nor_damage(buffer: u32) -> Vec<(ProgramDamage, u32)> {
    let suffixes = [buffer / 4, buffer * 3 / 4].map(|n| (ProgramDamage::Suffix, n));
    [&suffixes[..], &NOR_RANDOM].concat()
}

fn nand_damage(page: u32, paired: Vec<(ProgramDamage, u32)>) -> Vec<(ProgramDamage, u32)> {
    use ProgramDamage::{AllButOneBit, Bits, Bytes, LooksBlank, NoEcc, OneBit, Prefix, Suffix};
    let alone = [
        (Prefix, 0),
        (Prefix, 1),
        (Prefix, page / 4),
        (Prefix, page / 2),
        (Prefix, page - 1),
        (Suffix, 1),
        (Suffix, page / 2),
        (Suffix, page - 1),
        (Bytes, 0),
        (Bytes, 1),
        (Bits, 0),
        (Bits, 1),
        (OneBit, 0),
        (OneBit, 1),
        (AllButOneBit, 0),
        (AllButOneBit, 1),
        (LooksBlank, 0),
        (NoEcc, 0),
    ];
    [&alone[..], &paired].concat()
}

/// Damage that reaches an earlier page of the eraseblock.
fn paired_damage(pairing: Pairing, page: u32, pages: u32) -> Vec<(ProgramDamage, u32)> {
    use ProgramDamage::{Paired, PairedBlank, PairedDone};
    match (pairing, pairing.distance(page, pages)) {
        (Pairing::Unknown, _) => vec![(Paired, 1), (Paired, 3)],
        (_, Some(n)) => vec![(Paired, n), (PairedBlank, n), (PairedDone, n)],
        (_, None) => Vec::new(),
    }
}

fn erase_tears(geometry: &Geometry) -> Vec<Tear> {
    let (whole, head) = (geometry.eraseblock(), geometry.blank_head());
    let parts = |damage, lens: &[u32]| lens.iter().map(|&n| (damage, n)).collect::<Vec<_>>();
    let mut damages = [
        parts(EraseDamage::Prefix, &[256, head, whole / 4, whole / 2, whole - 256]),
        parts(EraseDamage::Suffix, &[256, whole / 4, whole / 2, whole - head, whole - 16]),
        parts(EraseDamage::Bits, &[0, 1, 2, 3]),
        parts(EraseDamage::Blank, &[0]),
    ]
    .concat();
    if geometry.kind() == FlashKind::Nor {
        damages.extend(parts(EraseDamage::Zeros, &[64, 256, head, whole / 4, whole / 2, whole]));
        damages.extend(parts(EraseDamage::Mixed, &[0, 1, 2, 3]));
    }
    // In small eraseblocks some lengths are equal.
    damages.sort_unstable();
    damages.dedup();
    let kept: &[bool] = if geometry.kind() == FlashKind::Nand { &[false, true] } else { &[false] };
    let tear = |(damage, n)| kept.iter().map(move |&oob_kept| Tear::Erase { damage, n, oob_kept });
    damages.into_iter().flat_map(tear).collect()
}
