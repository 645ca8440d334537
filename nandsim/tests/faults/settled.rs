//! What recovery makes of a commit: settled once, with its marker and digest; and never half, where there is no room.

use jffs2_tx::flash::{Flash, FlashKind, FlashMut};
use jffs2_tx::history::{TxState, transactions};
use jffs2_tx::scan::{BlockState, Rules};
use jffs2_tx::tree::Tree;
use jffs2_tx::tx::{DigestState, RecoverReport, Transaction, TxError, TxOptions, recover, verify_digest};
use jffs2_tx::wire::CommitPoint::{self, Dirent, Summary};
use jffs2_tx::wire::Endian::{self, Big, Little};
use jffs2_tx::wire::{self, Compression, Inode, MarkerKind, emit_padding};
use jffs2_tx::{Index, log};
use nandsim::{Chip, Cut, Shape, Tear, Torture, Verdict, Walker};

use crate::common::{nand, nor};
use crate::looks::Looks;
use crate::unstable::torture;

fn index(chip: &Chip, endian: Endian) -> Index {
    Index::open(chip, Rules { endian, summaries: true }).unwrap()
}

fn cut_before(torture: &Torture, op: usize) -> Chip {
    let cut = Cut { op, tear: Tear::Before };
    Walker::new(torture.start.clone(), &torture.trace, torture.seed, std::iter::once(cut)).next().unwrap().1
}

fn done(torture: &Torture) -> Chip {
    cut_before(torture, torture.trace.ops.len())
}

/// Kinds of the markers that end a body or stand before a dirent, and whether the digest holds.
fn ends(chip: &Chip, endian: Endian) -> Vec<(MarkerKind, bool)> {
    let index = index(chip, endian);
    let ends = index.markers().iter().filter(|seen| seen.marker.kind != MarkerKind::Begin && !seen.in_head);
    let holds = |seen| verify_digest(chip, endian, index.markers(), seen).unwrap() == DigestState::Holds;
    ends.map(|seen| (seen.marker.kind, holds(seen))).collect()
}

#[test]
fn a_summary_is_written_again_once() {
    for shape in [nor(64, 1, Big), nor(64, 32, Little), nand(16, 512, Little)] {
        let torture = torture(shape, Summary);
        let mut chip = done(&torture);
        assert_eq!(ends(&chip, shape.endian), [(MarkerKind::Commit, true)]);
        let report = recover(&mut chip, shape.endian).unwrap();
        assert_eq!((report.sealed, report.unsettled), (1, 0));
        assert_eq!(ends(&chip, shape.endian), [(MarkerKind::Repeat, true)]);
        let all = transactions(&chip, &index(&chip, shape.endian)).unwrap();
        assert_eq!(
            all.iter().map(|tx| (tx.state, tx.fields().label.as_str())).collect::<Vec<_>>(),
            [(TxState::Committed, "test")]
        );
        assert_eq!(recover(&mut chip, shape.endian).unwrap(), RecoverReport::default());
    }
}

/// A *dirent* commit vouches for itself on NOR; on NAND nothing may follow it in its eraseblock.
#[test]
fn a_dirent_is_left_alone_on_nor() {
    for shape in [nor(64, 1, Big), nor(64, 32, Little), nand(16, 512, Little)] {
        let mut chip = done(&torture(shape, Dirent));
        let again = shape.kind == FlashKind::Nand;
        assert_eq!(recover(&mut chip, shape.endian).unwrap().sealed, u32::from(again), "{shape:?}");
        let kind = if again { MarkerKind::Repeat } else { MarkerKind::Commit };
        assert_eq!(ends(&chip, shape.endian), [(kind, true)]);
        assert_eq!(recover(&mut chip, shape.endian).unwrap().sealed, 0);
    }
}

