//! Garbage collection survives: whatever moment the power fails at, every reader sees the tree that it saw before, extended
//! attributes included; what is left can be collected again, recovered, and updated.
//!
//! `JFFS2_TX_LONG=1` tries every cut on large eraseblocks, too.

use std::collections::BTreeSet;

use jffs2_tx::flash::Flash;
use jffs2_tx::index::extents;
use jffs2_tx::log::free_block;
use jffs2_tx::scan::{BlockState, scan_block, scan_one};
use jffs2_tx::status::{UpdateState, status};
use jffs2_tx::tx::{GcOptions, GcReport, Transaction, TxError, TxOptions, gc, plan_gc, recover};
use jffs2_tx::wire::Endian::{self, Big, Little};
use jffs2_tx::{FileKind, Index, Meta, Rules, Tree};
use nandsim::{
    ByReader, Chip, ChipError, Cut, Expected, Fault, FaultKind, LibraryJudge, Op, ProgramDamage, Recorder, Shape, Tear,
    Tier, Trace, Verdict, Viewer, Walker, cuts_all, cuts_of_tier, cuts_sampled,
};

mod belief;
#[path = "../common/mod.rs"]
mod common;
mod scenes;

use belief::Belief;
use common::{SEED, nand, nor};

/// Cuts that are tried where all would take too long.
const SAMPLED: usize = 2500;
/// Cuts after which the flash is collected again, recovered and updated.
const CONTINUED: usize = 60;
/// Cuts after which a second collection is cut, and how often.
const TWICE: usize = 6;
const SECOND: usize = 150;
/// Power-ups at which unstable cells are looked at.
const POWER_UPS: u64 = 3;

/// A collection that was not cut.
struct Scene {
    name: String,
    endian: Endian,
    options: GcOptions,
    start: Chip,
    end: Chip,
    trace: Trace,
    report: GcReport,
}

/// What must not change.
struct Eye {
    judge: LibraryJudge,
    belief: Belief,
    /// Names, contents and attributes as each reader sees them, where they are compared one by one.
    listings: Option<[Vec<String>; 2]>,
    endian: Endian,
}

impl Scene {
    fn of(name: &str, start: Chip, endian: Endian, options: GcOptions) -> Self {
        let mut recorder = Recorder::new(start.clone());
        let report = gc(&mut recorder, endian, &options, &mut |_, _| {}).unwrap();
        let (mut end, trace) = recorder.into_parts();
        assert_eq!(end.take_violation(), None, "{name}");
        assert_ne!(status(&end, endian).unwrap().state, UpdateState::Leftover, "{name}");
        let expected = plan_gc(&start, endian, &options).unwrap().expected;
        assert!(report.free_after >= expected.free_after, "{name}: {report:?} {expected:?}");
        let scene = Self { name: name.into(), endian, options, start, end, trace, report };
        scene.leaves_room_for_a_cleanmarker();
        scene
    }

    fn moves_nodes(self) -> Self {
        assert!(
            self.report.moved_nodes > 0 && self.report.free_after > self.report.free_before,
            "{}: {:?}",
            self.name,
            self.report
        );
        self
    }

    /// Where Linux, when it has filled an eraseblock up, claims a cleanmarker, it hits BUG() if a node that it lists stands there.
    fn leaves_room_for_a_cleanmarker(&self) {
        let geometry = self.start.geometry();
        for block in (0..geometry.blocks()).filter(|block| self.start.block_id(*block) != self.end.block_id(*block)) {
            let rules = Rules { endian: self.endian, summaries: false };
            let found = scan_block(geometry, rules, block, self.end.block_data(block), false);
            let first = [found.inodes.first().map(|node| node.at), found.dirents.first().map(|node| node.at)];
            let first = first.into_iter().flatten().chain(found.xattrs.iter().map(|node| node.at)).min();
            let room = geometry.offset_of(block) + geometry.cleanmarker_size();
            assert!(first.is_none_or(|first| first >= room), "{}: eraseblock {block}", self.name);
        }
    }

    fn again(&self, start: Chip) -> Self {
        Self::of(&self.name, start, self.endian, self.options.clone())
    }

