//! Recorded updates of the samples on flash of many shapes.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::thread::available_parallelism;

use jffs2_tx::flash::{Flash, FlashKind};
use jffs2_tx::tx::TxOptions;
use jffs2_tx::wire::{CommitPoint, Endian};
use nandsim::{Chip, Cut, Judge, Report, Sample, SecondCuts, Shape, Torture, Update, Walker, cuts_all, cuts_sampled};

pub(crate) const SEED: u64 = 5;

pub(crate) fn nor(eraseblock_kib: u32, write_size: u32, endian: Endian) -> Shape {
    Shape { kind: FlashKind::Nor, eraseblock: eraseblock_kib << 10, write_size, endian }
}

pub(crate) fn nand(eraseblock_kib: u32, page: u32, endian: Endian) -> Shape {
    Shape { kind: FlashKind::Nand, eraseblock: eraseblock_kib << 10, write_size: page, endian }
}

/// A flash with the old tree, and the update to the new one.
pub(crate) fn prepared(shape: Shape, sample: Sample, point: Option<CommitPoint>) -> (Chip, Update) {
    let image = shape.image(&sample.old).unwrap();
    let geometry = shape.geometry_for(image.len(), shape.image(&sample.new).unwrap().len()).unwrap();
    let start = shape.flashed(geometry, &image, SEED).unwrap();
    let options = TxOptions { label: "test".into(), commit_point: point, txid: [7; 16], ..TxOptions::default() };
    (start, Update::new(shape.endian, sample.new, options))
}

pub(crate) fn recorded(shape: Shape, sample: Sample, point: Option<CommitPoint>) -> Torture {
    let (start, update) = prepared(shape, sample, point);
    let torture = Torture::record(start, update, SEED).unwrap();
    assert!(point.is_none_or(|wanted| wanted == torture.oracle.point));
    torture
}

pub(crate) fn without_second_cuts(mut torture: Torture) -> Torture {
    torture.plan.second = SecondCuts::None;
    torture
}

pub(crate) fn judge(torture: &Torture) -> Judge {
    Judge::new(Arc::clone(&torture.oracle.standard))
}

/// The states after one of so many cuts, and after each of the last `all` ones.
pub(crate) fn states(torture: &Torture, every: usize, all: usize) -> impl Iterator<Item = (Cut, Chip)> + '_ {
    let count = cuts_all(&torture.trace).count();
    let taken = move |i: usize| i.is_multiple_of(every) || i + all >= count;
    let cuts = cuts_all(&torture.trace).enumerate().filter(move |(i, _)| taken(*i)).map(|(_, cut)| cut);
    Walker::new(torture.start.clone(), &torture.trace, torture.seed, cuts)
}

pub(crate) fn run(torture: &Torture, cuts: impl Iterator<Item = Cut> + Send) -> Report {
    torture.run(cuts, available_parallelism().map_or(1, usize::from), &|_| {})
}

pub(crate) fn run_all(torture: &Torture) -> Report {
    run(torture, cuts_all(&torture.trace))
}

/// Every cut leaves the old tree or the new one, and some leave each.
pub(crate) fn all_survive(torture: &Torture) {
    survives(torture, &run_all(torture));
}

pub(crate) fn sample_survives(torture: &Torture, cuts: usize) {
    survives(torture, &run(torture, cuts_sampled(&torture.trace, cuts, SEED).into_iter()));
}

fn survives(torture: &Torture, report: &Report) {
    let geometry = torture.start.geometry();
    assert!(report.counts.is_fine(), "{geometry:?} {}: {:#?}", torture.oracle.point, report);
    assert!(report.counts.old > 0 && report.counts.new > 0, "{report:#?}");
    let plain = report.readers["reader without summaries"];
    assert_eq!(plain.new > 0, torture.oracle.point != CommitPoint::Summary, "{plain:?}");
}
