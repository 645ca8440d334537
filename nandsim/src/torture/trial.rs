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
use crate::judge::{Judge, Verdict};
use crate::reader::ByReader;

/// Of so many states one gets the update again without a recovery before it.
const DIRECTLY: u128 = 64;

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
        let directly = chip.content_id().0.is_multiple_of(DIRECTLY);
        let verdict = match self.put_through(chip, &seen, directly, &mut |_, _| {}) {
            Ok(()) => seen.with_summaries.clone(),
            Err(wrong) => wrong,
        };
        (seen, verdict)
    }

    /// The same, nothing left out.
    pub(super) fn examine(&mut self, chip: &Chip, observer: Observer<'_>) -> Verdict {
        let seen = self.judge.verdicts(chip);
        observer(Stage::Cut, &seen);
        self.put_through(chip, &seen, true, observer).err().unwrap_or(seen.with_summaries)
    }

    fn put_through(
        &mut self,
        chip: &Chip,
        seen: &ByReader<Verdict>,
        directly: bool,
        observer: Observer<'_>,
    ) -> Result<(), Verdict> {
        all_fine(Stage::Cut, seen)?;
        self.readers_agree(seen)?;
        let (recovered, _) = self.recovered(chip)?;
        let after = self.judge.verdicts(&recovered);
        observer(Stage::Recovered, &after);
        unchanged(seen, &after)?;
        if directly || !self.torture.settle {
            self.recovers_once(&recovered)?;
        }
        let settled = if self.torture.settle { self.settled(&recovered)? } else { recovered };
        self.redone.get_or(settled.content_id(), || self.redo(&settled, Stage::Redone, observer))?;
        if directly { self.redo(chip, Stage::RedoneDirectly, observer) } else { Ok(()) }
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
                _ => free_block(chip, self.torture.update.endian, *block, false).map_err(TxError::from),
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
    for (reader, verdict) in seen.named() {
        match verdict {
            Verdict::Old | Verdict::New => {}
            Verdict::Mixed(how) => return Err(Verdict::Mixed(format!("{stage}, {reader}: {how}"))),
            Verdict::Unreadable(why) => return Err(Verdict::Unreadable(format!("{stage}, {reader}: {why}"))),
        }
    }
    Ok(())
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
