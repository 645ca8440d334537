//! The catalogue of faults, the generators of cuts, and the count of what was tried agree.

use std::collections::BTreeSet;

use jffs2_tx::flash::{FlashKind, FlashMut};
use jffs2_tx::wire::CommitPoint::{Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use nandsim::{
    Chip, Coverage, Cut, FaultKind, FlashClass, Hazard, OpKind, Pairing, Promise, Recorder, Rules, Tier, Torture,
    Trace, cuts_all, cuts_of_tier,
};

use crate::common::{SEED, nand, nor};
use crate::unstable::torture;

/// Erases, cleanmarkers and programs of a chip with these rules.
fn traced(shape: nandsim::Shape, pairing: Pairing) -> Trace {
    let geometry = shape.geometry(1 << 20).unwrap();
    let rules = Rules { pairing, ..Rules::of(&geometry) };
    let mut flash = Recorder::new(Chip::with_rules(geometry, rules, SEED));
    let page = geometry.write_size().max(256);
    flash.erase(1).unwrap();
    flash.write_oob_cleanmarker(2).unwrap();
    (0..12).for_each(|n| flash.program(geometry.offset_of(1) + n * page, &vec![0x5a; page as usize]).unwrap());
    flash.sync().unwrap();
    flash.into_parts().1
}

fn traces() -> [Trace; 3] {
    let nor = traced(nor(64, 1, Little), Pairing::Unknown);
    [nor, traced(nand(16, 512, Little), Pairing::Unknown), traced(nand(16, 512, Little), Pairing::FourAndSix)]
}

/// Every cut of a tier is of a fault that the catalogue has in that tier, and of every fault that is a cut there are some.
#[test]
fn cuts_are_of_their_tier() {
    let of_cuts = [Hazard::Cut, Hazard::TornProgram, Hazard::TornErase, Hazard::UnstableBits, Hazard::LooksBlank];
    let of_cuts = [&of_cuts[..], &[Hazard::PairedPages, Hazard::Disturbed, Hazard::Unsynced]].concat();
    for trace in traces() {
        let flash = FlashClass::of(trace.geometry.kind(), &trace.rules);
        for tier in Tier::ALL {
            let mut cuts: Vec<Cut> = cuts_of_tier(&trace, tier).collect();
            assert!(cuts.is_sorted_by_key(|cut| cut.op));
            assert_eq!(cuts.iter().collect::<BTreeSet<_>>().len(), cuts.len());
            assert!(tier == Tier::One || !cuts.iter().any(|cut| cuts_all(&trace).any(|other| other == *cut)));
            if tier == Tier::One {
                cuts.extend(cuts_all(&trace));
            }
            assert!(cuts.iter().all(|cut| cut.to_string().parse() == Ok(*cut)));
            let found: BTreeSet<Hazard> = cuts.iter().map(|cut| cut.tear.into()).collect();
            let wanted = of_cuts.iter().copied().filter(|hazard| hazard.tier(flash) == Some(tier)).collect();
            assert_eq!(found, wanted, "{flash:?} {tier:?}");
        }
    }
}

#[test]
fn the_catalogue_is_whole() {
    let names: BTreeSet<&str> = Hazard::ALL.iter().map(|hazard| hazard.name()).collect();
    assert_eq!(names.len(), Hazard::ALL.len());
    for hazard in Hazard::ALL {
        let flashes = [FlashClass::Nor, FlashClass::Slc, FlashClass::Mlc];
        assert!(flashes.iter().any(|flash| hazard.tier(*flash).is_some()), "{hazard} happens nowhere");
        for flash in flashes {
            let none = hazard.promise(flash) == Promise::None;
            assert_eq!(none, hazard.tier(flash) == Some(Tier::Three), "{hazard} on {flash:?}");
        }
    }
    assert_eq!(Hazard::from(FaultKind::EraseFails), Hazard::OperationFails);
    assert_eq!(serde_json::to_value(Tier::Two).unwrap(), 2);
}

fn covered(torture: &Torture, cuts: impl Iterator<Item = Cut>) -> Coverage {
    let mut coverage = Coverage::new(&torture.trace);
    cuts.for_each(|cut| coverage.add(&cut));
    coverage
}

#[test]
fn what_was_not_tried_is_named() {
    let torture = torture(nor(64, 1, Little), Head);
    let nothing = covered(&torture, std::iter::empty());
    let missing: BTreeSet<_> = nothing.missing().map(|of| (of.op, of.hazard)).collect();
    for op in [OpKind::Payload, OpKind::Commit] {
        for hazard in
            [Hazard::Cut, Hazard::TornProgram, Hazard::UnstableBits, Hazard::LooksBlank, Hazard::OperationFails]
        {
            assert!(missing.contains(&(op, hazard)), "{op} {hazard}");
        }
    }
    assert!(!missing.contains(&(OpKind::Payload, Hazard::PairedPages)), "there are none on NOR");
    let tier_one = covered(&torture, cuts_all(&torture.trace));
    let left: BTreeSet<Hazard> = tier_one.missing().map(|of| of.hazard).collect();
    use Hazard::{Disturbed, LooksBlank, OperationFails, OperationIgnored, UnstableBits, Unsynced, WriteProtect};
    // This update has nothing to lose in some operations: that is said as well.
    let wanted = [UnstableBits, LooksBlank, Disturbed, Unsynced, OperationFails, OperationIgnored, WriteProtect];
    assert_eq!(left, wanted.into_iter().collect());
    let shown = tier_one.to_string();
    assert!(shown.contains("not tried: unstable-bits (tier 2) in payload program, commit program, erase"), "{shown}");
}

#[test]
fn counts_add_up() {
    for (shape, point) in [(nor(64, 1, Big), Summary), (nand(16, 512, Big), Dirent)] {
        let torture = torture(shape, point);
        let cuts: Vec<Cut> = cuts_all(&torture.trace).collect();
        let all = covered(&torture, cuts.iter().copied());
        assert_eq!(all.all().map(|of| of.times).sum::<u64>(), cuts.len() as u64);
        let (some, others) = cuts.split_at(cuts.len() / 3);
        let mut merged = covered(&torture, some.iter().copied());
        merged.merge(&covered(&torture, others.iter().copied()));
        assert_eq!(merged, all);
        let commit = all.all().find(|of| (of.op, of.hazard) == (OpKind::Commit, Hazard::TornProgram)).unwrap();
        assert!(commit.times > 0 && commit.tier == Some(Tier::One));
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json[0]["op"], "payload");
        assert_eq!(json.as_array().unwrap().len(), all.all().count());
        // The last programs are the commit's, all of them.
        let ops = torture.trace.ops.len();
        assert!(all.all().any(|of| of.op == OpKind::End) && ops > 4 && shape.kind != FlashKind::Nor || ops > 8);
    }
}
