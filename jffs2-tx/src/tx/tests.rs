//! Transactions on a flash in memory: what they do to the tree, on every kind of flash, by every commit point.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::*;
use crate::flash::{FlashKind, Geometry, MemFlash};
use crate::index::ROOT;
use crate::inode_kind::{Device, FileKind, Meta};
use crate::tree::{Stat, Tree};
use crate::wire::{Compression, Dirent, Inode};

mod estimate;
mod gone;
mod online;
mod settle;
mod settled;
#[cfg(feature = "std")]
mod stream;

pub(super) const META: Meta = Meta { mode: 0o644, uid: 1, gid: 2, mtime: 1000 };
pub(super) const DIR: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 2000 };

pub(super) type Listing = BTreeMap<Vec<u8>, (Stat, Vec<u8>)>;

pub(super) fn flashes() -> Vec<MemFlash> {
    let shapes = [
        (FlashKind::Nor, 512 << 10, 16 << 10, 1),
        (FlashKind::Nor, 1 << 20, 64 << 10, 4),
        (FlashKind::Nor, 1 << 20, 64 << 10, 32),
        (FlashKind::Nor, 256 << 10, 4 << 10, 1),
        (FlashKind::Nand, 512 << 10, 16 << 10, 512),
        (FlashKind::Nand, 4 << 20, 128 << 10, 2048),
    ];
    shapes.map(|(kind, size, eb, ws)| MemFlash::new(Geometry::new(kind, size, eb, ws).unwrap())).into()
}

pub(super) fn rules(endian: Endian, summaries: bool) -> Rules {
    Rules { endian, summaries }
}

pub(super) fn list(flash: &MemFlash, rules: Rules) -> Listing {
    let index = Index::open(flash, rules).unwrap();
    let tree = Tree::new(flash, &index);
    let entry = |path: Vec<u8>, ino| {
        let stat = tree.stat(ino).unwrap();
        let content = match stat.kind {
            FileKind::File => tree.read(ino, u32::MAX).unwrap(),
            FileKind::Symlink => tree.read_link(ino).unwrap(),
            _ => Vec::new(),
        };
        // Inode numbers may change; what they hold may not.
        (path, (Stat { ino: 0, ctime: 0, ..stat }, content))
    };
    tree.walk(ROOT).map(|step| entry(step.path, step.ino)).collect()
}

pub(super) fn options(point: Option<CommitPoint>, n: u8) -> TxOptions {
    TxOptions {
        label: format!("update {n}"),
        commit_point: point,
        txid: [n; 16],
        reserve: Some(2),
        ..Default::default()
    }
}

pub(super) fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A first tree, from nothing.
pub(super) fn populate(flash: &mut MemFlash, endian: Endian) {
    let mut tx = Transaction::begin(flash, endian, options(None, 1)).unwrap();
    tx.set_meta(b"/", Meta { mode: 0o700, uid: 5, gid: 6, mtime: 77 }).unwrap();
    tx.mkdir(b"/etc", DIR).unwrap();
    tx.mkdir(b"/etc/app", DIR).unwrap();
    tx.create_file(b"/etc/app/config", META, b"one=1\n").unwrap();
    tx.create_file(b"/etc/app/big", META, &noise(9000, 3)).unwrap();
    tx.symlink(b"/etc/app/link", META, b"config").unwrap();
    tx.create_file(b"/etc/hosts", META, b"127.0.0.1 localhost\n").unwrap();
    tx.link(b"/etc/hosts", b"/etc/hosts2").unwrap();
    tx.mkdir(b"/dev", DIR).unwrap();
    tx.mknod(b"/dev/null", Meta { mode: 0o666, ..META }, false, Device { major: 1, minor: 3 }).unwrap();
    tx.mkfifo(b"/dev/pipe", META).unwrap();
    tx.create_file(b"/empty", META, b"").unwrap();
    let mut holey = noise(5000, 9);
    holey.resize(80_000, 0);
    holey.extend_from_slice(b"end");
    tx.create_file(b"/holey", META, &holey).unwrap();
    tx.commit().unwrap();
}

