//! Cells that an interrupted program or erase has left between two levels: they read now as zeros, now as ones.
//!
//! What a read gives is a function of the seed, the place, the power-up and the number of the read. In every second power-up a page or write
//! buffer keeps to what it first read as: a read that went well proves nothing, however often it is done again.

use jffs2_tx::flash::Ecc;

use crate::rng::Rng;

/// One of so many unstable bits differs where a page reads almost as programmed, or almost as blank: 2 to the power of this.
const FEW_RARITY: u32 = 6;

/// Where and when a read is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) seed: u64,
    pub(crate) block: u32,
    /// Times that the power came on.
    pub(crate) power_up: u64,
    /// Reads since then.
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
