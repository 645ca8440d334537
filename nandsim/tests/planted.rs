//! The harness can fail: each test plants a mistake in what an update did to the flash, and the harness finds it.

use jffs2_tx::flash::Geometry;
use jffs2_tx::index::Index;
use jffs2_tx::scan::{Rules, scan_block};
use jffs2_tx::tree::Tree;
use jffs2_tx::wire::CommitPoint::{self, Dirent, Head, Summary};
use jffs2_tx::wire::{Compression, Endian, INODE_SIZE, Inode};
use nandsim::{Counts, Op, Torture, sample, sample_small_change};

mod common;

use common::{nand, nor, recorded, run_all};

const E: Endian = Endian::Little;

fn nor_update(point: CommitPoint) -> Torture {
    recorded(nor(64, 1, E), sample_small_change(), Some(point))
}

fn nand_update() -> Torture {
    recorded(nand(16, 512, E), sample(), Some(Summary))
}

/// What the harness says of an update after `plant` has changed its trace.
fn planted(mut torture: Torture, plant: impl FnOnce(&mut Vec<Op>, &Geometry)) -> Counts {
    let geometry = torture.trace.geometry;
    plant(&mut torture.trace.ops, &geometry);
    run_all(&torture).counts
}

fn bad(counts: Counts) -> u64 {
    counts.mixed + counts.unreadable
}

/// Where the eraseblock that is taken last, the commit block, is erased.
fn commit_erase(ops: &[Op]) -> usize {
    ops.iter().rposition(|op| matches!(op, Op::Erase { .. })).unwrap()
}

fn commit_block(ops: &[Op]) -> u32 {
    let Op::Erase { block } = ops[commit_erase(ops)] else { unreachable!() };
    block
}

/// Programs from `from` on.
fn programs(ops: &[Op], from: usize) -> Vec<usize> {
    (from..ops.len()).filter(|&i| matches!(ops[i], Op::Program { .. })).collect()
}

fn program(op: &mut Op) -> (&mut u32, &mut Vec<u8>) {
    let Op::Program { offset, data } = op else { panic!("no program") };
    (offset, data)
}

/// Inode number and version of the newest node of a file of the old tree.
fn old_file(torture: &Torture, path: &[u8]) -> (u32, u32) {
    let index = Index::open(&torture.start, Rules { endian: E, summaries: true }).unwrap();
    let ino = Tree::new(&torture.start, &index).lookup(path).unwrap();
    (ino, index.max_version(ino))
}

/// A whole file in one node.
fn file_node(ino: u32, version: u32, content: &[u8]) -> Vec<u8> {
    let len = content.len() as u32;
    let mut bytes = Vec::new();
    Inode {
        ino,
        version,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        isize: len,
        atime: 9,
        mtime: 9,
        ctime: 9,
        offset: 0,
        csize: len,
        dsize: len,
        compression: Compression::None,
        data_crc: 0,
    }
    .emit(E, &mut bytes, content);
    bytes
}

#[test]
fn nothing_planted_nothing_found() {
    for torture in [nor_update(Dirent), nor_update(Head), nor_update(Summary), nand_update()] {
        let counts = planted(torture, |_, _| {});
        assert_eq!((bad(counts), counts.old > 0, counts.new > 0), (0, true, true));
    }
}

/// The whole commit block before the payload: names that lead nowhere.
#[test]
fn commit_before_payload() {
    for torture in [nor_update(Head), nor_update(Dirent), nand_update()] {
        let counts = planted(torture, |ops, _| {
            let at = commit_erase(ops);
            ops.rotate_left(at);
        });
        assert!(bad(counts) > 0);
    }
}

/// Payload shows at once, so it must be of new inodes only.
#[test]
fn payload_node_of_an_old_inode() {
    let torture = nor_update(Head);
    let (ino, version) = old_file(&torture, b"/etc/hostname");
    let counts = planted(torture, |ops, _| {
        let first = programs(ops, 0)[0];
        program(&mut ops[first]).1.extend(file_node(ino, version + 1, b"other\n"));
    });
    assert!(counts.mixed > 0 && counts.old > 0);
}