    fn survives(&self, listed: bool, cuts: impl Iterator<Item = Cut>) {
        let mut eye = Eye::on(&self.start, self.endian, listed);
        eye.check(&self.end).unwrap_or_else(|e| panic!("{}: after it: {e}", self.name));
        let cuts: Vec<Cut> = cuts.collect();
        let (step, twice) = ((cuts.len() / CONTINUED).max(1), (cuts.len() / TWICE).max(1));
        let walker = Walker::new(self.start.clone(), &self.trace, SEED, cuts.into_iter());
        for (at, (cut, chip)) in walker.enumerate() {
            eye.check(&chip).unwrap_or_else(|e| panic!("{} cut at {cut}: {e}", self.name));
            if at % step == 0 {
                self.goes_on(&mut eye, &chip).unwrap_or_else(|e| panic!("{} cut at {cut}: {e}", self.name));
            }
            if at % twice == 0 {
                self.survives_twice(&mut eye, chip, cut);
            }
        }
    }

    /// Recovery and another collection leave the tree alone and get back what the cut has cost; an update works.
    /// Where a cut has left no eraseblock to settle the last update in, a kernel has to free one first.
    fn done_again(&self, chip: &mut Chip) -> Result<GcReport, TxError<ChipError>> {
        match gc(chip, self.endian, &self.options, &mut |_, _| {}) {
            Err(TxError::Unsettled) => {
                kernel_frees(chip, self.endian);
                gc(chip, self.endian, &self.options, &mut |_, _| {})
            }
            done => done,
        }
    }

    fn goes_on(&self, eye: &mut Eye, chip: &Chip) -> Result<(), String> {
        let mut recovered = chip.clone();
        recover(&mut recovered, self.endian).map_err(|e| format!("recovery: {e}"))?;
        eye.check(&recovered).map_err(|e| format!("after recovery: {e}"))?;
        for mut chip in [chip.clone(), recovered] {
            let report = self.done_again(&mut chip).map_err(|e| format!("again: {e}"))?;
            eye.check(&chip).map_err(|e| format!("after it is done again: {e}"))?;
            if report.free_after + 1 < self.report.free_after {
                return Err(format!("done again it frees less: {report:?} instead of {:?}", self.report));
            }
            update(&mut chip, self.endian).map_err(|e| format!("update: {e}"))?;
        }
        Ok(())
    }

    fn lasts(&self, eye: &mut Eye, chip: &Chip) -> Result<(), String> {
        let mut see = |when: &str, chip: &Chip| {
            (0..POWER_UPS)
                .try_for_each(|n| eye.check(&chip.powered_up(n).as_read()).map_err(|e| format!("{when}: {e}")))
        };
        see("after the cut", chip)?;
        let mut recovered = chip.clone();
        recover(&mut recovered, self.endian).map_err(|e| format!("recovery: {e}"))?;
        see("after recovery", &recovered)?;
        for (when, mut chip) in [("collected", chip.clone()), ("recovered and collected", recovered)] {
            gc(&mut chip, self.endian, &self.options, &mut |_, _| {}).map_err(|e| format!("{when}: {e}"))?;
            see(when, &chip)?;
        }
        Ok(())
    }

    fn survives_twice(&self, eye: &mut Eye, chip: Chip, first: Cut) {
        let again = self.again(chip);
        let cuts = cuts_sampled(&again.trace, SECOND, SEED);
        for (second, chip) in Walker::new(again.start.clone(), &again.trace, SEED, cuts.into_iter()) {
            eye.check(&chip).unwrap_or_else(|e| panic!("{} cut at {first} and again at {second}: {e}", self.name));
        }
    }
}

fn update(chip: &mut Chip, endian: Endian) -> Result<(), String> {
    let options = TxOptions { txid: [9; 16], reserve: Some(0), summary_readers_only: true, ..TxOptions::default() };
    let meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 3 };
    let update = || {
        let mut tx = Transaction::begin(chip, endian, options)?;
        tx.create_file(b"/added", meta, b"added")?;
        tx.commit()
    };
    update().map_err(|e| e.to_string())?;
    let rules = Rules { endian, summaries: true };
    let index = Index::open(chip, rules).map_err(|e| e.to_string())?;
    let tree = Tree::new(chip, &index);
    let content = tree.lookup(b"/added").and_then(|ino| tree.read(ino, 100)).map_err(|e| e.to_string())?;
    if content == b"added" { Ok(()) } else { Err("the new file is wrong".into()) }
}

impl Eye {
    fn on(start: &Chip, endian: Endian, listed: bool) -> Self {
        let views = Viewer::new(start.geometry(), endian).views(start);
        let same = |view: &nandsim::View| {
            let old = view.as_ref().expect("the flash is whole").clone();
            Expected { new: old.clone(), old }
        };
        let expected =
            ByReader { with_summaries: same(&views.with_summaries), without_summaries: same(&views.without_summaries) };
        Self {
            judge: LibraryJudge::new(start.geometry(), endian, expected),
            belief: Belief::on(start, endian),
            listings: listed.then(|| listings(start, endian)),
            endian,
        }
    }

