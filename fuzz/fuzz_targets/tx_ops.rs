//! Any operations in any transactions, with recovery and garbage collection between them, against a model.
#![no_main]

mod common;

use common::input::{Change, Setup};
use common::model::Model;
use common::{Outcome, read_both, run, tidy};
use jffs2_tx::flash::MemFlash;
use jffs2_tx::wire::CommitPoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Setup, Vec<Change>)| {
    let (setup, changes) = input;
    let mut flash = MemFlash::new(setup.geometry());
    let mut model = Model::new();
    let mut by_summary = false;
    for (attempt, change) in (1..=6).zip(&changes) {
        let (outcome, after) = run(&mut flash, &setup, change, attempt, &model);
        model = after;
        // From then on readers without summaries are behind.
        by_summary |= outcome == Outcome::Committed(Some(CommitPoint::Summary));
        check(&flash, &setup, &model, by_summary);
        tidy(&mut flash, setup.endian(), change.after);
        check(&flash, &setup, &model, by_summary);
    }
});

fn check(flash: &MemFlash, setup: &Setup, model: &Model, by_summary: bool) {
    let [with, without] = read_both(flash, setup.endian());
    assert_eq!(with.as_ref(), Ok(model), "with summaries");
    assert!(by_summary || without.as_ref() == Ok(model), "without summaries: {without:?}, wanted {model:?}");
}
