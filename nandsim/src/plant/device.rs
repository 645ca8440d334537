//! A device that does not do what it says, and nobody reads back.

use super::Mistake::Trace;
use super::Plant;
use super::edit::{commit_erase, programs};
use super::scene::{NAND_SUMMARY, NOR_HEAD};
use crate::rng::Rng;
use crate::torture::Torture;
use crate::trace::Op;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "program-dropped",
        what: "a program of payload did nothing",
        scene: NAND_SUMMARY,
        mistake: Trace(program_dropped),
    },
    Plant {
        name: "bits-lost",
        what: "a program of payload left bits alone",
        scene: NOR_HEAD,
        mistake: Trace(bits_lost),
    },
    Plant {
        name: "body-bits-lost",
        what: "the program of the commit block's body left bits alone",
        scene: NOR_HEAD,
        mistake: Trace(body_bits_lost),
    },
    Plant {
        name: "write-protected",
        what: "the chip is write-protected from the middle of the payload until the commit",
        scene: NAND_SUMMARY,
        mistake: Trace(write_protected),
    },
];

fn program_dropped(torture: &mut Torture) -> Option<()> {
    let first = *programs(&torture.trace.ops, 0).first()?;
    torture.trace.ops.remove(first);
    Some(())
}

fn bits_lost(torture: &mut Torture) -> Option<()> {
    let first = *programs(&torture.trace.ops, 0).first()?;
    lose_bits(torture, first)
}

fn body_bits_lost(torture: &mut Torture) -> Option<()> {
    let commit = commit_erase(&torture.trace.ops)?;
    let body = *programs(&torture.trace.ops, commit).first()?;
    lose_bits(torture, body)
}

fn lose_bits(torture: &mut Torture, op: usize) -> Option<()> {
    let Op::Program { data, .. } = torture.trace.ops.get_mut(op)? else { return None };
    let mut lost = vec![0; data.len()];
    Rng::keyed(&[torture.seed, op as u64]).fill_sparse(&mut lost, 5);
    data.iter_mut().zip(lost).for_each(|(byte, lost)| *byte |= lost);
    Some(())
}

fn write_protected(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let commit = commit_erase(ops)?;
    let payload = programs(&ops[..commit], 0);
    let from = *payload.get(payload.len() / 2)?;
    ops.drain(from..commit);
    Some(())
}
