//! Doing an operation in part, as a power cut leaves it.

use std::ops::Range;

use jffs2_tx::flash::{Ecc, Flash, FlashKind};

use super::{EraseDamage, ProgramDamage, Tear};
use crate::chip::{Block, Chip, OobState, is_blank};
use crate::rng::Rng;
use crate::trace::Op;

/// About one bit in 2^6 is flipped in a page whose pair was hardly begun.
const FLIPPED_RARITY: u32 = 6;

/// About one bit in 2^10 is disturbed.
const DISTURBED_RARITY: u32 = 10;

/// Does `op` as far as `tear` says; a tear of another kind of operation leaves it undone.
pub(super) fn tear_op(chip: &mut Chip, op: &Op, tear: Tear, rng: &mut Rng) {
    match (op, tear) {
        (Op::Program { offset, data }, Tear::Program { unit, damage, n }) => {
            tear_program(chip, *offset, data, unit, (damage, n), rng);
        }
        (Op::Erase { block }, Tear::Erase { damage, n, oob_kept }) => {
            tear_erase(chip, *block, damage, n, oob_kept, rng);
        }
        (Op::OobCleanmarker { block }, Tear::Cleanmarker) => {
            let counts = chip.rules().oob_counts;
            chip.block_mut(*block).write_oob(OobState::Dirty, counts);
        }
        _ => {}
    }
}

fn tear_program(
    chip: &mut Chip,
    offset: u32,
    data: &[u8],
    unit: u32,
    (damage, n): (ProgramDamage, u32),
    rng: &mut Rng,
) {
    let geometry = *chip.geometry();
    let torn = unit_range(offset, data.len(), unit, chip.rules().torn_unit(&geometry));
    let start = (offset % geometry.eraseblock()) as usize;
    let at = start + torn.start;
    let block = chip.block_mut(geometry.block_of(offset));
    block.program(start, &data[..torn.start], &data[..torn.start]);
    let wanted = &data[torn];
    let undone: Vec<u8> = block.programmable(at, wanted.len()).zip(wanted).map(|(cell, new)| cell & !new).collect();
    let left = left_undone(&undone, damage, n as usize, rng);
    if is_unstable(damage) {
        block.program(at, wanted, wanted);
        block.unsettle(at, &left);
        return;
    }
    let actual: Vec<u8> = wanted.iter().zip(left).map(|(new, left)| new | left).collect();
    block.program(at, wanted, &actual);
    let page = geometry.write_size() as usize;
    match damage {
        ProgramDamage::NoEcc => block.set_ecc(at, wanted.len(), Ecc::Uncorrectable),
        ProgramDamage::WeakBlank => block.changed().weak = true,
        ProgramDamage::Disturbed => disturb(block, at..at + wanted.len(), geometry.kind(), rng),
        // A program of a part of a page may begin within it.
        _ if is_paired(damage) && n as usize * page <= at => {
            spoil_page(block, (at / page - n as usize) * page, page, damage, rng);
        }
        _ => {}
    }
}

/// The bytes of a program that are in its `unit`-th page or buffer; none if it has none there.
pub(super) fn unit_range(offset: u32, len: usize, unit: u32, unit_size: u32) -> Range<usize> {
    let (unit, unit_size, head) = (u64::from(unit), u64::from(unit_size), u64::from(offset % unit_size));
    let end_of = |units: u64| (units * unit_size).saturating_sub(head).min(len as u64) as usize;
    end_of(unit)..end_of(unit + 1)
}

/// Of the bits that were to be cleared, those that are not.
fn left_undone(undone: &[u8], damage: ProgramDamage, n: usize, rng: &mut Rng) -> Vec<u8> {
    let mut left = undone.to_vec();
    let len = left.len();
    match damage {
        ProgramDamage::UnstablePrefix => left[..n.min(len)].fill(0),
        ProgramDamage::Prefix => {
            left[..n.min(len)].fill(0);
            left.iter_mut().skip(n).take(1).for_each(|byte| *byte &= rng.next_u8());
        }
        ProgramDamage::Suffix => {
            let done = len.saturating_sub(n);
            left[done..].fill(0);
            left[..done].iter_mut().rev().take(1).for_each(|byte| *byte &= rng.next_u8());
        }
        ProgramDamage::Bytes => left.iter_mut().filter(|_| rng.below(2) == 0).for_each(|byte| *byte = 0),
        // Half of the bits, or all but a few.
        ProgramDamage::Bits | ProgramDamage::UnstableBits => and_sparse(&mut left, 1 + 5 * (n as u32 % 2), rng),
        ProgramDamage::OneBit => clear_one_bit(&mut left, rng),
        ProgramDamage::AllButOneBit => {
            clear_one_bit(&mut left, rng);
            left.iter_mut().zip(undone).for_each(|(left, undone)| *left ^= undone);
        }
        ProgramDamage::LooksBlank | ProgramDamage::PairedBlank | ProgramDamage::WeakBlank => {}
        ProgramDamage::NoEcc | ProgramDamage::PairedDone | ProgramDamage::Disturbed => left.fill(0),
        ProgramDamage::Paired => left[..len * 3 / 4].fill(0),
    }
    left
}

