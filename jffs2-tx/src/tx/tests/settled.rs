//! What settling a commit may not cost: nodes that are not the commit's, and trees that may still be needed.

use super::gone::Leaving;
use super::*;
use crate::flash::{Flash, FlashMut};
use crate::scan::BlockState;
use crate::wire::{Endian::Little, Marker, MarkerKind, Xattr, Xref, emit_padding, xprefix};

fn nand() -> MemFlash {
    MemFlash::new(Geometry::new(FlashKind::Nand, 512 << 10, 16 << 10, 512).unwrap())
}

fn index(flash: &MemFlash) -> Index {
    Index::open(flash, rules(Little, true)).unwrap()
}

fn listing(flash: &MemFlash) -> Listing {
    list(flash, rules(Little, true))
}

/// Eraseblocks that end in a marker of transaction `n`, the newest version of it last written first.
fn ends(flash: &MemFlash, n: u8) -> Vec<u32> {
    let index = index(flash);
    let is_end = |seen: &&crate::scan::MarkerRecord| {
        seen.marker.kind != MarkerKind::Begin && !seen.in_head && seen.marker.txid == [n; 16]
    };
    index.markers().iter().filter(is_end).map(|seen| index.geometry().block_of(seen.at)).collect()
}

fn bytes_of(flash: &mut MemFlash, block: u32) -> &mut [u8] {
    let len = flash.geometry().eraseblock() as usize;
    &mut flash.data_mut()[block as usize * len..][..len]
}

fn is_free(index: &Index, block: u32) -> bool {
    matches!(index.blocks()[block as usize].state, BlockState::Blank | BlockState::Clean)
}

fn first_free(flash: &MemFlash) -> u32 {
    let index = index(flash);
    (0..index.geometry().blocks()).find(|block| is_free(&index, *block)).unwrap()
}

fn leave_none_free(flash: &mut MemFlash) {
    let index = index(flash);
    (0..index.geometry().blocks())
        .filter(|block| is_free(&index, *block))
        .for_each(|block| flash.mark_bad(block).unwrap());
}

fn dirent(n: u8) -> TxOptions {
    TxOptions { summary_readers_only: true, ..options(Some(CommitPoint::Dirent), n) }
}

/// An update of one directory by one dirent.
fn by_dirent(flash: &mut MemFlash, n: u8) {
    let mut tx = Transaction::begin(flash, Little, dirent(n)).unwrap();
    tx.create_file(b"/etc/app/new", META, b"new").unwrap();
    tx.remove(b"/etc/app/big").unwrap();
    tx.commit().unwrap();
}

/// Nodes that the kernel writes behind what stands in an eraseblock.
fn write_on(flash: &mut MemFlash, block: u32, mut nodes: Vec<u8>) {
    let unit = flash.geometry().write_size();
    let at = index(flash).blocks()[block as usize].written_end.next_multiple_of(unit);
    let pad = nodes.len().next_multiple_of(unit as usize) - nodes.len();
    emit_padding(Little, &mut nodes, pad as u32);
    flash.program(at, &nodes).unwrap();
}

/// A new file of the kernel's.
fn log_file(flash: &MemFlash, dir: u32) -> Vec<u8> {
    let index = index(flash);
    let (ino, version) = (index.max_ino() + 1, index.max_version(dir) + 1);
    let mut nodes = Vec::new();
    Dirent { pino: dir, version, ino, mctime: 9, kind: 8, name: b"log" }.emit(Little, &mut nodes);
    let fields = Inode { csize: 5, dsize: 5, isize: 5, ..payload::inode_fields(ino, 1, FileKind::File, META) };
    fields.emit(Little, &mut nodes, b"hello");
    nodes
}

