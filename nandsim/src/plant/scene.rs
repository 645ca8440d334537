//! Small flashes, and what is done to them.

use std::fmt;
use std::sync::Arc;

use jffs2_tx::flash::FlashKind;
use jffs2_tx::tx::{GcOptions, TxOptions, gc, recover};
use jffs2_tx::wire::{CommitPoint, Endian};

use crate::chip::Chip;
use crate::cut::{Cut, Tear, Walker};
use crate::harness::{Plan, SecondCuts};
use crate::sample::{Sample, parse_tree, sample_small_change};
use crate::shape::Shape;
use crate::torture::{Torture, TortureError};
use crate::trace::{Op, Recorder};
use crate::update::Update;

const NOR: Shape = Shape { kind: FlashKind::Nor, eraseblock: 16 << 10, write_size: 1, endian: Endian::Little };
const NAND: Shape = Shape { kind: FlashKind::Nand, write_size: 512, ..NOR };

pub(super) const NOR_HEAD: Scene =
    Scene { shape: NOR, point: CommitPoint::Head, sample: sample_small_change, act: Act::Update };
pub(super) const NOR_SUMMARY: Scene = Scene { point: CommitPoint::Summary, ..NOR_HEAD };
pub(super) const NOR_DIRENT: Scene = Scene { point: CommitPoint::Dirent, ..NOR_HEAD };
pub(super) const NOR_LINKS: Scene = Scene { sample: links, ..NOR_HEAD };
pub(super) const NAND_SUMMARY: Scene = Scene { shape: NAND, ..NOR_SUMMARY };
pub(super) const NAND_LARGER: Scene = Scene { sample: || kernel(8000), ..NAND_SUMMARY };
/// An eraseblock of the old tree holds nothing that the new one needs.
pub(super) const NAND_REPLACED: Scene = Scene { sample: || kernel(40_000), ..NAND_SUMMARY };

/// For what is done in place of an update.
const NOT_AN_UPDATE: Plan = Plan { settle: false, second: SecondCuts::None, ends_new: false };

pub(super) const NAND_COLLECTED: Scene = Scene { act: Act::Collection, ..NAND_SUMMARY };

/// Something that is done to a flash with a file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub shape: Shape,
    pub point: CommitPoint,
    pub sample: fn() -> Sample,
    pub act: Act,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The update.
    Update,
    /// The recovery from a power cut before the last programs of the update, so many of them.
    Recovery(usize),
    /// A garbage collection; there has been an update before.
    Collection,
}

impl Scene {
    pub(super) fn recorded(&self, seed: u64) -> Result<Torture, TortureError> {
        let sample = (self.sample)();
        match self.act {
            Act::Update => self.update(&sample, seed),
            Act::Recovery(programs) => Ok(recovery(self.update(&sample, seed)?, programs)),
            Act::Collection => collection(self.update(&sample, seed)?, sample),
        }
    }

    fn update(&self, sample: &Sample, seed: u64) -> Result<Torture, TortureError> {
        let image = |tree| self.shape.image(tree).unwrap_or_else(|e| unreachable!("the tree is small: {e}"));
        let (old, new) = (image(&sample.old), image(&sample.new));
        let start = self.shape.geometry_for(old.len(), new.len()).map(|geometry| Chip::new(geometry, seed));
        let start = start.unwrap_or_else(|e| unreachable!("the flash is small: {e}"));
        let start = self.shape.flashed_on(start, &old).unwrap_or_else(|e| unreachable!("the flash has room: {e}"));
        // What a collection is cut in must not be missing for the update that follows.
        let reserve = (self.act == Act::Collection).then_some(2);
        let options = TxOptions { commit_point: Some(self.point), txid: [7; 16], reserve, ..TxOptions::default() };
        Torture::record(start, Update::new(self.shape.endian, sample.new.clone(), options), seed)
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.shape.kind {
            FlashKind::Nor => "NOR",
            FlashKind::Nand => "NAND",
        };
        match self.act {
            Act::Update => write!(f, "an update with commit point {} on {kind}", self.point),
            Act::Recovery(_) => write!(f, "a recovery from an update with commit point {} on {kind}", self.point),
            Act::Collection => write!(f, "a garbage collection on {kind}"),
        }
    }
}

/// The state before the last programs of an update, and what recovery does about it.
fn recovery(torture: Torture, programs: usize) -> Torture {
    let ops = &torture.trace.ops;
    let op = (0..ops.len()).rev().filter(|i| matches!(ops[*i], Op::Program { .. })).nth(programs.saturating_sub(1));
    let cut = Cut { op: op.unwrap_or(0), tear: Tear::Before };
    let states = Walker::new(torture.start.clone(), &torture.trace, torture.seed, std::iter::once(cut));
    let start = states.map(|(_, chip)| chip).last().unwrap_or_else(|| torture.start.clone());
    let mut recorder = Recorder::new(start.clone());
    // Without faults nothing fails; if it did, nothing could be planted.
    let _ = recover(&mut recorder, torture.workload.endian);
    Torture { start, trace: recorder.into_parts().1, plan: NOT_AN_UPDATE, ..torture }
}

/// The update done, and the garbage collection that it gives work to. The update back follows.
fn collection(done: Torture, sample: Sample) -> Result<Torture, TortureError> {
    let mut start = done.start;
    for op in &done.trace.ops {
        let _ = op.apply(&mut start);
    }
    let back = Update { tree: sample.old, ..done.workload };
    let mut torture = Torture::record(start.clone(), back, done.seed)?;
    let mut recorder = Recorder::new(start);
    let _ = gc(&mut recorder, torture.workload.endian, &GcOptions::default(), &mut |_, _| {});
    // barebox does not mount while a copy is torn, and recovery leaves that to the next collection.
    torture.oracle.standard = Arc::new(torture.oracle.standard.of_library());
    Ok(Torture { trace: recorder.into_parts().1, plan: NOT_AN_UPDATE, ..torture })
}

fn links() -> Sample {
    let tree = |time: u32| {
        let text = format!(
            "/ dir 755 0 0 1\n/bin dir 755 0 0 {time}\n/bin/a file 755 0 0 {time} text:tool {time}\n/bin/b link /bin/a\n"
        );
        parse_tree(&text).unwrap_or_else(|e| unreachable!("tested: {e}"))
    };
    Sample { old: tree(1), new: tree(2) }
}

fn kernel(bytes: usize) -> Sample {
    let tree = |time: u32| {
        let text = format!("/ dir 755 0 0 1\n/kernel file 644 0 0 {time} noise:{time}:{bytes}\n");
        parse_tree(&text).unwrap_or_else(|e| unreachable!("tested: {e}"))
    };
    Sample { old: tree(1), new: tree(2) }
}
