//! Collections on a flash in memory: what they free, and that the tree stays what it is.

use alloc::format;

use super::*;
use crate::flash::{FlashKind, Geometry, MemFlash};
use crate::inode_kind::FileKind;
use crate::scan::BlockState;
use crate::tx::tests::{DIR, META, change, flashes, list, noise, options, populate, rules};
use crate::tx::{Transaction, TxError, TxOptions, recover};
use crate::wire::Dirent;

fn collect(flash: &mut MemFlash, endian: Endian, options: &GcOptions) -> GcReport {
    gc(flash, endian, options, &mut |_, _| {}).unwrap()
}

fn lists(flash: &MemFlash, endian: Endian) -> [crate::tx::tests::Listing; 2] {
    [true, false].map(|summaries| list(flash, rules(endian, summaries)))
}

fn path(file: u32) -> Vec<u8> {
    format!("/d{:02}/f{file:04}", file / 10).into_bytes()
}

/// Many small files in every eraseblock, then most of them removed: each eraseblock keeps something that lives.
fn aged(geometry: Geometry, endian: Endian) -> MemFlash {
    let mut flash = MemFlash::new(geometry);
    let small = geometry.eraseblock() as usize / 8;
    let files = (geometry.blocks() - 8) * 6;
    let mut tx = Transaction::begin(&mut flash, endian, options(None, 1)).unwrap();
    for dir in 0..files.div_ceil(10) {
        tx.mkdir(format!("/d{dir:02}").as_bytes(), DIR).unwrap();
    }
    for file in 0..files {
        tx.create_file(&path(file), META, &noise(small, file)).unwrap();
    }
    tx.symlink(b"/link", META, b"d00/f0000").unwrap();
    tx.commit().unwrap();
    let share = files.div_ceil(3);
    for start in (0..files).step_by(share as usize) {
        let options = TxOptions { summary_readers_only: true, ..options(None, 2) };
        let mut tx = Transaction::begin(&mut flash, endian, options).unwrap();
        for file in (start..(start + share).min(files)).filter(|file| file % 4 != 0) {
            tx.remove(&path(file)).unwrap();
        }
        match tx.commit() {
            Err(TxError::NoSpace { .. }) => break,
            outcome => drop(outcome.unwrap()),
        }
    }
    flash
}

fn live_bytes(flash: &MemFlash, endian: Endian) -> u64 {
    let index = Index::open(flash, rules(endian, true)).unwrap();
    let space =
        Space::on(flash, &index, &GcOptions { summary_readers_only: true, ..GcOptions::default() }, &[]).unwrap();
    space.movable().iter().map(|(.., bytes)| u64::from(*bytes)).sum()
}

fn is_free(state: BlockState) -> bool {
    matches!(state, BlockState::Blank | BlockState::Clean)
}

#[test]
fn frees_what_can_be_freed_and_changes_nothing() {
    for endian in [Endian::Little, Endian::Big] {
        for flash in flashes() {
            let mut flash = aged(*flash.geometry(), endian);
            let before = list(&flash, rules(endian, true));
            let options = GcOptions { summary_readers_only: true, ..GcOptions::default() };
            let plan = plan_gc(&flash, endian, &options).unwrap();
            let live = live_bytes(&flash, endian);
            let report = collect(&mut flash, endian, &options);
            assert_eq!(before, list(&flash, rules(endian, true)));
            assert!(report.moved_nodes > 0 && report.eraseblocks_freed > report.eraseblocks_taken, "{report:?}");
            assert!(report.free_after >= plan.expected.free_after, "{report:?} {plan:?}");
            assert_eq!(plan.victims.len() as u32, plan.expected.eraseblocks_freed);
            let index = Index::open(&flash, rules(endian, true)).unwrap();
            let free = index.blocks().iter().filter(|info| is_free(info.state)).count() as u32;
            assert_eq!(free, report.free_after);
            let geometry = flash.geometry();
            let needed = live.div_ceil(u64::from(geometry.eraseblock() - geometry.eraseblock() / 8)) as u32;
            assert!(free + needed + 2 >= geometry.blocks(), "{free} free, {needed} needed: {report:?}");
            let again = collect(&mut flash, endian, &options);
            assert_eq!((again.moved_nodes, again.free_after), (0, report.free_after), "{again:?}");
        }
    }
}

#[test]
fn stops_at_the_target() {
    for flash in flashes() {
        let mut flash = aged(*flash.geometry(), Endian::Little);
        let all = GcOptions { summary_readers_only: true, ..GcOptions::default() };
        let start = plan_gc(&flash, Endian::Little, &all).unwrap().expected;
        let dead = start.recovered.erased_dead + start.recovered.erased_hidden;
        let target = start.free_before + dead + 1;
        let options = GcOptions { target_free: Some(target), ..all };
        let report = collect(&mut flash, Endian::Little, &options);
        assert!(report.free_after >= target && report.moved_bytes < start.moved_bytes, "{report:?} of {start:?}");
        assert_eq!(collect(&mut flash, Endian::Little, &options).moved_nodes, 0);
    }
}

