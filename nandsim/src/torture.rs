//! A JFFS2 update under test: what readers with and without summaries may see on the way from the old tree to the new.

use std::io;
use std::sync::Arc;

use jffs2_tx::flash::{Flash, FlashKind};
use jffs2_tx::index::Index;
use jffs2_tx::log::free_block;
use jffs2_tx::scan::Rules;
use jffs2_tx::tx::{DigestState, TxError, recover, verify_digest};
use jffs2_tx::wire::{CommitPoint, Endian, MarkerKind};

use crate::chip::{Chip, ChipError};
use crate::harness::{Done, Eye, Harness, Oracle, Plan, SecondCuts, Sight, Stage, Workload};
use crate::judge::{Allowance, Expected, Judge, Seen, Standard, StandardError};
use crate::plant::PlantError;
use crate::reader::ByReader;
use crate::snapshot::Snapshot;
use crate::trace::{Recorder, Violation};
use crate::update::{First, Update};
use crate::verdict::Verdict;
use crate::viewer::{ViewError, Viewer};

/// Updates that program more bytes than this are done again on settled states only.
const SETTLE_ABOVE: u64 = 4 << 20;

/// An update, what was done to the flash for it, and what readers may see on the way.
pub type Torture = Harness<Update, TreeOracle>;

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
    Violation(Violation),
    /// The old tree and the new one are equal.
    #[error("nothing to update: the old tree and the new one are equal")]
    NothingToDo,
    /// The update makes another tree than it should.
    #[error("the update makes a wrong tree: {}", .0.join(", "))]
    WrongTree(Vec<String>),
    /// A file of the new tree cannot be read.
    #[error("a file of the new tree cannot be read")]
    Source(#[from] io::Error),
    /// Firmware sees something else than the library.
    #[error(transparent)]
    Firmware(#[from] StandardError),
    /// The mistake that the update is to have cannot be planted, or shows without a power cut.
    #[error(transparent)]
    Plant(#[from] PlantError),
}

impl Torture {
    /// Does the update once, without a cut, and checks the tree that it makes; then its mistake is planted, if it is to
    /// have one.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn record(start: Chip, update: Update, seed: u64) -> Result<Self, TortureError> {
        let plant = update.plant;
        let right = Self::record_right(start, Update { plant: None, ..update }, seed)?;
        match plant {
            Some(plant) => Ok(plant.plant(right)?),
            None => Ok(right),
        }
    }

    fn record_right(start: Chip, update: Update, seed: u64) -> Result<Self, TortureError> {
        let mut viewer = Viewer::new(start.geometry(), update.endian);
        let old = viewer.views(&start);
        let mut recorder = Recorder::new(start.clone());
        let point = update.apply(&mut recorder, 0)?.commit_point.ok_or(TortureError::NothingToDo)?;
        if let Some(violation) = recorder.violation() {
            return Err(TortureError::Violation(violation.clone()));
        }
        let (end, trace) = recorder.into_parts();
        let new = tree("after", &viewer.views(&end).with_summaries)?;
        check_against_source(&new, &update)?;
        let expected = ByReader {
            with_summaries: Expected { old: tree("before", &old.with_summaries)?, new: new.clone() },
            without_summaries: Expected { old: tree("before", &old.without_summaries)?, new },
        };
        let redone_by_summary = point == CommitPoint::Summary || update.options.commit_point.is_none();
        let standard = Standard::new(&start, &end, update.endian, point, expected, None)?;
        let takes_markers = update.first == First::Collection && start.geometry().kind() == FlashKind::Nand;
        let torn_pages_stay = point == CommitPoint::Dirent || takes_markers;
        let oracle = TreeOracle {
            point,
            endian: update.endian,
            standard: Arc::new(standard),
            redone_by_summary,
            torn_pages_stay,
        };
        let settle = trace.programmed_bytes() > SETTLE_ABOVE;
        let second = if settle { SecondCuts::None } else { SecondCuts::Some };
        let plan = Plan { settle, second, ends_new: true };
        Ok(Self { start, trace, workload: update, oracle, seed, plan })
    }
}

impl Workload for Update {
    fn run(&self, flash: &mut Recorder, attempt: u8) -> Done {
        let planted = self.plant.and_then(|plant| plant.run(self, flash, attempt));
        planted.unwrap_or_else(|| Ok(self.apply(flash, attempt).map(drop)?))
    }

    fn recover(&self, flash: &mut Recorder) -> Done {
        let planted = self.plant.and_then(|plant| plant.recover(self, flash));
        planted.unwrap_or_else(|| Ok(recover(flash, self.endian).map(drop)?))
    }

    /// What a mount for writing makes of blank eraseblocks: erased and marked clean.
    fn settle(&self, flash: &mut Recorder) -> Done {
        let is_blank = |block| flash.chip().block_data(block).iter().all(|byte| *byte == 0xff);
        let blank: Vec<u32> = (0..flash.geometry().blocks()).filter(|block| is_blank(*block)).collect();
        for block in blank {
            if !flash.is_bad(block)? {
                free_block(flash, self.endian, block)?;
            }
        }
        Ok(())
    }
}

/// Compares the whole tree, as each reader sees it, with the old one and the new one.
#[derive(Clone, Debug)]
pub struct TreeOracle {
    /// What commits the update.
    pub point: CommitPoint,
    /// What each reader may see.
    pub standard: Arc<Standard>,
    /// The update done again may be committed by a summary.
    redone_by_summary: bool,
    endian: Endian,
    /// Recovery may leave a torn page beside live nodes: a paired page may have taken along the marker of a *dirent*, or
    /// of a collection.
    torn_pages_stay: bool,
}

/// What is allowed as long as there was no recovery.
const UNTIL_RECOVERY: [Allowance; 2] = [Allowance::BareboxUnreadable, Allowance::UBootStalePage];

impl Oracle for TreeOracle {
    type Eye<'o> = Judge;

    fn eye(&self) -> Judge {
        Judge::new(Arc::clone(&self.standard))
    }

    /// Only a summary commit may show one reader the new tree and not the other. Firmware that an unreadable page keeps from
    /// it sees it after recovery.
    fn accepts(&self, stage: Stage, sight: &Sight) -> Result<(), Verdict> {
        if !sight.verdict.is_fine() {
            return Err(sight.verdict.clone().about(&stage.to_string()));
        }
        let [with, without] = by_library(sight);
        let waits = UNTIL_RECOVERY.iter().any(|allowance| sight.allowed.contains(&allowance.name()));
        let wrong = match self.point {
            _ if waits && stage == Stage::Recovered && !self.torn_pages_stay => true,
            _ if stage.is_redone() => *with != Verdict::New || !(self.redone_by_summary || *without == Verdict::New),
            point => !Seen::may_differ(point, with, without),
        };
        if wrong { Err(Verdict::Mixed(format!("{stage}: {sight}, with commit point {}", self.point))) } else { Ok(()) }
    }

    /// The marker has the digest of what was written, too.
    fn is_done(&self, chip: &Chip, sight: &Sight) -> Result<(), Verdict> {
        let wrong = |what: &str| Err(Verdict::Mixed(format!("when all is done: {what}")));
        if sight.verdict != Verdict::New {
            return wrong(&sight.to_string());
        }
        let Ok(index) = Index::open(chip, Rules { endian: self.endian, summaries: true }) else { return Ok(()) };
        let commits = index.markers().iter().filter(|seen| seen.marker.kind == MarkerKind::Commit && !seen.in_head);
        let Some(newest) = commits.max_by_key(|seen| seen.marker.sequence) else {
            return wrong("there is no commit marker");
        };
        match verify_digest(chip, self.endian, index.markers(), newest) {
            Ok(DigestState::Holds) => Ok(()),
            _ => wrong("the commit marker's digest is not that of what was written"),
        }
    }

    /// Firmware sees what the library sees, or the sight is not accepted.
    fn kept(&self, before: &Sight, after: &Sight) -> Result<(), Verdict> {
        match by_library(before) == by_library(after) {
            true => Ok(()),
            false => Err(Verdict::Mixed(format!("recovery changed the tree: {before} before, {after} after"))),
        }
    }
}

/// What the library's readers see, with summaries and without.
fn by_library(sight: &Sight) -> [&Verdict; 2] {
    [0, 1].map(|reader| sight.readers.get(reader).map_or(&sight.verdict, |(_, verdict)| verdict))
}

impl Eye for Judge {
    fn see(&mut self, chip: &Chip) -> Sight {
        self.verdicts(chip).sight()
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
