//! Cells that an interrupted program or erase has left between two levels: they read now as zeros, now as ones.
//!
//! What a read gives is a function of the seed, the place, the power-up and the number of the read. In every second power-up a page or write
//! buffer keeps to what it first read as: a read that went well proves nothing, however often it is done again.

use jffs2_tx::flash::Ecc;

use super::block::{Block, is_blank};
use crate::rng::Rng;

/// One of so many unstable bits differs where a page reads almost as programmed, or almost as blank: 2 to the power of this.
const FEW_RARITY: u32 = 6;

/// Bytes of NOR without ECC that read alike: a write buffer.
const NOR_UNIT: usize = 256;

/// Where and when a read is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) seed: u64,
    pub(crate) block: u32,
    /// Times that the power came on.
    pub(crate) power_up: u64,
    /// Reads of unstable cells since then.
    pub(crate) read: u64,
}

/// What a read makes of the unstable cells of a page or write buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// All as programmed.
    Done,
    /// All as programmed, once ECC has corrected some.
    Corrected,
    /// All as blank.
    Blank,
    /// Most as programmed.
    NearlyDone,
    /// Most as blank.
    NearlyBlank,
    /// Each as it likes.
    Half,
}

/// One more `Half`, so that each has the same share of 8.
const MOODS: [Mood; 8] = {
    use Mood::{Blank, Corrected, Done, Half, NearlyBlank, NearlyDone};
    [Done, Corrected, Blank, Blank, NearlyDone, NearlyBlank, Half, Half]
};

impl Moment {
    /// The bits of `unstable`, the mask of the unit that starts at `start` in its eraseblock, that read as ones; and what ECC
    /// says if that is none of them.
    pub(crate) fn ones(self, start: usize, unstable: &[u8]) -> (Vec<u8>, Ecc) {
        let key = [self.seed, u64::from(self.block), start as u64, self.power_up];
        let mut rng = Rng::keyed(&key);
        if rng.below(2) == 0 {
            rng = Rng::keyed(&[&key[..], &[self.read]].concat());
        }
        let mood = MOODS[rng.below(MOODS.len() as u64) as usize];
        let mut ones = vec![0; unstable.len()];
        match mood {
            Mood::Done | Mood::Corrected => {}
            Mood::Blank => ones.fill(0xff),
            Mood::NearlyDone => rng.fill_sparse(&mut ones, FEW_RARITY),
            Mood::NearlyBlank => {
                rng.fill_sparse(&mut ones, FEW_RARITY);
                ones.iter_mut().for_each(|byte| *byte = !*byte);
            }
            Mood::Half => rng.fill(&mut ones),
        }
        ones.iter_mut().zip(unstable).for_each(|(one, unstable)| *one &= unstable);
        (ones, if mood == Mood::Corrected { Ecc::Corrected } else { Ecc::Clean })
    }
}

impl Block {
    /// Whether reads may differ.
    pub(crate) fn is_unstable(&self) -> bool {
        !self.unstable.is_empty()
    }

    /// The cells from `start` on as programs find them: unstable ones can still be cleared.
    pub(crate) fn programmable(&self, start: usize, len: usize) -> impl Iterator<Item = u8> {
        let unstable = self.unstable.get(start..start + len).unwrap_or_default();
        let unstable = unstable.iter().copied().chain(std::iter::repeat(0));
        self.data[start..start + len].iter().zip(unstable).map(|(cell, unstable)| cell | unstable)
    }

    /// Leaves the bits that are set in `bits` unstable, from `start` on.
    pub(crate) fn unsettle(&mut self, start: usize, bits: &[u8]) {
        self.changed();
        self.unstable.resize(self.data.len(), 0);
        self.unstable[start..].iter_mut().zip(bits).for_each(|(unstable, bits)| *unstable |= bits);
        self.data[start..].iter_mut().zip(bits).for_each(|(cell, bits)| *cell &= !bits);
        self.forget_settled();
    }

    /// Leaves only those of `bits` unstable that were so, from `start` on.
    pub(super) fn settle(&mut self, start: usize, bits: impl Iterator<Item = u8>) {
        if self.is_unstable() {
            self.unstable[start..].iter_mut().zip(bits).for_each(|(unstable, bits)| *unstable &= bits);
            self.forget_settled();
        }
    }

    fn forget_settled(&mut self) {
        if self.unstable.iter().all(|byte| *byte == 0) {
            self.unstable = Vec::new();
        }
    }

    /// Reads from `start` on at some moment; the worst of what ECC says.
    pub(crate) fn read(&self, start: usize, out: &mut [u8], moment: Moment) -> Ecc {
        out.copy_from_slice(&self.data[start..start + out.len()]);
        if !self.is_unstable() {
            return self.units(start, out.len()).iter().fold(Ecc::Clean, |worst, unit| worst.max(unit.ecc));
        }
        let unit_len = self.alike_len();
        let end = start + out.len();
        let mut worst = Ecc::Clean;
        for unit in (start / unit_len * unit_len..end).step_by(unit_len) {
            let (cells, ecc) = self.unit_read(unit, unit_len, moment);
            worst = worst.max(ecc);
            let (from, to) = (unit.max(start), (unit + unit_len).min(end));
            out[from - start..to - start].copy_from_slice(&cells[from - unit..to - unit]);
        }
        worst
    }

    /// The whole unit at `start` as it reads at some moment, and what ECC says of it.
    fn unit_read(&self, start: usize, len: usize, moment: Moment) -> (Vec<u8>, Ecc) {
        let mut cells = self.data[start..start + len].to_vec();
        let kept = self.units(start, 1).first().map_or(Ecc::Clean, |unit| unit.ecc);
        let unstable = &self.unstable[start..start + len];
        if unstable.iter().all(|byte| *byte == 0) {
            return (cells, kept);
        }
        let (ones, corrected) = moment.ones(start, unstable);
        cells.iter_mut().zip(&ones).for_each(|(cell, ones)| *cell |= ones);
        let as_programmed = ones.iter().all(|byte| *byte == 0);
        let ecc = match as_programmed {
            _ if self.units.is_empty() => Ecc::Clean,
            true => kept.max(corrected),
            false if is_blank(&cells) => Ecc::Clean,
            false => Ecc::Uncorrectable,
        };
        (cells, ecc)
    }

    /// The eraseblock with its cells as they read at some moment, and none of them unstable.
    pub(crate) fn as_read(&self, moment: Moment) -> Self {
        let mut stable = self.clone();
        stable.unstable = Vec::new();
        let unit_len = self.alike_len();
        for start in (0..self.data.len()).step_by(unit_len) {
            let (cells, ecc) = self.unit_read(start, unit_len, moment);
            stable.data[start..start + unit_len].copy_from_slice(&cells);
            stable.set_ecc(start, 1, ecc);
        }
        stable
    }

    /// Bytes in which unstable cells read alike.
    fn alike_len(&self) -> usize {
        if self.units.is_empty() { NOR_UNIT.min(self.data.len()) } else { self.unit_len() }
    }
}
