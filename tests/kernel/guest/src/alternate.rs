//! The kernel and the library write to one flash in turns, and each reads what the other wrote.
//!
//! A round: the kernel works; kernel and library must see the same tree. The library changes it, on the device itself;
//! both must see the same tree again, and the one that follows from the changes ([`model`]).

mod changes;
mod model;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use jffs2_tx::flash::mtd::MtdFlash;
use jffs2_tx::tx::{CommitReport, GcOptions, gc, recover};
use jffs2_tx::wire::CommitPoint;
use jffs2_tx::{Endian, Transaction, TxError, TxOptions};
use kernel_guest::listing::{self, Entry};
use kernel_guest::manifest;
use kernel_guest::ours;
use kernel_guest::script::{Alternate, CaseStep, Compressor};
use nix::mount::MsFlags;

use crate::age::{Rng, SMALL, Work};
use crate::chip::Chip;
use crate::judge::{MOUNT_POINT, mounted};
use crate::memo::Memo;
use changes::{Changes, Wish};
use model::Model;

/// Acts of the kernel in a round.
const ACTS: (u64, u64) = (4, 24);
/// Lines of a difference that are told of each side.
const TOLD: usize = 5;

/// Goes through all rounds, to the first difference; the last tree.
pub(crate) fn alternate(chip: &Chip, memo: &mut Memo, case: &CaseStep, plan: Alternate) -> Result<Vec<Entry>> {
    let mut play = Play {
        chip,
        memo,
        work: Work::new(Path::new(MOUNT_POINT), plan.seed.into(), SMALL),
        rng: Rng::new(u64::from(plan.seed) << 32),
        round: 0,
        summary_readers_only: false,
        tally: Tally::default(),
    };
    let mut tree = Vec::new();
    while play.round < plan.rounds {
        play.round += 1;
        tree = play.one_round().with_context(|| format!("seed {}, round {}", plan.seed, play.round))?;
        // A sign of life.
        println!("ROUND {} {}", case.name, play.round);
    }
    println!("ALTERNATED {} rounds={} {}", case.name, play.round, play.tally);
    Ok(tree)
}

struct Play<'a> {
    chip: &'a Chip,
    memo: &'a mut Memo,
    work: Work,
    rng: Rng,
    round: u32,
    /// Whether, in this round, the library may take what only readers without summaries need, which this kernel is not.
    summary_readers_only: bool,
    tally: Tally,
}

/// What both see.
struct Seen {
    entries: Vec<Entry>,
    /// The inode of each.
    inos: Vec<u64>,
}