fn and_sparse(bytes: &mut [u8], rarity: u32, rng: &mut Rng) {
    let mut mask = vec![0; bytes.len()];
    rng.fill_sparse(&mut mask, rarity);
    bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
}

/// Clears one of the bits that are set, if any.
fn clear_one_bit(bytes: &mut [u8], rng: &mut Rng) {
    let ones = bytes.iter().map(|byte| u64::from(byte.count_ones())).sum();
    let mut skip = rng.below(ones) as u32;
    for byte in bytes.iter_mut() {
        if skip < byte.count_ones() {
            let bit = (0..8).filter(|bit| *byte >> bit & 1 == 1).nth(skip as usize).unwrap_or(0);
            *byte &= !(1 << bit);
            return;
        }
        skip -= byte.count_ones();
    }
}

fn is_unstable(damage: ProgramDamage) -> bool {
    matches!(damage, ProgramDamage::UnstablePrefix | ProgramDamage::UnstableBits)
}

fn is_paired(damage: ProgramDamage) -> bool {
    matches!(damage, ProgramDamage::Paired | ProgramDamage::PairedBlank | ProgramDamage::PairedDone)
}

/// A page that shared its cells with the torn one, if it was programmed at all. The program had hardly begun where the
/// torn page reads blank: then few bits are flipped.
fn spoil_page(block: &mut Block, at: usize, page: usize, damage: ProgramDamage, rng: &mut Rng) {
    let mut cells = block.data().to_vec();
    let spoilt = &mut cells[at..at + page];
    if is_blank(spoilt) {
        return;
    }
    match damage {
        ProgramDamage::PairedBlank => {
            let mut flips = vec![0; page];
            rng.fill_sparse(&mut flips, FLIPPED_RARITY);
            spoilt.iter_mut().zip(flips).for_each(|(cell, flip)| *cell ^= flip);
        }
        _ => rng.fill(spoilt),
    }
    block.set_cells(cells);
}

/// Changes bits of the eraseblock outside of what was being programmed: on NOR some are cleared, on NAND some are flipped in
/// pages that are programmed.
fn disturb(block: &mut Block, programmed: Range<usize>, kind: FlashKind, rng: &mut Rng) {
    let mut cells = block.data().to_vec();
    let mut mask = vec![0; cells.len()];
    rng.fill_sparse(&mut mask, DISTURBED_RARITY);
    mask[programmed].fill(0);
    for (at, (cell, mask)) in cells.iter_mut().zip(mask).enumerate() {
        match kind {
            FlashKind::Nor => *cell &= !mask,
            FlashKind::Nand if block.units(at, 1).iter().any(|unit| unit.programmed) => *cell ^= mask,
            FlashKind::Nand => {}
        }
    }
    block.set_cells(cells);
}

fn tear_erase(chip: &mut Chip, block: u32, damage: EraseDamage, n: u32, oob_kept: bool, rng: &mut Rng) {
    let buffer = chip.rules().write_buffer as usize;
    chip.count_erase(block);
    let block = chip.block_mut(block);
    let mut cells = block.data().to_vec();
    let len = cells.len();
    let n = (n as usize).min(len);
    let mut unstable = vec![0; len];
    match damage {
        EraseDamage::Unstable => {
            cells[..n].fill(0xff);
            unstable[n..].iter_mut().zip(&cells[n..]).for_each(|(unstable, cell)| *unstable = !cell);
        }
        EraseDamage::UnstableZeros => {
            // In the order of addresses: what comes later is as it was.
            cells[..n].fill(0);
            let end = len.min(n + buffer);
            unstable[n..end].copy_from_slice(&cells[n..end]);
        }
        EraseDamage::Zeros => cells[..n].fill(0),
        EraseDamage::Mixed => mix(&mut cells, rng),
        EraseDamage::Bits => erase_bits(&mut cells, n as u32, rng),
        EraseDamage::Prefix => cells[..n].fill(0xff),
        EraseDamage::Suffix => cells[len - n..].fill(0xff),
        EraseDamage::Blank => cells.fill(0xff),
    }
    block.set_cells(cells);
    block.unsettle(0, &unstable);
    block.weak = true;
    if !oob_kept {
        block.oob = OobState::Blank;
    }
}

/// Each byte stays, becomes zero or becomes random.
fn mix(cells: &mut [u8], rng: &mut Rng) {
    for cell in cells {
        match rng.below(3) {
            0 => *cell = 0,
            1 => *cell = rng.next_u8(),
            _ => {}
        }
    }
}

/// Sets bits: about half of them; one in 16; one in 1024; all but one in 64.
fn erase_bits(cells: &mut [u8], variant: u32, rng: &mut Rng) {
    let mut mask = vec![0; cells.len()];
    rng.fill_sparse(&mut mask, [1, 4, 10, 6][variant as usize % 4]);
    let flip = if variant % 4 == 3 { 0xff } else { 0 };
    cells.iter_mut().zip(mask).for_each(|(cell, mask)| *cell |= mask ^ flip);
}
