//! What recovery writes again, and that this wins over all that may show beside it.

use super::estimate::leave_a_leftover;
use super::gone::Leaving;
use super::*;
use crate::scan::{BlockState, MarkerRecord};
use crate::wire::CommitPoint::Summary;
use crate::wire::MarkerKind;

const E: Endian = Endian::Little;

fn index(flash: &MemFlash) -> Index {
    Index::open(flash, rules(E, true)).unwrap()
}

/// All that readers are told, times included.
fn seen(flash: &MemFlash) -> BTreeMap<Vec<u8>, (Stat, Vec<u8>)> {
    let index = index(flash);
    let tree = Tree::new(flash, &index);
    let stat = |path: &Vec<u8>| tree.stat(tree.lookup(path).unwrap()).unwrap();
    list(flash, rules(E, true)).into_iter().map(|(path, (_, content))| (path.clone(), (stat(&path), content))).collect()
}

/// The markers that end a body or stand before a dirent, of the last transaction.
fn ends(flash: &MemFlash) -> Vec<MarkerRecord> {
    let index = index(flash);
    let last = index.markers().iter().map(|seen| seen.marker.sequence).max();
    let is_end = |seen: &&MarkerRecord| seen.marker.kind != MarkerKind::Begin && !seen.in_head;
    index.markers().iter().filter(is_end).filter(|seen| Some(seen.marker.sequence) == last).cloned().collect()
}

/// An eraseblock as it was.
#[derive(Clone)]
struct Kept {
    block: u32,
    bytes: Vec<u8>,
}

impl Kept {
    fn of(flash: &MemFlash, block: u32) -> Self {
        let range = Self::range(flash, block);
        Self { block, bytes: flash.data()[range].to_vec() }
    }

    /// The commit block of the last transaction.
    fn last(flash: &MemFlash) -> Self {
        let [end] = &ends(flash)[..] else { panic!("not one commit block") };
        Self::of(flash, end.marker.commit_block)
    }

    fn put_back(&self, flash: &mut MemFlash) {
        let range = Self::range(flash, self.block);
        flash.data_mut()[range].copy_from_slice(&self.bytes);
    }

    /// Without the summary at its end.
    fn hidden(mut self, flash: &MemFlash) -> Self {
        let end = ends(flash).iter().find(|end| end.marker.commit_block == self.block).unwrap().clone();
        let body = (end.at - flash.geometry().offset_of(self.block)) as usize + end.marker.flash_size();
        self.bytes[body.next_multiple_of(flash.geometry().write_size() as usize)..].fill(0xff);
        self
    }

    fn range(flash: &MemFlash, block: u32) -> core::ops::Range<usize> {
        let start = flash.geometry().offset_of(block) as usize;
        start..start + flash.geometry().eraseblock() as usize
    }
}

/// Whatever earlier rounds have left shows again, alone or with others: what readers see was said once more, above all of it.
#[test]
fn a_round_wins_over_all_before_it() {
    for start in flashes() {
        let mut old = start;
        populate(&mut old, E);
        let mut new = old.clone();
        change(&mut new, E, Some(Summary)).unwrap();
        let mut leftover = old.clone();
        leave_a_leftover(&mut leftover);
        for (mut flash, wanted) in [(new.clone(), seen(&new)), (leftover, seen(&old))] {
            let mut past = alloc::vec![Kept::last(&new)];
            for _ in 0..3 {
                recover(&mut flash, E).unwrap();
                assert!(seen(&flash) == wanted);
                let now = Kept::last(&flash);
                let mut all = flash.clone();
                for kept in &past {
                    let mut one = flash.clone();
                    kept.put_back(&mut one);
                    kept.put_back(&mut all);
                    assert!(seen(&one) == wanted && seen(&all) == wanted);
                }
                past.push(now);
                flash = all;
            }
        }
    }
}

/// Changes many names of one directory, without a recovery before it.
fn change_online(flash: &mut MemFlash, n: u8, names: core::ops::Range<u8>) {
    let mut tx = Transaction::begin(flash, E, TxOptions { online: true, ..options(Some(Summary), n) }).unwrap();
    for name in names {
        let path = format!("/etc/{name}");
        match tx.stat(path.as_bytes()) {
            Ok(_) => tx.write_file(path.as_bytes(), &[n], 1).unwrap(),
            Err(_) => tx.create_file(path.as_bytes(), META, &[n]).unwrap(),
        }
    }
    tx.utimes(b"/", u32::from(n)).unwrap();
    tx.commit().unwrap();
}

/// The power fails after each operation of a recovery, and what was cut reads otherwise from then on.
fn survives_a_change_of_mind(new: &MemFlash, is_fine: impl Fn(&MemFlash) -> bool) {
    let kept = Kept::last(new);
    let readings = [kept.clone(), kept.hidden(new)];
    for first in &readings {
        let mut start = new.clone();
        first.put_back(&mut start);
        for left in 0.. {
            let mut leaving = Leaving::after(left, &start);
            let done = recover(&mut leaving, E).is_ok();
            let stands = Kept::of(&leaving.flash, first.block).bytes == first.bytes;
            for then in readings.iter().filter(|then| stands || then.bytes == first.bytes) {
                let mut flash = leaving.flash.clone();
                if stands {
                    then.put_back(&mut flash);
                }
                assert!(is_fine(&flash), "after {left} operations");
                let before = seen(&flash);
                assert_eq!(recover(&mut flash, E).unwrap().unsettled, 0);
                assert!(seen(&flash) == before, "after {left} operations, and a recovery");
            }
            if done {
                break;
            }
        }
    }
}

