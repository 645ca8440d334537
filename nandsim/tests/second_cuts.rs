//! The power fails in an update, and again in the recovery from it, at every moment: recovery leaves the tree alone.

use jffs2_tx::tx::recover;
use jffs2_tx::wire::CommitPoint::{self, Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use nandsim::{Chip, Cut, Op, Recorder, SecondCuts, Shape, Tear, Torture, Walker, sample, sample_small_change};

mod common;

use common::{SEED, nand, nor, recorded, run_all, without_second_cuts};

/// The update up to, and without, operation `op`.
fn cut_before(torture: &Torture, op: usize) -> Chip {
    let cut = Cut { op, tear: Tear::Before };
    let mut states = Walker::new(torture.start.clone(), &torture.trace, SEED, std::iter::once(cut));
    states.next().expect("the cut is in the trace").1
}

/// The recovery from a state as what is cut, instead of the update.
fn recovery_from(torture: &Torture, start: Chip) -> Torture {
    let mut recorder = Recorder::new(start.clone());
    recover(&mut recorder, torture.workload.endian).expect("recovers");
    let (_, trace) = recorder.into_parts();
    let mut recovery = without_second_cuts(Torture { start, trace, ..torture.clone() });
    recovery.plan.ends_new = false;
    recovery
}

/// Cuts the recovery from the states that leave most to do: all of the payload written; the whole body of the commit block
/// written, and its commit point not; all but the last program of the commit.
fn recoveries_survive(shape: Shape, point: CommitPoint) {
    let sample = if point == Dirent { sample_small_change() } else { sample() };
    let torture = recorded(shape, sample, Some(point));
    let ops = &torture.trace.ops;
    let erase = ops.iter().rposition(|op| matches!(op, Op::Erase { .. })).expect("the commit block is erased");
    let programs: Vec<usize> = (erase..ops.len()).filter(|i| matches!(ops[*i], Op::Program { .. })).collect();
    let last = programs[programs.len() - 1];
    for op in [erase, programs[1], last, ops.len()] {
        let recovery = recovery_from(&torture, cut_before(&torture, op));
        let report = run_all(&recovery);
        assert!(report.counts.is_fine(), "{point}, recovery from before operation {op}: {report:#?}");
        assert!(report.counts.cuts > 1 || op >= last, "there is something to recover");
        assert!(report.counts.old == 0 || report.counts.new == 0, "the tree changed: {report:#?}");
    }
}

#[test]
fn nor_head() {
    recoveries_survive(nor(64, 1, Little), Head);
    recoveries_survive(nor(4, 4, Big), Head);
}

#[test]
fn nor_summary() {
    recoveries_survive(nor(16, 1, Big), Summary);
}

#[test]
fn nand_summary() {
    recoveries_survive(nand(128, 2048, Little), Summary);
    recoveries_survive(nand(16, 512, Big), Summary);
}

#[test]
fn dirent() {
    recoveries_survive(nor(64, 1, Big), Dirent);
    recoveries_survive(nand(16, 512, Little), Dirent);
}

/// Every cut, and after each every cut in the recovery and in the update done again; some again and again.
fn every_second_cut(shape: Shape, point: CommitPoint, more_than: u64) {
    let mut torture = recorded(shape, sample_small_change(), Some(point));
    torture.plan.second = SecondCuts::All;
    let report = run_all(&torture);
    assert!(report.counts.is_fine(), "{point}: {report:#?}");
    assert!(report.second_cuts > more_than, "{point}: {} second cuts", report.second_cuts);
}

#[test]
fn every_second_cut_on_nor() {
    every_second_cut(nor(4, 1, Little), Dirent, 90_000);
    if std::env::var_os("JFFS2_TX_LONG").is_some() {
        every_second_cut(nor(4, 1, Little), Head, 300_000);
        every_second_cut(nor(16, 1, Big), Summary, 300_000);
    }
}

#[test]
fn every_second_cut_on_nand() {
    every_second_cut(nand(16, 512, Big), Dirent, 4000);
    every_second_cut(nand(16, 512, Little), Summary, 5000);
}
