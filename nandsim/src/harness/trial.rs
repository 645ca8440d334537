//! What one flash state is put through.

use jffs2_tx::flash::Flash;

use super::known::Known;
use super::{Act, CutPath, Done, Eye, Failure, Harness, Oracle, SecondCuts, Sight, Stage, Workload};
use crate::chip::Chip;
use crate::content::ContentId;
use crate::cut::{Cut, Walker, cuts_all, cuts_sampled};
use crate::rng::Rng;
use crate::trace::{Recorder, Trace};
use crate::verdict::Verdict;

/// Of so many states one gets the work again without a recovery before it.
const DIRECTLY: u128 = 64;
/// The same where states settle: there the work is much, and states are many.
const DIRECTLY_IF_SETTLED: u128 = 1024;
/// Of so many states one gets the power cut a second time where not all do.
const SECOND_CUTS: u128 = 256;
/// Second cuts in each.
const SECOND_CUTS_EACH: usize = 24;
/// Of so many states one gets the power cut again and again in one recovery after the other, where all get second cuts.
const MANY_CUTS: u128 = 16;
/// How often.
const MANY_CUTS_EACH: u64 = 6;
/// Power-ups that a state is looked at which reads differently each time.
const LOOKS: u64 = 4;
/// Recoveries until one has nothing to do.
const RECOVERIES: usize = 6;
/// Operations of a recovery for each eraseblock before it counts as endless.
const ENDLESS: usize = 64;

/// What went wrong with a state.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    /// The cuts after the one that left the state.
    pub(super) then: Vec<(Act, Cut)>,
    pub(super) what: Verdict,
}

impl Wrong {
    /// As a failure of the work cut there.
    pub(super) fn at(self, first: Cut) -> Failure {
        Failure { cut: CutPath { first, then: self.then }, what: self.what.to_string() }
    }

    /// The same, found after one more cut.
    fn behind(mut self, act: Act, cut: Cut) -> Self {
        self.then.insert(0, (act, cut));
        self
    }
}

impl From<Verdict> for Wrong {
    fn from(what: Verdict) -> Self {
        Self { then: Vec::new(), what }
    }
}

/// Puts states through all that must hold for them.
pub(super) struct Trial<'h, W, O: Oracle> {
    harness: &'h Harness<W, O>,
    eye: O::Eye<'h>,
    known: &'h Known,
}

/// What only some states are put through.
#[derive(Clone, Copy)]
struct More {
    directly: bool,
    second: SecondCuts,
    many_cuts: bool,
}

type Observer<'o> = &'o mut dyn FnMut(Stage, &Sight);

impl<'h, W: Workload, O: Oracle> Trial<'h, W, O> {
    pub(super) fn new(harness: &'h Harness<W, O>, known: &'h Known) -> Self {
        Self { harness, eye: harness.oracle.eye(), known }
    }

    /// What the readers see of a state, and what went wrong with it. One that reads differently each time is looked at
    /// several times: one clean read proves nothing.
    pub(super) fn check(&mut self, chip: &Chip) -> (Sight, Option<Wrong>) {
        let mut checked = self.check_now(chip);
        let looks = if chip.is_unstable() { LOOKS } else { 1 };
        for n in 1..looks {
            if checked.1.is_some() {
                break;
            }
            checked = self.check_now(&chip.powered_up(n));
        }
        checked
    }

    fn check_now(&mut self, chip: &Chip) -> (Sight, Option<Wrong>) {
        let seen = self.see(chip);
        let id = chip.content_id();
        if self.known.first().has(id) {
            return (seen, None);
        }
        let wrong = self.put_through(chip, &seen, self.more_for(id), &mut |_, _| {}).err();
        if wrong.is_none() {
            self.known.first().add(id);
        }
        (seen, wrong)
    }

    fn see(&mut self, chip: &Chip) -> Sight {
        if chip.is_unstable() { self.eye.see(&chip.as_read()) } else { self.eye.see(chip) }
    }

    /// What recovery has left is seen in the same way whenever the power comes on.
    fn lasts(&mut self, recovered: &Chip, seen: &Sight) -> Result<(), Verdict> {
        let looks = if recovered.is_unstable() { LOOKS } else { 0 };
        (0..looks).try_for_each(|n| match self.see(&recovered.powered_up(n)) {
            now if now.verdict == seen.verdict => self.harness.oracle.accepts(Stage::Cut, &now),
            now => Err(Verdict::Mixed(format!("{}: first {seen}, then {now}", Stage::Recovered))),
        })
    }

