//! Which cuts of a transaction the kernel is asked about.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::scene::Scene;
use nandsim::{Cut, Op, Tear, Trace, Walker, cuts_all};

/// Most cuts that are tried in a program before the one that commits, and how many of them are its first and last.
const MOST: usize = 120;
const EDGE: usize = 32;
/// Programs before the one that commits that are looked at like that.
const PROGRAMS_BEFORE: usize = 2;
/// Seed of what is random in the cuts that are always tried.
pub(crate) const SEED: u64 = 1;

/// How much of a transaction is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Between all operations, and at random anywhere in them.
    Everything,
    /// From shortly before the commit point on, some of all cuts: for trees that take long to read.
    CommitPoint(usize),
    /// At random, most often near the commit point.
    Random,
}

/// Whether the long campaign is asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("JFFS2_TX_LONG").is_some()
}

/// The cuts that are always tried: each between two operations, each in the operation that commits and in all behind it,
/// and some in the programs just before it.
pub(crate) fn certain(scene: &Scene, [old, new]: [&Seen; 2], extent: Extent) -> Result<BTreeSet<Cut>> {
    let trace = &scene.trace;
    let commit = commit_op(scene, old, new)?;
    let programs = (0..commit).rev().filter(|&op| matches!(trace.ops[op], Op::Program { .. }));
    let first = programs.take(PROGRAMS_BEFORE).last().unwrap_or(0);
    let mut cuts: BTreeSet<Cut> = (first..commit).flat_map(|op| thinned(&tears(trace, op))).collect();
    cuts.extend((commit..=trace.ops.len()).flat_map(|op| tears(trace, op)));
    match extent {
        Extent::Everything => cuts.extend((0..=trace.ops.len()).map(before)),
        Extent::Random => cuts.clear(),
        Extent::CommitPoint(most) => cuts = around(&cuts, commit, most),
    }
    Ok(cuts)
}

/// The operation that commits: before it our reader sees the old tree, after it the new one.
fn commit_op(scene: &Scene, old: &Seen, new: &Seen) -> Result<usize> {
    let is_new = |op: usize| -> Result<bool> {
        let mut states = Walker::new(scene.before.clone(), &scene.trace, SEED, [before(op)].into_iter());
        let seen = Seen::on(&states.next().context("a state")?.1)?;
        ensure!(seen == *old || seen == *new, "before operation {op} our reader sees neither tree");
        Ok(seen == *new)
    };
    let (mut last_old, mut first_new) = (0, scene.trace.ops.len());
    ensure!(!is_new(last_old)? && is_new(first_new)?, "the transaction commits nothing");
    while last_old + 1 < first_new {
        let middle = last_old.midpoint(first_new);
        *if is_new(middle)? { &mut first_new } else { &mut last_old } = middle;
    }
    Ok(last_old)
}

fn before(op: usize) -> Cut {
    Cut { op, tear: Tear::Before }
}

fn tears(trace: &Trace, op: usize) -> Vec<Cut> {
    cuts_all(trace).filter(|cut| cut.op == op).collect()
}

fn thinned(tears: &[Cut]) -> Vec<Cut> {
    let edge = EDGE.min(tears.len() / 2);
    let (first, rest) = tears.split_at(edge);
    let (middle, last) = rest.split_at(rest.len() - edge);
    first.iter().chain(evenly(middle, MOST - 2 * EDGE)).chain(last).copied().collect()
}

/// Half of the cuts in the operation that commits, half of them around it.
fn around(cuts: &BTreeSet<Cut>, commit: usize, most: usize) -> BTreeSet<Cut> {
    let (inside, around): (Vec<Cut>, Vec<Cut>) = cuts.iter().partition(|cut| cut.op == commit);
    evenly(&inside, most / 2).chain(evenly(&around, most / 2)).copied().collect()
}

/// At most `n` of the items, from the first to the last.
fn evenly<T>(items: &[T], n: usize) -> impl Iterator<Item = &T> {
    let n = n.min(items.len());
    (0..n).map(move |i| &items[i * (items.len() - 1) / (n - 1).max(1)])
}
