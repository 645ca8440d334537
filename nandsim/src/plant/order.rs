//! The right writes in a wrong order.

use super::Mistake::Trace;
use super::Plant;
use super::edit::{commit_erase, commit_programs, programs};
use super::scene::{NAND_SUMMARY, NOR_DIRENT, NOR_HEAD, NOR_SUMMARY};
use crate::torture::Torture;
use crate::trace::Op;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "commit-before-payload",
        what: "the commit block is written before the payload: names that lead nowhere",
        scene: NAND_SUMMARY,
        mistake: Trace(commit_before_payload),
    },
    Plant {
        name: "dirent-before-payload",
        what: "a dirent commit before the payload that holds the shadow",
        scene: NOR_DIRENT,
        mistake: Trace(commit_before_payload),
    },
    Plant {
        name: "payload-left-for-later",
        what: "the last payload is programmed after the commit",
        scene: NAND_SUMMARY,
        mistake: Trace(payload_left_for_later),
    },
    Plant {
        name: "body-after-head",
        what: "the head is programmed before the body that it makes visible",
        scene: NOR_HEAD,
        mistake: Trace(body_last),
    },
    Plant {
        name: "summary-before-body",
        what: "the summary is programmed before the nodes that it lists",
        scene: NOR_SUMMARY,
        mistake: Trace(body_last),
    },
    Plant {
        name: "no-sync",
        what: "nothing is synced: the commit can arrive before the payload",
        scene: NOR_HEAD,
        mistake: Trace(no_sync),
    },
    Plant {
        name: "old-erased-before-commit",
        what: "an eraseblock of the old tree is erased before the commit",
        scene: NOR_DIRENT,
        mistake: Trace(old_erased_before_commit),
    },
];

fn commit_before_payload(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let commit = commit_erase(ops).filter(|&at| !programs(&ops[..at], 0).is_empty())?;
    ops.rotate_left(commit);
    Some(())
}

fn payload_left_for_later(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let commit = commit_erase(ops)?;
    let last = *programs(&ops[..commit], 0).last()?;
    let op = ops.remove(last);
    ops.push(op);
    Some(())
}

fn body_last(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let programs = commit_programs(ops)?;
    let (&body, &last) = programs.first().zip(programs.last()).filter(|(body, last)| body < last)?;
    let op = ops.remove(body);
    ops.insert(last, op);
    Some(())
}

fn no_sync(torture: &mut Torture) -> Option<()> {
    torture.trace.ops.retain(|op| *op != Op::Sync);
    Some(())
}

fn old_erased_before_commit(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let commit = commit_erase(ops)?;
    ops.splice(commit..commit, [Op::Erase { block: 0 }, Op::Sync]);
    Some(())
}
