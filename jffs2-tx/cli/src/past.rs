//! How the past is shown: what became of names and inodes, in words that programs can rely on.

use jffs2_tx::history::{Fate, History, Life, LostName, PastInode, PastPath, Recovery, Standing, TxRecord};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::scan::InodeRecord;
use jffs2_tx::tree::Loss;

use crate::failure::Failure;
use crate::image::Image;
use crate::show;
use crate::target::Target;

/// All that an image holds.
pub(crate) fn history(image: &Image) -> Result<History, Failure> {
    Ok(History::read::<Target>(&image.flash, &image.index)?)
}

/// A path from the root with a slash in front; `<N>/a` where it starts at inode N, of which no name is left.
pub(crate) fn path(path: &PastPath<'_>) -> String {
    let names = show::path(&path.names.join(&b'/'));
    match path.from {
        None => names,
        Some(ino) if path.names.is_empty() => format!("<{ino}>"),
        Some(ino) => format!("<{ino}>{names}"),
    }
}

pub(crate) fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Deleted => "deleted",
        Fate::Replaced => "replaced",
        Fate::WithDirectory => "with-directory",
        Fate::Hidden => "hidden",
        Fate::Orphan => "orphan",
        Fate::WouldAppear => "would-appear",
        Fate::WouldVanish => "would-vanish",
        Fate::WouldChange => "would-change",
    }
}

pub(crate) fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Current => "current",
        Standing::Superseded => "superseded",
        Standing::Deleted => "deleted",
        Standing::MarkedObsolete => "obsolete",
        Standing::Hidden => "hidden",
        Standing::Uncommitted => "uncommitted",
        Standing::Orphan => "orphan",
    }
}

pub(crate) fn recovery(recovery: Recovery) -> &'static str {
    match recovery {
        Recovery::Whole => "whole",
        Recovery::Likely => "likely",
        Recovery::Partly => "partly",
        Recovery::Gone => "no",
        Recovery::Mixed => "mixed",
    }
}

/// Whether it is of a transaction that was not committed.
pub(crate) fn is_uncommitted(lost: &LostName) -> bool {
    matches!(lost.fate, Fate::WouldAppear | Fate::WouldVanish | Fate::WouldChange)
}

/// The transaction that it is of.
pub(crate) fn transaction<'a>(history: &'a History, lost: &LostName) -> Option<&'a TxRecord> {
    lost.tx.and_then(|tx| history.transactions().get(tx as usize))
}

/// The newest good node of an inode.
pub(crate) fn newest<'a>(history: &'a History, inode: &PastInode) -> Option<&'a InodeRecord> {
    history.nodes(inode).iter().rev().find(|node| node.good)
}

pub(crate) fn kind(node: &InodeRecord) -> Option<FileKind> {
    FileKind::from_mode(u32::from(node.mode))
}

/// What `--ino` and a path that is not in the tree can mean: the last inode of that number, or the only one.
pub(crate) fn inode(history: &History, ino: u32, former: bool) -> Option<&PastInode> {
    if former {
        return history.inode(ino, Life::Former);
    }
    let other = || history.inodes().iter().rev().find(|inode| inode.ino == ino);
    history.inode(ino, Life::Last).or_else(other)
}

/// A range that is lost: `bytes 0-4096, node at 0x2000: why`.
pub(crate) fn loss(loss: &Loss) -> String {
    let at = loss.at.map(|at| format!(", node at {at:#x}")).unwrap_or_default();
    format!("bytes {}-{}{at}: {}", loss.start, loss.end, loss.reason)
}
