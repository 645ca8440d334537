//! Cuts the power of any work on a flash at every moment asked for, and has each state judged: as it is, after recovery,
//! and after the work was done again; with more cuts in these.

use std::error::Error;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::Instant;

use crate::chip::Chip;
use crate::coverage::Coverage;
use crate::cut::{Cut, Tear, Walker, cuts_all};
use crate::trace::{Recorder, Trace, Violation};
use crate::verdict::Verdict;

mod cut_path;
mod known;
mod oracle;
mod report;
mod stage;
mod trial;
mod workload;

pub use cut_path::CutPath;
pub use oracle::{Eye, Oracle, Sight};
pub use report::{Counts, Failure, Report};
pub use stage::{Act, Stage};
pub use workload::{Done, Workload};

use known::Known;
use report::Tally;
use trial::{Trial, Wrong};

/// Cuts that a thread takes at once.
const CHUNK: usize = 32;

/// Work under test: what it did to the flash once, without a cut, and who judges the states.
///
/// ```
/// use nandsim::flash::{FlashKind, FlashMut, Geometry};
/// use nandsim::{Chip, Done, Harness, Recorder, Verdict, Workload};
///
/// /// A number in the first byte of one of two eraseblocks. It is erased before the other one has the next.
/// struct Swap;
///
/// impl Workload for Swap {
///     fn run(&self, flash: &mut Recorder, _attempt: u8) -> Done {
///         flash.erase(0)?;
///         flash.program(4096, &[2])?;
///         Ok(flash.sync()?)
///     }
/// }
///
/// fn main() -> Done {
///     let mut start = Chip::new(Geometry::new(FlashKind::Nor, 8192, 4096, 1)?, 0);
///     start.program(0, &[1])?;
///     let seen = |chip: &Chip| match (chip.block_data(0)[0], chip.block_data(1)[0]) {
///         (1, 0xff) => Verdict::Old,
///         (_, 2) => Verdict::New,
///         (a, b) => Verdict::Unreadable(format!("{a} and {b}")),
///     };
///     let report = Harness::new(start, Swap, seen, 0)?.run_all();
///     assert_eq!(report.failures[0].cut.to_string(), "0:erase-zeros:64"); // the erase, cut when 64 bytes were zeros
///     Ok(())
/// }
/// ```
///
/// How an updater is found out and mended: `examples/two_slot.rs`; code that knows another flash trait:
/// `examples/sequential_storage.rs`.
#[derive(Clone, Debug)]
pub struct Harness<W, O> {
    /// The flash before.
    pub start: Chip,
    /// What the work did to it. Tests change it to plant faults.
    pub trace: Trace,
    /// How to recover, and to do the work again.
    pub workload: W,
    /// Judges the states.
    pub oracle: O,
    /// Picks what is random in the cuts.
    pub seed: u64,
    /// What states are put through.
    pub plan: Plan,
}

/// What states are put through beyond recovery and one more run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// [`Workload::settle`] recovered states before the work is done again: a large update leaves hundreds of states that
    /// differ in nothing else, and each costs a whole update.
    pub settle: bool,
    /// More cuts on what a cut left.
    pub second: SecondCuts,
    /// The trace leads to the new state. One that was put in its place, such as a recovery's, need not.
    pub ends_new: bool,
}

/// Cuts in the recovery, and in the work done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondCuts {
    /// None: large updates take too long.
    None,
    /// A few, on some of the states.
    Some,
    /// Every one, on every state: for small flash. Third and further ones are tried at random.
    All,
}

/// There is nothing to cut.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// The work fails without any power cut.
    #[error("the work fails without a power cut: {0}")]
    Fails(Box<dyn Error + Send + Sync>),
    /// It breaks a rule of the flash.
    #[error("the work breaks a rule of the flash: {0}")]
    Violation(Violation),
    /// The oracle does not call the state before old, or the state after new.
    #[error("{when} the work the state is {verdict}")]
    Verdict {
        /// "before" or "after".
        when: &'static str,
        /// What the oracle calls it.
        verdict: Verdict,
    },
}

impl<W: Workload, O: Oracle> Harness<W, O> {
    /// Does the work once, without a cut.
    ///
    /// # Errors
    /// [`HarnessError`].
    pub fn new(start: Chip, workload: W, oracle: O, seed: u64) -> Result<Self, HarnessError> {
        let mut recorder = Recorder::new(start.clone());
        workload.run(&mut recorder, 0).map_err(HarnessError::Fails)?;
        if let Some(violation) = recorder.violation() {
            return Err(HarnessError::Violation(violation.clone()));
        }
        let (end, trace) = recorder.into_parts();
        let mut eye = oracle.eye();
        for (when, chip, wanted) in [("before", &start, Verdict::Old), ("after", &end, Verdict::New)] {
            let verdict = eye.see(chip).verdict;
            if verdict != wanted {
                return Err(HarnessError::Verdict { when, verdict });
            }
        }
        drop(eye);
        Ok(Self { start, trace, workload, oracle, seed, plan: Plan::default() })
    }

