//! Any operations in any transactions; in one of them the power fails, and perhaps again in the recovery from that, or when it
//! is made again. Every reader sees the tree before it or the one after it.
#![no_main]

mod common;

use std::sync::Arc;

use arbitrary::Arbitrary;
use common::input::{After, Change, Setup};
use common::model::Model;
use common::{Outcome, read_both, run, tidy};
use jffs2_tx::flash::Flash;
use jffs2_tx::wire::CommitPoint;
use libfuzzer_sys::fuzz_target;
use nandsim::firmware::Firmware;
use nandsim::{
    Allowance, ByReader, Chip, Cut, Expected, Judge, Recorder, Seen, Standard, StandardError, Trace, Viewer, Walker,
    cuts_all,
};

/// Transactions of a run.
const CHANGES: u8 = 4;
/// Added to the number of a transaction that is made again.
const AGAIN: u8 = 100;

/// Where the power fails: numbers pick from what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Cuts {
    change: u8,
    first: u32,
    second: Second,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Second {
    None,
    InRecovery(u32),
    InRetry(u32),
}

/// A flash, and what readers see of it.
struct State {
    chip: Chip,
    model: Model,
    /// There was a summary commit: readers without summaries are behind.
    by_summary: bool,
}

fuzz_target!(|input: (Setup, Cuts, Vec<Change>)| {
    let (setup, cuts, changes) = input;
    let empty = State { chip: Chip::new(setup.geometry(), 0), model: Model::new(), by_summary: false };
    // A flash that holds nothing but a torn node is nobody's: recovery refuses it.
    let mut state = Done::new(&empty, &setup, &Change::first(), u8::MAX).state(&empty);
    for (attempt, change) in (0..CHANGES).zip(&changes) {
        let done = Done::new(&state, &setup, change, attempt);
        state = match attempt == cuts.change % CHANGES {
            true => done.cut(&state, &setup, change, cuts),
            false => done.state(&state),
        };
        let (tidied, _, ()) = act(&state.chip, |flash| tidy(flash, setup.endian(), change.after));
        state.chip = tidied;
        check(&state, &setup);
    }
});

/// A transaction without a cut.
struct Done {
    attempt: u8,
    end: Chip,
    trace: Trace,
    outcome: Outcome,
    after: Model,
}

impl Done {
    fn new(state: &State, setup: &Setup, change: &Change, attempt: u8) -> Self {
        let (end, trace, (outcome, after)) = act(&state.chip, |flash| run(flash, setup, change, attempt, &state.model));
        let done = Self { attempt, end, trace, outcome, after };
        check(&done.state(state), setup);
        done
    }

    fn state(&self, before: &State) -> State {
        let by_summary = before.by_summary || self.outcome == Outcome::Committed(Some(CommitPoint::Summary));
        State { chip: self.end.clone(), model: self.after.clone(), by_summary }
    }

    /// The same with power cuts, and made again where they have left the tree before it.
    fn cut(&self, before: &State, setup: &Setup, change: &Change, cuts: Cuts) -> State {
        let mut eyes = Eyes::new(before, self, setup);
        let mut chip = nth(&before.chip, &self.trace, cuts.first);
        let mut is_new = eyes.see(&chip);
        match cuts.second {
            Second::None => {}
            Second::InRecovery(n) => {
                let (_, trace, ()) = act(&chip, |flash| tidy(flash, setup.endian(), After::Recover));
                chip = nth(&chip, &trace, n);
                assert_eq!(eyes.see(&chip), is_new, "a recovery that was cut has changed the tree");
            }
            Second::InRetry(n) if !is_new => {
                let (_, trace, _) = act(&chip, |flash| run(flash, setup, change, self.attempt + AGAIN, &before.model));
                chip = nth(&chip, &trace, n);
                is_new = eyes.see(&chip);
            }
            Second::InRetry(_) => {}
        }
        let (recovered, _, ()) = act(&chip, |flash| tidy(flash, setup.endian(), After::Recover));
        assert_eq!(eyes.see(&recovered), is_new, "recovery has changed the tree");
        let (_, again, ()) = act(&recovered, |flash| tidy(flash, setup.endian(), After::Recover));
        assert!(again.ops.is_empty(), "a second recovery finds more to do: {:?}", again.ops);
        let state = State { chip: recovered, ..self.state(before) };
        if is_new {
            return state;
        }
        let (end, _, (outcome, after)) =
            act(&state.chip, |flash| run(flash, setup, change, self.attempt + 2 * AGAIN, &before.model));
        assert!(
            matches!(outcome, Outcome::Committed(_)) == matches!(self.outcome, Outcome::Committed(_)),
            "{outcome:?}"
        );
        let by_summary = state.by_summary || outcome == Outcome::Committed(Some(CommitPoint::Summary));
        State { chip: end, model: after, by_summary }
    }
}

