//! A tree to be written: what an image is built from, and what an update makes the flash equal to.
//!
//! It holds names and metadata; file contents stay where they are until they are needed. Everything that the format
//! cannot hold is refused while the tree is made, with its path, so that nothing has been written by then.

use std::boxed::Box;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec::Vec;

use crate::inode_kind::{Device, FileKind, Meta};
use crate::tree::Attribute;

mod dir;
mod grow;
mod refusal;

pub use dir::FromDir;
pub use refusal::{Refusal, SourceError};
#[cfg(feature = "write")]
pub(crate) use refusal::{check_name, check_node, printable};

/// Index of a node in its tree; the root is [`ROOT`].
pub type NodeId = usize;

/// The root directory of every tree.
pub const ROOT: NodeId = 0;

/// A tree of files. A node that two names lead to is a hard link.
#[derive(Clone, Debug)]
pub struct SourceTree {
    nodes: Vec<SourceNode>,
    /// Of the nodes that have any.
    extras: BTreeMap<NodeId, Extra>,
}

/// What few nodes have. Transactions do not write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// Access and change time, seconds since 1970, if they are not the modification time.
    pub times: Option<(u32, u32)>,
    /// Extended attributes, as `getxattr` gives them.
    pub xattrs: Vec<Attribute>,
}

/// One inode.
#[derive(Clone, Debug)]
pub struct SourceNode {
    /// Permissions, owner, time.
    pub meta: Meta,
    /// Type and contents.
    pub kind: SourceKind,
}

/// Type and contents of a node.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// Names, in byte order.
    Directory(BTreeMap<Vec<u8>, NodeId>),
    /// Regular file.
    File {
        /// Size, bytes.
        size: u32,
        /// Where its bytes are.
        content: Content,
    },
    /// Target, 1 to 254 bytes.
    Symlink(Vec<u8>),
    /// Character device.
    CharDevice(Device),
    /// Block device.
    BlockDevice(Device),
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

impl SourceKind {
    /// The type alone.
    #[must_use]
    pub fn file_kind(&self) -> FileKind {
        match self {
            Self::Directory(_) => FileKind::Directory,
            Self::File { .. } => FileKind::File,
            Self::Symlink(_) => FileKind::Symlink,
            Self::CharDevice(_) => FileKind::CharDevice,
            Self::BlockDevice(_) => FileKind::BlockDevice,
            Self::Fifo => FileKind::Fifo,
            Self::Socket => FileKind::Socket,
        }
    }
}

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In a file of the host.
    Path(PathBuf),
    /// Here.
    Bytes(Vec<u8>),
    /// Elsewhere, such as in an archive.
    Other(Arc<dyn OpenContent>),
}

/// Bytes that can be read more than once, and by several threads.
pub trait OpenContent: Send + Sync + Debug {
    /// Opens the content for reading from its start.
    ///
    /// # Errors
    /// The host's.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;

    /// What to call the content in a message, if it is not the path in the tree.
    fn name(&self) -> Option<&Path> {
        None
    }
}

impl Content {
    /// Opens the content for reading from its start.
    ///
    /// # Errors
    /// The host's.
    pub fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Path(path) => Box::new(File::open(path)?),
            Self::Bytes(bytes) => Box::new(bytes.as_slice()),
            Self::Other(content) => content.open()?,
        })
    }

    /// What to call the content in a message.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Bytes(_) => None,
            Self::Other(content) => content.name(),
        }
    }
}

impl SourceTree {
    /// A tree that holds its root directory only.
    #[must_use]
    pub fn new(root: Meta) -> Self {
        let root = SourceNode { meta: root, kind: SourceKind::Directory(BTreeMap::new()) };
        Self { nodes: Vec::from([root]), extras: BTreeMap::new() }
    }

    /// The node.
    ///
    /// # Panics
    /// If the id is of another tree.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &SourceNode {
        &self.nodes[id]
    }

    /// The node, to change it. The format's limits are then the caller's to keep.
    ///
    /// # Panics
    /// If the id is of another tree.
    pub fn node_mut(&mut self, id: NodeId) -> &mut SourceNode {
        &mut self.nodes[id]
    }

    /// All nodes, the root first.
    #[must_use]
    pub fn nodes(&self) -> &[SourceNode] {
        &self.nodes
    }

    /// What the node has beyond other nodes.
    #[must_use]
    pub fn extra(&self, id: NodeId) -> Option<&Extra> {
        self.extras.get(&id)
    }

    /// What a path from the root leads to; slashes in front, behind and doubled do not count, symlinks are not followed.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<NodeId> {
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        names.try_fold(ROOT, |id, name| self.child(id, name))
    }

    /// What a name in a directory leads to.
    #[must_use]
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.nodes.get(parent)?.kind {
            SourceKind::Directory(names) => names.get(name).copied(),
            _ => None,
        }
    }

    /// The names in a directory; none for anything else.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        let names = match &self.nodes[id].kind {
            SourceKind::Directory(names) => Some(names),
            _ => None,
        };
        names.into_iter().flatten().map(|(name, &id)| (name.as_slice(), id))
    }
}
