//! How often eraseblocks were erased, from outside: none of the simulators tells for all devices.

use anyhow::Result;

use crate::chip::{Chip, Head};

/// Counts erased eraseblocks by what they begin with: written at once, and something else after an erase.
pub(crate) struct Wear {
    heads: Vec<Head>,
    pub(crate) erased: u32,
}

const BLANK: Head = [0xff; 24];

impl Wear {
    pub(crate) fn new(chip: &Chip) -> Result<Self> {
        Ok(Self { heads: chip.heads()?, erased: 0 })
    }

    /// Looks again. An eraseblock that was erased twice since then, or got back what it had, counts less: the count
    /// is never too high.
    pub(crate) fn look(&mut self, chip: &Chip) -> Result<()> {
        let now = chip.heads()?;
        let erased = self.heads.iter().zip(&now).filter(|(old, new)| old != new && **old != BLANK);
        self.erased += erased.count() as u32;
        self.heads = now;
        Ok(())
    }
}
