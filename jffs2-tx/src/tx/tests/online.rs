//! Under a file system that is mounted read-only, and without a kernel that is known to read summaries.

use super::*;
use crate::scan::BlockState;

fn online(n: u8) -> TxOptions {
    TxOptions { online: true, ..options(None, n) }
}

/// Eraseblocks in which some reader sees nodes, and their bytes.
fn seen(flash: &MemFlash, endian: Endian) -> BTreeMap<u32, Vec<u8>> {
    let size = flash.geometry().eraseblock() as usize;
    let index = |summaries| Index::open(flash, rules(endian, summaries)).unwrap();
    let (with, without) = (index(true), index(false));
    let used = |index: &Index, block: u32| index.blocks()[block as usize].state == BlockState::Used;
    (0..flash.geometry().blocks())
        .filter(|block| used(&with, *block) || used(&without, *block))
        .map(|block| (block, flash.data()[block as usize * size..][..size].to_vec()))
        .collect()
}

/// Updates one after the other, as of a device that is not rebooted between them: what the mounted kernel may still read
/// stays as it was, dead nodes too.
#[test]
fn online_touches_only_what_nobody_sees() {
    for endian in [Endian::Little, Endian::Big] {
        for mut flash in flashes() {
            populate(&mut flash, endian);
            change(&mut flash, endian, None).unwrap();
            let mut before = seen(&flash, endian);
            for n in 3..=4 {
                let mut tx = Transaction::begin(&mut flash, endian, online(n)).unwrap();
                tx.create_file(b"/etc/online", META, &noise(3000, u32::from(n))).unwrap();
                tx.write_file(b"/app/config", b"two=2\n", 1).unwrap();
                tx.utimes(b"/", u32::from(n)).unwrap();
                tx.commit().unwrap();
                let after = seen(&flash, endian);
                assert!(before.iter().all(|(block, bytes)| after.get(block) == Some(bytes)));
                before.extend(after);
                assert_eq!(list(&flash, rules(endian, true))[&b"etc/online"[..]].1, noise(3000, u32::from(n)));
            }
        }
    }
}

/// What is dead is space only when nothing is mounted.
#[test]
fn online_takes_no_dead_eraseblocks() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    let fill = |flash: &mut MemFlash, options: TxOptions| {
        let mut tx = Transaction::begin(flash, Endian::Little, options)?;
        tx.create_file(b"/fill", META, &noise(250_000, 1))?;
        tx.commit()
    };
    fill(&mut flash, options(None, 2)).unwrap();
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 3)).unwrap();
    tx.remove(b"/fill").unwrap();
    tx.commit().unwrap();
    assert!(matches!(fill(&mut flash, online(4)), Err(TxError::NoSpace { .. })));
    fill(&mut flash, options(None, 5)).unwrap();
}

/// What the kernel will erase at its next mount is room for the kernel.
#[test]
fn dead_eraseblocks_are_the_kernels_reserve() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    for n in 2..6 {
        let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, n)).unwrap();
        tx.create_file(b"/fill", META, &noise(60_000, u32::from(n))).unwrap();
        tx.commit().unwrap();
    }
    let free = |flash: &MemFlash, online| {
        let index = Index::open(flash, rules(Endian::Little, true)).unwrap();
        if online { Pool::unseen(&index, 0).len() } else { Pool::new(&index, &[], 0).len() }
    };
    let (unseen, unneeded) = (free(&flash, true), free(&flash, false));
    assert!(unseen + 3 < unneeded, "{unseen} {unneeded}");
    // One more than can be seen to be free stays free: two are taken all the same.
    let options = TxOptions { reserve: Some(unseen + 1), ..online(7) };
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options).unwrap();
    tx.create_file(b"/small", META, b"x").unwrap();
    tx.commit().unwrap();
}

/// Sealing programs an eraseblock that readers see.
#[test]
fn online_seals_nothing() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    change(&mut flash, Endian::Little, Some(CommitPoint::Head)).unwrap();
    let index = Index::open(&flash, rules(Endian::Little, true)).unwrap();
    let block =
        index.markers().iter().find(|seen| seen.in_head).map(|seen| index.geometry().block_of(seen.at)).unwrap();
    let second = index.geometry().offset_of(block) as usize + 128;
    flash.data_mut()[second..second + 128].fill(0xff);
    Transaction::begin(&mut flash, Endian::Little, online(3)).unwrap().abort().unwrap();
    assert!(flash.data()[second..second + 128].iter().all(|byte| *byte == 0xff));
    Transaction::begin(&mut flash, Endian::Little, options(None, 3)).unwrap().abort().unwrap();
    assert!(flash.data()[second..second + 128].iter().any(|byte| *byte != 0xff));
}

#[test]
fn summary_is_avoided_where_one_dirent_will_do() {
    let mut flash = flashes().remove(4);
    populate(&mut flash, Endian::Little);
    let avoiding = |point, n| TxOptions {
        kernel_summaries: KernelSummaries::IfSeen,
        summary_readers_only: true,
        ..options(point, n)
    };
    let before = list(&flash, rules(Endian::Little, true));
    let mut tx = Transaction::begin(&mut flash, Endian::Little, avoiding(None, 2)).unwrap();
    tx.utimes(b"/", 1).unwrap();
    tx.utimes(b"/etc", 1).unwrap();
    assert!(matches!(tx.commit(), Err(TxError::NoSummaryReader)));
    assert_eq!(list(&flash, rules(Endian::Little, true)), before);
    let mut tx = Transaction::begin(&mut flash, Endian::Little, avoiding(None, 3)).unwrap();
    tx.create_file(b"/etc/a", META, b"a").unwrap();
    tx.create_file(b"/etc/app/b", META, b"b").unwrap();
    assert_eq!(tx.commit().unwrap().commit_point, Some(CommitPoint::Dirent));
    // Who asks for it gets it.
    let mut tx = Transaction::begin(&mut flash, Endian::Little, avoiding(Some(CommitPoint::Summary), 4)).unwrap();
    tx.utimes(b"/", 2).unwrap();
    tx.utimes(b"/etc", 2).unwrap();
    assert_eq!(tx.commit().unwrap().commit_point, Some(CommitPoint::Summary));
}