    fn check(&mut self, chip: &Chip) -> Result<(), String> {
        for (reader, verdict) in self.judge.verdicts(chip).named() {
            if *verdict != Verdict::Old {
                return Err(format!("{reader}: {verdict}"));
            }
        }
        self.belief.check(chip)?;
        match &self.listings {
            Some(before) if *before != listings(chip, self.endian) => {
                Err(format!("{:#?} instead of {before:#?}", listings(chip, self.endian)))
            }
            _ => Ok(()),
        }
    }
}

/// Every name with its inode number, metadata, content and extended attributes, with summaries and without.
fn listings(chip: &Chip, endian: Endian) -> [Vec<String>; 2] {
    [true, false].map(|summaries| {
        let index = Index::open(chip, Rules { endian, summaries }).unwrap();
        let tree = Tree::new(chip, &index);
        let line = |path: &[u8], ino| {
            let stat = tree.stat(ino).unwrap();
            let content = match stat.kind {
                FileKind::File => tree.read(ino, u32::MAX).unwrap(),
                FileKind::Symlink => tree.read_link(ino).unwrap(),
                _ => Vec::new(),
            };
            format!("{} {stat:?} {content:?} {:?}", path.escape_ascii(), tree.xattrs(ino).unwrap())
        };
        tree.walk(jffs2_tx::index::ROOT).map(|step| line(&step.path, step.ino)).collect()
    })
}

fn all() -> GcOptions {
    GcOptions::default()
}

/// All cuts, or a sample of them.
fn cuts(scene: &Scene, every: bool) -> Vec<Cut> {
    if every || std::env::var_os("JFFS2_TX_LONG").is_some() {
        cuts_all(&scene.trace).collect()
    } else {
        cuts_sampled(&scene.trace, SAMPLED, SEED)
    }
}

fn aged_survives(shape: Shape, summaries: bool, every: bool) {
    let start = scenes::aged(shape, summaries);
    let scene = Scene::of(&format!("{shape:?}, summaries {summaries}"), start, shape.endian, all()).moves_nodes();
    scene.survives(false, cuts(&scene, every).into_iter());
}

#[test]
fn nor_small_eraseblocks_at_every_offset() {
    aged_survives(nor(4, 1, Little), false, true);
    aged_survives(nor(4, 4, Big), true, true);
}

#[test]
fn nor_large_eraseblocks() {
    aged_survives(nor(64, 1, Big), true, false);
    aged_survives(nor(64, 32, Little), true, false);
}

#[test]
fn nand_small_pages_at_every_page() {
    for endian in [Little, Big] {
        aged_survives(nand(16, 512, endian), true, true);
    }
    aged_survives(nand(16, 512, Little), false, true);
}

#[test]
fn nand_large_pages() {
    aged_survives(nand(128, 2048, Big), true, false);
}

/// Deletions beside what they delete, special inodes, a directory that exists by its names, copies, attributes.
#[test]
fn hard_cases_at_every_offset() {
    for endian in [Little, Big] {
        for shape in [nor(4, 1, endian), nor(4, 32, endian), nand(16, 512, endian)] {
            for summaries in [false, true] {
                let name = format!("hard cases on {shape:?}, summaries {summaries}");
                let scene = Scene::of(&name, scenes::hard(shape, summaries), endian, all()).moves_nodes();
                scene.survives(true, cuts(&scene, true).into_iter());
            }
        }
    }
}

/// Whether Linux takes an eraseblock for free that is not: its OOB area says so, and where Linux looks it is blank.
fn passes_for_clean(chip: &Chip, block: u32) -> bool {
    let bytes = chip.block_data(block);
    let is_blank = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xff);
    chip.has_oob_cleanmarker(block).unwrap() && is_blank(&bytes[..256]) && !is_blank(bytes)
}

