//! The harness can fail: each planted mistake is found, and nothing where nothing is planted.
//!
//! `cargo test -p nandsim --test planted -- --nocapture` prints how many cuts each took.

use nandsim::{Cut, Plant, Rng, Tear, Torture, Verdict, cuts_all, cuts_sampled};

const SEED: u64 = 5;
/// Cuts that are tried at once.
const CHUNK: usize = 64;
/// Cuts of the random sample.
const SAMPLE: usize = 400;

/// The first cut after which the harness finds something.
struct Found {
    /// Cuts tried.
    cuts: usize,
    what: String,
}

fn hunt(torture: &Torture, cuts: &[Cut]) -> Option<Found> {
    cuts.chunks(CHUNK).enumerate().find_map(|(i, chunk)| {
        let report = torture.run(chunk.iter().copied(), 1, &|_| {});
        let at = |cut: Cut| chunk.iter().position(|other| *other == cut).unwrap();
        let first = report.failures.iter().min_by_key(|failure| at(failure.cut))?;
        Some(Found { cuts: i * CHUNK + at(first.cut) + 1, what: first.what.clone() })
    })
}

fn shuffled(mut cuts: Vec<Cut>) -> Vec<Cut> {
    let mut rng = Rng::keyed(&[SEED]);
    for i in (1..cuts.len()).rev() {
        cuts.swap(i, rng.below(i as u64 + 1) as usize);
    }
    cuts
}

#[test]
fn every_mistake_is_found() {
    println!("{:32} {:>6} {:>6}  found", "mistake", "all", "random");
    let mut missed = Vec::new();
    for plant in Plant::all() {
        let mut torture = plant.subject(SEED).unwrap();
        plant.plant(&mut torture).unwrap();
        let all: Vec<Cut> = cuts_all(&torture.trace).collect();
        let in_order = hunt(&torture, &all);
        let random = hunt(&torture, &shuffled(cuts_sampled(&torture.trace, SAMPLE, SEED)));
        let shown = |found: &Option<Found>| found.as_ref().map_or("-".into(), |found| found.cuts.to_string());
        let what = in_order.as_ref().map_or("NOT FOUND", |found| &found.what);
        println!("{:32} {:>6} {:>6}  {}", plant.name, shown(&in_order), shown(&random), what);
        if in_order.is_none() {
            missed.push(plant.name);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
