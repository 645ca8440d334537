//! Where the inodes of a plan come from: the tree, or the past.

use jffs2_tx::error::ReadError;
use jffs2_tx::history::{History, PastInode};
use jffs2_tx::inode_kind::{FileKind, Meta};
use jffs2_tx::tree::{Attribute, File, LostAttribute, Stat, Tree};

use crate::past::newest;
use crate::target::{Target, TargetError};

type Result<T> = std::result::Result<T, ReadError<TargetError>>;

/// Stands for a directory that is made only so that a path can be.
pub(super) const MADE_UP: u32 = u32::MAX;

/// Where the inodes of a plan come from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// The tree, by inode number.
    Tree(Tree<'a, Target>),
    /// The past, by place in [`History::inodes`].
    Past(Tree<'a, Target>, &'a History),
}

impl<'a> Source<'a> {
    pub(super) fn stat(self, ino: u32) -> Result<Stat> {
        match self {
            Self::Tree(tree) => tree.stat(ino),
            Self::Past(..) if ino == MADE_UP => Ok(made_up()),
            Self::Past(tree, history) => {
                let inode = past(history, ino)?;
                tree.stat_nodes(inode.ino, history.nodes(inode))
            }
        }
    }

    /// A regular file, to read from.
    pub(super) fn open(self, ino: u32) -> Result<File<'a, Target>> {
        match self {
            Self::Tree(tree) => tree.open(ino),
            Self::Past(tree, history) => Ok(tree.open_nodes(history.nodes(past(history, ino)?))),
        }
    }

    pub(super) fn read_link(self, ino: u32) -> Result<Vec<u8>> {
        match self {
            Self::Tree(tree) => tree.read_link(ino),
            Self::Past(tree, history) => {
                let inode = past(history, ino)?;
                tree.read_link_nodes(inode.ino, history.nodes(inode))
            }
        }
    }

    /// Size of a file, bytes.
    pub(super) fn size(self, ino: u32) -> u32 {
        match self {
            Self::Tree(tree) => tree.index().inode(ino).size,
            Self::Past(_, history) => {
                past(history, ino).ok().and_then(|inode| newest(history, inode)).map_or(0, |node| node.isize)
            }
        }
    }

    /// Extended attributes, and those that are lost. Of the past none are known.
    pub(super) fn xattrs(self, ino: u32) -> Result<(Vec<LostAttribute>, Vec<Attribute>)> {
        match self {
            Self::Tree(tree) => Ok((tree.lost_xattrs(ino)?, tree.xattrs(ino)?)),
            Self::Past(..) => Ok((Vec::new(), Vec::new())),
        }
    }

    /// Whether metadata of a directory is known.
    pub(super) fn is_made_up(self, ino: u32) -> bool {
        matches!(self, Self::Past(..)) && ino == MADE_UP
    }
}

fn past(history: &History, at: u32) -> Result<&PastInode> {
    history.inodes().get(at as usize).ok_or(ReadError::NoNode { ino: at })
}

fn made_up() -> Stat {
    let meta = Meta { mode: 0o700, uid: 0, gid: 0, mtime: 0 };
    let kind = FileKind::Directory;
    Stat { ino: MADE_UP, kind, meta, atime: 0, ctime: 0, size: 0, links: 1, device: None }
}
