//! Inode nodes that say something wrong, are missing, or stand where they should not.

use jffs2_tx::wire::{Compression, Inode};

use super::Mistake::Trace;
use super::Plant;
use super::edit::{Cells, change_inode, commit_erase, forget_inode, programs};
use super::scene::{NAND_LARGER, NAND_SUMMARY, NOR_DIRENT, NOR_HEAD, NOR_LINKS};
use crate::torture::Torture;
use crate::trace::Op;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "old-inode-in-payload",
        what: "the payload has a node of an inode of the old tree, which shows at once",
        scene: NOR_HEAD,
        mistake: Trace(old_inode_in_payload),
    },
    Plant {
        name: "inode-number-reused",
        what: "a new file has the number of an old one",
        scene: NOR_HEAD,
        mistake: Trace(inode_number_reused),
    },
    Plant {
        name: "shadow-without-inode",
        what: "the shadow of a directory has no inode node, so no mode and no owner",
        scene: NOR_DIRENT,
        mistake: Trace(|torture| forget_inode(torture, |node| node.mode & 0o170_000 == 0o040_000)),
    },
    Plant {
        name: "wrong-mode",
        what: "a new file has no permission to execute",
        scene: NOR_LINKS,
        mistake: Trace(|torture| change_inode(torture, is_file, |node| Inode { mode: node.mode & !0o111, ..node })),
    },
    Plant {
        name: "wrong-owner",
        what: "the owner of a file whose metadata changes stays the old one",
        scene: NOR_HEAD,
        mistake: Trace(|torture| change_inode(torture, |node| node.gid != 0, |node| Inode { gid: 0, ..node })),
    },
    Plant {
        name: "wrong-time",
        what: "a new file has the time of the update instead of its own",
        scene: NOR_HEAD,
        mistake: Trace(|torture| change_inode(torture, is_file, |node| Inode { mtime: node.mtime + 1, ..node })),
    },
    Plant {
        name: "size-not-raised",
        what: "the last data node of a file has the size up to the node before it",
        scene: NAND_LARGER,
        mistake: Trace(|torture| {
            change_inode(torture, |node| node.offset > 0, |node| Inode { isize: node.offset, ..node })
        }),
    },
    Plant {
        name: "data-node-lost",
        what: "a data node in the middle of a file is missing",
        scene: NAND_LARGER,
        mistake: Trace(|torture| forget_inode(torture, |node| is_file(node) && node.dsize > 0)),
    },
    Plant {
        name: "wrong-data-offset",
        what: "the second data node of a file says that it is the first",
        scene: NAND_LARGER,
        mistake: Trace(|torture| change_inode(torture, |node| node.offset > 0, |node| Inode { offset: 0, ..node })),
    },
    Plant {
        name: "wrong-compressor",
        what: "a node with plain data says that it is compressed",
        scene: NOR_HEAD,
        mistake: Trace(|torture| {
            change_inode(
                torture,
                |node| is_file(node) && node.compression == Compression::None,
                |node| Inode { compression: Compression::Zlib, ..node },
            )
        }),
    },
    Plant {
        name: "payload-in-live-block",
        what: "payload is appended to an eraseblock with live nodes of the old tree: a torn page takes its pair along",
        scene: NAND_SUMMARY,
        mistake: Trace(payload_in_live_block),
    },
];

fn is_file(node: &Inode) -> bool {
    node.mode & 0o170_000 == 0o100_000
}

/// The newest node of a file of the old tree that has data.
fn old_file(torture: &Torture) -> Option<Inode> {
    let before = Cells::before(torture);
    before.inodes().map(|(_, node, _)| node).filter(|node| is_file(node) && node.dsize > 0).last()
}

fn old_inode_in_payload(torture: &mut Torture) -> Option<()> {
    let old = old_file(torture)?;
    let content = b"other\n";
    let node = Inode { version: old.version + 1, isize: 6, offset: 0, dsize: 6, compression: Compression::None, ..old };
    let ops = &mut torture.trace.ops;
    let last = *programs(&ops[..commit_erase(ops)?], 0).last()?;
    let Op::Program { data, .. } = &mut ops[last] else { return None };
    node.emit(torture.workload.endian, data, content);
    Some(())
}

fn inode_number_reused(torture: &mut Torture) -> Option<()> {
    let ino = old_file(torture)?.ino;
    change_inode(torture, |node| is_file(node) && node.dsize > 0, |node| Inode { ino, ..node })
}

/// Moves what the payload's programs write into the first eraseblock that has room for it behind what it holds.
fn payload_in_live_block(torture: &mut Torture) -> Option<()> {
    let geometry = torture.trace.geometry;
    let payload = programs(&torture.trace.ops[..commit_erase(&torture.trace.ops)?], 0);
    let (first, len) = {
        let of = |op: &usize| match &torture.trace.ops[*op] {
            Op::Program { offset, data } => (*offset, data.len() as u32),
            _ => (0, 0),
        };
        let (last, last_len) = of(payload.last()?);
        (of(payload.first()?).0, last.checked_add(last_len)?.checked_sub(of(payload.first()?).0)?)
    };
    let tail = |block: u32| {
        let cells = torture.start.block_data(block);
        let used = cells.iter().rposition(|byte| *byte != 0xff)? as u32 + 1;
        let free = used.next_multiple_of(geometry.write_size().max(4));
        (used > 64 && free + len <= geometry.eraseblock()).then(|| geometry.offset_of(block) + free)
    };
    let at = (0..geometry.blocks()).find_map(tail)?;
    for op in payload {
        if let Op::Program { offset, .. } = &mut torture.trace.ops[op] {
            *offset = *offset - first + at;
        }
    }
    Some(())
}
