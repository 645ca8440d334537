//! A garbage collection that loses what it moves.

use super::Mistake::Trace;
use super::Plant;
use super::edit::forget_dirent;
use super::scene::NAND_COLLECTED;
use crate::torture::Torture;
use crate::trace::Op;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "gc-erases-first",
        what: "garbage collection erases an eraseblock before it copies the nodes that live there",
        scene: NAND_COLLECTED,
        mistake: Trace(erases_first),
    },
    Plant {
        name: "gc-erases-unsynced",
        what: "garbage collection erases an eraseblock while the copies of its nodes are not durable",
        scene: NAND_COLLECTED,
        mistake: Trace(erases_unsynced),
    },
    Plant {
        name: "gc-loses-name",
        what: "garbage collection does not copy a dirent that lives",
        scene: NAND_COLLECTED,
        mistake: Trace(|torture| forget_dirent(torture, |dirent| dirent.ino != 0)),
    },
];

/// The program that copies nodes: the first.
fn copying(ops: &[Op]) -> Option<usize> {
    ops.iter().position(|op| matches!(op, Op::Program { .. }))
}

fn erases_first(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let copies = copying(ops)?;
    let erase = copies + ops[copies..].iter().position(|op| matches!(op, Op::Erase { .. }))?;
    ops[copies..=erase].rotate_right(1);
    Some(())
}

fn erases_unsynced(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let after = copying(ops)? + 1;
    (*ops.get(after)? == Op::Sync).then(|| drop(ops.remove(after)))
}
