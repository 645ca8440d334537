//! What one flash state is put through.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use jffs2_tx::flash::Flash;
use jffs2_tx::log::free_block;
use jffs2_tx::tx::{RecoverReport, TxError, recover};
use jffs2_tx::wire::CommitPoint;

use super::Torture;
use crate::chip::{Chip, ChipError};
use crate::content::ContentId;
use crate::cut::{Walker, cuts_sampled};
use crate::judge::{Judge, Verdict};
use crate::reader::ByReader;
use crate::trace::Recorder;

/// Of so many states one gets the update again without a recovery before it; a large update, four times as rarely.
const DIRECTLY: u128 = 64;
/// Of so many states one gets the power cut a second time, in recovery and in the update done again.
const SECOND_CUTS: u128 = 256;
/// Second cuts in each.
const SECOND_CUTS_EACH: usize = 24;

/// When a state is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// As the power cut left it.
    Cut,
    /// After recovery.
    Recovered,
    /// After recovery and the update done again.
    Redone,
    /// After the update done again without recovery.
    RedoneDirectly,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "after the cut",
            Self::Recovered => "after recovery",
            Self::Redone => "after recovery and the update done again",
            Self::RedoneDirectly => "after the update done again without recovery",
        })
    }
}

/// What came of doing the update again, by the state that it was done on. Few states are left after recovery, so
/// threads share it.
#[derive(Debug, Default)]
pub(super) struct Redone(Mutex<HashMap<ContentId, Result<(), Verdict>>>);

impl Redone {
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Two threads may compute the same; that is rare.
    fn get_or(&self, id: ContentId, compute: impl FnOnce() -> Result<(), Verdict>) -> Result<(), Verdict> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&id).cloned();
        known.unwrap_or_else(|| {
            let result = compute();
            lock().insert(id, result.clone());
            result
        })
    }
}

/// What only some states are put through.
#[derive(Clone, Copy)]
struct More {
    directly: bool,
    second_cuts: bool,
}

/// Puts states through all that must hold for them.
pub(super) struct Trial<'t> {
    torture: &'t Torture,
    judge: Judge,
    redone: &'t Redone,
}

type Observer<'o> = &'o mut dyn FnMut(Stage, &ByReader<Verdict>);

impl<'t> Trial<'t> {
    pub(super) fn new(torture: &'t Torture, redone: &'t Redone) -> Self {
        let judge = Judge::new(torture.start.geometry(), torture.update.endian, torture.expected.clone());
        Self { torture, judge, redone }
    }

    /// What the readers see of a state, and the verdict over all that became of it: old, new, or what went wrong.
    pub(super) fn check(&mut self, chip: &Chip) -> (ByReader<Verdict>, Verdict) {
        let seen = self.judge.verdicts(chip);
        // Picked by what the state holds, so that a replay picks the same.
        let id = chip.content_id().0;
        let second_cuts = self.torture.second_cuts && id % SECOND_CUTS == 1;
        let more = More {
            directly: id.is_multiple_of(if self.torture.settle { 4 * DIRECTLY } else { DIRECTLY }),
            second_cuts,
        };
        let verdict = match self.put_through(chip, &seen, more, &mut |_, _| {}) {
            Ok(()) => seen.with_summaries.clone(),
            Err(wrong) => wrong,
        };
        (seen, verdict)
    }

    /// The same, nothing left out.
    pub(super) fn examine(&mut self, chip: &Chip, observer: Observer<'_>) -> Verdict {
        let seen = self.judge.verdicts(chip);
        observer(Stage::Cut, &seen);
        let more = More { directly: true, second_cuts: self.torture.second_cuts };
        self.put_through(chip, &seen, more, observer).err().unwrap_or(seen.with_summaries)
    }

    fn put_through(
        &mut self,
        chip: &Chip,
        seen: &ByReader<Verdict>,
        more: More,
        observer: Observer<'_>,
    ) -> Result<(), Verdict> {
        all_fine(Stage::Cut, seen)?;
        self.readers_agree(seen)?;
        let (recovered, _) = self.recovered(chip)?;
        let after = self.judge.verdicts(&recovered);
        observer(Stage::Recovered, &after);
        unchanged(seen, &after)?;
        if more.directly && self.torture.settle {
            self.recovers_once(&recovered)?;
        }
        let settled = if self.torture.settle { self.settled(&recovered)? } else { recovered };
        self.redone.get_or(settled.content_id(), || {
            self.recovers_once(&settled)?;
            self.redo(&settled, Stage::Redone, observer)
        })?;
        if more.directly {
            self.redo(chip, Stage::RedoneDirectly, observer)?;
        }
        if more.second_cuts {
            let update = &self.torture.update;
            self.cut_again("recovery", chip, |flash| recover(flash, update.endian).map(drop))?;
            self.cut_again("the update done again", chip, |flash| update.apply(flash, 1).map(drop))?;
        }
        Ok(())
    }