    /// Picked by what the state holds, so that threads do not matter.
    fn more_for(&self, ContentId(id): ContentId) -> More {
        let plan = self.harness.plan;
        More {
            directly: id.is_multiple_of(if plan.settle { DIRECTLY_IF_SETTLED } else { DIRECTLY }),
            second: match plan.second {
                SecondCuts::Some if id % SECOND_CUTS != 1 => SecondCuts::None,
                second => second,
            },
            many_cuts: plan.second == SecondCuts::All && id % MANY_CUTS == 1,
        }
    }

    /// Nothing left out.
    pub(super) fn examine(&mut self, chip: &Chip, observer: Observer<'_>) -> Option<Wrong> {
        let seen = self.see(chip);
        observer(Stage::Cut, &seen);
        let more = More { directly: true, second: self.harness.plan.second, many_cuts: true };
        self.put_through(chip, &seen, more, observer).err()
    }

    fn put_through(&mut self, chip: &Chip, seen: &Sight, more: More, observer: Observer<'_>) -> Result<(), Wrong> {
        let oracle = &self.harness.oracle;
        oracle.accepts(Stage::Cut, seen)?;
        let (recovered, recovery) = self.recovered(chip)?;
        let after = self.see(&recovered);
        observer(Stage::Recovered, &after);
        oracle.accepts(stage_after_recovery(&recovered), &after)?;
        // Where reads differ, what recovery read may be another tree than was seen before.
        let before = if chip.is_unstable() { &after } else { seen };
        oracle.kept(before, &after)?;
        self.lasts(&recovered, &after)?;
        self.redo(&recovered, more, observer)?;
        if more.directly {
            self.run_again(chip, Stage::RedoneDirectly, observer)?;
        }
        self.cut_again(Act::Recovery, chip, &recovery, more.second, before)?;
        if more.second == SecondCuts::Some {
            let (base, retry) = self.acted(Act::Direct, chip)?;
            self.cut_again(Act::Direct, &base, &retry, more.second, seen)?;
        }
        if more.many_cuts { self.cut_recoveries(chip.clone(), before) } else { Ok(()) }
    }

    /// Recoveries come to an end, and the work done again gives the new state. Few states are left after
    /// recovery, so this is remembered for each.
    fn redo(&mut self, recovered: &Chip, more: More, observer: Observer<'_>) -> Result<(), Wrong> {
        let cut = more.second == SecondCuts::All;
        self.known.redone(recovered.content_id(), cut, || {
            self.recoveries_end(recovered)?;
            if !self.harness.plan.settle {
                return self.run_again_cut(recovered, more, observer);
            }
            let settled = attempt("settling", recovered, None, |flash| self.harness.workload.settle(flash))?.0;
            self.known.redone(settled.content_id(), cut, || self.run_again_cut(&settled, more, observer))
        })
    }

    fn run_again_cut(&mut self, chip: &Chip, more: More, observer: Observer<'_>) -> Result<(), Wrong> {
        let trace = self.run_again(chip, Stage::Redone, observer)?;
        if more.second == SecondCuts::All {
            let seen = self.see(chip);
            self.cut_again(Act::Retry, chip, &trace, more.second, &seen)?;
        }
        Ok(())
    }

    /// Does the work again: it must succeed, whatever was there.
    fn run_again(&mut self, chip: &Chip, stage: Stage, observer: Observer<'_>) -> Result<Trace, Verdict> {
        let (done, trace) = attempt("the work done again", chip, None, |flash| self.harness.workload.run(flash, 1))?;
        let seen = self.see(&done);
        observer(stage, &seen);
        self.harness.oracle.accepts(stage, &seen).map(|()| trace)
    }

    /// Cuts the power in something that is done to a state, too.
    fn cut_again(
        &mut self,
        act: Act,
        base: &Chip,
        trace: &Trace,
        second: SecondCuts,
        before: &Sight,
    ) -> Result<(), Wrong> {
        let seed = self.harness.seed;
        let cuts: Box<dyn Iterator<Item = Cut>> = match second {
            SecondCuts::None => return Ok(()),
            SecondCuts::Some => Box::new(cuts_sampled(trace, SECOND_CUTS_EACH, seed).into_iter()),
            SecondCuts::All => Box::new(cuts_all(trace)),
        };
        for (cut, torn) in Walker::new(base.clone(), trace, seed, cuts) {
            self.known.count_second_cut();
            self.survives(act, &torn, before).map_err(|wrong| wrong.behind(act, cut))?;
        }
        Ok(())
    }