/// Cut between the body and the commit: the undo is no transaction that anyone is told of.
#[test]
fn what_is_undone_is_forgotten() {
    let torture = torture(nand(16, 512, Little), Summary);
    let summary = torture.trace.ops.len() - 2;
    let mut chip = cut_before(&torture, summary);
    assert_eq!(ends(&chip, Little).first().map(|end| end.0), Some(MarkerKind::Commit), "hidden");
    recover(&mut chip, Little).unwrap();
    assert_eq!(ends(&chip, Little).first().map(|end| end.0), Some(MarkerKind::Undo));
    assert_eq!(transactions(&chip, &index(&chip, Little)).unwrap(), []);
    assert_eq!(recover(&mut chip, Little).unwrap(), RecoverReport::default());
    let seen = Looks::new(&torture).lasting("undone", &chip).unwrap();
    assert_eq!((seen.with_summaries, seen.without_summaries), (Verdict::Old, Verdict::Old));
}

/// Without a free eraseblock nothing is settled, nothing that either tree needs is erased, and everyone is told.
#[test]
fn without_room_nothing_is_lost() {
    let shape: Shape = nand(16, 512, Big);
    let torture = torture(shape, Summary as CommitPoint);
    let mut chip = done(&torture);
    let now = index(&chip, Big);
    let spare = |block: &u32| {
        matches!(now.blocks()[*block as usize].state, BlockState::Blank | BlockState::Clean)
            || log::reusable(&now, *block)
    };
    let spare: Vec<u32> = (0..chip.geometry().blocks()).filter(spare).collect();
    let behind = Index::open(&chip, Rules { endian: Big, summaries: false }).unwrap();
    for block in spare.into_iter().filter(|block| log::reusable(&behind, *block)) {
        chip.mark_bad(block).unwrap();
    }
    let before = chip.content_id();
    let report = recover(&mut chip, Big).unwrap();
    assert_eq!(report, RecoverReport { unsettled: 1, ..RecoverReport::default() });
    assert_eq!(chip.content_id(), before);
    let refused = Transaction::begin(&mut chip, Big, TxOptions::default()).map(drop);
    assert!(matches!(refused, Err(TxError::Unsettled)), "{refused:?}");
    assert_eq!(chip.content_id(), before);
    let refused = jffs2_tx::tx::gc(&mut chip, Big, &jffs2_tx::tx::GcOptions::default(), &mut |_, _| {}).map(drop);
    assert!(matches!(refused, Err(TxError::Unsettled)), "{refused:?}");
    assert_eq!(chip.content_id(), before);
}

/// A kernel that mounts before any recovery may write on behind a *dirent*. What it wrote is not erased with the commit.
#[test]
fn a_kernel_that_wrote_on_loses_nothing() {
    for shape in [nor(64, 1, Big), nor(64, 32, Little), nand(16, 512, Little)] {
        let endian = shape.endian;
        let mut chip = done(&torture(shape, Dirent));
        let geometry = *chip.geometry();
        let now = index(&chip, endian);
        let commit = now.markers().iter().find(|seen| seen.marker.kind == MarkerKind::Commit).unwrap();
        let block = geometry.block_of(commit.at) as usize;
        let unit = geometry.write_size();
        let (at, ino) = (now.blocks()[block].written_end.next_multiple_of(unit), now.max_ino() + 1);
        let mut nodes = Vec::new();
        let version = now.max_version(1) + 1;
        wire::Dirent { pino: 1, version, ino, mctime: 9, kind: 8, name: b"log" }.emit(endian, &mut nodes);
        let fields = Inode { csize: 5, dsize: 5, isize: 5, ..file(ino) };
        fields.emit(endian, &mut nodes, b"hello");
        let pad = nodes.len().next_multiple_of(unit as usize) - nodes.len();
        emit_padding(endian, &mut nodes, pad as u32);
        chip.program(at, &nodes).unwrap();
        recover(&mut chip, endian).unwrap();
        let after = index(&chip, endian);
        let tree = Tree::new(&chip, &after);
        let mut bytes = [0; 5];
        tree.open(tree.lookup(b"/log").unwrap()).unwrap().read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"hello", "{shape:?}");
        assert_eq!(recover(&mut chip, endian).unwrap(), RecoverReport::default(), "{shape:?}");
    }
}

fn file(ino: u32) -> Inode {
    Inode {
        ino,
        version: 1,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        isize: 0,
        atime: 9,
        mtime: 9,
        ctime: 9,
        offset: 0,
        csize: 0,
        dsize: 0,
        compression: Compression::None,
        data_crc: 0,
    }
}