#[test]
fn an_attribute_behind_a_dirent_stays() {
    let mut flash = nand();
    populate(&mut flash, Little);
    by_dirent(&mut flash, 2);
    let hosts = Tree::new(&flash, &index(&flash)).lookup(b"/etc/hosts").unwrap();
    let mut nodes = Vec::new();
    Xattr { xid: 1, version: 1, prefix: xprefix::USER, name: b"a", value: b"b" }.emit(Little, &mut nodes);
    Xref { ino: hosts, xid: 1, seqno: 2 }.emit(Little, &mut nodes);
    let [commit] = ends(&flash, 2)[..] else { panic!() };
    write_on(&mut flash, commit, nodes);
    let attributes = |flash: &MemFlash| Tree::new(flash, &index(flash)).xattrs(hosts).unwrap();
    let before = attributes(&flash);
    assert_eq!(before.len(), 1);
    recover(&mut flash, Little).unwrap();
    assert_eq!(attributes(&flash), before);
}

/// What the kernel has written on behind a *dirent* on NAND says nothing about its cells.
#[test]
fn a_dirent_that_the_kernel_wrote_behind_is_written_again() {
    let mut flash = nand();
    populate(&mut flash, Little);
    by_dirent(&mut flash, 2);
    let [commit] = ends(&flash, 2)[..] else { panic!() };
    let nodes = log_file(&flash, ROOT);
    write_on(&mut flash, commit, nodes);
    let before = listing(&flash);
    recover(&mut flash, Little).unwrap();
    assert_eq!(recover(&mut flash, Little).unwrap(), RecoverReport::default());
    let (dirent, seal) = (512, 1024);
    for page in [dirent, seal] {
        bytes_of(&mut flash, commit)[page..page + 512].fill(0xff);
    }
    assert_eq!(listing(&flash), before);
}

/// A kernel that mounted before the seal was there has taken its version.
#[test]
fn no_seal_has_the_version_of_another_node() {
    let mut flash = MemFlash::new(Geometry::new(FlashKind::Nor, 512 << 10, 16 << 10, 1).unwrap());
    populate(&mut flash, Little);
    by_dirent(&mut flash, 2);
    let [commit] = ends(&flash, 2)[..] else { panic!() };
    let etc = Tree::new(&flash, &index(&flash)).lookup(b"/etc").unwrap();
    let seal = *index(&flash).find(etc, b"app").unwrap();
    flash.data_mut()[seal.at as usize..(commit as usize + 1) * (16 << 10)].fill(0xff);
    let mut nodes = Vec::new();
    let version = index(&flash).max_version(etc) + 1;
    assert_eq!(version, seal.version);
    let hosts = Tree::new(&flash, &index(&flash)).lookup(b"/etc/hosts").unwrap();
    Dirent { pino: etc, version, ino: hosts, mctime: 9999, kind: 8, name: b"a" }.emit(Little, &mut nodes);
    let free = first_free(&flash);
    bytes_of(&mut flash, free)[..nodes.len()].copy_from_slice(&nodes);
    let before = listing(&flash);
    assert_eq!(before[&b"etc"[..]].0.meta.mtime, 9999);
    recover(&mut flash, Little).unwrap();
    assert_eq!(listing(&flash), before);
}

/// Cut in the erase of the first commit, then a kernel, then another recovery.
#[test]
fn what_a_kernel_wrote_behind_a_repeat_or_an_undo_stays() {
    let nor = MemFlash::new(Geometry::new(FlashKind::Nor, 512 << 10, 16 << 10, 1).unwrap());
    for (mut flash, undone) in [(nand(), false), (nor, true)] {
        populate(&mut flash, Little);
        recover(&mut flash, Little).unwrap();
        if undone {
            change(&mut flash, Little, Some(CommitPoint::Head)).unwrap();
        } else {
            by_dirent(&mut flash, 2);
        }
        let [commit] = ends(&flash, 2)[..] else { panic!() };
        if undone {
            bytes_of(&mut flash, commit)[..256].fill(0xff);
        }
        let first = bytes_of(&mut flash, commit).to_vec();
        recover(&mut flash, Little).unwrap();
        let [again] = ends(&flash, 2)[..] else { panic!() };
        bytes_of(&mut flash, commit).copy_from_slice(&first);
        let nodes = log_file(&flash, ROOT);
        write_on(&mut flash, again, nodes);
        let before = listing(&flash);
        assert_eq!(before[&b"log"[..]].1, b"hello");
        recover(&mut flash, Little).unwrap();
        assert_eq!(listing(&flash), before, "undone: {undone}");
        assert_eq!(recover(&mut flash, Little).unwrap(), RecoverReport::default());
    }
}

