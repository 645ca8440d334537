//! What came of many cuts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::known::Known;
use super::trial::Wrong;
use super::{CutPath, Sight};
use crate::coverage::Coverage;
use crate::cut::Cut;
use crate::fault::{Hazard, Promise, Tier};
use crate::trace::Trace;
use crate::verdict::Verdict;

/// Failures that a report lists.
const LISTED_FAILURES: usize = 10;

/// What came of the cuts. Serializes to an object with these fields.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// By the worst that was found for each cut; if nothing was wrong, by what is seen right after it. Cuts of tier 3 are
    /// in [`hazards`](Self::hazards) and [`coverage`](Self::coverage) only; where but detection is promised, those after
    /// which something was wrong are in `cuts` and no other field.
    #[serde(flatten)]
    pub counts: Counts,
    /// By what each reader sees right after each cut.
    pub readers: BTreeMap<&'static str, Counts>,
    /// Cuts after which something was wrong where nothing, or only detection, is promised.
    pub unpromised: u64,
    /// By what became of the operation that was cut.
    pub hazards: BTreeMap<Hazard, Counts>,
    /// Which of all that could be tried was, and how often.
    pub coverage: Coverage,
    /// In how many of these sights what was allowed because it is by design.
    pub allowed: BTreeMap<&'static str, u64>,
    /// Different states that cuts left, as far as nothing is wrong with them.
    pub states: usize,
    /// Different states that recovery left, on each of which the work was done again.
    pub recovered_states: usize,
    /// Cuts in a recovery or in the work done again, and further ones.
    pub second_cuts: u64,
    /// Different states that these left.
    pub second_states: usize,
    /// The last cut, by operation, that left the old tree.
    #[serde(serialize_with = "as_text")]
    pub last_old: Option<Cut>,
    /// The first cut that left the new tree.
    #[serde(serialize_with = "as_text")]
    pub first_new: Option<Cut>,
    /// Operations of the update.
    pub ops: usize,
    /// Bytes that they program.
    pub bytes_programmed: u64,
    /// Picks what is random in the cuts.
    pub seed: u64,
    /// Time that it took.
    pub seconds: f64,
    /// Cuts by that time.
    pub cuts_per_second: f64,
    /// The first that went wrong. Not serialized: whoever knows more of the test can name them better.
    #[serde(skip)]
    pub failures: Vec<Failure>,
    /// The first after which something was wrong by what became of the operation, promised or not. Not serialized either.
    #[serde(skip)]
    pub first_wrong: BTreeMap<Hazard, Failure>,
}

/// How many cuts left what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub cuts: u64,
    /// The old tree.
    pub old: u64,
    /// The new tree.
    pub new: u64,
    /// Neither, or something else went wrong.
    pub mixed: u64,
    /// Something that cannot be read.
    pub unreadable: u64,
}

/// A cut after which something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which; with the seed it replays the state.
    pub cut: CutPath,
    /// What went wrong.
    pub what: String,
}

impl Counts {
    /// Whether every cut left the old tree or the new one.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.mixed == 0 && self.unreadable == 0
    }

    fn add(&mut self, verdict: &Verdict) {
        self.cuts += 1;
        *match verdict {
            Verdict::Old => &mut self.old,
            Verdict::New => &mut self.new,
            Verdict::Mixed(_) => &mut self.mixed,
            Verdict::Unreadable(_) => &mut self.unreadable,
        } += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cuts: self.cuts + other.cuts,
            old: self.old + other.old,
            new: self.new + other.new,
            mixed: self.mixed + other.mixed,
            unreadable: self.unreadable + other.unreadable,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cuts, old, new, mixed, unreadable } = self;
        write!(f, "cuts: {cuts}  old: {old}  new: {new}  mixed: {mixed}  unreadable: {unreadable}")
    }
}

/// One thread's part of a report.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    counts: Counts,
    readers: BTreeMap<&'static str, Counts>,
    unpromised: u64,
    hazards: BTreeMap<Hazard, Counts>,
    coverage: Coverage,
    allowed: BTreeMap<&'static str, u64>,
    last_old: Option<Cut>,
    first_new: Option<Cut>,
    failures: Vec<Failure>,
    first_wrong: BTreeMap<Hazard, Failure>,
}

