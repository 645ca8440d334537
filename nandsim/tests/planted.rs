//! The harness can fail: each planted mistake is found, and nothing where nothing is planted.
//!
//! `cargo test --release -p nandsim --test planted -- --nocapture` prints how many cuts each took.

use jffs2_tx::Index;
use jffs2_tx::scan::Rules;
use jffs2_tx::tx::{DigestState, verify_digest};
use jffs2_tx::wire::MarkerKind;
use nandsim::{Chip, Cut, Eye, Oracle, Plant, PlantError, Rng, Tear, Torture, Verdict, Walker, cuts_all, cuts_sampled};

const SEED: u64 = 5;
/// Cuts that are tried at once, at most.
const CHUNK: usize = 256;
/// Cuts of the random sample.
const SAMPLE: usize = 400;

/// How a mistake was found.
struct Found {
    /// Cuts tried, in the order of all cuts and in a random one; `None` if it is not a cut that shows it.
    cuts: [Option<usize>; 2],
    what: String,
}

/// Which of the cuts is the first after which the harness finds something, from 1; and what.
fn hunt(torture: &Torture, cuts: &[Cut]) -> Option<(usize, String)> {
    let (mut tried, mut chunk) = (0, 1);
    while tried < cuts.len() {
        let next = &cuts[tried..cuts.len().min(tried + chunk)];
        let report = torture.run(next.iter().copied(), 1, &|_| {});
        let at = |cut: Cut| next.iter().position(|other| *other == cut).unwrap();
        if let Some(first) = report.failures.iter().min_by_key(|failure| at(failure.cut.first)) {
            return Some((tried + at(first.cut.first) + 1, format!("{}: {}", first.cut, first.what)));
        }
        (tried, chunk) = (tried + next.len(), CHUNK.min(chunk * 2));
    }
    None
}

fn shuffled(mut cuts: Vec<Cut>) -> Vec<Cut> {
    let mut rng = Rng::keyed(&[SEED]);
    for i in (1..cuts.len()).rev() {
        cuts.swap(i, rng.below(i as u64 + 1) as usize);
    }
    cuts
}

/// All operations done.
fn end(torture: &Torture) -> Chip {
    let cut = Cut { op: torture.trace.ops.len(), tear: Tear::Before };
    Walker::new(torture.start.clone(), &torture.trace, SEED, std::iter::once(cut)).next().unwrap().1
}

fn digest_holds(torture: &Torture) -> bool {
    let (chip, endian) = (end(torture), torture.workload.endian);
    let index = Index::open(&chip, Rules { endian, summaries: true }).unwrap();
    let commits = index.markers().iter().filter(|seen| seen.marker.kind == MarkerKind::Commit && !seen.in_head);
    let newest = commits.max_by_key(|seen| seen.marker.sequence).unwrap();
    verify_digest(&chip, endian, index.markers(), newest).unwrap() == DigestState::Holds
}

/// What shows when all is done, and to no reader.
fn wrong_otherwise(torture: &Torture) -> Option<String> {
    match torture.oracle.eye().see(&end(torture)).verdict {
        Verdict::New => (!digest_holds(torture)).then(|| "digest: not that of what was written".into()),
        verdict => Some(format!("at the end: the tree is {verdict}")),
    }
}

fn find(plant: &'static Plant) -> Option<Found> {
    let torture = match plant.plant(plant.subject(SEED).unwrap()) {
        Ok(torture) => torture,
        Err(PlantError::Found(error)) => return Some(Found { cuts: [None; 2], what: error.to_string() }),
        Err(error) => panic!("{error}"),
    };
    let all: Vec<Cut> = cuts_all(&torture.trace).collect();
    match hunt(&torture, &all) {
        Some((cuts, what)) => {
            let random = hunt(&torture, &shuffled(cuts_sampled(&torture.trace, SAMPLE, SEED)));
            Some(Found { cuts: [Some(cuts), random.map(|found| found.0)], what })
        }
        None => wrong_otherwise(&torture).map(|what| Found { cuts: [None; 2], what }),
    }
}

#[test]
fn every_mistake_is_found() {
    println!("{:32} {:>5} {:>6}  found", "mistake", "all", "random");
    let mut missed = Vec::new();
    for plant in Plant::all() {
        let Some(Found { cuts, what }) = find(plant) else {
            missed.push(plant.name);
            continue;
        };
        let [all, random] = cuts.map(|cuts| cuts.map_or("-".into(), |cuts| cuts.to_string()));
        let what: String = what.chars().take(100).collect();
        println!("{:32} {all:>5} {random:>6}  {what}", plant.name);
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn nothing_planted_nothing_found() {
    let mut seen = Vec::new();
    for plant in Plant::all() {
        let right = plant.subject(SEED).unwrap();
        if seen.contains(&right.trace.ops) {
            continue;
        }
        let cuts = cuts_sampled(&right.trace, SAMPLE, SEED);
        assert_eq!(hunt(&right, &cuts), None, "{}", plant.name);
        seen.push(right.trace.ops);
    }
    assert!(seen.len() > 6, "{}", seen.len());
}

#[test]
fn names_are_unique_and_fit_a_token() {
    let mut names: Vec<&str> = Plant::all().map(|plant| plant.name).collect();
    assert!(names.len() >= 50, "{}", names.len());
    assert!(names.iter().all(|name| name.chars().all(|c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit())));
    assert!(names.iter().all(|name| Plant::by_name(name).is_some_and(|plant| plant.name == *name)));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Plant::all().count());
}

#[test]
fn what_is_not_there_cannot_be_planted() {
    let nand = Plant::by_name("marker-in-summary").unwrap();
    let head = Plant::by_name("body-after-head").unwrap().subject(SEED).unwrap();
    let error = nand.plant(head).unwrap_err();
    assert!(matches!(error, PlantError::Absent { plant: "marker-in-summary", .. }), "{error}");
    assert!(error.to_string().ends_with("take an update with commit point summary on NOR"), "{error}");
}