/// A cut erase on NAND may leave the OOB cleanmarker, a blank head, and nodes behind it. Linux may take that for free; we erase it
/// before we write to it, and recovery erases it.
#[test]
fn what_only_passes_for_clean_is_erased_first() {
    let shape = nand(16, 512, Little);
    let start = scenes::with_oob_cleanmarkers(&scenes::aged(shape, true));
    let scene = Scene::of("passes for clean", start, Little, all()).moves_nodes();
    let mut eye = Eye::on(&scene.start, Little, false);
    let cuts = cuts_all(&scene.trace).filter(|cut| matches!(cut.tear, Tear::Erase { oob_kept: true, .. }));
    let mut seen = 0;
    for (cut, mut chip) in Walker::new(scene.start.clone(), &scene.trace, SEED, cuts) {
        let blocks = 0..chip.geometry().blocks();
        if !blocks.clone().any(|block| passes_for_clean(&chip, block)) {
            continue;
        }
        seen += 1;
        scene.goes_on(&mut eye, &chip).unwrap_or_else(|e| panic!("{cut}: {e}"));
        let mut collected = chip.clone();
        let report = gc(&mut collected, Little, &all(), &mut |_, _| {}).unwrap();
        assert_eq!((report.eraseblocks_failed, collected.take_violation()), (0, None), "{cut}");
        let mut updated = chip.clone();
        update(&mut updated, Little).unwrap();
        assert_eq!(updated.take_violation(), None, "{cut}");
        recover(&mut chip, Little).unwrap();
        for chip in [chip, collected] {
            assert!(!blocks.clone().any(|block| passes_for_clean(&chip, block)), "{cut}");
        }
    }
    assert!(seen > 10, "{seen}");
}

/// One eraseblock to work with is enough.
#[test]
fn one_free_eraseblock_is_enough() {
    for shape in [nor(4, 1, Little), nand(16, 512, Big)] {
        let start = scenes::nearly_full(shape);
        let scene = Scene::of(&format!("nearly full {shape:?}"), start, shape.endian, all()).moves_nodes();
        assert_eq!(scene.report.free_before, 1, "{:?}", scene.report);
        assert!(scene.report.free_after >= 3, "{:?}", scene.report);
        scene.survives(false, cuts(&scene, false).into_iter());
    }
}

/// Cells that a cut has left half programmed or half erased: the tree stays what it was at every power-up, whatever was recovered
/// or collected at those before.
#[test]
fn unstable_cells() {
    for (shape, step) in [(nor(4, 1, Little), 8), (nor(4, 32, Big), 8), (nand(16, 512, Little), 1)] {
        let start = scenes::aged(shape, true);
        let scene = Scene::of(&format!("unstable {shape:?}"), start, shape.endian, all()).moves_nodes();
        let mut eye = Eye::on(&scene.start, shape.endian, false);
        let cuts = cuts_of_tier(&scene.trace, Tier::Two).step_by(step);
        for (cut, chip) in Walker::new(scene.start.clone(), &scene.trace, SEED, cuts) {
            for n in 0..POWER_UPS {
                scene
                    .lasts(&mut eye, &chip.powered_up(n))
                    .unwrap_or_else(|e| panic!("{} cut at {cut}: {e}", scene.name));
            }
        }
    }
}

/// The same where the power fails in the recovery, too.
#[test]
fn unstable_cells_twice() {
    for (shape, step) in [(nor(4, 1, Big), 97), (nand(16, 512, Big), 3)] {
        let start = scenes::aged(shape, true);
        let scene = Scene::of(&format!("unstable twice {shape:?}"), start, shape.endian, all()).moves_nodes();
        let mut eye = Eye::on(&scene.start, shape.endian, false);
        let ends = scene.trace.ops.iter().map(|op| matches!(op, Op::Program { data, .. } if data.len() <= 512));
        let ends: Vec<bool> = ends.collect();
        let cuts = cuts_of_tier(&scene.trace, Tier::Two).enumerate();
        // Each cut of a marker, and some of the others.
        let cuts = cuts.filter(|(i, cut)| ends.get(cut.op) == Some(&true) && i % 12 == 0 || i % step == 0);
        for (cut, chip) in Walker::new(scene.start.clone(), &scene.trace, SEED, cuts.map(|(_, cut)| cut)) {
            for n in 0..2 {
                let mut recorder = Recorder::new(chip.powered_up(n));
                recover(&mut recorder, shape.endian).unwrap();
                let (_, trace) = recorder.into_parts();
                let second: Vec<Cut> = cuts_of_tier(&trace, Tier::Two).step_by(13).collect();
                for (again, chip) in Walker::new(chip.powered_up(n), &trace, SEED, second.into_iter()) {
                    let lasts = (n + 1..n + 3).try_for_each(|n| scene.lasts(&mut eye, &chip.powered_up(n)));
                    lasts.unwrap_or_else(|e| panic!("{} cut at {cut} and again at {again}: {e}", scene.name));
                }
            }
        }
    }
}

