//! Whether an update survives on a flash: every kind of fault tried, with what it leaves to spare.

use std::collections::BTreeSet;

use jffs2_tx::flash::{Ecc, Flash, FlashKind, FlashMut};
use jffs2_tx::status::status;
use serde::Serialize;

use crate::chip::{Chip, is_blank};
use crate::cut::{cuts_sampled, cuts_sampled_up_to};
use crate::fault::{Fault, FaultKind, FlashClass, Hazard, Promise, Tier};
use crate::harness::{Counts, CutPath, Failure, Report, SecondCuts, Workload};
use crate::rng::Rng;
use crate::torture::{Torture, TortureError};
use crate::trace::{Op, Recorder};
use crate::verdict::Verdict;

mod margins;

pub use margins::Margins;

/// What is promised where there is no room.
const REFUSED: &str = "refused";
/// Places of a fault that are tried, at most: operations, pages.
const PLACES: u64 = 200;
/// Sizes of a flash that is nearly full in which the update just fits.
const FITS: u64 = 8;
/// Cuts of an update that goes on after a fault.
const CUTS_AFTER_FAULT: usize = 20;
/// Cuts of an update round bad eraseblocks.
const CUTS_ROUND_BAD: usize = 2000;

/// One kind of fault, tried.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub fault: &'static str,
    /// What is promised, and counts as passed.
    pub promise: &'static str,
    /// States that were judged, or updates that were done.
    pub tried: u64,
    /// Of those that left the old tree.
    pub old: u64,
    /// Of those that left the new tree.
    pub new: u64,
    /// Of those in which something was wrong.
    pub wrong: u64,
    /// The first of them.
    #[serde(skip)]
    pub first: Option<Wrong>,
}

/// All that was tried.
#[derive(Clone, Debug)]
pub struct Validation {
    /// By fault.
    pub rows: Vec<Row>,
    /// Cuts in recovery and in the update done again, after the power cuts of the rows.
    pub second_cuts: u64,
    /// Faults of this kind of flash that no row tried.
    pub not_tried: Vec<Hazard>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What.
    pub what: String,
    /// The fault that the update met, if that can be named.
    pub fault: Option<Fault>,
    /// Where the power failed, if it did.
    pub cut: Option<CutPath>,
}

/// What is told while it goes on: the fault, and how many tries there will be.
pub type Progress<'p> = &'p (dyn Fn(&'static str, Step) + Sync);

/// How far one kind of fault has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many tries are to be.
    Begins(u64),
    /// So many more are done.
    Done(u64),
}

/// Tries every kind of fault on a recorded update, on `threads` threads; of cuts `most` at most.
pub fn validate(torture: &Torture, most: usize, threads: usize, progress: Progress<'_>) -> Validation {
    let mut rows = Rows { torture, threads, progress, rows: Vec::new(), second_cuts: 0, tried: BTreeSet::new() };
    rows.cuts(most);
    rows.device_faults();
    if torture.start.geometry().kind() == FlashKind::Nand {
        rows.factory_bad();
    }
    rows.correctable();
    rows.full();
    Validation { not_tried: rows.not_tried(), rows: rows.rows, second_cuts: rows.second_cuts }
}

struct Rows<'t> {
    torture: &'t Torture,
    threads: usize,
    progress: Progress<'t>,
    rows: Vec<Row>,
    second_cuts: u64,
    tried: BTreeSet<Hazard>,
}

impl Row {
    /// What came of cuts, by what became of the operation that was cut.
    #[must_use]
    pub fn of_cuts(report: &Report, flash: FlashClass) -> Vec<Self> {
        let row = |(&hazard, counts): (&Hazard, &Counts)| {
            let mut row = Self { promise: hazard.promise(flash).name(), ..Self::new(hazard.what()) };
            row.add_counts(counts, report.first_wrong.get(&hazard), None);
            row
        };
        report.hazards.iter().map(row).collect()
    }

    /// Whether the promise was kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.wrong == 0 || self.promise != Promise::Survive.name() && self.promise != REFUSED
    }

    fn new(fault: &'static str) -> Self {
        Self { fault, promise: Promise::Survive.name(), tried: 0, old: 0, new: 0, wrong: 0, first: None }
    }

    fn add(&mut self, result: Result<Verdict, String>) {
        self.tried += 1;
        match result {
            Ok(Verdict::Old) => self.old += 1,
            Ok(Verdict::New) => self.new += 1,
            Ok(verdict) => self.fail(verdict.to_string()),
            Err(what) => self.fail(what),
        }
    }

    fn fail(&mut self, what: String) {
        self.wrong += 1;
        self.first.get_or_insert(Wrong { what, fault: None, cut: None });
    }

    fn add_report(&mut self, report: &Report, fault: Option<Fault>) {
        self.add_counts(&report.counts, report.failures.first(), fault);
    }

    fn add_counts(&mut self, counts: &Counts, first: Option<&Failure>, fault: Option<Fault>) {
        self.tried += counts.cuts;
        self.old += counts.old;
        self.new += counts.new;
        self.wrong += counts.mixed + counts.unreadable;
        if let (None, Some(Failure { what, cut })) = (&self.first, first) {
            self.first = Some(Wrong { what: what.clone(), fault, cut: Some(cut.clone()) });
        }
    }
}

