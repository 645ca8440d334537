//! Random updates on random flash: trees, geometries, byte orders, commit points, history and faults all follow from a seed.
//! `JFFS2_TX_CUTS=10000000 cargo test --release -p nandsim --test campaign -- --nocapture` goes on until so many cuts were
//! tried, second ones included, and tells them by fault.

use std::collections::BTreeMap;
use std::thread::available_parallelism;

use jffs2_tx::flash::FlashKind;
use jffs2_tx::wire::CommitPoint::{Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use nandsim::{
    Coverage, First, Hazard, Pairing, Part, Report, Rng, Scenario, SecondCuts, Shape, Tier, Token, Trees,
    cuts_sampled_up_to,
};

/// Cuts in a normal run.
const FEW: u64 = 40_000;
/// First cuts of one update, and in long campaigns.
const EACH: usize = 3000;
const EACH_LONG: usize = 30_000;

/// NOR and NAND as [`Shape`] has them, and a part with paired pages.
fn flash(rng: &mut Rng) -> (Option<&'static Part>, Shape) {
    let endian = if rng.below(2) == 0 { Little } else { Big };
    let nor = |eraseblock, write_size| Shape { kind: FlashKind::Nor, eraseblock, write_size, endian };
    let nand = |eraseblock, write_size| Shape { kind: FlashKind::Nand, eraseblock, write_size, endian };
    match rng.below(10) {
        0 => {
            let part = Part::by_name("K9GAG08U0M").unwrap();
            (Some(part), part.shape(None, endian).unwrap())
        }
        1 => (None, nor(4 << 10, 1)),
        2 => (None, nor(8 << 10, 4)),
        3 => (None, nor(16 << 10, 1)),
        4 => (None, nor(64 << 10, 1)),
        5 => (None, nor(64 << 10, 32)),
        6 => (None, nor(128 << 10, 2)),
        7 => (None, nand(16 << 10, 512)),
        8 => (None, nand(32 << 10, 1024)),
        _ => (None, nand(128 << 10, 2048)),
    }
}

fn scenario(seed: u64) -> Scenario {
    let mut rng = Rng::keyed(&[seed, u64::from_le_bytes(*b"campaign")]);
    let (part, shape) = flash(&mut rng);
    let trees = match rng.below(8) {
        0 => Trees::AllKinds,
        1 => Trees::Small,
        _ => Trees::Random(rng.below(1 << 40)),
    };
    // NOR with ECC cannot be made to forget a leftover before its erase: DESIGN.md, section 5.
    let forgets = shape.write_size != 32;
    let before = if rng.below(2) == 0 || !forgets { 0 } else { rng.below(6) as u32 };
    Scenario {
        part,
        shape,
        blocks: (before > 0).then(|| 24 + rng.below(16) as u32),
        trees,
        before,
        first: match [First::Nothing, First::Nothing, First::Abort, First::Collection][rng.below(4) as usize] {
            // For a page of torn copies U-Boot takes what it read before, until recovery (DESIGN.md, section 11).
            First::Collection if shape.kind == FlashKind::Nand => First::Nothing,
            first => first,
        },
        changes: None,
        point: match [None, Some(Dirent), Some(Head), Some(Summary)][rng.below(4) as usize] {
            point if forgets => point,
            _ => Some(Dirent),
        },
        fault: None,
        plant: None,
        seed,
    }
}

#[derive(Default)]
struct Totals {
    updates: u64,
    refused: u64,
    cuts: u64,
    second_cuts: u64,
    old: u64,
    new: u64,
    hazards: BTreeMap<Hazard, u64>,
    coverage: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.updates += 1;
        self.cuts += report.counts.cuts;
        self.second_cuts += report.second_cuts;
        self.old += report.counts.old;
        self.new += report.counts.new;
        for (hazard, counts) in &report.hazards {
            *self.hazards.entry(*hazard).or_default() += counts.cuts;
        }
        for tried in Coverage::all(&report.coverage).filter(|tried| tried.times > 0) {
            *self.coverage.entry(format!("{} x {}", tried.op, tried.hazard)).or_default() += tried.times;
        }
    }
}

#[test]
fn random_updates_on_random_flash() {
    let wanted = std::env::var("JFFS2_TX_CUTS").map_or(FEW, |cuts| cuts.parse().expect("a number"));
    let threads = available_parallelism().map_or(1, usize::from);
    let mut totals = Totals::default();
    for seed in 0.. {
        if totals.cuts + totals.second_cuts >= wanted {
            break;
        }
        let scenario = scenario(seed);
        // Where there is no room, or the change does not fit the commit point, there is nothing to cut.
        let Ok(mut torture) = scenario.record(None) else {
            totals.refused += 1;
            continue;
        };
        let long = wanted > FEW;
        if long && seed % 64 == 0 && torture.trace.programmed_bytes() < 4000 {
            torture.plan.second = SecondCuts::All;
        }
        let tier = if seed % 2 == 0 { Tier::One } else { Tier::Two };
        let cuts = cuts_sampled_up_to(&torture.trace, tier, if long { EACH_LONG } else { EACH }, seed);
        // SLC has no paired pages. One that takes the marker of a dirent along leaves an unreadable page that U-Boot reads as
        // whatever it read before (DESIGN.md, section 8).
        let is_slc = torture.trace.rules.pairing == Pairing::Unknown;
        let cuts = cuts.into_iter().filter(|cut| !is_slc || Hazard::from(cut.tear) != Hazard::PairedPages);
        let report = torture.run(cuts, threads, &|_| {});
        if let Some(failure) = report.failures.first() {
            panic!("{}\n{}", Token::new(&scenario, &torture, failure.cut.clone()), failure.what);
        }
        totals.add(&report);
        if long && seed % 100 == 0 {
            eprintln!("{seed} updates, {} cuts", totals.cuts + totals.second_cuts);
        }
    }
    let Totals { updates, refused, cuts, second_cuts, old, new, hazards, coverage } = totals;
    println!("{updates} updates ({refused} refused), {cuts} cuts: {old} old, {new} new; {second_cuts} further cuts");
    for (hazard, count) in hazards {
        println!("{count:>12} {hazard}");
    }
    for (what, count) in coverage {
        println!("{count:>12} {what}");
    }
    assert!(old > 0 && new > 0 && updates > 4);
}
