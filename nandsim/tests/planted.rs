//! The harness can fail: each planted mistake is found, and nothing where nothing is planted.
//!
//! `cargo test --release -p nandsim --test planted -- --nocapture` prints how many cuts each took.

use jffs2_tx::Index;
use jffs2_tx::scan::Rules;
use jffs2_tx::tx::{DigestState, verify_digest};
use jffs2_tx::wire::MarkerKind;
use nandsim::{
    Chip, Cut, Eye, Harness, Oracle, Plant, PlantError, PlantedUpdate, Rng, Tear, TreeOracle, Verdict, cuts_all,
    cuts_sampled,
};

const SEED: u64 = 5;
/// Cuts that are tried at once.
const CHUNK: usize = 64;
/// Cuts of the random sample.
const SAMPLE: usize = 400;

type Planted = Harness<PlantedUpdate, TreeOracle>;

/// The first cut after which the harness finds something: which in the order of the sample, and what.
fn hunt(torture: &Planted, cuts: &[Cut]) -> Option<(usize, String)> {
    cuts.chunks(CHUNK).enumerate().find_map(|(i, chunk)| {
        let report = torture.run(chunk.iter().copied(), 1, &|_| {});
        let at = |cut: Cut| chunk.iter().position(|other| *other == cut).unwrap();
        let first = report.failures.iter().min_by_key(|failure| at(failure.cut.first))?;
        Some((i * CHUNK + at(first.cut.first) + 1, first.what.clone()))
    })
}

fn shuffled(mut cuts: Vec<Cut>) -> Vec<Cut> {
    let mut rng = Rng::keyed(&[SEED]);
    for i in (1..cuts.len()).rev() {
        cuts.swap(i, rng.below(i as u64 + 1) as usize);
    }
    cuts
}

/// What is wrong with an update that is complete.
fn wrong_at_the_end(torture: &Planted) -> Option<String> {
    let end = Cut { op: torture.trace.ops.len(), tear: Tear::Before };
    let chip = torture.state(&end.into()).unwrap();
    match torture.oracle.eye().see(&chip).verdict {
        Verdict::New => (!digest_holds(torture, &chip)).then(|| "the digest of the commit marker is wrong".into()),
        other => Some(format!("after the update the tree is {other}")),
    }
}

fn digest_holds(torture: &Planted, chip: &Chip) -> bool {
    let endian = torture.workload.update.endian;
    let index = Index::open(chip, Rules { endian, summaries: true }).unwrap();
    let commits = index.markers().iter().filter(|seen| seen.marker.kind == MarkerKind::Commit);
    let newest = commits.max_by_key(|seen| (seen.marker.sequence, !seen.in_head)).unwrap();
    verify_digest(chip, endian, index.markers(), newest).unwrap() == DigestState::Holds
}

#[test]
fn every_mistake_is_found() {
    println!("{:32} {:>6} {:>6}  found", "mistake", "all", "random");
    let mut missed = Vec::new();
    for plant in Plant::all() {
        let begun = std::time::Instant::now();
        let torture = match plant.plant(plant.subject(SEED).unwrap()) {
            Ok(torture) => torture,
            Err(PlantError::Found(error)) => {
                println!("{:32} {:>6} {:>6}  {error}", plant.name, 0, 0);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let all: Vec<Cut> = cuts_all(&torture.trace).collect();
        let in_order = hunt(&torture, &all);
        let random = hunt(&torture, &shuffled(cuts_sampled(&torture.trace, SAMPLE, SEED)));
        let shown = |found: &Option<(usize, String)>| found.as_ref().map_or("-".into(), |found| found.0.to_string());
        let end = wrong_at_the_end(&torture);
        let what = in_order.clone().map(|found| found.1).or(end);
        println!("{:32} {:>6} {:>6} {:?} {}", plant.name, shown(&in_order), shown(&random), begun.elapsed(), what.clone().unwrap_or("NOT FOUND".into()));
        if what.is_none() {
            missed.push(plant.name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