impl Rows<'_> {
    fn begin(&self, fault: &'static str, tries: u64) {
        (self.progress)(fault, Step::Begins(tries));
    }

    /// Of tiers 1 and 2.
    fn cuts(&mut self, most: usize) {
        let report = self.report("power cuts", self.torture, most);
        self.rows.extend(Row::of_cuts(&report, self.flash()));
        self.tried.extend(report.hazards.keys());
        self.second_cuts += report.second_cuts;
    }

    fn flash(&self) -> FlashClass {
        FlashClass::of(self.torture.start.geometry().kind(), self.torture.start.rules())
    }

    /// A row of a fault; it counts as tried if anything was.
    fn push(&mut self, hazard: Hazard, row: Row) {
        if row.tried > 0 {
            self.tried.insert(hazard);
        }
        self.rows.push(row);
    }

    fn not_tried(&self) -> Vec<Hazard> {
        let tried = |hazard| self.tried.contains(&hazard) || hazard == Hazard::RepeatedCuts && self.second_cuts > 0;
        Hazard::ALL.into_iter().filter(|hazard| hazard.tier(self.flash()).is_some() && !tried(*hazard)).collect()
    }

    fn report(&self, fault: &'static str, torture: &Torture, most: usize) -> Report {
        let cuts = cuts_sampled_up_to(&torture.trace, Tier::Two, most, torture.seed);
        self.begin(fault, cuts.len() as u64);
        torture.run(cuts.into_iter(), self.threads, &|n| (self.progress)(fault, Step::Done(n)))
    }

    /// Each program and each erase in turn fails, or silently does nothing.
    fn device_faults(&mut self) {
        let count = |wanted: fn(&Op) -> bool| self.torture.trace.ops.iter().filter(|op| wanted(op)).count() as u64;
        let programs = count(|op| matches!(op, Op::Program { .. }));
        let erases = count(|op| matches!(op, Op::Erase { .. }));
        for (fault, kind, places) in [
            ("program fails: grown bad eraseblock", FaultKind::ProgramFails, programs),
            ("program leaves bits uncleared", FaultKind::ProgramLosesBits, programs),
            ("program does nothing, reports success", FaultKind::ProgramIgnored, programs),
            ("erase fails: grown bad eraseblock", FaultKind::EraseFails, erases),
            ("erase does nothing, reports success", FaultKind::EraseIgnored, erases),
            ("write-protected from an operation on", FaultKind::WriteProtect, programs + erases),
        ] {
            let mut row = Row::new(fault);
            self.begin(fault, places.min(PLACES));
            for nth in spread(places) {
                self.with_fault(&mut row, Fault { kind, nth });
                (self.progress)(fault, Step::Done(1));
            }
            self.push(kind.into(), row);
        }
    }

    /// The update meets the fault: it is done all the same, or refuses and leaves the old tree; and the power fails in it.
    fn with_fault(&self, row: &mut Row, fault: Fault) {
        let mut start = self.torture.start.clone();
        start.plan(fault);
        let mut recorder = Recorder::new(start.clone());
        let done = self.torture.workload.run(&mut recorder, 0);
        if let Some(violation) = recorder.violation() {
            return row.add(Err(violation.to_string()));
        }
        let (mut end, trace) = recorder.into_parts();
        end.forget_plan();
        let (sight, wrong) = self.torture.judge(&end);
        row.add(match (wrong, done) {
            (Some(what), _) => Err(what.to_string()),
            (None, Ok(())) if sight.verdict != Verdict::New => Err(format!("the update reports success: {sight}")),
            (None, _) => Ok(sight.verdict),
        });
        // Faults that are not reported strike other operations where some are lost.
        if matches!(fault.kind, FaultKind::ProgramFails | FaultKind::EraseFails) {
            let mut torture = Torture { start, trace, ..self.torture.clone() };
            torture.plan.second = SecondCuts::None;
            let cuts = cuts_sampled(&torture.trace, CUTS_AFTER_FAULT, fault.nth);
            row.add_report(&torture.run(cuts.into_iter(), self.threads, &|_| {}), Some(fault));
        }
    }

    /// Some of the eraseblocks that the update would take were bad from the start.
    fn factory_bad(&mut self) {
        const FAULT: &str = "factory bad eraseblocks";
        let mut row = Row::new(FAULT);
        let blank: Vec<u32> = blank_blocks(&self.torture.start).collect();
        let spare = self.torture.start.geometry().kernel_reserve() as usize;
        let mut rng = Rng::keyed(&[self.torture.seed, blank.len() as u64]);
        let mut start = self.torture.start.clone();
        for _ in 0..blank.len().saturating_sub(spare).div_ceil(16) {
            let _ = start.mark_bad(blank[rng.below(blank.len() as u64) as usize]);
        }
        match Torture::record(start, self.torture.workload.clone(), self.torture.seed) {
            Ok(torture) => row.add_report(&self.report(FAULT, &torture, CUTS_ROUND_BAD), None),
            Err(error) => row.add(refused(error)),
        }
        self.push(Hazard::FactoryBad, row);
    }

    /// Reads of the old tree need correction, a page at a time.
    fn correctable(&mut self) {
        const FAULT: &str = "correctable bit flips in the old tree";
        let geometry = *self.torture.start.geometry();
        if geometry.can_overwrite() {
            return;
        }
        let mut row = Row::new(FAULT);
        let size = geometry.write_size();
        let used: Vec<u32> = (0..geometry.blocks())
            .flat_map(|block| {
                let pages = self.torture.start.block_data(block).chunks(size as usize).enumerate();
                let used = pages.filter(|(_, page)| !is_blank(page));
                used.map(move |(page, _)| geometry.offset_of(block) + page as u32 * size)
            })
            .collect();
        self.begin(FAULT, PLACES.min(used.len() as u64));
        for place in spread(used.len() as u64) {
            let mut chip = self.torture.start.clone();
            chip.set_ecc(used[place as usize], Ecc::Corrected);
            let mut recorder = Recorder::new(chip);
            let done = self.torture.workload.run(&mut recorder, 0);
            let (sight, wrong) = self.torture.judge(&recorder.into_parts().0);
            row.add(match (done, wrong) {
                (Err(error), _) => Err(error.to_string()),
                (_, Some(what)) => Err(what.to_string()),
                _ => Ok(sight.verdict),
            });
            (self.progress)(FAULT, Step::Done(1));
        }
        self.push(Hazard::BitFlips, row);
    }

    /// There is less room than the update needs: refused, and the flash is what it was.
    fn full(&mut self) {
        const FAULT: &str = "flash full";
        let mut row = Row { promise: REFUSED, ..Row::new(FAULT) };
        let free = free_blocks(self.torture, &self.torture.start);
        self.begin(FAULT, u64::from(free).min(PLACES));
        for room in (0..free).take(PLACES as usize) {
            let mut update = self.torture.workload.clone();
            update.options.reserve = Some(free - room);
            let mut recorder = Recorder::new(self.torture.start.clone());
            let done = update.run(&mut recorder, 0);
            let (chip, _) = recorder.into_parts();
            let (sight, wrong) = self.torture.judge(&chip);
            row.add(match (wrong, done) {
                (Some(what), _) => Err(what.to_string()),
                (None, Err(_)) if sight.verdict != Verdict::Old => Err(format!("the update is refused: {sight}")),
                (None, Ok(())) if sight.verdict != Verdict::New => Err(format!("the update reports success: {sight}")),
                (None, _) => Ok(sight.verdict),
            });
            (self.progress)(FAULT, Step::Done(1));
            // With more room it goes on as it did without the fault.
            if row.new == FITS {
                break;
            }
        }
        self.push(Hazard::Exhausted, row);
    }
}

/// An update that is refused leaves the old tree: nothing has been written.
fn refused(error: TortureError) -> Result<Verdict, String> {
    match error {
        TortureError::Update(_) => Ok(Verdict::Old),
        error => Err(error.to_string()),
    }
}

fn blank_blocks(chip: &Chip) -> impl Iterator<Item = u32> {
    (0..chip.geometry().blocks()).filter(|block| chip.is_bad(*block) == Ok(false) && is_blank(chip.block_data(*block)))
}

/// As a glance tells; none if the flash cannot be read.
fn free_blocks(torture: &Torture, chip: &Chip) -> u32 {
    status(chip, torture.workload.endian).map_or(0, |status| status.free)
}

/// At most [`PLACES`] of the numbers below `end`, evenly.
fn spread(end: u64) -> impl Iterator<Item = u64> {
    let places = end.min(PLACES);
    (0..places).map(move |i| i * end / places)
}