impl Tally {
    /// Nothing tried; `coverage` says what can be.
    pub(super) fn new(coverage: Coverage) -> Self {
        Self {
            counts: Counts::default(),
            readers: BTreeMap::new(),
            unpromised: 0,
            hazards: BTreeMap::new(),
            coverage,
            allowed: BTreeMap::new(),
            last_old: None,
            first_new: None,
            failures: Vec::new(),
            first_wrong: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, cut: Cut, seen: &Sight, wrong: Option<Wrong>) {
        let (hazard, flash) = (Hazard::from(cut.tear), self.coverage.flash());
        let verdict = wrong.as_ref().map_or(&seen.verdict, |wrong| &wrong.what);
        self.hazards.entry(hazard).or_default().add(verdict);
        self.coverage.add(&cut);
        // Each thread's cuts ascend, so its first failures are its earliest.
        if let Some(wrong) = &wrong {
            self.first_wrong.entry(hazard).or_insert_with(|| wrong.clone().at(cut));
        }
        let is_unpromised = wrong.is_some() && hazard.promise(flash) != Promise::Survive;
        self.unpromised += u64::from(is_unpromised);
        if hazard.tier(flash) == Some(Tier::Three) {
            return;
        }
        for (reader, verdict) in &*seen.readers {
            self.readers.entry(reader).or_default().add(verdict);
        }
        for allowed in &*seen.allowed {
            *self.allowed.entry(allowed).or_default() += 1;
        }
        if is_unpromised {
            self.counts.cuts += 1;
            return;
        }
        self.counts.add(verdict);
        match wrong {
            None if seen.verdict == Verdict::Old => self.last_old = self.last_old.max(Some(cut)),
            None => self.first_new = Some(self.first_new.map_or(cut, |first| first.min(cut))),
            Some(wrong) if self.failures.len() < LISTED_FAILURES => self.failures.push(wrong.at(cut)),
            Some(_) => {}
        }
    }

    pub(super) fn merged(mut self, other: Self) -> Self {
        self.failures.extend(other.failures);
        self.failures.sort_by(|a, b| a.cut.cmp(&b.cut));
        self.failures.truncate(LISTED_FAILURES);
        self.coverage.merge(&other.coverage);
        add_each(&mut self.hazards, other.hazards);
        add_each(&mut self.readers, other.readers);
        for (hazard, failure) in other.first_wrong {
            let first = self.first_wrong.entry(hazard).or_insert_with(|| failure.clone());
            if failure.cut < first.cut {
                *first = failure;
            }
        }
        for (allowed, count) in other.allowed {
            *self.allowed.entry(allowed).or_default() += count;
        }
        Self {
            counts: self.counts.plus(other.counts),
            readers: self.readers,
            unpromised: self.unpromised + other.unpromised,
            hazards: self.hazards,
            coverage: self.coverage,
            allowed: self.allowed,
            last_old: self.last_old.max(other.last_old),
            first_new: self.first_new.into_iter().chain(other.first_new).min(),
            failures: self.failures,
            first_wrong: self.first_wrong,
        }
    }

    pub(super) fn report(self, trace: &Trace, seed: u64, known: &Known, took: Duration) -> Report {
        let seconds = took.as_secs_f64();
        Report {
            counts: self.counts,
            readers: self.readers,
            unpromised: self.unpromised,
            hazards: self.hazards,
            coverage: self.coverage,
            allowed: self.allowed,
            states: known.first().len(),
            recovered_states: known.redone_states(),
            second_cuts: known.second_cuts(),
            second_states: known.second().len(),
            last_old: self.last_old,
            first_new: self.first_new,
            ops: trace.ops.len(),
            bytes_programmed: trace.programmed_bytes(),
            seed,
            seconds,
            cuts_per_second: (self.counts.cuts + known.second_cuts()) as f64 / seconds.max(1e-9),
            failures: self.failures,
            first_wrong: self.first_wrong,
        }
    }
}

fn add_each<K: Ord>(mine: &mut BTreeMap<K, Counts>, other: BTreeMap<K, Counts>) {
    for (key, counts) in other {
        let sum = mine.entry(key).or_default();
        *sum = sum.plus(counts);
    }
}

fn as_text<S: Serializer>(cut: &Option<Cut>, serializer: S) -> Result<S::Ok, S::Error> {
    cut.map(|cut| cut.to_string()).serialize(serializer)
}
