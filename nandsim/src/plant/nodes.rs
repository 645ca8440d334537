//! Nodes that say something wrong, are missing, or should not be there.

use jffs2_tx::wire::{Compression, Dirent, Inode};

use super::Mistake::Trace;
use super::Plant;
use super::edit::{
    Cells, change_dirent, change_inode, commit_block, commit_erase, forget_dirent, forget_inode, programs,
};
use super::scene::{NAND_LARGER, NOR_DIRENT, NOR_HEAD, NOR_LINKS};
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
        name: "version-not-raised",
        what: "a dirent that replaces a name has no higher version than the old one",
        scene: NOR_HEAD,
        mistake: Trace(version_not_raised),
    },
    Plant {
        name: "deletion-forgotten",
        what: "no dirent takes the name of a removed file away",
        scene: NOR_HEAD,
        mistake: Trace(|torture| forget_dirent(torture, |dirent| dirent.ino == 0)),
    },
    Plant {
        name: "link-not-repointed",
        what: "one of a changed file's hard links still leads to the old one",
        scene: NOR_LINKS,
        mistake: Trace(link_not_repointed),
    },
    Plant {
        name: "shadow-lost-name",
        what: "the shadow of a directory lacks a name that did not change",
        scene: NOR_DIRENT,
        mistake: Trace(|torture| {
            let old = oldest_new(torture)?;
            forget_dirent(torture, |dirent| dirent.pino >= old && (1..old).contains(&dirent.ino))
        }),
    },
    Plant {
        name: "shadow-wrong-inode",
        what: "a name in the shadow of a directory leads to the inode of another",
        scene: NOR_DIRENT,
        mistake: Trace(|torture| {
            let old = oldest_new(torture)?;
            change_dirent(
                torture,
                |dirent| dirent.pino >= old && (1..old).contains(&dirent.ino),
                |dirent| Dirent { ino: dirent.ino + 1, ..dirent },
            )
        }),
    },
    Plant {
        name: "shadow-without-inode",
        what: "the shadow of a directory has no inode node, so no mode and no owner",
        scene: NOR_DIRENT,
        mistake: Trace(|torture| forget_inode(torture, |node| node.mode & 0o170_000 == 0o040_000)),
    },
    Plant {
        name: "wrong-byte-order",
        what: "a dirent's pino is in the other byte order",
        scene: NOR_HEAD,
        mistake: Trace(|torture| {
            change_dirent(torture, |_| true, |dirent| Dirent { pino: dirent.pino.swap_bytes(), ..dirent })
        }),
    },
    Plant {
        name: "directory-time-lost",
        what: "dirents do not carry the directory's new time",
        scene: NOR_LINKS,
        mistake: Trace(directory_time_lost),
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
        name: "equal-versions",
        what: "a dirent that replaces a name has the version of the old one: which wins is the reader's choice",
        scene: NOR_HEAD,
        mistake: Trace(equal_versions),
    },
    Plant {
        name: "payload-in-live-block",
        what: "payload is appended to an eraseblock with live nodes of the old tree",
        scene: NOR_HEAD,
        mistake: Trace(payload_in_live_block),
    },
];

fn is_file(node: &Inode) -> bool {
    node.mode & 0o170_000 == 0o100_000
}

/// The lowest inode number that the update takes.
fn oldest_new(torture: &Torture) -> Option<u32> {
    Cells::before(torture).inodes().map(|(_, node, _)| node.ino + 1).max()
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

/// The first version that the old tree has of a name that the commit block replaces, with its place in the log.
fn replaced(torture: &Torture) -> Option<(u32, Vec<u8>, u32)> {
    let before = Cells::before(torture);
    let written = Cells::written(torture);
    let old = |new: &Dirent<'_>| {
        before.dirents().find(|(_, old)| old.pino == new.pino && old.name == new.name).map(|(_, old)| old.version)
    };
    let mut names = written.dirents().filter(|(_, dirent)| dirent.ino != 0);
    names.find_map(|(_, dirent)| Some((dirent.pino, dirent.name.to_vec(), old(&dirent)?)))
}

fn version_not_raised(torture: &mut Torture) -> Option<()> {
    let (pino, name, version) = replaced(torture)?;
    let version = version.checked_sub(1)?;
    change_dirent(torture, |dirent| dirent.pino == pino && dirent.name == name, |dirent| Dirent { version, ..dirent })
}

fn equal_versions(torture: &mut Torture) -> Option<()> {
    let (pino, name, version) = replaced(torture)?;
    change_dirent(torture, |dirent| dirent.pino == pino && dirent.name == name, |dirent| Dirent { version, ..dirent })
}

fn link_not_repointed(torture: &mut Torture) -> Option<()> {
    let linked = {
        let written = Cells::written(torture);
        let inos: Vec<u32> = written.dirents().map(|(_, dirent)| dirent.ino).collect();
        inos.iter().copied().find(|ino| *ino != 0 && inos.iter().filter(|other| *other == ino).count() > 1)?
    };
    forget_dirent(torture, |dirent| dirent.ino == linked)
}

fn directory_time_lost(torture: &mut Torture) -> Option<()> {
    let block = commit_block(&torture.trace.ops)?;
    let geometry = torture.trace.geometry;
    let count = {
        let written = Cells::written(torture);
        written.dirents().filter(|(at, _)| geometry.block_of(*at) == block).count()
    };
    let mut changed = None;
    for _ in 0..count {
        changed = change_dirent(torture, |dirent| dirent.mctime != 0, |dirent| Dirent { mctime: 0, ..dirent });
    }
    changed
}

fn payload_in_live_block(torture: &mut Torture) -> Option<()> {
    let geometry = torture.trace.geometry;
    let ops = &mut torture.trace.ops;
    let commit = commit_erase(ops)?;
    let first = *programs(&ops[..commit], 0).first()?;
    let len = if let Op::Program { data, .. } = &ops[first] { data.len() } else { return None };
    let tail = |block: u32| {
        let cells = torture.start.block_data(block);
        let used = cells.iter().rposition(|byte| *byte != 0xff)? + 1;
        let free = used.next_multiple_of(geometry.write_size().max(4) as usize);
        (used > 64 && free + len <= cells.len()).then(|| geometry.offset_of(block) + free as u32)
    };
    let at = (0..geometry.blocks()).find_map(tail)?;
    let Op::Program { offset, .. } = &mut ops[first] else { return None };
    *offset = at;
    Some(())
}