/// A change in every part of the tree.
pub(super) fn change(
    flash: &mut MemFlash,
    endian: Endian,
    point: Option<CommitPoint>,
) -> core::result::Result<CommitReport, TxError<crate::flash::MemError>> {
    let mut tx = Transaction::begin(flash, endian, options(point, 2))?;
    tx.write_file(b"/etc/hosts2", b"::1 localhost\n", 4000)?;
    tx.rename(b"/etc/app", b"/app")?;
    tx.remove(b"/app/big")?;
    tx.chmod(b"/app/link", 0o777)?;
    tx.chown(b"/dev/null", 9, 9)?;
    tx.utimes(b"/dev/pipe", 9999)?;
    tx.chmod(b"/holey", 0o600)?;
    tx.remove_all(b"/empty")?;
    tx.mkdir(b"/empty", DIR)?;
    tx.utimes(b"/", 5555)?;
    assert_eq!(tx.read_file(b"/etc/hosts")?, b"::1 localhost\n");
    assert_eq!(tx.stat(b"/etc/hosts")?.links, 2);
    assert_eq!(tx.read_link(b"/app/link")?, b"config");
    tx.commit()
}

fn check_changed(after: &Listing) {
    let stat = |path: &[u8]| after[path].0;
    assert_eq!(after[&b"etc/hosts"[..]].1, b"::1 localhost\n");
    assert_eq!(after[&b"etc/hosts2"[..]].1, b"::1 localhost\n");
    assert_eq!((stat(b"etc/hosts").links, stat(b"etc/hosts").meta.mtime), (2, 4000));
    assert_eq!(after[&b"app/config"[..]].1, b"one=1\n");
    assert!(!after.contains_key(&b"etc/app"[..]) && !after.contains_key(&b"app/big"[..]));
    assert_eq!((stat(b"dev/null").meta.uid, stat(b"dev/null").device), (9, Some(Device { major: 1, minor: 3 })));
    assert_eq!(stat(b"dev/pipe").meta.mtime, 9999);
    assert_eq!((stat(b"holey").meta.mode, stat(b"holey").size), (0o600, 80_003));
    assert_eq!(stat(b"empty").kind, FileKind::Directory);
    assert_eq!((stat(b"").meta.mtime, stat(b"").meta.mode), (5555, 0o700));
    assert_eq!(stat(b"dev").meta, DIR);
}

#[test]
fn every_flash_and_endianness_changes_as_asked() {
    for endian in [Endian::Little, Endian::Big] {
        for mut flash in flashes() {
            populate(&mut flash, endian);
            let before = list(&flash, rules(endian, true));
            assert_eq!(before[&b"etc/app/big"[..]].1, noise(9000, 3));
            assert_eq!(before[&b""[..]].0.meta, Meta { mode: 0o700, uid: 5, gid: 6, mtime: 77 });
            let report = change(&mut flash, endian, None).unwrap();
            let expected = if flash.geometry().can_overwrite() { CommitPoint::Head } else { CommitPoint::Summary };
            assert_eq!(report.commit_point, Some(expected));
            check_changed(&list(&flash, rules(endian, true)));
            let other = list(&flash, rules(endian, false));
            assert_eq!(other == list(&flash, rules(endian, true)), expected == CommitPoint::Head);
        }
    }
}

#[test]
fn recovery_keeps_what_alone_makes_a_directory_exist() {
    const EB: usize = 16 << 10;
    for endian in [Endian::Little, Endian::Big] {
        let mut data = Vec::new();
        Dirent { pino: ROOT, version: 1, ino: 7, mctime: 0, kind: 4, name: b"dir" }.emit(endian, &mut data);
        data.resize(EB, 0xff);
        Dirent { pino: 7, version: 1, ino: 0, mctime: 0, kind: 0, name: b"gone" }.emit(endian, &mut data);
        let geometry = Geometry::new(FlashKind::Nor, 8 * EB as u64, EB as u32, 1).unwrap();
        let mut flash = MemFlash::with_data(geometry, data);
        let before = list(&flash, rules(endian, true));
        assert!(before.contains_key(b"dir".as_slice()));
        recover(&mut flash, endian).unwrap();
        assert_eq!(list(&flash, rules(endian, true)), before);
    }
}

