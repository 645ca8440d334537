//! The stock kernel agrees: whatever moment of a transaction the power fails at, it mounts the old tree or the new one,
//! and the same one that our reader sees in that state of the flash.
//!
//! The name of a case ends in its cut, in nandsim's text form. `JFFS2_TX_LONG=1` takes ten times as many cuts at random.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jffs2_tx::wire::CommitPoint;
use jffs2_tx_tests::agreement::Agreement;
use jffs2_tx_tests::kernel::{Case, Device, Kernel, State, States};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::scene::Scene;
use nandsim::{Chip, Cut, Op, Tear, Trace, Walker, cuts_all, cuts_sampled};

const SEED: u64 = 1;
/// Most cuts that are tried in one of the operations that commit, and how many of these are the first and the last.
const MOST: usize = 400;
const EDGE: usize = 64;
/// Cuts between operations, and at random, in each transaction.
const BETWEEN: usize = 100;
const SAMPLED: usize = 700;
/// States of each transaction that are also mounted for writing.
const WRITTEN: usize = 10;
/// Different states that cuts must leave on each kind of flash.
const ENOUGH: usize = 500;

#[test]
fn nor() -> Result<()> {
    let points = [CommitPoint::Head, CommitPoint::Summary, CommitPoint::Dirent];
    agree("nor", Device::Nor { block_size: 64 << 10, blocks: 24 }, &points)
}

#[test]
fn nand_with_pages_of_2048_bytes() -> Result<()> {
    agree("nand2048", Device::NandLargePage { blocks: 24 }, &[CommitPoint::Summary, CommitPoint::Dirent])
}

#[test]
fn nand_with_pages_of_512_bytes() -> Result<()> {
    agree("nand512", Device::NandSmallPage { blocks: 48 }, &[CommitPoint::Summary, CommitPoint::Dirent])
}

fn agree(kind: &str, device: Device, points: &[CommitPoint]) -> Result<()> {
    let mut question = Question::new(device);
    for point in points {
        question.add_transaction(&format!("{kind}-{point}"), &Scene::of_sample(device, *point, false)?)?;
    }
    let report = question.agreement.check(&Kernel::debian(None)?)?;
    println!("{kind}: {}; {:.0} mounts/s, {:.0} s", question.count, report.mounts_per_second, report.seconds);
    ensure!(question.count.old + question.count.new >= ENOUGH, "only {}", question.count);
    Ok(())
}

/// All states of one device.
struct Question {
    agreement: Agreement,
    states: States,
    count: Count,
}

/// How many different states power cuts left with either tree, and how many of them are mounted for writing.
#[derive(Default)]
struct Count {
    old: usize,
    new: usize,
    written: usize,
}

/// A flash, and what our reader sees in it.
struct Judged {
    name: String,
    state: State,
    seen: Arc<Seen>,
}

impl Question {
    fn new(device: Device) -> Self {
        Self { agreement: Agreement::new(device), states: States::new(device), count: Count::default() }
    }

    /// The flash before a transaction, after it, and cut within it.
    fn add_transaction(&mut self, name: &str, scene: &Scene) -> Result<()> {
        let mut whole = |what: &str, chip: &Chip| -> Result<Judged> {
            Ok(Judged { name: format!("{name}/{what}"), state: self.states.of(chip), seen: Arc::new(Seen::on(chip)?) })
        };
        let (before, after) = (whole("before", &scene.before)?, whole("after", &scene.after)?);
        ensure!(before.seen != after.seen, "{name} changes nothing");
        let (old, new) = self.cut_states(name, scene, [&before.seen, &after.seen])?;
        self.count.old += old.len();
        self.count.new += new.len();
        for judged in [&before, &after].into_iter().chain(&old).chain(&new) {
            self.ask(Case::read_only, judged, "");
        }
        let share = WRITTEN - new.len().min(WRITTEN / 2);
        for judged in [&before, &after].into_iter().chain(evenly(&old, share)).chain(evenly(&new, WRITTEN - share)) {
            self.ask(Case::read_write, judged, "/rw");
            self.count.written += 1;
        }
        Ok(())
    }

    fn ask(&mut self, case: fn(String, State) -> Case, judged: &Judged, suffix: &str) {
        let name = judged.name.clone() + suffix;
        self.agreement.add(case(name, judged.state.clone()), &judged.seen);
    }

    /// The different states that cuts leave: those with the old tree, those with the new one.
    fn cut_states(
        &mut self,
        name: &str,
        scene: &Scene,
        [old, new]: [&Arc<Seen>; 2],
    ) -> Result<(Vec<Judged>, Vec<Judged>)> {
        let (mut with_old, mut with_new) = (Vec::new(), Vec::new());
        let mut known = HashSet::new();
        for (cut, chip) in Walker::new(scene.before.clone(), &scene.trace, SEED, chosen(&scene.trace).into_iter()) {
            if !known.insert(chip.content_id()) {
                continue;
            }
            let name = format!("{name}/{cut}");
            let seen = Seen::on(&chip).with_context(|| format!("our reader fails at {name}"))?;
            let state = self.states.of(&chip);
            if seen == **old {
                with_old.push(Judged { name, state, seen: old.clone() });
            } else {
                ensure!(seen == **new, "{name}: our reader sees neither tree\n{}", old.difference(&seen.lines));
                with_new.push(Judged { name, state, seen: new.clone() });
            }
        }
        Ok((with_old, with_new))
    }
}

/// The cuts to try: all in the last two programs (but see [`MOST`]), some between operations, some anywhere.
fn chosen(trace: &Trace) -> BTreeSet<Cut> {
    let programs = (0..trace.ops.len()).filter(|&op| matches!(trace.ops[op], Op::Program { .. }));
    let commit = programs.rev().nth(1).unwrap_or(0);
    let boundaries: Vec<usize> = (0..=trace.ops.len()).collect();
    let times = if std::env::var_os("JFFS2_TX_LONG").is_some() { 10 } else { 1 };
    let mut cuts = BTreeSet::from_iter(cuts_sampled(trace, SAMPLED * times, SEED));
    cuts.extend(evenly(&boundaries, BETWEEN).map(|&op| Cut { op, tear: Tear::Before }));
    for op in commit..=trace.ops.len() {
        let tears: Vec<Cut> = cuts_all(trace).filter(|cut| cut.op == op).collect();
        cuts.extend(thinned(&tears));
    }
    cuts
}

fn thinned(tears: &[Cut]) -> impl Iterator<Item = &Cut> {
    let edge = EDGE.min(tears.len() / 2);
    let (first, rest) = tears.split_at(edge);
    let (middle, last) = rest.split_at(rest.len() - edge);
    first.iter().chain(evenly(middle, MOST - 2 * EDGE)).chain(last)
}

/// At most `n` of the items, from all over.
fn evenly<T>(items: &[T], n: usize) -> impl Iterator<Item = &T> {
    let n = n.min(items.len());
    (0..n).map(move |i| &items[i * items.len() / n])
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.old + self.new;
        write!(f, "{all} cut states ({} old, {} new), {} mounted for writing", self.old, self.new, self.written)
    }
}
