//! Cells that change by themselves, long after they were programmed.

use jffs2_tx::flash::{Ecc, Flash};

use crate::chip::Chip;
use crate::rng::Rng;

/// About one bit in 2^7 is flipped in what cannot be corrected.
const FLIPPED_RARITY: u32 = 7;
/// Bytes that lose bits together on NOR without ECC.
const NOR_UNIT: usize = 256;

/// How far cells have decayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// ECC corrects it and says so. Where there is no ECC nothing happens.
    Correctable,
    /// ECC gives up, and some of the bytes are wrong. Where there is no ECC they are wrong, and nothing says so.
    Uncorrectable,
}

impl Chip {
    /// Lets the cells decay of the page or write unit that holds `offset`; of 256 bytes on NOR without ECC. The chip's seed picks the
    /// bits. Does nothing outside the chip.
    pub fn decay(&mut self, offset: u32, decay: Decay) {
        let geometry = *self.geometry();
        if offset >= geometry.size() {
            return;
        }
        if decay == Decay::Correctable {
            return self.set_ecc(offset, Ecc::Corrected);
        }
        let index = geometry.block_of(offset);
        let len = if geometry.can_overwrite() { NOR_UNIT } else { self.rules().program_unit as usize };
        let at = (offset % geometry.eraseblock()) as usize / len * len;
        let mut rng = Rng::keyed(&[self.seed(), u64::from(index), at as u64]);
        let block = self.block_mut(index);
        let mut cells = block.data().to_vec();
        let mut flips = vec![0; len];
        rng.fill_sparse(&mut flips, FLIPPED_RARITY);
        // Few bits are many enough: at least one.
        flips[rng.below(len as u64) as usize] |= 1;
        cells[at..at + len].iter_mut().zip(flips).for_each(|(cell, flip)| *cell ^= flip);
        block.set_cells(cells);
        block.set_ecc(at, len, Ecc::Uncorrectable);
    }
}