impl Play<'_> {
    fn one_round(&mut self) -> Result<Vec<Entry>> {
        self.kernel_works().context("the kernel's work")?;
        let before = self.agreed().context("after the kernel's work")?;
        let mut model = Model::new(&before.entries, &before.inos);
        let outcome = self.library_works(&mut model).context("the library's work");
        let after = self.agreed().context("after the library's work");
        // That they differ tells more than an error of the library.
        let (after, ()) = (after?, outcome?);
        same("changes", &listing::lines(&model.entries()), "kernel", &listing::lines(&after.entries))?;
        self.tally.entries = self.tally.entries.max(after.entries.len());
        Ok(after.entries)
    }

    fn kernel_works(&mut self) -> Result<()> {
        let (acts, work) = (self.rng.between(ACTS.0, ACTS.1), &mut self.work);
        mounted(self.chip, MsFlags::empty(), Compressor::Turns.mount_option(self.round), |_| {
            work.begin().context("look around")?;
            (0..acts).try_for_each(|_| work.act())?;
            work.end();
            Ok(())
        })?;
        self.tally.acts += acts;
        Ok(())
    }

    /// The tree, which kernel and library must see alike, extended attributes included.
    fn agreed(&mut self) -> Result<Seen> {
        let (seen, kernel) = mounted(self.chip, MsFlags::MS_RDONLY, None, |root| {
            let entries = self.memo.walk(root)?;
            let place = |entry: &Entry| root.join(OsStr::from_bytes(&entry.path));
            let ino = |entry| Ok(fs::symlink_metadata(place(entry))?.ino());
            let inos = entries.iter().map(ino).collect::<Result<_>>()?;
            let line = |entry| Ok(manifest::line(entry, &manifest::xattrs(&place(entry))?));
            let mut lines: Vec<String> = entries.iter().map(line).collect::<Result<_>>()?;
            lines.sort();
            Ok((Seen { entries, inos }, lines))
        })?;
        let library = ours::manifest(&self.open(false)?, ours::RULES).context("our reader")?;
        same("kernel", &kernel, "library", &library)?;
        Ok(seen)
    }

    /// Mostly one transaction, sometimes two, or one that is given up before them; what it shall lead to.
    fn library_works(&mut self, model: &mut Model) -> Result<()> {
        let mut flash = self.open(true)?;
        self.summary_readers_only = self.rng.percent(60);
        match self.rng.below(8) {
            0 => self.collect(&mut flash)?,
            1 => self.recover(&mut flash)?,
            _ => {}
        }
        if self.rng.percent(15) {
            self.give_up(&mut flash, model.clone())?;
        }
        let mut committed = self.commit(&mut flash, model)?;
        if self.rng.percent(25) {
            committed &= self.commit(&mut flash, model)?;
            self.tally.twice += u32::from(committed);
        }
        self.tally.committed += u32::from(committed);
        if self.rng.percent(10) {
            self.recover(&mut flash)?;
        }
        Ok(())
    }

    /// Begins a transaction and aborts it, or leaves what it has written to the next one.
    fn give_up(&mut self, flash: &mut MtdFlash, mut model: Model) -> Result<()> {
        let mut tx = self.begin(flash)?;
        Changes::new(&mut tx, &mut model, &mut self.rng, self.round).make(Wish::Several)?;
        if self.rng.percent(50) {
            tx.abort().context("abort")?;
        } else if self.rng.percent(50) {
            drop(tx);
            self.recover(flash)?;
        }
        self.tally.given_up += 1;
        Ok(())
    }

    /// Whether there was space for a transaction; if not, after a collection, for one that removes.
    fn commit(&mut self, flash: &mut MtdFlash, model: &mut Model) -> Result<bool> {
        let wish = if self.rng.percent(25) { Wish::One } else { Wish::Several };
        for wish in [wish, wish, Wish::Removals] {
            let mut changed = model.clone();
            let mut tx = self.begin(flash)?;
            Changes::new(&mut tx, &mut changed, &mut self.rng, self.round).make(wish)?;
            match tx.commit() {
                Ok(report) => {
                    self.tally.count(&report);
                    *model = changed;
                    return Ok(report.commit_point.is_some());
                }
                Err(TxError::NoSpace { .. }) => self.tally.full += 1,
                Err(error) => return Err(error).context("commit"),
            }
            self.collect(flash)?;
            self.summary_readers_only = true;
        }
        Ok(false)
    }

    fn begin<'f>(&mut self, flash: &'f mut MtdFlash) -> Result<Transaction<'f, MtdFlash>> {
        let points = [None, None, None, None, None, Some(CommitPoint::Summary)];
        let mut txid = [0; 16];
        txid[..8].copy_from_slice(&self.rng.next().to_le_bytes());
        let options = TxOptions {
            label: format!("round {}", self.round),
            commit_point: self.rng.pick(&points).copied().flatten(),
            txid,
            summary_readers_only: self.summary_readers_only,
            ..TxOptions::default()
        };
        Transaction::begin(flash, Endian::Little, options).context("begin")
    }

    fn collect(&mut self, flash: &mut MtdFlash) -> Result<()> {
        let options = GcOptions { summary_readers_only: self.summary_readers_only, ..GcOptions::default() };
        let report = gc(flash, Endian::Little, &options, &mut |_, _| {}).context("gc")?;
        self.tally.collections += 1;
        self.tally.moved += report.moved_nodes;
        Ok(())
    }

    fn recover(&mut self, flash: &mut MtdFlash) -> Result<()> {
        let report = recover(flash, Endian::Little).context("recover")?;
        self.tally.recovered += report.sealed + report.erased_hidden + report.erased_dead;
        Ok(())
    }

    fn open(&self, write: bool) -> Result<MtdFlash> {
        let mut flash = MtdFlash::open(Path::new(&format!("/dev/{}", self.chip.mount_source())), write)?;
        flash.set_endian(Endian::Little);
        Ok(flash)
    }
}

/// Fails with the lines that only one of two sorted lists has.
fn same(one: &str, lines: &[String], other: &str, others: &[String]) -> Result<()> {
    if lines == others {
        return Ok(());
    }
    let only = |lines: &[String], others: &[String]| -> Vec<String> {
        let others: HashSet<&String> = others.iter().collect();
        lines.iter().filter(|line| !others.contains(line)).take(TOLD).cloned().collect()
    };
    bail!("only {one}: {:#?}; only {other}: {:#?}", only(lines, others), only(others, lines))
}

/// What all rounds came to.
#[derive(Default)]
struct Tally {
    acts: u64,
    /// Rounds in which all transactions that were to be committed were.
    committed: u32,
    /// Of them, those with two.
    twice: u32,
    given_up: u32,
    /// Refusals for want of space.
    full: u32,
    collections: u32,
    /// Nodes moved by them.
    moved: u32,
    /// Actions of recoveries.
    recovered: u32,
    programmed: u64,
    shadowed: u32,
    points: HashMap<&'static str, u32>,
    /// Of the largest tree.
    entries: usize,
}

impl Tally {
    fn count(&mut self, report: &CommitReport) {
        self.programmed += report.bytes_programmed;
        self.shadowed += report.directories_shadowed;
        let point = match report.commit_point {
            Some(CommitPoint::Head) => "head",
            Some(CommitPoint::Summary) => "summary",
            Some(CommitPoint::Dirent) => "dirent",
            None => "unchanged",
        };
        *self.points.entry(point).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acts, committed, twice, given_up, full, collections, moved, recovered, .. } = self;
        write!(f, "acts={acts} committed={committed} twice={twice} given_up={given_up} full={full} ")?;
        write!(f, "collections={collections} moved={moved} recovered={recovered} ")?;
        for point in ["head", "summary", "dirent", "unchanged"] {
            write!(f, "{point}={} ", self.points.get(point).unwrap_or(&0))?;
        }
        write!(f, "shadowed={} programmed={} entries={}", self.shadowed, self.programmed, self.entries)
    }
}
