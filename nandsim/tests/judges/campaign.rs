//! Cuts of the samples' updates, as all readers see them.

use std::sync::Arc;
use std::time::Instant;

use jffs2_tx::tx::recover;
use jffs2_tx::wire::CommitPoint::{Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use jffs2_tx::wire::{CommitPoint, Endian};
use nandsim::{AllowanceCounts, Cut, Judge, LibraryJudge, Recorder, Seen, Standard, Torture, Walker, cuts_all};

use crate::common::{SEED, nand, nor, recorded};
use nandsim::{sample, sample_small_change};

pub(crate) fn standard(torture: &Torture) -> Standard {
    let mut flash = Recorder::new(torture.start.clone());
    torture.update.apply(&mut flash, 0).unwrap();
    let (end, _) = flash.into_parts();
    Standard::new(&torture.start, &end, torture.update.endian, torture.expected.clone(), None).unwrap()
}

#[test]
fn bench() {
    let torture = recorded(nor(64, 1, Little), sample(), Some(Head));
    let standard = Arc::new(standard(&torture));
    let cuts = || cuts_all(&torture.trace);
    let t = Instant::now();
    let n = Walker::new(torture.start.clone(), &torture.trace, SEED, cuts()).map(|(_, c)| c.content_id()).count();
    println!("{n} walk+id {:?}", t.elapsed());
    let mut j = LibraryJudge::new(jffs2_tx::flash::Flash::geometry(&torture.start), Little, torture.expected.clone());
    let t = Instant::now();
    for (_, c) in Walker::new(torture.start.clone(), &torture.trace, SEED, cuts()) {
        j.verdicts(&c);
    }
    println!("library {:?}", t.elapsed());
    let mut j = Judge::new(standard);
    let t = Instant::now();
    let mut counts = AllowanceCounts::default();
    for (cut, c) in Walker::new(torture.start.clone(), &torture.trace, SEED, cuts()) {
        let s = j.verdicts(&c);
        counts.add(s.allowances());
        if let Err(e) = s.fine(torture.point) {
            panic!("{cut}: {e}");
        }
    }
    println!("all {:?} {counts:?}", t.elapsed());
}
