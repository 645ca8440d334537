//! A commit block that is not what `FORMAT.md` section 6 says.

use jffs2_tx::crc::crc32;
use jffs2_tx::wire::{Cleanmarker, Dirent, Marker, MarkerKind, nodetype};

use super::Mistake::Trace;
use super::Plant;
use super::edit::{Cells, commit_block, commit_erase, commit_programs, overwrite};
use super::scene::{NAND_SUMMARY, NOR_HEAD, NOR_SUMMARY};
use crate::torture::Torture;
use crate::trace::Op;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "blank-head-128",
        what: "the blank head is 128 bytes: no reader takes the eraseblock for empty",
        scene: NOR_HEAD,
        mistake: Trace(|torture| shorter_head(torture, 128)),
    },
    Plant {
        name: "blank-head-256",
        what: "the blank head is 256 bytes: enough for Linux, not for U-Boot before 2015.10",
        scene: NOR_HEAD,
        mistake: Trace(|torture| shorter_head(torture, 256)),
    },
    Plant {
        name: "no-blank-head",
        what: "several dirents, and nothing that hides them until all are there",
        scene: NOR_HEAD,
        mistake: Trace(|torture| shorter_head(torture, 0)),
    },
    Plant {
        name: "oob-cleanmarker-on-commit-block",
        what: "the commit block is marked clean in its OOB area: hidden it passes for free, and the kernel writes to it",
        scene: NAND_SUMMARY,
        mistake: Trace(oob_cleanmarker),
    },
    Plant {
        name: "cleanmarker-on-commit-block",
        what: "the commit block starts with a cleanmarker: hidden it passes for free, and the kernel writes to it",
        scene: NOR_SUMMARY,
        mistake: Trace(cleanmarker),
    },
    Plant {
        name: "leftover-behind-commit",
        what: "the commit block is not erased first: what was left in it becomes visible with the commit",
        scene: NOR_HEAD,
        mistake: Trace(leftover),
    },
    Plant {
        name: "marker-incompatible",
        what: "the markers' node type says that who does not know it must refuse the mount",
        scene: NOR_HEAD,
        mistake: Trace(|torture| marker_type(torture, 0xc000)),
    },
    Plant {
        name: "digest-of-another",
        what: "the commit marker has the digest of another transaction, and nobody checks it",
        scene: NOR_HEAD,
        mistake: Trace(digest_of_another),
    },
];

/// Moves the body down and leaves out the copies of the marker that there is no room for.
fn shorter_head(torture: &mut Torture, len: u32) -> Option<()> {
    let blank_head = torture.trace.geometry.blank_head();
    let ops = &mut torture.trace.ops;
    let [body, first_copy, second_copy] = commit_programs(ops)?[..] else { return None };
    let Op::Program { offset, .. } = &mut ops[body] else { return None };
    *offset -= blank_head - len;
    if len < 256 {
        ops.remove(second_copy);
    }
    if len < 128 {
        ops.remove(first_copy);
    }
    Some(())
}

fn oob_cleanmarker(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let (erase, block) = (commit_erase(ops)?, commit_block(ops)?);
    ops.insert(erase + 1, Op::OobCleanmarker { block });
    Some(())
}

fn cleanmarker(torture: &mut Torture) -> Option<()> {
    let geometry = torture.trace.geometry;
    let ops = &mut torture.trace.ops;
    let (erase, block) = (commit_erase(ops)?, commit_block(ops)?);
    let mut data = Vec::new();
    Cleanmarker::emit(torture.workload.endian, &mut data, geometry.cleanmarker_size());
    ops.insert(erase + 1, Op::Program { offset: geometry.offset_of(block), data });
    Some(())
}

/// An earlier transaction got as far as the body of its commit block, which took away a name.
fn leftover(torture: &mut Torture) -> Option<()> {
    let geometry = torture.trace.geometry;
    let (erase, block) = (commit_erase(&torture.trace.ops)?, commit_block(&torture.trace.ops)?);
    let before = Cells::before(torture);
    let (_, last) = before.dirents().filter(|(_, dirent)| dirent.pino == 1).last()?;
    let mut deletion = Vec::new();
    Dirent { version: last.version + 9, ino: 0, kind: 0, ..last }.emit(torture.workload.endian, &mut deletion);
    let at = geometry.offset_of(block) + geometry.eraseblock() * 3 / 4;
    let start = &mut torture.start;
    let left = [Op::Erase { block }, Op::Program { offset: at, data: deletion }];
    left.iter().try_for_each(|op| op.apply(start)).ok()?;
    torture.trace.ops.remove(erase);
    Some(())
}

/// Sets the upper two bits of the markers' types.
fn marker_type(torture: &mut Torture, class: u16) -> Option<()> {
    let endian = torture.workload.endian;
    let cells = Cells::written(torture);
    let mut changed = None;
    for (at, bytes) in cells.of_type(nodetype::TX_MARKER) {
        let mut bytes = bytes.to_vec();
        let mut kind = Vec::new();
        endian.put_u16(&mut kind, nodetype::TX_MARKER | class);
        bytes[2..4].copy_from_slice(&kind);
        let mut crc = Vec::new();
        endian.put_u32(&mut crc, crc32(&bytes[..8]));
        bytes[8..12].copy_from_slice(&crc);
        overwrite(&mut torture.trace, at, &bytes);
        changed = Some(());
    }
    changed
}

fn digest_of_another(torture: &mut Torture) -> Option<()> {
    let endian = torture.workload.endian;
    let cells = Cells::written(torture);
    let mut changed = None;
    for (at, bytes) in cells.of_type(nodetype::TX_MARKER) {
        let marker = Marker::parse(endian, bytes).ok()?;
        if marker.kind == MarkerKind::Commit {
            let mut bytes = Vec::new();
            Marker { digest: marker.digest.map(|byte| !byte), ..marker }.emit(endian, &mut bytes);
            overwrite(&mut torture.trace, at, &bytes);
            changed = Some(());
        }
    }
    changed
}
