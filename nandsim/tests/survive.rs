//! Updates survive: after every cut, on every kind of flash, by every commit point, the tree is the old one or the new
//! one. `JFFS2_TX_LONG=1` tries every cut of the large sample, too.

use jffs2_tx::flash::FlashMut;
use jffs2_tx::tx::TxError;
use jffs2_tx::wire::CommitPoint::{Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use nandsim::{
    Chip, Failure, Fault, FaultKind, Op, Shape, Tear, Torture, TortureError, Update, sample, sample_large,
    sample_small_change,
};

mod common;

use common::{SEED, all_survive, nand, nor, prepared, recorded, run_all, sample_survives, without_second_cuts};

#[test]
fn nor_head() {
    for endian in [Little, Big] {
        all_survive(&recorded(nor(64, 1, endian), sample(), Some(Head)));
    }
}

#[test]
fn nor_summary() {
    for endian in [Little, Big] {
        all_survive(&recorded(nor(64, 1, endian), sample(), Some(Summary)));
    }
}

#[test]
fn nor_small_eraseblocks() {
    all_survive(&recorded(nor(4, 1, Big), sample(), Some(Head)));
    all_survive(&recorded(nor(4, 1, Little), sample(), Some(Summary)));
}

#[test]
fn nor_write_units() {
    all_survive(&recorded(nor(64, 4, Big), sample(), Some(Head)));
    all_survive(&without_second_cuts(recorded(nor(64, 32, Little), sample(), Some(Summary))));
}

/// DESIGN.md, section 5: NOR that takes each write unit once cannot be made to forget a leftover commit block before its
/// erase; if such a chip programs zeros before it erases, a power cut then can show the leftover.
#[test]
fn erasing_a_leftover_needs_a_kind_erase_where_zeros_cannot_be_programmed_first() {
    let torture = recorded(nor(64, 32, Little), sample_small_change(), Some(Summary));
    let report = run_all(&torture);
    assert!(report.counts.mixed > 0);
    let in_erase = |failure: &Failure| failure.cut.then.iter().any(|(_, cut)| matches!(cut.tear, Tear::Erase { .. }));
    assert!(report.failures.iter().all(in_erase), "{report:#?}");
}

#[test]
fn small_change_by_every_commit_point() {
    for endian in [Little, Big] {
        for point in [Dirent, Head, Summary] {
            all_survive(&recorded(nor(64, 1, endian), sample_small_change(), Some(point)));
            all_survive(&recorded(nor(4, 4, endian), sample_small_change(), Some(point)));
        }
        all_survive(&recorded(nor(64, 32, endian), sample_small_change(), Some(Dirent)));
        for point in [Dirent, Summary] {
            all_survive(&recorded(nand(16, 512, endian), sample_small_change(), Some(point)));
            all_survive(&recorded(nand(128, 2048, endian), sample_small_change(), Some(point)));
        }
    }
}

#[test]
fn nand_summary() {
    for endian in [Little, Big] {
        all_survive(&recorded(nand(16, 512, endian), sample(), Some(Summary)));
        all_survive(&recorded(nand(128, 2048, endian), sample(), Some(Summary)));
    }
}

/// 480 names do not fit a commit block of 16 KiB: directories are shadowed.
#[test]
fn large_change() {
    let tortures = [
        recorded(nor(16, 1, Little), sample_large(), Some(Head)),
        recorded(nor(16, 1, Big), sample_large(), Some(Summary)),
        recorded(nor(16, 1, Little), sample_large(), Some(Dirent)),
        recorded(nand(16, 512, Big), sample_large(), Some(Summary)),
    ];
    for torture in &tortures {
        match std::env::var_os("JFFS2_TX_LONG") {
            Some(_) => all_survive(torture),
            None => sample_survives(torture, 1000),
        }
    }
}

/// The blank eraseblocks, ascending: the pool.
fn blank_blocks(chip: &Chip) -> Vec<u32> {
    let cells = (0..).map(|block| chip.block_data(block)).take_while(|cells| !cells.is_empty());
    (0..).zip(cells).filter(|(_, cells)| cells.iter().all(|&cell| cell == 0xff)).map(|(block, _)| block).collect()
}

#[test]
fn factory_bad_blocks() {
    let (mut start, mut update) = prepared(nand(16, 512, Little), sample(), None);
    let blank = blank_blocks(&start);
    update.options.reserve = Some(2);
    for block in [blank[0], blank[2], blank[blank.len() - 1]] {
        start.mark_bad(block).unwrap();
    }
    all_survive(&Torture::record(start, update, SEED).unwrap());
}

#[test]
fn failing_programs_on_small_pages() {
    survives_failing_programs(nand(16, 512, Little));
}

#[test]
fn failing_programs_on_large_pages() {
    survives_failing_programs(nand(128, 2048, Big));
}

#[test]
fn failing_programs_on_nor() {
    survives_failing_programs(nor(64, 1, Little));
}

/// Every program in turn fails; the update goes on elsewhere.
fn survives_failing_programs(shape: Shape) {
    let (start, update) = prepared(shape, sample_small_change(), Some(Summary));
    let programs = Torture::record(start.clone(), update.clone(), SEED).unwrap().trace.ops;
    let programs = programs.iter().filter(|op| matches!(op, Op::Program { .. })).count();
    for nth in 0..programs as u64 {
        survives_fault(start.clone(), update.clone(), Fault { kind: FaultKind::ProgramFails, nth });
    }
}

#[test]
fn failing_erases() {
    for shape in [nand(16, 512, Little), nor(64, 1, Little)] {
        for nth in 0..2 {
            let (start, update) = prepared(shape, sample_small_change(), None);
            survives_fault(start, update, Fault { kind: FaultKind::EraseFails, nth });
        }
    }
}

fn survives_fault(mut start: Chip, update: Update, fault: Fault) {
    start.plan(fault);
    let torture = Torture::record(start, update, SEED).unwrap();
    let report = run_all(&torture);
    assert!(report.counts.is_fine(), "{fault:?}: {report:#?}");
}

#[test]
fn what_cannot_be_tortured() {
    let (start, mut update) = prepared(nor(64, 1, Little), sample(), None);
    update.tree = sample().old;
    assert!(matches!(Torture::record(start.clone(), update.clone(), SEED), Err(TortureError::NothingToDo)));
    update.tree = sample_large().new;
    update.options.reserve = Some(100);
    let refused = Torture::record(start, update, SEED);
    assert!(matches!(refused, Err(TortureError::Update(TxError::NoSpace { .. }))));
}
