//! Cuts the power of an update at every moment asked for, and has each state judged: as it is, after recovery, and after
//! the update was done again.

use std::io;
use std::sync::Mutex;
use std::time::Instant;

use jffs2_tx::flash::Flash;
use jffs2_tx::tx::TxError;
use jffs2_tx::wire::CommitPoint;

use crate::chip::{Chip, ChipError};
use crate::cut::{Cut, Walker};
use crate::judge::{Expected, Verdict};
use crate::reader::ByReader;
use crate::snapshot::Snapshot;
use crate::trace::{Recorder, Trace};
use crate::update::Update;
use crate::viewer::{ViewError, Viewer};

mod report;
mod trial;

pub use report::{Counts, Failure, Report};
pub use trial::Stage;

use report::Tally;
use trial::{Redone, Trial};

/// Cuts that a thread takes at once.
const CHUNK: usize = 32;

/// Updates that program more bytes than this are done again on settled states only.
const SETTLE_ABOVE: u64 = 4 << 20;

/// An update, what was done to the flash for it, and what readers may see on the way.
#[derive(Clone, Debug)]
pub struct Torture {
    /// The flash before.
    pub start: Chip,
    /// What the update did to it. Tests change it to plant faults.
    pub trace: Trace,
    /// How to do the update again.
    pub update: Update,
    /// What commits it.
    pub point: CommitPoint,
    /// What each reader may see.
    pub expected: ByReader<Expected>,
    /// Picks what is random in the cuts.
    pub seed: u64,
    /// Let blank eraseblocks be marked clean, as by a mount for writing, before the update is done again. A large update
    /// is cut in hundreds of states that differ in nothing else, and each costs a whole update.
    pub settle: bool,
    /// Cut the power a second time after some of the cuts, in recovery and in the update done again. Not for large
    /// updates, unless set.
    pub second_cuts: bool,
}

/// There is nothing to cut.
#[derive(Debug, thiserror::Error)]
pub enum TortureError {
    /// The flash cannot be read before the update, or after it.
    #[error("{when} the update: {error}")]
    View {
        /// "before" or "after".
        when: &'static str,
        /// Why.
        error: String,
    },
    /// The update fails without any power cut.
    #[error("the update fails")]
    Update(#[from] TxError<ChipError>),
    /// The update breaks a rule of the chip.
    #[error("the update breaks a rule of the flash: {0}")]
    Violation(ChipError),
    /// The old tree and the new one are equal.
    #[error("nothing to update: the old tree and the new one are equal")]
    NothingToDo,
    /// The update makes another tree than it should.
    #[error("the update makes a wrong tree: {}", .0.join(", "))]
    WrongTree(Vec<String>),
    /// A file of the new tree cannot be read.
    #[error("a file of the new tree cannot be read")]
    Source(#[from] io::Error),
}

impl Torture {
    /// Does the update once, without a cut, and checks the tree that it makes.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn record(start: Chip, update: Update, seed: u64) -> Result<Self, TortureError> {
        let mut viewer = Viewer::new(start.geometry(), update.endian);
        let old = viewer.views(&start);
        let mut recorder = Recorder::new(start.clone());
        let point = update.apply(&mut recorder, 0)?.commit_point.ok_or(TortureError::NothingToDo)?;
        let (mut end, trace) = recorder.into_parts();
        if let Some(violation) = end.take_violation() {
            return Err(TortureError::Violation(violation));
        }
        let new = tree("after", &viewer.views(&end).with_summaries)?;
        check_against_source(&new, &update)?;
        let expected = ByReader {
            with_summaries: Expected { old: tree("before", &old.with_summaries)?, new: new.clone() },
            without_summaries: Expected { old: tree("before", &old.without_summaries)?, new },
        };
        let settle = trace.programmed_bytes() > SETTLE_ABOVE;
        Ok(Self { start, trace, update, point, expected, seed, settle, second_cuts: !settle })
    }

    /// Tries the cuts on `threads` threads. `done` is told of cuts as they are done, several at once.
    pub fn run(&self, cuts: impl Iterator<Item = Cut> + Send, threads: usize, done: &(dyn Fn(u64) + Sync)) -> Report {
        let begun = Instant::now();
        let (cuts, redone) = (Mutex::new(cuts), Redone::default());
        let work = || self.work(&cuts, &redone, done);
        let tally = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let tallies =
                workers.into_iter().map(|worker| worker.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            tallies.fold(Tally::default(), Tally::merged)
        });
        tally.report(self, redone.len(), begun.elapsed())
    }

    /// Tries one cut; `seen` is told what the readers see at each stage.
    pub fn examine(&self, cut: Cut, seen: &mut dyn FnMut(Stage, &ByReader<Verdict>)) -> Verdict {
        let redone = Redone::default();
        let mut trial = Trial::new(self, &redone);
        let states = Walker::new(self.start.clone(), &self.trace, self.seed, std::iter::once(cut));
        states.map(|(_, chip)| trial.examine(&chip, seen)).last().unwrap_or(Verdict::Old)
    }

    /// One thread's part.
    fn work(&self, cuts: &Mutex<impl Iterator<Item = Cut>>, redone: &Redone, done: &(dyn Fn(u64) + Sync)) -> Tally {
        let mut trial = Trial::new(self, redone);
        let mut tally = Tally::default();
        let chunks = std::iter::from_fn(|| {
            let mut cuts = cuts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let chunk: Vec<Cut> = cuts.by_ref().take(CHUNK).collect();
            done(chunk.len() as u64);
            (!chunk.is_empty()).then_some(chunk)
        });
        for (cut, chip) in Walker::new(self.start.clone(), &self.trace, self.seed, chunks.flatten()) {
            let (seen, verdict) = trial.check(&chip);
            tally.add(cut, &seen, verdict);
        }
        tally
    }
}

fn tree(when: &'static str, view: &Result<Snapshot, ViewError>) -> Result<Snapshot, TortureError> {
    view.as_ref().map_err(|error| TortureError::View { when, error: error.to_string() }).cloned()
}

/// Access times of what is not written stay what they were, and are in no source tree.
fn check_against_source(new: &Snapshot, update: &Update) -> Result<(), TortureError> {
    let wanted = Snapshot::of_source(&update.tree)?;
    let differences = new.clone().without_atimes().differences(&wanted, 4);
    if differences.is_empty() { Ok(()) } else { Err(TortureError::WrongTree(differences)) }
}