/// All readers, looking for the tree before a transaction or the one after it.
struct Eyes<'a> {
    before: &'a State,
    done: &'a Done,
    endian: jffs2_tx::Endian,
    /// Firmware; not once readers without summaries are behind.
    judge: Option<Judge>,
}

impl<'a> Eyes<'a> {
    fn new(before: &'a State, done: &'a Done, setup: &Setup) -> Self {
        let endian = setup.endian();
        let asked = !before.by_summary && before.model != done.after;
        let point = if let Outcome::Committed(point) = done.outcome { point.filter(|_| asked) } else { None };
        let judge = point.map(|point| {
            let mut viewer = Viewer::new(before.chip.geometry(), endian);
            let (old, new) = (viewer.views(&before.chip), viewer.views(&done.end));
            let tree = |view: &nandsim::View| view.as_ref().expect("was read before").clone();
            let new = tree(&new.with_summaries);
            let expected = ByReader {
                with_summaries: Expected { old: tree(&old.with_summaries), new: new.clone() },
                without_summaries: Expected { old: tree(&old.without_summaries), new },
            };
            match Standard::new(&before.chip, &done.end, endian, point, expected, None) {
                Ok(standard) => Some(Judge::new(Arc::new(standard))),
                // Where the newer of two dirents that no other stands between comes first, it sees the older.
                Err(StandardError::Differs { firmware, .. }) if firmware == Firmware::OpenFirmware.name() => None,
                Err(e) => panic!("{e}"),
            }
        });
        Self { before, done, endian, judge: judge.flatten() }
    }

    /// Whether the tree is the one after the transaction.
    fn see(&mut self, chip: &Chip) -> bool {
        let [with, without] = read_both(chip, self.endian);
        let seen = with.unwrap_or_else(|e| panic!("with summaries: {e}"));
        let (old, new) = (&self.before.model, &self.done.after);
        assert!(seen == *old || seen == *new, "neither before nor after: {seen:?}, not {old:?} and not {new:?}");
        let Outcome::Committed(Some(point)) = self.done.outcome else { return false };
        match point {
            _ if self.before.by_summary => {}
            CommitPoint::Summary => assert_eq!(without.as_ref(), Ok(old), "without summaries"),
            CommitPoint::Dirent | CommitPoint::Head => assert_eq!(without.as_ref(), Ok(&seen), "without summaries"),
        }
        if let Some(judge) = &mut self.judge {
            boots(&judge.verdicts(chip));
        }
        seen == *new
    }
}

/// Firmware sees what the library sees by its rules; barebox may wait for recovery.
fn boots(seen: &Seen) {
    let without = |firmware: Firmware| !firmware.knows_summaries();
    for firmware in seen.firmware.iter().filter(|seen| without(seen.firmware)) {
        let waits = firmware.allowances.contains(Allowance::BareboxUnreadable);
        assert!(waits || firmware.tree == seen.library.without_summaries, "{}", seen.listed());
    }
}

fn check(state: &State, setup: &Setup) {
    let [with, without] = read_both(&state.chip, setup.endian());
    assert_eq!(with.as_ref(), Ok(&state.model), "with summaries");
    assert!(state.by_summary || without.as_ref() == Ok(&state.model), "without summaries: {without:?}");
}

/// Does something to a copy of the chip, which must break no rule of the flash.
fn act<T>(chip: &Chip, act: impl FnOnce(&mut Recorder) -> T) -> (Chip, Trace, T) {
    let mut recorder = Recorder::new(chip.clone());
    let result = act(&mut recorder);
    assert!(recorder.violation().is_none(), "{:?}", recorder.violation());
    let (chip, trace) = recorder.into_parts();
    (chip, trace, result)
}

/// What a cut leaves.
fn nth(chip: &Chip, trace: &Trace, n: u32) -> Chip {
    let cuts = cuts_all(trace).count();
    let cut: Option<Cut> = cuts_all(trace).nth(n as usize % cuts);
    Walker::new(chip.clone(), trace, 0, cut.into_iter()).next().expect("there is always a cut").1
}