#[test]
fn a_commit_may_change_its_mind_in_a_recovery() {
    for mut flash in flashes() {
        populate(&mut flash, E);
        recover(&mut flash, E).unwrap();
        let mut new = flash.clone();
        change_online(&mut new, 2, 0..12);
        let trees = [seen(&flash), seen(&new)];
        survives_a_change_of_mind(&new, |flash| trees.contains(&seen(flash)));
    }
}

/// Under a mounted file system the first one is not settled when the second one begins.
#[test]
fn so_may_one_after_another_that_is_not_settled() {
    for mut flash in flashes() {
        populate(&mut flash, E);
        recover(&mut flash, E).unwrap();
        change_online(&mut flash, 2, 0..6);
        let mut new = flash.clone();
        change_online(&mut new, 3, 3..12);
        let trees = [seen(&flash), seen(&new)];
        survives_a_change_of_mind(&new, |flash| trees.contains(&seen(flash)));
    }
}

/// Nothing depends on the older one any more.
#[test]
fn what_is_overtaken_is_not_written_again() {
    for mut flash in flashes() {
        populate(&mut flash, E);
        recover(&mut flash, E).unwrap();
        change_online(&mut flash, 2, 0..6);
        change_online(&mut flash, 3, 0..6);
        let before = seen(&flash);
        assert_eq!(recover(&mut flash, E).unwrap().sealed, 1);
        assert!(seen(&flash) == before);
    }
}

/// Online too, as nobody sees it; and what is free is marked so.
#[test]
fn online_undoes_what_is_hidden() {
    for mut flash in flashes() {
        populate(&mut flash, E);
        recover(&mut flash, E).unwrap();
        let before = seen(&flash);
        leave_a_leftover(&mut flash);
        let block = ends(&flash)[0].marker.commit_block;
        Transaction::begin(&mut flash, E, TxOptions { online: true, ..options(None, 3) }).unwrap().abort().unwrap();
        assert_eq!(index(&flash).blocks()[block as usize].state, BlockState::Clean);
        assert_eq!(ends(&flash).iter().map(|end| end.marker.kind).collect::<Vec<_>>(), [MarkerKind::Undo]);
        assert!(seen(&flash) == before);
    }
}

fn commit_one_dirent(flash: &mut MemFlash) {
    populate(flash, E);
    recover(flash, E).unwrap();
    let options = TxOptions { summary_readers_only: true, ..options(Some(CommitPoint::Dirent), 2) };
    let mut tx = Transaction::begin(flash, E, options).unwrap();
    tx.create_file(b"/etc/new", META, b"new").unwrap();
    tx.commit().unwrap();
}

/// Cut behind the marker or the dirent or the seal: where it can be programmed again it gets what the cut has left out, to the byte;
/// where it cannot, another eraseblock gets it all. Without the dirent it is forgotten.
#[test]
fn a_dirent_gets_what_is_missing() {
    for mut flash in flashes().into_iter().filter(|flash| flash.geometry().kind() == FlashKind::Nor) {
        commit_one_dirent(&mut flash);
        let whole = seen(&flash);
        let again = flash.geometry().can_overwrite();
        let kept = Kept::last(&flash);
        let end = &ends(&flash)[0];
        let unit = flash.geometry().write_size() as usize;
        let marker = (end.at - flash.geometry().offset_of(kept.block)) as usize + end.marker.flash_size();
        let dirent = marker.next_multiple_of(unit);
        let seal = dirent + (crate::wire::DIRENT_SIZE + b"new".len()).next_multiple_of(4).next_multiple_of(unit);
        let witness = seal + (seal - dirent);
        for (cut, is_there) in [(dirent, false), (seal, true), (witness, true)] {
            let mut flash = flash.clone();
            let mut torn = kept.clone();
            torn.bytes[cut..].fill(0xff);
            torn.put_back(&mut flash);
            let before = seen(&flash);
            assert_eq!(before == whole, is_there);
            let report = recover(&mut flash, E).unwrap();
            assert!(seen(&flash) == before);
            assert_eq!((report.sealed, report.erased_hidden), (u32::from(is_there), u32::from(!is_there || !again)));
            if is_there && again {
                assert!(Kept::of(&flash, kept.block).bytes == kept.bytes);
            } else if is_there {
                // All three behind the marker, as in the first one.
                let new = Kept::last(&flash);
                assert!(new.block != kept.block && new.bytes[witness..].iter().any(|byte| *byte != 0xff));
            }
            assert_eq!(recover(&mut flash, E).unwrap().sealed, 0);
        }
    }
}

/// A marker that went with its page: what says the same as the commit does not stand for it.
#[test]
fn what_says_the_same_overtakes_nothing() {
    for mut flash in flashes() {
        populate(&mut flash, E);
        recover(&mut flash, E).unwrap();
        change_online(&mut flash, 2, 0..6);
        let (before, kept) = (seen(&flash), Kept::last(&flash));
        recover(&mut flash, E).unwrap();
        let end = &ends(&flash)[0];
        let (at, len) = (end.at as usize, end.marker.flash_size());
        flash.data_mut()[at..at + len].fill(0);
        kept.put_back(&mut flash);
        recover(&mut flash, E).unwrap();
        assert!(seen(&flash) == before);
        assert_eq!(ends(&flash).iter().map(|end| end.marker.kind).collect::<Vec<_>>(), [MarkerKind::Repeat]);
    }
}