    /// Tries the cuts on `threads` threads. `done` is told of cuts as they are done, several at once.
    pub fn run(&self, cuts: impl Iterator<Item = Cut> + Send, threads: usize, done: &(dyn Fn(u64) + Sync)) -> Report {
        let begun = Instant::now();
        let (cuts, known) = (Mutex::new(cuts), Known::default());
        let none = Tally::new(Coverage::new(&self.trace));
        let work = || self.work(&cuts, &known, none.clone(), done);
        let tally = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let tallies =
                workers.into_iter().map(|worker| worker.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            tallies.fold(none.clone(), Tally::merged)
        });
        tally.report(&self.trace, self.seed, &known, begun.elapsed())
    }

    /// Tries every cut, on all cores.
    pub fn run_all(&self) -> Report {
        self.run(cuts_all(&self.trace), available_parallelism().map_or(1, usize::from), &|_| {})
    }

    /// One thread's part.
    fn work(
        &self,
        cuts: &Mutex<impl Iterator<Item = Cut>>,
        known: &Known,
        mut tally: Tally,
        done: &(dyn Fn(u64) + Sync),
    ) -> Tally {
        let mut trial = Trial::new(self, known);
        let chunks = std::iter::from_fn(|| {
            let mut cuts = cuts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let chunk: Vec<Cut> = cuts.by_ref().take(CHUNK).collect();
            done(chunk.len() as u64);
            (!chunk.is_empty()).then_some(chunk)
        });
        for (cut, chip) in Walker::new(self.start.clone(), &self.trace, self.seed, chunks.flatten()) {
            let (seen, mut wrong) = trial.check(&chip);
            if wrong.is_none() && self.plan.ends_new && cut == self.uncut() {
                wrong = self.oracle.is_done(&chip, &seen).err().map(Wrong::from);
            }
            tally.add(cut, &seen, wrong);
        }
        tally
    }

    /// The power fails when all is done.
    fn uncut(&self) -> Cut {
        Cut { op: self.trace.ops.len(), tear: Tear::Before }
    }

    /// Tries the cuts one by one until something goes wrong: how many were tried, and what went wrong with the last.
    pub fn first_failure(&self, cuts: impl Iterator<Item = Cut>) -> (u64, Option<Failure>) {
        let known = Known::default();
        let mut trial = Trial::new(self, &known);
        let mut tried = 0;
        for (cut, chip) in Walker::new(self.start.clone(), &self.trace, self.seed, cuts) {
            tried += 1;
            if let (_, Some(wrong)) = trial.check(&chip) {
                return (tried, Some(wrong.at(cut)));
            }
        }
        (tried, None)
    }

    /// The state that cuts leave, the power back on; `None` if the path does not lead anywhere: a cut that [is not
    /// there](Cut::is_in), or work that fails without a cut.
    pub fn state(&self, path: &CutPath) -> Option<Chip> {
        let mut chip = self.torn(self.start.clone(), &self.trace, path.first)?;
        for &(act, cut) in &path.then {
            let (base, trace) = Trial::new(self, &Known::default()).acted(act, &chip).ok()?;
            chip = self.torn(base, &trace, cut)?;
        }
        Some(chip)
    }

    fn torn(&self, base: Chip, trace: &Trace, cut: Cut) -> Option<Chip> {
        let mut states = Walker::new(base, trace, self.seed, std::iter::once(cut).filter(|cut| cut.is_in(trace)));
        states.next().map(|(_, chip)| chip)
    }

    /// What is seen of a state that came about in some other way, and what is wrong with it or becomes of it: in recovery,
    /// and in the work done again.
    pub fn judge(&self, chip: &Chip) -> (Sight, Option<Verdict>) {
        let known = Known::default();
        let (sight, wrong) = Trial::new(self, &known).check(chip);
        (sight, wrong.map(|wrong| wrong.what))
    }

    /// Puts one state through everything, nothing left out; `seen` is told what the readers see at each stage. What went
    /// wrong, with the cuts that led there.
    pub fn examine(&self, path: &CutPath, seen: &mut dyn FnMut(Stage, &Sight)) -> Option<(CutPath, Verdict)> {
        let chip = self.state(path)?;
        let known = Known::default();
        let Wrong { then, what } = Trial::new(self, &known).examine(&chip, seen)?;
        let then = [&path.then[..], &then].concat();
        Some((CutPath { first: path.first, then }, what))
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { settle: false, second: SecondCuts::Some, ends_new: true }
    }
}