/// Stock readers want 256 blank bytes before they take an eraseblock for empty.
#[test]
fn blank_head_of_128_bytes() {
    let counts = planted(nor_update(Head), |ops, geometry| {
        let [body, _, second_copy] = programs(ops, commit_erase(ops))[..] else { panic!() };
        *program(&mut ops[body]).0 -= geometry.blank_head() - 128;
        ops.remove(second_copy);
    });
    assert!(counts.mixed > 0 && counts.old > 0 && counts.new > 0);
}

/// Several dirents without anything that hides them until all are there.
#[test]
fn two_dirents_where_one_must_be() {
    let counts = planted(nor_update(Head), |ops, geometry| {
        let [body, first_copy, second_copy] = programs(ops, commit_erase(ops))[..] else { panic!() };
        *program(&mut ops[body]).0 -= geometry.blank_head();
        ops.remove(second_copy);
        ops.remove(first_copy);
    });
    assert!(counts.mixed > 0 && counts.old > 0 && counts.new > 0);
}

/// With a cleanmarker a hidden eraseblock passes for free, and the kernel would write to it.
#[test]
fn cleanmarker_on_the_commit_block() {
    let mut torture = nand_update();
    let ops = &mut torture.trace.ops;
    let (at, block) = (commit_erase(ops), commit_block(ops));
    ops.insert(at + 1, Op::OobCleanmarker { block });
    let report = run_all(&torture);
    assert!(report.counts.mixed > 0 && report.counts.old > 0);
    assert!(report.failures[0].what.contains("passes for clean and free"), "{report:?}");
}

#[test]
fn live_eraseblock_erased_before_the_commit() {
    for torture in [nor_update(Dirent), nand_update()] {
        let counts = planted(torture, |ops, _| {
            let at = commit_erase(ops);
            ops.splice(at..at, [Op::Erase { block: 0 }, Op::Sync]);
        });
        assert!(bad(counts) > 0 && counts.old > 0);
    }
}

/// Without reading back nobody notices that a program did nothing.
#[test]
fn dropped_program_not_noticed() {
    for torture in [nor_update(Head), nand_update()] {
        let counts = planted(torture, |ops, _| {
            let first = programs(ops, 0)[0];
            ops.remove(first);
        });
        assert!(bad(counts) > 0 && counts.old > 0);
    }
}

/// The summary commits, so all that it lists must be there before it.
#[test]
fn summary_before_the_body() {
    let counts = planted(nor_update(Summary), |ops, _| {
        let programs = programs(ops, commit_erase(ops));
        let body = ops.remove(programs[0]);
        ops.insert(programs[programs.len() - 1], body);
    });
    assert!(bad(counts) > 0 && counts.old > 0 && counts.new > 0);
}

/// New nodes under the number of an old inode mix with its own.
#[test]
fn inode_number_used_again() {
    let torture = nor_update(Head);
    let (old, _) = old_file(&torture, b"/etc/hostname");
    let counts = planted(torture, |ops, geometry| {
        let first = programs(ops, 0)[0];
        let (offset, data) = program(&mut ops[first]);
        let block = geometry.block_of(*offset);
        let mut cells = data.clone();
        cells.resize(geometry.eraseblock() as usize, 0xff);
        let found = scan_block(geometry, Rules { endian: E, summaries: false }, block, &cells, false);
        let new = found.inodes.iter().find(|node| node.dsize > 0).unwrap();
        let at = (new.at - *offset) as usize;
        let node = Inode::parse(E, &data[at..]).unwrap();
        let stored = data[at + INODE_SIZE..][..node.csize as usize].to_vec();
        let mut bytes = Vec::new();
        Inode { ino: old, ..node }.emit(E, &mut bytes, &stored);
        data.splice(at..at + bytes.len(), bytes);
    });
    assert!(counts.mixed > 0 && counts.old > 0);
}