#[test]
fn recovery_brings_no_refused_device_back() {
    const EB: usize = 16 << 10;
    for endian in [Endian::Little, Endian::Big] {
        let number = Device { major: 5, minor: 1 }.encode(endian);
        let node = |version, offset: u32| Inode {
            ino: 7,
            version,
            mode: 0o020_644,
            uid: 0,
            gid: 0,
            isize: offset + 2,
            atime: 1,
            mtime: 1,
            ctime: 1,
            offset,
            csize: 0,
            dsize: 2,
            compression: Compression::None,
            data_crc: 0,
        };
        let mut data = Vec::new();
        Dirent { pino: ROOT, version: 1, ino: 7, mctime: 0, kind: 2, name: b"dev" }.emit(endian, &mut data);
        node(2, 0).emit(endian, &mut data, &number);
        data.resize(EB, 0xff);
        node(1, 9).emit(endian, &mut data, &number);
        let geometry = Geometry::new(FlashKind::Nor, 8 * EB as u64, EB as u32, 1).unwrap();
        let mut flash = MemFlash::with_data(geometry, data);
        let refused = |flash: &MemFlash| {
            let index = Index::open(flash, rules(endian, true)).unwrap();
            Tree::new(flash, &index).stat(7).is_err()
        };
        assert!(refused(&flash));
        recover(&mut flash, endian).unwrap();
        assert!(refused(&flash));
    }
}

#[test]
fn recovery_changes_nothing_and_ends() {
    for mut flash in flashes() {
        populate(&mut flash, Endian::Little);
        change(&mut flash, Endian::Little, None).unwrap();
        let before = [true, false].map(|s| list(&flash, rules(Endian::Little, s)));
        recover(&mut flash, Endian::Little).unwrap();
        assert_eq!(recover(&mut flash, Endian::Little).unwrap(), RecoverReport::default());
        assert_eq!(before, [true, false].map(|s| list(&flash, rules(Endian::Little, s))));
    }
}

#[test]
fn the_digest_holds_until_something_changes() {
    for mut flash in flashes() {
        populate(&mut flash, Endian::Big);
        change(&mut flash, Endian::Big, None).unwrap();
        let index = Index::open(&flash, rules(Endian::Big, true)).unwrap();
        let commits: Vec<_> = index
            .markers()
            .iter()
            .filter(|seen| seen.marker.kind == crate::wire::MarkerKind::Commit)
            .cloned()
            .collect();
        assert!(commits.iter().any(|seen| seen.marker.sequence == 2));
        for commit in &commits {
            let state = verify_digest(&flash, Endian::Big, index.markers(), commit).unwrap();
            assert_eq!(state, DigestState::Holds, "{:?}", commit.marker);
        }
    }
}

#[test]
fn one_directory_changes_by_one_dirent() {
    for mut flash in flashes() {
        populate(&mut flash, Endian::Little);
        let dirent = |n| TxOptions { summary_readers_only: true, ..options(Some(CommitPoint::Dirent), n) };
        let mut tx = Transaction::begin(&mut flash, Endian::Little, dirent(2)).unwrap();
        tx.create_file(b"/etc/app/new", META, b"new").unwrap();
        tx.remove(b"/etc/app/config").unwrap();
        tx.chmod(b"/etc/app/big", 0o600).unwrap();
        tx.utimes(b"/etc/app/link", 4321).unwrap();
        let report = tx.commit().unwrap();
        assert_eq!((report.directories_shadowed, report.files_copied), (1, 1));
        let after = list(&flash, rules(Endian::Little, true));
        assert_eq!(after[&b"etc/app/new"[..]].1, b"new");
        assert_eq!(after[&b"etc/app/big"[..]].0.meta.mode, 0o600);
        assert_eq!(after[&b"etc/app/link"[..]].0.meta.mtime, 4321);
        assert!(!after.contains_key(&b"etc/app/config"[..]));
        assert_eq!(after[&b"etc"[..]].0.meta, DIR);
        // A change of the root cannot go by one dirent.
        let mut tx = Transaction::begin(&mut flash, Endian::Little, dirent(3)).unwrap();
        tx.chmod(b"/", 0o755).unwrap();
        assert!(matches!(tx.commit(), Err(TxError::CommitPoint { .. })));
    }
}

