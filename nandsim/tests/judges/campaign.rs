//! Cuts of the samples' updates: all readers agree, what is allowed by design is counted, and each reader turns once.

use std::collections::BTreeMap;

use jffs2_tx::wire::CommitPoint::{self, Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use nandsim::firmware::Firmware;
use nandsim::{Allowance, AllowanceCounts, Judge, Sample, Shape, Turns, sample, sample_large, sample_small_change};
use nandsim::{LeftOut, Recorder, Seen, Torture, Workload};

use crate::common::{judge, nand, nor, recorded, states};

/// Of so many cuts one is judged, and all of the last ones, where the commit is.
const EVERY: usize = 41;
const LAST: usize = 300;

fn shapes() -> [(Shape, Sample, CommitPoint); 9] {
    [
        (nor(64, 1, Little), sample(), Head),
        (nor(64, 1, Big), sample(), Summary),
        (nor(64, 1, Little), sample_small_change(), Dirent),
        (nor(4, 4, Big), sample(), Summary),
        (nor(64, 32, Little), sample(), Summary),
        (nand(16, 512, Big), sample(), Summary),
        (nand(16, 512, Little), sample_small_change(), Dirent),
        (nand(128, 2048, Little), sample(), Summary),
        (nand(128, 2048, Big), sample_small_change(), Dirent),
    ]
}

fn recovered(torture: &Torture, chip: &nandsim::Chip) -> nandsim::Chip {
    let mut flash = Recorder::new(chip.clone());
    torture.workload.recover(&mut flash).unwrap();
    flash.into_parts().0
}

/// What was allowed right after the cuts, and after recovery.
fn allowed(torture: &Torture, every: usize) -> [AllowanceCounts; 2] {
    let mut judge = judge(torture);
    let mut counts = [AllowanceCounts::default(); 2];
    for (cut, chip) in states(torture, every, LAST) {
        let point = torture.oracle.point;
        let before = judge.verdicts(&chip);
        before.fine(point).unwrap_or_else(|wrong| panic!("{cut}: {wrong}"));
        assert!(before.firmware.iter().all(|seen| seen.kernel.is_some() || is_unmounted(&before)), "{cut}: {before:?}");
        let after = judge.verdicts(&recovered(torture, &chip));
        Seen::kept_by_recovery(&before, &after, point).unwrap_or_else(|wrong| panic!("{cut}: {wrong}"));
        counts[0].add(before.allowances());
        counts[1].add(after.allowances());
    }
    counts
}

fn is_unmounted(seen: &Seen) -> bool {
    seen.allowances().contains(Allowance::BareboxUnreadable)
}

#[test]
fn all_readers_agree() {
    for (shape, sample, point) in shapes() {
        let torture = recorded(shape, sample, Some(point));
        let every = if shape.write_size < 512 { EVERY } else { 1 };
        let [cut, recovered] = allowed(&torture, every);
        let needed = |counts: &AllowanceCounts| counts.iter().map(|(of, _)| of).collect::<Vec<_>>();
        println!("{shape:?} {point}: {:?}; after recovery {:?}", named(&cut), named(&recovered));
        // The sample has a file with a hole.
        let mut wanted = vec![Allowance::OpenFirmwareAborts];
        let torn_pages = shape.write_size > 4;
        match point {
            Summary => wanted.push(Allowance::NoSummaries),
            Head => wanted.push(Allowance::UBoot2015Deleted),
            Dirent if torn_pages => wanted.push(Allowance::UBootStalePage),
            Dirent => wanted.extend([Allowance::OpenFirmwareExtraName, Allowance::OpenFirmwareTornDirent]),
        }
        if torn_pages {
            wanted.push(Allowance::BareboxUnreadable);
        }
        wanted.sort();
        assert_eq!(needed(&cut), wanted, "{shape:?} {point}");
        // Recovery makes barebox mount, but where a torn page stands beside a live dirent.
        let unmounted = recovered.of(Allowance::BareboxUnreadable);
        assert_eq!(unmounted > 0, torn_pages && point == Dirent, "{shape:?} {point}");
        assert!(unmounted < cut.of(Allowance::BareboxUnreadable).max(1));
    }
}

fn named(counts: &AllowanceCounts) -> BTreeMap<&'static str, u64> {
    counts.iter().map(|(allowance, count)| (allowance.name(), count)).collect()
}

/// Old ... old, new ... new: and all at the operation that commits.
#[test]
fn each_reader_turns_once() {
    for (shape, sample, point) in shapes().into_iter().chain([(nor(16, 1, Little), sample_large(), Summary)]) {
        let torture = recorded(shape, sample, Some(point));
        let turns = Turns::of(&mut judge(&torture), &torture.start, &torture.trace, point).unwrap();
        let turned: Vec<_> = turns.by_reader.iter().filter(|(_, turn)| turn.is_some()).map(|(name, _)| *name).collect();
        match point {
            Summary => assert_eq!(turned, ["reader with summaries", "Open Firmware"]),
            Dirent | Head => assert_eq!(turned.len(), 6, "{turns:?}"),
        }
        // A quarter of an eraseblock of 4 KiB is less than U-Boot 2015 wants to be blank.
        let small = shape.eraseblock == 4 << 10;
        let left_out = small.then_some((Firmware::UBoot2015, LeftOut::SmallHead));
        assert_eq!(torture.oracle.standard.left_out(), left_out.as_slice());
    }
}

/// A reader that goes back, and a commit that only some see.
#[test]
fn a_wrong_turn_is_found() {
    let torture = recorded(nor(64, 1, Little), sample_small_change(), Some(Dirent));
    let turns = |ops: Vec<nandsim::Op>, point| {
        let trace = nandsim::Trace { ops, ..torture.trace.clone() };
        Turns::of(&mut judge(&torture), &torture.start, &trace, point)
    };
    let ops = torture.trace.ops.clone();
    let commit = turns(ops.clone(), Dirent).unwrap().by_reader[0].1.unwrap();
    let block = ops[commit].block(&torture.trace.geometry).unwrap();
    let back = [&ops[..], &[nandsim::Op::Erase { block }]].concat();
    assert!(matches!(turns(back, Dirent), Err(nandsim::TurnError::Back { reader: "reader with summaries", .. })));
    let early = ops[..commit].to_vec();
    assert!(matches!(turns(early, Dirent), Err(nandsim::TurnError::Apart(_))));
    assert!(matches!(turns(ops, Summary), Err(nandsim::TurnError::Wrong { .. })));
}

/// Judges that know states already say the same as new ones.
#[test]
fn what_is_known_is_as_good() {
    let torture = recorded(nand(16, 512, Big), sample_small_change(), Some(Dirent));
    let mut knowing = judge(&torture);
    for (cut, chip) in states(&torture, 1, 0) {
        let mut new: Judge = judge(&torture);
        assert_eq!(knowing.verdicts(&chip), new.verdicts(&chip), "{cut}");
    }
}