/// Whoever is behind since a summary commit stays at the old tree, whole.
#[test]
fn readers_without_summaries_keep_their_tree() {
    for endian in [Endian::Little, Endian::Big] {
        for mut flash in flashes() {
            populate(&mut flash, endian);
            change(&mut flash, endian, Some(crate::wire::CommitPoint::Summary)).unwrap();
            let before = lists(&flash, endian);
            assert_ne!(before[0], before[1]);
            collect(&mut flash, endian, &GcOptions::default());
            assert_eq!(before, lists(&flash, endian));
        }
    }
}

#[test]
fn a_transaction_fits_that_did_not() {
    let geometry = Geometry::new(FlashKind::Nor, 1 << 20, 64 << 10, 1).unwrap();
    let mut flash = aged(geometry, Endian::Little);
    let write = |flash: &mut MemFlash| {
        let mut tx = Transaction::begin(flash, Endian::Little, options(None, 9))?;
        tx.create_file(b"/large", META, &noise(200_000, 77))?;
        tx.commit()
    };
    let Err(TxError::NoSpace { needed, reserve, .. }) = write(&mut flash) else { panic!("it fits") };
    let options = GcOptions { target_free: Some(needed + reserve), summary_readers_only: false };
    let report = collect(&mut flash, Endian::Little, &options);
    assert!(report.free_after >= needed + reserve, "{report:?}");
    write(&mut flash).unwrap();
}

/// As an interrupted collection leaves them, of Linux or of ours: either may be what a cut has left.
#[test]
fn of_copies_that_nothing_vouches_for_none_goes() {
    for endian in [Endian::Little, Endian::Big] {
        for mut flash in flashes() {
            populate(&mut flash, endian);
            let geometry = *flash.geometry();
            let index = Index::open(&flash, rules(endian, true)).unwrap();
            let payload = |block: &u32| {
                let begun = index.markers().iter().any(|seen| {
                    geometry.block_of(seen.at) == *block && seen.marker.kind == crate::wire::MarkerKind::Begin
                });
                begun && index.blocks()[*block as usize].live > 0
            };
            let from = (0..geometry.blocks()).find(payload).unwrap();
            let size = geometry.eraseblock() as usize;
            let bytes = flash.data()[geometry.offset_of(from) as usize..][..size].to_vec();
            let to = geometry.blocks() / 2;
            flash.data_mut()[geometry.offset_of(to) as usize..][..size].copy_from_slice(&bytes);
            let index = Index::open(&flash, rules(endian, true)).unwrap();
            let [old, new] = [from, to].map(|block| index.blocks()[block as usize].live);
            assert!(old > 0 && old == new, "{geometry:?}: {old} of {new}");
        }
    }
}

/// They cannot go, so that nothing would come of copying them again, but that again.
#[test]
fn copies_that_the_kernel_has_written_on_behind_stay() {
    for flash in flashes().into_iter().filter(|flash| flash.geometry().kind() == FlashKind::Nand) {
        let mut flash = aged(*flash.geometry(), Endian::Little);
        collect(&mut flash, Endian::Little, &GcOptions { summary_readers_only: true, ..GcOptions::default() });
        let index = Index::open(&flash, rules(Endian::Little, true)).unwrap();
        let of = |block| index.copies(block).filter(|copies| copies.last());
        let (block, copies) = (0..flash.geometry().blocks()).find_map(|block| Some((block, of(block)?))).unwrap();
        let (second, generation) = (copies.done[1] as usize, index.next_generation());
        let page = flash.geometry().write_size() as usize;
        let mut node = Vec::new();
        let version = index.max_version(1) + 1;
        let ino = index.find(1, b"d00").unwrap().ino;
        let kind = FileKind::Directory.dirent_type();
        Dirent { pino: 1, version, ino, mctime: 9, kind, name: b"by-the-kernel" }.emit(Endian::Little, &mut node);
        flash.data_mut()[second..][..page].fill(0xff);
        flash.data_mut()[second + page..][..node.len()].copy_from_slice(&node);
        let before = lists(&flash, Endian::Little);
        for _ in 0..3 {
            recover(&mut flash, Endian::Little).unwrap();
            let index = Index::open(&flash, rules(Endian::Little, true)).unwrap();
            assert_eq!((index.copies(block).unwrap().done.len(), index.next_generation()), (1, generation));
            assert_eq!(before, lists(&flash, Endian::Little));
        }
    }
}