#[test]
fn a_change_that_does_not_fit_shadows_directories() {
    let geometry = Geometry::new(FlashKind::Nor, 512 << 10, 8 << 10, 1).unwrap();
    let mut flash = MemFlash::new(geometry);
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 1)).unwrap();
    for dir in 0..6 {
        tx.mkdir(format!("/d{dir}").as_bytes(), DIR).unwrap();
        for file in 0..60 {
            let content = format!("{dir} {file}");
            tx.create_file(format!("/d{dir}/f{file:03}").as_bytes(), META, content.as_bytes()).unwrap();
        }
    }
    tx.commit().unwrap();
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 2)).unwrap();
    for dir in 0..6 {
        for file in 0..60 {
            match file % 3 {
                0 => tx.remove(format!("/d{dir}/f{file:03}").as_bytes()).unwrap(),
                1 => tx.chmod(format!("/d{dir}/f{file:03}").as_bytes(), 0o600).unwrap(),
                _ => tx.write_file(format!("/d{dir}/f{file:03}").as_bytes(), b"other", 5).unwrap(),
            }
        }
    }
    let report = tx.commit().unwrap();
    assert!(report.directories_shadowed >= 5 && report.files_copied > 0, "{report:?}");
    let after = list(&flash, rules(Endian::Little, false));
    assert_eq!(after.len(), 1 + 6 + 6 * 40);
    for dir in 0..6 {
        assert_eq!(after[format!("d{dir}/f001").as_bytes()].0.meta.mode, 0o600);
        assert_eq!(after[format!("d{dir}/f001").as_bytes()].1, format!("{dir} 1").as_bytes());
        assert_eq!(after[format!("d{dir}/f002").as_bytes()].1, b"other");
    }
}

#[test]
fn full_flash_is_refused_and_nothing_is_lost() {
    for mut flash in flashes() {
        populate(&mut flash, Endian::Little);
        let before = list(&flash, rules(Endian::Little, true));
        let size = flash.geometry().size() as usize;
        let free = |flash: &MemFlash| Index::open(flash, rules(Endian::Little, true)).unwrap();
        let free_before = Pool::new(&free(&flash), &[], 0).len();
        let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 2)).unwrap();
        tx.create_file(b"/huge", META, &noise(size, 5)).unwrap();
        let Err(TxError::NoSpace { needed, free: told, reserve }) = tx.commit() else { panic!("committed") };
        assert!(needed > told - reserve && u64::from(needed) * u64::from(flash.geometry().eraseblock()) > size as u64);
        assert_eq!(before, list(&flash, rules(Endian::Little, true)));
        assert_eq!(Pool::new(&free(&flash), &[], 0).len(), free_before);
    }
}

#[test]
fn abort_leaves_the_old_tree_and_no_leftovers() {
    for mut flash in flashes() {
        populate(&mut flash, Endian::Little);
        let before = list(&flash, rules(Endian::Little, true));
        let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 2)).unwrap();
        tx.create_file(b"/x", META, &noise(40_000, 5)).unwrap();
        tx.remove_all(b"/etc").unwrap();
        tx.abort().unwrap();
        assert_eq!(before, list(&flash, rules(Endian::Little, true)));
        assert_eq!(recover(&mut flash, Endian::Little).unwrap(), RecoverReport::default());
    }
}