/// What the new tree does not need the old one may: a visible *dirent* may be gone the next time.
#[test]
fn no_repeat_takes_the_place_of_the_old_tree() {
    let mut flash = nand();
    populate(&mut flash, Little);
    recover(&mut flash, Little).unwrap();
    let now = index(&flash);
    let app = Tree::new(&flash, &now).lookup(b"/etc/app").unwrap();
    let kernels = first_free(&flash);
    let nodes = log_file(&flash, app);
    bytes_of(&mut flash, kernels)[..nodes.len()].copy_from_slice(&nodes);
    assert!(listing(&flash).contains_key(&b"etc/app/log"[..]));
    let mut tx = Transaction::begin(&mut flash, Little, dirent(2)).unwrap();
    tx.remove(b"/etc/app/log").unwrap();
    tx.commit().unwrap();
    leave_none_free(&mut flash);
    assert!(crate::log::reusable(&index(&flash), kernels));
    let before = flash.data().to_vec();
    assert_eq!(recover(&mut flash, Little).unwrap().unsettled, 1);
    assert!(flash.data() == before);
}

/// An eraseblock that fails is no reason to leave the older commit as it is.
#[test]
fn both_are_settled_where_an_eraseblock_fails() {
    let mut flash = nand();
    populate(&mut flash, Little);
    recover(&mut flash, Little).unwrap();
    for n in 2..=3 {
        let options = TxOptions { online: true, ..options(None, n) };
        let mut tx = Transaction::begin(&mut flash, Little, options).unwrap();
        tx.create_file(&[b'/', b'0' + n], META, b"").unwrap();
        tx.commit().unwrap();
    }
    let index = index(&flash);
    let stubborn = (0..index.geometry().blocks()).rfind(|block| is_free(&index, *block));
    let mut leaving = Leaving { flash, left: 1000, marked: 0, asked: 0, stubborn };
    let report = recover(&mut leaving, Little).unwrap();
    assert_eq!((report.sealed, report.unsettled), (2, 0), "{report:?}");
}

/// One commit that lasts, and after it one made online that does not: wherever the recovery is cut, and whatever the second one
/// reads as then, no part of it is left without the rest.
#[test]
fn two_commits_are_settled_one_after_the_other() {
    let mut flash = nand();
    populate(&mut flash, Little);
    recover(&mut flash, Little).unwrap();
    let update = |flash: &mut MemFlash, n: u8, online: bool| {
        let mut tx = Transaction::begin(flash, Little, TxOptions { online, ..options(None, n) }).unwrap();
        tx.write_file(b"/etc/hosts", &[n], 4000).unwrap();
        tx.create_file(format!("/file{n}").as_bytes(), META, b"").unwrap();
        tx.commit().unwrap();
        listing(flash)
    };
    let first = update(&mut flash, 2, false);
    let both = update(&mut flash, 3, true);
    let [flaps] = ends(&flash, 3)[..] else { panic!() };
    for visible in [true, false] {
        for left in 0.. {
            let mut now = flash.clone();
            if !visible {
                bytes_of(&mut now, flaps)[(16 << 10) - 512..].fill(0xff);
            }
            let mut leaving = Leaving::after(left, &now);
            let done = recover(&mut leaving, Little).is_ok();
            let mut after = leaving.flash;
            let seen = listing(&after);
            assert!(seen == first || seen == both, "cut after {left}");
            let summary = bytes_of(&mut flash, flaps)[(16 << 10) - 512..].to_vec();
            if ends(&after, 3).contains(&flaps) {
                let last = &mut bytes_of(&mut after, flaps)[(16 << 10) - 512..];
                if visible {
                    last.fill(0xff)
                } else {
                    last.copy_from_slice(&summary)
                }
                let seen = listing(&after);
                assert!(seen == first || seen == both, "visible: {visible}, flaps after {left}: {seen:?}");
            }
            if done {
                break;
            }
        }
    }
}

