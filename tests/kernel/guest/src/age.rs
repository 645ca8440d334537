//! Lets a file system grow old: random work, mount after mount, until its eraseblocks have been erased several times,
//! with copies of the flash taken at moments when the power might have failed.

mod acts;
mod names;
mod rng;
mod wear;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kernel_guest::script::{Age, CaseStep};
use nix::mount::MsFlags;

use crate::chip::{BlockCopy, Chip};
use crate::judge::mounted;
pub(crate) use acts::{SMALL, Work};
pub(crate) use rng::Rng;
use wear::Wear;

/// More work than it ever takes; a kernel that erases nothing must not keep us for ever.
const MAX_ACTS: u32 = 30_000;
/// Acts between two looks at what was erased.
const LOOK_EVERY: u32 = 8;

/// Ages the file system on a chip; the copies taken on the way. It ends unmounted.
pub(crate) fn grow_old(chip: &Chip, case: &CaseStep, age: Age, root: &Path) -> Result<Vec<Vec<BlockCopy>>> {
    let mut life = Life {
        chip,
        age,
        wear: Wear::new(chip)?,
        enough: age.turns * chip.blocks(),
        work: Work::new(root, age.seed.into(), acts::LARGE),
        rng: Rng::new(u64::from(age.seed) << 32),
        acts: 0,
        cuts: Vec::new(),
    };
    let mut mounts = 0;
    while life.goes_on() {
        mounted(chip, MsFlags::empty(), age.compressor.mount_option(mounts), |_| life.one_mount())?;
        mounts += 1;
        // A sign of life.
        println!("MOUNTED {} {mounts}", case.name);
    }
    ensure!(life.acts < MAX_ACTS, "only {} of {} erases after {MAX_ACTS} acts", life.wear.erased, life.enough);
    println!(
        "AGED {} mounts={mounts} acts={} written={} erased={} blocks={} full={}",
        case.name,
        life.acts,
        life.work.written,
        life.wear.erased,
        chip.blocks(),
        life.work.full
    );
    Ok(life.cuts)
}

struct Life<'a> {
    chip: &'a Chip,
    age: Age,
    wear: Wear,
    /// Erases after which it ends.
    enough: u32,
    work: Work,
    /// For what is not work: the same work is done whatever is looked at.
    rng: Rng,
    acts: u32,
    cuts: Vec<Vec<BlockCopy>>,
}

impl Life<'_> {
    fn goes_on(&self) -> bool {
        self.wear.erased < self.enough && self.acts < MAX_ACTS
    }

    fn one_mount(&mut self) -> Result<()> {
        self.work.begin().context("look around")?;
        let end = self.acts + self.rng.between(50, 250) as u32;
        while self.acts < end && self.goes_on() {
            self.act()?;
            if self.acts.is_multiple_of(LOOK_EVERY) {
                self.wear.look(self.chip)?;
                self.cut_if_due()?;
            }
        }
        self.work.end();
        Ok(())
    }

    fn act(&mut self) -> Result<()> {
        self.acts += 1;
        self.work.act()
    }

    /// The cuts are spread over the whole life.
    fn cut_if_due(&mut self) -> Result<()> {
        let number = self.cuts.len() as u32 + 1;
        if number <= self.age.cuts && self.wear.erased >= self.enough * number / (self.age.cuts + 1) {
            let copy = self.cut()?;
            self.cuts.push(copy);
        }
        Ok(())
    }

    /// What the flash holds right after an act, nothing synced; of every second copy one of the eraseblocks that were
    /// just written ends earlier.
    fn cut(&mut self) -> Result<Vec<BlockCopy>> {
        let before = self.chip.copy()?;
        self.work.written_since = 0;
        while self.work.written_since == 0 && self.acts < MAX_ACTS {
            self.act()?;
        }
        let mut after = self.chip.copy()?;
        if self.cuts.len().is_multiple_of(2) {
            let changed: Vec<usize> = (0..after.len()).filter(|&at| after[at].data != before[at].data).collect();
            if let Some(&at) = self.rng.pick(&changed) {
                tear(&mut self.rng, &before[at].data, &mut after[at].data);
            }
        }
        Ok(after)
    }
}

/// Takes back the end of what was written.
fn tear(rng: &mut Rng, before: &[u8], after: &mut [u8]) {
    let differs = |at: &usize| before[*at] != after[*at];
    let all = 0..after.len();
    let (Some(first), Some(last)) = (all.clone().find(differs), all.rev().find(differs)) else { return };
    let from = rng.between(first as u64, last as u64 + 1) as usize;
    after[from..=last].fill(0xff);
}