#[test]
fn paths_that_make_no_sense_are_refused() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 2)).unwrap();
    let problem = |result: core::result::Result<(), TxError<_>>| match result {
        Err(TxError::Path { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(problem(tx.remove(b"/nothing")), PathProblem::NotFound);
    assert_eq!(problem(tx.remove(b"/")), PathProblem::Root);
    assert_eq!(problem(tx.remove(b"/etc")), PathProblem::NotEmpty);
    assert_eq!(problem(tx.mkdir(b"/etc", DIR)), PathProblem::Exists);
    assert_eq!(problem(tx.mkdir(b"/etc/hosts/x", DIR)), PathProblem::NotADirectory);
    assert_eq!(problem(tx.mkdir(&[b'x'; 255], DIR)), PathProblem::Name);
    assert_eq!(problem(tx.mkdir(b"/etc/..", DIR)), PathProblem::Name);
    assert_eq!(problem(tx.symlink(b"/l", META, &[b'x'; 255])), PathProblem::Target);
    assert_eq!(problem(tx.link(b"/etc", b"/etc2")), PathProblem::IsADirectory);
    assert_eq!(problem(tx.rename(b"/etc", b"/etc/app/etc")), PathProblem::IntoItself);
    assert_eq!(problem(tx.rename(b"/etc", b"/empty")), PathProblem::NotADirectory);
    assert_eq!(problem(tx.create_file(b"/etc", META, b"")), PathProblem::IsADirectory);
    assert_eq!(problem(tx.mknod(b"/n", META, true, Device { major: 5000, minor: 0 })), PathProblem::Device);
    tx.abort().unwrap();
}

#[test]
fn nothing_to_change_writes_nothing() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    let before = flash.data().to_vec();
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 2)).unwrap();
    tx.chmod(b"/etc/hosts", 0o600).unwrap();
    tx.chmod(b"/etc/hosts", 0o644).unwrap();
    tx.rename(b"/etc/hosts", b"/etc/h").unwrap();
    tx.rename(b"/etc/h", b"/etc/hosts").unwrap();
    let report = tx.commit().unwrap();
    assert_eq!((report.commit_point, report.bytes_programmed), (None, 0));
    assert_eq!(flash.data(), before);
}

#[test]
fn what_was_made_and_removed_leaves_no_leftovers() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 2)).unwrap();
    tx.create_file(b"/x", META, &noise(20_000, 1)).unwrap();
    tx.remove(b"/x").unwrap();
    assert_eq!(tx.commit().unwrap().commit_point, None);
    assert_eq!(recover(&mut flash, Endian::Little).unwrap(), RecoverReport::default());
}

#[test]
fn flash_of_something_else_is_not_touched() {
    let mut flash = flashes().remove(0);
    flash.data_mut().fill(0x55);
    assert!(matches!(recover(&mut flash, Endian::Little), Err(TxError::Foreign)));
    assert!(matches!(Transaction::begin(&mut flash, Endian::Little, options(None, 1)), Err(TxError::Foreign)));
    assert!(flash.data().iter().all(|byte| *byte == 0x55));
}

/// Whoever is behind since a summary commit stays at the old tree, whole.
#[test]
fn a_summary_commit_is_followed_by_nothing_else() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    change(&mut flash, Endian::Little, Some(CommitPoint::Summary)).unwrap();
    for point in [CommitPoint::Head, CommitPoint::Dirent] {
        let mut tx = Transaction::begin(&mut flash, Endian::Little, options(Some(point), 3)).unwrap();
        tx.create_file(b"/new", META, b"x").unwrap();
        assert!(matches!(tx.commit(), Err(TxError::CommitPoint { .. })));
    }
    let behind = list(&flash, rules(Endian::Little, false));
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 4)).unwrap();
    tx.create_file(b"/new", META, b"x").unwrap();
    assert_eq!(tx.commit().unwrap().commit_point, Some(CommitPoint::Summary));
    assert_eq!(behind, list(&flash, rules(Endian::Little, false)));
}

#[test]
fn a_root_without_an_inode_node_gets_its_time() {
    let mut flash = flashes().remove(0);
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 1)).unwrap();
    tx.set_meta(b"/", Meta { mode: 0o755, uid: 0, gid: 0, mtime: 7777 }).unwrap();
    tx.create_file(b"/x", META, b"x").unwrap();
    tx.commit().unwrap();
    assert_eq!(list(&flash, rules(Endian::Little, true))[&b""[..]].0.meta.mtime, 7777);
}
