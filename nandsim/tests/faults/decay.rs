//! Cells that change by themselves: corrected, it changes nothing; beyond that, the tree is right or somebody says that it is not.

use jffs2_tx::Index;
use jffs2_tx::check::{Severity, check};
use jffs2_tx::flash::Flash;
use jffs2_tx::scan::{self, BlockState};
use jffs2_tx::wire::CommitPoint::{self, Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{self, Big, Little};
use nandsim::{
    Chip, Cut, Decay, LibraryJudge, Pairing, ProgramDamage, Rng, Rules, Shape, Tear, Tier, Torture, Verdict, Walker,
    cuts_of_tier, sample,
};

use crate::common::{SEED, nand, nor, prepared, run};
use crate::unstable::torture;

fn judge(torture: &Torture) -> LibraryJudge {
    LibraryJudge::new(torture.start.geometry(), torture.workload.endian, torture.oracle.standard.library.clone())
}

/// The flash after the whole update.
fn done(torture: &Torture) -> Chip {
    let end = Cut { op: torture.trace.ops.len(), tear: Tear::Before };
    let mut walker = Walker::new(torture.start.clone(), &torture.trace, torture.seed, std::iter::once(end));
    walker.next().unwrap().1
}

/// Whether whoever checks the flash is told.
fn is_reported(chip: &Chip, endian: Endian) -> bool {
    let Ok(index) = Index::open(chip, scan::Rules { endian, summaries: true }) else { return true };
    check(chip, &index).unwrap().iter().any(|finding| finding.severity != Severity::Note)
}

/// Offsets of every page or 256 bytes that are written to.
fn written(chip: &Chip) -> Vec<u32> {
    let geometry = *chip.geometry();
    let index = Index::open(chip, scan::Rules { endian: Little, summaries: false }).unwrap();
    let len = geometry.write_size().max(256);
    let used = |offset: &u32| index.blocks()[geometry.block_of(*offset) as usize].state != BlockState::Blank;
    let blank = |offset: u32| {
        let at = (offset % geometry.eraseblock()) as usize;
        chip.block_data(geometry.block_of(offset))[at..at + len as usize].iter().all(|byte| *byte == 0xff)
    };
    (0..geometry.size()).step_by(len as usize).filter(used).filter(|offset| !blank(*offset)).collect()
}

#[test]
fn corrected_bits_change_nothing() {
    for point in [Dirent, Summary] {
        let torture = torture(nand(16, 512, Big), point);
        let mut chip = done(&torture);
        written(&chip).into_iter().step_by(2).for_each(|offset| chip.decay(offset, Decay::Correctable));
        let seen = judge(&torture).verdicts(&chip);
        assert_eq!(seen.with_summaries, Verdict::New);
        jffs2_tx::tx::recover(&mut chip, Big).unwrap();
        assert_eq!(judge(&torture).verdicts(&chip), seen);
    }
    let torture = torture(nand(16, 512, Big), Summary);
    let mut start = torture.start.clone();
    written(&start).into_iter().step_by(2).for_each(|offset| start.decay(offset, Decay::Correctable));
    torture.workload.apply(&mut start, 0).unwrap();
    assert_eq!(judge(&torture).verdicts(&start).with_summaries, Verdict::New);
}

/// In old data, in new data, in markers: pages one after the other.
fn noticed(shape: Shape, point: CommitPoint) {
    let torture = torture(shape, point);
    let mut judge = judge(&torture);
    let (mut harmless, mut reported) = (0, 0);
    for chip in [torture.start.clone(), done(&torture)] {
        let good = judge.verdicts(&chip).with_summaries;
        let pages = written(&chip);
        let step = if std::env::var_os("JFFS2_TX_LONG").is_some() { 1 } else { 1 + pages.len() / 40 };
        for offset in pages.into_iter().step_by(step) {
            let mut chip = chip.clone();
            chip.decay(offset, Decay::Uncorrectable);
            let right = judge.verdicts(&chip).with_summaries == good;
            assert!(
                right || is_reported(&chip, shape.endian),
                "{shape:?} {point}: {offset:#x} is wrong, nobody says so"
            );
            harmless += u32::from(right);
            reported += u32::from(!right);
        }
    }
    assert!(harmless > 0 && reported > 0, "{harmless} harmless, {reported} reported");
}

#[test]
fn lost_pages_are_noticed() {
    noticed(nor(64, 1, Little), Head);
    noticed(nor(64, 1, Big), Dirent);
    noticed(nand(16, 512, Little), Summary);
    noticed(nand(16, 512, Big), Dirent);
}

/// An update over lost pages makes the new tree, or leaves the tree that there is, or somebody can say what is lost.
#[test]
fn updates_over_lost_pages() {
    let torture = torture(nand(16, 512, Little), Summary);
    let mut judge = judge(&torture);
    let mut rng = Rng::keyed(&[SEED]);
    let pages = written(&torture.start);
    let (mut updated, mut refused) = (0, 0);
    for _ in 0..24 {
        let mut chip = torture.start.clone();
        chip.decay(pages[rng.below(pages.len() as u64) as usize], Decay::Uncorrectable);
        let before = judge.verdicts(&chip).with_summaries;
        match torture.workload.apply(&mut chip, 0) {
            Ok(_) => {
                updated += 1;
                let after = judge.verdicts(&chip).with_summaries;
                assert!(after == Verdict::New || is_reported(&chip, Little), "{after}");
            }
            Err(_) => {
                refused += 1;
                assert_eq!(judge.verdicts(&chip).with_summaries, before);
            }
        }
    }
    assert!(updated > 0, "{refused} refused");
}

/// NOR that reads blank where a program was cut, and does not take what is programmed there next.
#[test]
fn weak_blank_cells_are_not_taken_for_free() {
    for (shape, point) in [(nor(64, 1, Little), Head), (nor(64, 1, Big), Summary), (nor(64, 32, Big), Dirent)] {
        let torture = torture(shape, point);
        let report = run(&torture, cuts_of_tier(&torture.trace, Tier::One));
        assert!(report.counts.cuts > 5 && report.counts.is_fine(), "{report:#?}");
    }
}

/// What came of cuts after which other cells of the eraseblock have changed: right, reported, and wrong without a word.
fn disturbed(torture: &Torture, tier: Tier) -> [u32; 3] {
    let is_disturbed = |cut: &Cut| matches!(cut.tear, Tear::Program { damage: ProgramDamage::Disturbed, .. });
    let cuts = cuts_of_tier(&torture.trace, tier).filter(is_disturbed);
    let mut judge = judge(torture);
    let mut counts = [0; 3];
    for (_, chip) in Walker::new(torture.start.clone(), &torture.trace, torture.seed, cuts) {
        let seen = judge.verdicts(&chip).with_summaries;
        let class = match seen {
            Verdict::Old | Verdict::New => 0,
            _ if is_reported(&chip, torture.workload.endian) => 1,
            _ => 2,
        };
        counts[class] += 1;
    }
    counts
}

/// MLC: other pages of the eraseblock have bits flipped. The tree is right or somebody says that it is not.
#[test]
fn disturbed_pages_are_noticed() {
    let shape = nand(16, 512, Little);
    let (start, update) = prepared(shape, sample(), Some(Summary));
    let geometry = *start.geometry();
    let mlc = Rules { pairing: Pairing::FourAndSix, ..Rules::of(&geometry) };
    let start = shape.flashed_on(Chip::with_rules(geometry, mlc, SEED), &start.image()).unwrap();
    let torture = Torture::record(start, update, SEED).unwrap();
    let [right, _, wrong] = disturbed(&torture, Tier::Two);
    assert!(right > 20 && wrong == 0, "{right} right, {wrong} wrong without a word");
}

/// NOR that clears bits anywhere in an eraseblock: beyond any datasheet, and so it is not promised that each is noticed. Most are.
#[test]
fn disturbed_sectors_are_shown() {
    let torture = torture(nor(64, 1, Little), Head);
    let [right, reported, wrong] = disturbed(&torture, Tier::Three);
    assert!(right > 20 && right + reported > 8 * wrong, "{right} right, {reported} reported, {wrong} wrong");
}