    /// What a second cut left is right, a recovery leaves it alone, and the work can be done again.
    fn survives(&mut self, act: Act, torn: &Chip, before: &Sight) -> Result<(), Wrong> {
        let oracle = &self.harness.oracle;
        let seen = self.see(torn);
        oracle.accepts(Stage::Cut, &seen)?;
        if act == Act::Recovery && !torn.is_unstable() {
            oracle.kept(before, &seen)?;
        }
        let id = torn.content_id();
        if self.known.second().has(id) {
            return Ok(());
        }
        let (recovered, _) = self.recovered(torn)?;
        let after = self.see(&recovered);
        oracle.accepts(stage_after_recovery(&recovered), &after)?;
        oracle.kept(if torn.is_unstable() { &after } else { &seen }, &after)?;
        self.lasts(&recovered, &after)?;
        if self.harness.plan.second == SecondCuts::All {
            let no_more = More { directly: false, second: SecondCuts::None, many_cuts: false };
            self.redo(&recovered, no_more, &mut |_, _| {})?;
        }
        self.known.second().add(id);
        Ok(())
    }

    /// Cuts the power in one recovery after the other, until one has nothing left to do.
    fn cut_recoveries(&mut self, mut chip: Chip, before: &Sight) -> Result<(), Wrong> {
        let mut then = Vec::new();
        for nth in 0..MANY_CUTS_EACH {
            let (_, trace) = self.recovered(&chip).map_err(|what| Wrong { then: then.clone(), what })?;
            let ContentId(id) = chip.content_id();
            let mut rng = Rng::keyed(&[self.harness.seed, nth, id as u64]);
            let cuts = cuts_sampled(&trace, SECOND_CUTS_EACH, rng.next_u64());
            let cut = cuts[rng.below(cuts.len() as u64) as usize];
            let Some(torn) = self.harness.torn(chip, &trace, cut) else { return Ok(()) };
            self.known.count_second_cut();
            then.push((Act::Recovery, cut));
            let no_then = |mut wrong: Wrong| {
                wrong.then.splice(0..0, then.iter().copied());
                wrong
            };
            self.survives(Act::Recovery, &torn, before).map_err(no_then)?;
            chip = torn;
        }
        Ok(())
    }

    /// What is done on a state: where it begins, and its operations.
    pub(super) fn acted(&self, act: Act, chip: &Chip) -> Result<(Chip, Trace), Verdict> {
        match act {
            Act::Recovery => self.recovered(chip).map(|(_, trace)| (chip.clone(), trace)),
            Act::Direct => self.ran(chip).map(|trace| (chip.clone(), trace)),
            Act::Retry => {
                let (mut base, _) = self.recovered(chip)?;
                if self.harness.plan.settle {
                    base = attempt("settling", &base, None, |flash| self.harness.workload.settle(flash))?.0;
                }
                self.ran(&base).map(|trace| (base, trace))
            }
        }
    }

    fn ran(&self, chip: &Chip) -> Result<Trace, Verdict> {
        attempt("the work done again", chip, None, |flash| self.harness.workload.run(flash, 1)).map(|(_, trace)| trace)
    }

    fn recovered(&self, chip: &Chip) -> Result<(Chip, Trace), Verdict> {
        attempt("recovery", chip, Some(most_operations(chip)), |flash| self.harness.workload.recover(flash))
    }

    /// Recoveries come to an end: the second one has nothing to do, or only what the first has made useless, or in weak cells has
    /// not got to stick; one of the next has nothing. Where an eraseblock is broken and cannot be marked bad, it may all be to
    /// do again.
    fn recoveries_end(&self, recovered: &Chip) -> Result<(), Verdict> {
        if recovered.has_broken_blocks() {
            return Ok(());
        }
        let mut chip = recovered.clone();
        for _ in 0..RECOVERIES {
            let mut changes = 0;
            (chip, _) = attempt("a second recovery", &chip, Some(most_operations(&chip)), |flash| {
                let done = self.harness.workload.recover(flash);
                changes = flash.changes();
                done
            })?;
            if changes == 0 {
                return Ok(());
            }
        }
        Err(Verdict::Mixed("each recovery finds more to do".into()))
    }
}

/// A page that read blank in recovery, and was left alone, may fail some reader's mount after all.
fn stage_after_recovery(recovered: &Chip) -> Stage {
    if recovered.is_unstable() { Stage::Cut } else { Stage::Recovered }
}

fn most_operations(chip: &Chip) -> usize {
    ENDLESS * chip.geometry().blocks() as usize
}

/// Does something to a copy of the chip, which must succeed, break no rule of the flash, and end.
fn attempt(
    what: &str,
    chip: &Chip,
    most: Option<usize>,
    act: impl FnOnce(&mut Recorder) -> Done,
) -> Result<(Chip, Trace), Verdict> {
    let mut recorder = Recorder::limited(chip.clone(), most.unwrap_or(usize::MAX));
    let result = act(&mut recorder);
    if let Some(violation) = recorder.violation() {
        return Err(Verdict::Mixed(format!("{what} breaks a rule of the flash: {violation}")));
    }
    match result {
        Ok(()) => Ok(recorder.into_parts()),
        Err(error) => Err(Verdict::Mixed(format!("{what} fails: {error}"))),
    }
}