    /// Cuts the power in something that is done to a state, too: recovery must leave what the second cut left.
    fn cut_again(
        &mut self,
        what: &str,
        chip: &Chip,
        act: impl FnOnce(&mut Recorder) -> Result<(), TxError<ChipError>>,
    ) -> Result<(), Verdict> {
        let mut recorder = Recorder::new(chip.clone());
        // Whether it succeeds without a cut is known by now.
        let _ = act(&mut recorder);
        let (_, trace) = recorder.into_parts();
        let cuts = cuts_sampled(&trace, SECOND_CUTS_EACH, self.torture.seed);
        for (cut, torn) in Walker::new(chip.clone(), &trace, self.torture.seed, cuts.into_iter()) {
            self.survives_second_cut(&torn).map_err(|wrong| wrong.about(&format!("cut at {cut} in {what}")))?;
        }
        Ok(())
    }

    fn survives_second_cut(&mut self, torn: &Chip) -> Result<(), Verdict> {
        let seen = self.judge.verdicts(torn);
        all_fine(Stage::Cut, &seen)?;
        self.readers_agree(&seen)?;
        let (recovered, _) = self.recovered(torn)?;
        unchanged(&seen, &self.judge.verdicts(&recovered))
    }

    /// Only a summary commit may show one reader the new tree and not the other.
    fn readers_agree(&self, seen: &ByReader<Verdict>) -> Result<(), Verdict> {
        match self.torture.point {
            CommitPoint::Summary if seen.without_summaries == Verdict::New => {
                Err(Verdict::Mixed("a reader without summaries sees a summary commit".into()))
            }
            CommitPoint::Dirent | CommitPoint::Head if seen.with_summaries != seen.without_summaries => {
                Err(Verdict::Mixed(format!("readers see different trees: {}", listed(seen))))
            }
            _ => Ok(()),
        }
    }

    fn recovered(&self, chip: &Chip) -> Result<(Chip, RecoverReport), Verdict> {
        attempt("recovery", chip, |chip| recover(chip, self.torture.update.endian))
    }

    fn recovers_once(&self, recovered: &Chip) -> Result<(), Verdict> {
        let (_, again) = self.recovered(recovered)?;
        // On NOR a failing eraseblock fails every time.
        let done = again == (RecoverReport { failed: again.failed, ..RecoverReport::default() });
        if done { Ok(()) } else { Err(Verdict::Mixed(format!("a second recovery finds more to do: {again:?}"))) }
    }

    /// What a mount for writing makes of blank eraseblocks: erased and marked clean.
    fn settled(&self, chip: &Chip) -> Result<Chip, Verdict> {
        let is_blank = |block| chip.block_data(block).iter().all(|byte| *byte == 0xff);
        let blank: Vec<u32> = (0..chip.geometry().blocks()).filter(|block| is_blank(*block)).collect();
        let free = |chip: &mut Chip| {
            blank.iter().try_for_each(|block| match chip.is_bad(*block) {
                Ok(true) => Ok(()),
                _ => free_block(chip, self.torture.update.endian, *block).map_err(TxError::from),
            })
        };
        attempt("marking blank eraseblocks clean", chip, free).map(|(settled, ())| settled)
    }

    /// Does the update again: it must succeed, whatever was there.
    fn redo(&mut self, chip: &Chip, stage: Stage, observer: Observer<'_>) -> Result<(), Verdict> {
        let (done, report) = attempt("the update done again", chip, |chip| self.torture.update.apply(chip, 1))?;
        let seen = self.judge.verdicts(&done);
        observer(stage, &seen);
        all_fine(stage, &seen)?;
        let by_summary = [Some(self.torture.point), report.commit_point].contains(&Some(CommitPoint::Summary));
        let is_new = seen.with_summaries == Verdict::New && (by_summary || seen.without_summaries == Verdict::New);
        if is_new { Ok(()) } else { Err(Verdict::Mixed(format!("{stage}: {}", listed(&seen)))) }
    }
}

/// Does something to a copy of the chip, which must succeed and break no rule of the flash.
fn attempt<T>(
    what: &str,
    chip: &Chip,
    act: impl FnOnce(&mut Chip) -> Result<T, TxError<ChipError>>,
) -> Result<(Chip, T), Verdict> {
    let mut copy = chip.clone();
    copy.take_violation();
    let result = act(&mut copy);
    if let Some(violation) = copy.take_violation() {
        return Err(Verdict::Mixed(format!("{what} breaks a rule of the flash: {violation}")));
    }
    match result {
        Ok(done) => Ok((copy, done)),
        Err(error) => Err(Verdict::Mixed(format!("{what} fails: {error}"))),
    }
}

fn all_fine(stage: Stage, seen: &ByReader<Verdict>) -> Result<(), Verdict> {
    match seen.named().find(|(_, verdict)| !matches!(verdict, Verdict::Old | Verdict::New)) {
        None => Ok(()),
        Some((reader, verdict)) => Err(verdict.clone().about(&format!("{stage}, {reader}"))),
    }
}

fn unchanged(before: &ByReader<Verdict>, after: &ByReader<Verdict>) -> Result<(), Verdict> {
    all_fine(Stage::Recovered, after)?;
    if before == after {
        return Ok(());
    }
    Err(Verdict::Mixed(format!("recovery changed the tree: {} before, {} after", listed(before), listed(after))))
}

fn listed(seen: &ByReader<Verdict>) -> String {
    seen.named().map(|(reader, verdict)| format!("{reader} {verdict}")).collect::<Vec<_>>().join(", ")
}