/// A marker of nobody's, in an eraseblock that the tree needs.
#[test]
fn no_forged_marker_costs_a_node() {
    let kinds = [MarkerKind::Commit, MarkerKind::Repeat, MarkerKind::Undo];
    let points = [CommitPoint::Summary, CommitPoint::Head, CommitPoint::Dirent];
    for (kind, point, twice) in
        kinds.iter().flat_map(|kind| points.iter().flat_map(move |p| [false, true].map(|t| (*kind, *p, t))))
    {
        for mut flash in flashes() {
            populate(&mut flash, Little);
            recover(&mut flash, Little).unwrap();
            let before = listing(&flash);
            let now = index(&flash);
            let room = |block: &u32| {
                let info = now.blocks()[*block as usize];
                let end = now.geometry().offset_of(*block) + now.geometry().eraseblock();
                info.live > 0 && info.written_end + 128 + 2 * now.geometry().write_size() < end
            };
            let blocks: Vec<u32> = (0..now.geometry().blocks()).filter(room).take(1 + usize::from(twice)).collect();
            for block in &blocks {
                let mut nodes = Vec::new();
                Marker {
                    kind,
                    commit_point: Some(point),
                    sequence: u64::MAX,
                    txid: [9; 16],
                    commit_block: *block,
                    nodes: 0,
                    bytes: 0,
                    time: 0,
                    digest: [0; 32],
                    label: Default::default(),
                }
                .emit(Little, &mut nodes);
                write_on(&mut flash, *block, nodes);
            }
            assert_eq!(listing(&flash), before);
            recover(&mut flash, Little).unwrap();
            let after = listing(&flash);
            assert!(after == before, "{kind:?} {point:?} {blocks:?} {:?}", flash.geometry());
            assert_eq!(recover(&mut flash, Little).unwrap(), RecoverReport::default());
        }
    }
}

/// A kernel that has mounted read-only may still look at what is dead.
#[test]
fn nothing_dead_is_taken_online() {
    let mut flash = nand();
    populate(&mut flash, Little);
    recover(&mut flash, Little).unwrap();
    change(&mut flash, Little, None).unwrap();
    let [commit] = ends(&flash, 2)[..] else { panic!() };
    bytes_of(&mut flash, commit)[(16 << 10) - 512..].fill(0xff);
    // What is left of a file that the kernel has deleted.
    let (dead, mut nodes) = (first_free(&flash), Vec::new());
    payload::inode_fields(900, 1, FileKind::File, META).emit(Little, &mut nodes, b"");
    bytes_of(&mut flash, dead)[..nodes.len()].copy_from_slice(&nodes);
    leave_none_free(&mut flash);
    let before = flash.data().to_vec();
    let begun = Transaction::begin(&mut flash, Little, TxOptions { online: true, ..options(None, 3) }).map(drop);
    assert!(matches!(begun, Err(TxError::Unsettled)), "{begun:?}");
    assert!(flash.data() == before);
}

/// An erase of a hidden commit block that was cut has taken its marker, not all of its nodes. What has undone it goes later.
#[test]
fn an_undo_is_erased_behind_what_it_undoes() {
    let mut flash = nand();
    populate(&mut flash, Little);
    recover(&mut flash, Little).unwrap();
    let mut tx = Transaction::begin(&mut flash, Little, options(None, 2)).unwrap();
    tx.create_file(b"/new", META, b"").unwrap();
    tx.commit().unwrap();
    let [commit] = ends(&flash, 2)[..] else { panic!() };
    bytes_of(&mut flash, commit)[(16 << 10) - 512..].fill(0xff);
    let marker = index(&flash).markers().iter().rfind(|seen| seen.marker.txid == [2; 16]).unwrap().at as usize;
    // Erase, body, summary of the undo.
    let mut leaving = Leaving::after(3, &flash);
    recover(&mut leaving, Little).unwrap_err();
    let mut flash = leaving.flash;
    flash.data_mut()[marker..marker + 12].fill(0xff);
    let [undo] = ends(&flash, 2)[..] else { panic!() };
    let plan = plan_recovery(&flash, &index(&flash)).unwrap();
    let place = |wanted: RecoverAction| plan.iter().position(|action| *action == wanted).unwrap();
    let (first, second) = (RecoverAction::EraseHidden { block: commit }, RecoverAction::EraseDead { block: undo });
    assert!(undo < commit && place(first) < place(second), "{plan:?}");
}
