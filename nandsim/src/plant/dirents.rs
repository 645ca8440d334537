//! Names that lead elsewhere, are missing, or lose against older ones.

use jffs2_tx::wire::Dirent;

use super::Mistake::Trace;
use super::Plant;
use super::edit::{Cells, change_dirent, forget_dirent};
use super::scene::{NOR_DIRENT, NOR_HEAD, NOR_LINKS};
use crate::torture::Torture;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "version-not-raised",
        what: "a dirent that replaces a name has no higher version than the old one",
        scene: NOR_HEAD,
        mistake: Trace(|torture| change_version(torture, |old| old.checked_sub(1))),
    },
    Plant {
        name: "equal-versions",
        what: "a dirent that replaces a name has the version of the old one: which wins is the reader's choice",
        scene: NOR_HEAD,
        mistake: Trace(|torture| change_version(torture, Some)),
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
];

/// The lowest inode number that the update takes.
fn oldest_new(torture: &Torture) -> Option<u32> {
    Cells::before(torture).inodes().map(|(_, node, _)| node.ino + 1).max()
}

/// Gives the first dirent that replaces a name another version, made of the old one's.
fn change_version(torture: &mut Torture, new: impl FnOnce(u32) -> Option<u32>) -> Option<()> {
    let before = Cells::before(torture);
    let old = |new: &Dirent<'_>| before.dirents().find(|(_, old)| (old.pino, old.name) == (new.pino, new.name));
    let (pino, own, version) = {
        let written = Cells::written(torture);
        let mut names = written.dirents().filter(|(_, dirent)| dirent.ino != 0);
        names.find_map(|(_, dirent)| Some((dirent.pino, dirent.version, old(&dirent)?.1.version)))?
    };
    let version = new(version)?;
    change_dirent(torture, |dirent| (dirent.pino, dirent.version) == (pino, own), |dirent| Dirent { version, ..dirent })
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
    let mut lose = || change_dirent(torture, |dirent| dirent.mctime != 0, |dirent| Dirent { mctime: 0, ..dirent });
    lose()?;
    while lose().is_some() {}
    Some(())
}