/// Recovery leaves no page that cannot be read in what a reader sees: there is firmware that does not get past one. Where no
/// eraseblock is free above the copies a page of their last marker may stay.
#[test]
fn recovery_leaves_no_torn_page() {
    let shape = nand(16, 512, Little);
    let scene = Scene::of("torn pages", scenes::aged(shape, true), Little, all()).moves_nodes();
    let paired = |cut: &Cut| matches!(cut.tear, Tear::Program { damage: ProgramDamage::Paired, .. });
    let programs = |op: usize| matches!(scene.trace.ops.get(op), Some(Op::Program { .. }));
    let is_last = |cut: &Cut| programs(cut.op) && !programs(cut.op + 2);
    let cuts = cuts_all(&scene.trace).filter(|cut| !paired(cut) && !is_last(cut));
    for (cut, mut chip) in Walker::new(scene.start.clone(), &scene.trace, SEED, cuts) {
        recover(&mut chip, Little).unwrap();
        let mut bytes = vec![0; 16 << 10];
        for block in 0..chip.geometry().blocks() {
            let found = scan_one(&chip, Rules { endian: Little, summaries: true }, block, &mut bytes).unwrap();
            assert!(!found.uncorrectable || found.state != BlockState::Used, "{cut}: eraseblock {block}");
        }
    }
}

/// A summary commit leaves two trees on the flash; both stay.
#[test]
fn the_tree_of_readers_without_summaries_stays() {
    for shape in [nand(16, 512, Little), nor(4, 1, Big)] {
        let start = scenes::divided(shape);
        let scene = Scene::of(&format!("divided {shape:?}"), start, shape.endian, all());
        let views = Viewer::new(&scene.trace.geometry, shape.endian).views(&scene.start);
        assert_ne!(views.with_summaries.as_ref().as_ref().unwrap(), views.without_summaries.as_ref().as_ref().unwrap());
        assert!(scene.report.moved_nodes > 0, "{:?}", scene.report);
        scene.survives(false, cuts(&scene, false).into_iter());
    }
}

/// Linux erases eraseblocks of which no node counts any more: of nodes that say the same the last one counts.
fn kernel_frees(chip: &mut Chip, endian: Endian) {
    let index = Index::open(&*chip, Rules { endian, summaries: true }).unwrap();
    let names = index.directories().flat_map(|dir| index.dirents(dir)).map(|name| name.at);
    let latest = index.inodes().filter_map(|ino| index.latest(ino)).map(|node| node.at);
    let data = index.inodes().flat_map(|ino| extents(index.nodes(ino)).1.into_iter().map(move |part| (ino, part.node)));
    let data = data.map(|(ino, node)| index.nodes(ino)[node].at);
    let counting: BTreeSet<u32> = names.chain(latest).chain(data).map(|at| chip.geometry().block_of(at)).collect();
    let dead = (0..).zip(index.blocks()).filter(|(block, info)| info.visible > 0 && !counting.contains(block));
    let dead: Vec<u32> = dead.map(|(block, _)| block).collect();
    assert!(!dead.is_empty(), "a kernel finds nothing to free");
    dead.into_iter().for_each(|block| free_block(chip, endian, block).unwrap());
}

/// Every program and erase in turn fails, does nothing, or loses bits.
#[test]
fn failing_eraseblocks() {
    for shape in [nand(16, 512, Little), nor(4, 1, Big)] {
        let start = scenes::aged(shape, true);
        let scene = Scene::of("", start.clone(), shape.endian, all());
        let mut eye = Eye::on(&start, shape.endian, false);
        let count = |of: fn(&Op) -> bool| scene.trace.ops.iter().filter(|op| of(op)).count() as u64;
        let programs = count(|op| matches!(op, Op::Program { .. }));
        let erases = count(|op| matches!(op, Op::Erase { .. }));
        use FaultKind::{EraseFails, EraseIgnored, ProgramFails, ProgramIgnored, ProgramLosesBits, WriteProtect};
        let faults = [
            (ProgramFails, programs),
            (ProgramIgnored, programs),
            (ProgramLosesBits, programs),
            (EraseFails, erases),
            (EraseIgnored, erases),
            (WriteProtect, programs + erases),
        ];
        for (kind, count) in faults {
            for nth in 0..count {
                let mut chip = start.clone();
                chip.plan(Fault { kind, nth });
                let outcome = gc(&mut chip, shape.endian, &all(), &mut |_, _| {});
                eye.check(&chip).unwrap_or_else(|e| panic!("{shape:?} {kind:?} {nth}: {e}"));
                match outcome {
                    Ok(report) if kind != WriteProtect => {
                        assert!(report.free_after + 2 >= scene.report.free_after, "{kind:?} {nth}: {report:?}");
                    }
                    Ok(_) | Err(TxError::Write(_) | TxError::Unsettled) => assert_eq!(kind, WriteProtect, "{nth}"),
                    Err::<_, TxError<ChipError>>(error) => panic!("{kind:?} {nth}: {error}"),
                }
            }
        }
    }
}
