//! Reads an image back and compares it with the tree that it was built from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::{Container, FlashKind, Geometry, ImageError, ImageFlash};
use jffs2_tx::source::{Content, NodeId, ROOT, SourceKind, SourceTree};
use jffs2_tx::tree::{Stat, show_path};
use jffs2_tx::{Index, Rules, Tree};

use crate::Options;

/// How much of a file is compared at a time, bytes.
const STEP: usize = 64 << 10;
/// Linux gives every symlink this mode.
const SYMLINK_MODE: u32 = 0o777;

/// Why an image is not that of its tree.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The reader finds something wrong with it.
    #[error("the image reads back wrong: {0}")]
    Read(#[from] ReadError<ImageError>),
    /// The image's file cannot be read.
    #[error("the image cannot be read back: {0}")]
    Image(#[from] ImageError),
    /// A path is not in the image as it is in the tree.
    #[error(
        "{path}: {what} reads back different from the source: the disk or the memory is bad, or the source changed"
    )]
    Differs {
        /// Path in the tree.
        path: String,
        /// What is different.
        what: &'static str,
    },
    /// A file of the source cannot be read a second time.
    #[error("{path}: cannot read it again: {error}")]
    Source {
        /// Path in the tree.
        path: String,
        /// The host's reason.
        error: io::Error,
    },
}

/// Compares the image in `file`, which [`build`](crate::build) wrote with the same options, with `tree`: every name, every
/// link, all metadata, all contents, all extended attributes. Memory: the image's index and little more.
///
/// # Errors
/// [`VerifyError`], for the first path that is different.
pub fn verify(tree: &SourceTree, file: &File, options: &Options) -> Result<(), VerifyError> {
    let length = file.metadata().map_err(ImageError::from)?.len();
    let container = Container { oob: options.nand, ..Container::whole(length) };
    let size = container.data_len().next_multiple_of(options.eraseblock.into());
    let geometry = Geometry::new(FlashKind::Nor, size, options.eraseblock, 1)
        .map_err(|error| ImageError::Io(io::Error::other(error)))?;
    let flash = ImageFlash::inside(file.try_clone().map_err(ImageError::from)?, geometry, container)?;
    let rules = Rules { endian: options.endian, summaries: options.summary };
    let index = Index::open(&flash, rules)?;
    Comparison { source: tree, image: Tree::new(&flash, &index), met: BTreeMap::new(), inodes: BTreeMap::new() }.all()
}

struct Comparison<'t> {
    source: &'t SourceTree,
    image: Tree<'t, ImageFlash>,
    /// Inode numbers by node, and nodes by inode number.
    met: BTreeMap<NodeId, u32>,
    inodes: BTreeMap<u32, NodeId>,
}

impl Comparison<'_> {
    fn all(mut self) -> Result<(), VerifyError> {
        let mut todo = vec![(ROOT, jffs2_tx::index::ROOT, Vec::new())];
        while let Some((id, ino, path)) = todo.pop() {
            if self.is_known(id, ino).map_err(at(&path))? {
                continue;
            }
            self.inode(id, ino, &path)?;
            let (source, mut names) = (self.source, self.image.read_dir(ino));
            let first_child = todo.len();
            for (name, child) in source.children(id) {
                let found = names.next().filter(|(found, _)| *found == name);
                let (_, record) = found.ok_or("a name in it").map_err(at(&path))?;
                todo.push((child, record.ino, [&path, &b"/"[..], name].concat()));
            }
            todo[first_child..].reverse();
            if names.next().is_some() {
                return Err(at(&path)("a name in it"));
            }
        }
        Ok(())
    }

    /// Whether another name of the inode was met before.
    fn is_known(&mut self, id: NodeId, ino: u32) -> Result<bool, &'static str> {
        match (self.met.insert(id, ino), self.inodes.insert(ino, id)) {
            (None, None) => Ok(false),
            (Some(known), Some(node)) if known == ino && node == id => Ok(true),
            _ => Err("what it is linked to"),
        }
    }

    fn inode(&self, id: NodeId, ino: u32, path: &[u8]) -> Result<(), VerifyError> {
        let stat = self.image.stat(ino)?;
        self.metadata(id, &stat).map_err(at(path))?;
        let what = match &self.source.node(id).kind {
            SourceKind::File { content, .. } => {
                return self.contents(content, ino, path).and(self.xattrs(id, ino, path));
            }
            SourceKind::Symlink(target) => (self.image.read_link(ino)? != *target).then_some("its target"),
            SourceKind::CharDevice(device) | SourceKind::BlockDevice(device) => {
                (stat.device != Some(*device)).then_some("its device number")
            }
            SourceKind::Directory(_) | SourceKind::Fifo | SourceKind::Socket => None,
        };
        match what {
            Some(what) => Err(at(path)(what)),
            None => self.xattrs(id, ino, path),
        }
    }

    fn metadata(&self, id: NodeId, stat: &Stat) -> Result<(), &'static str> {
        let node = self.source.node(id);
        let mut meta = node.meta;
        if matches!(node.kind, SourceKind::Symlink(_)) {
            meta.mode = SYMLINK_MODE;
        }
        let extra = self.source.extra(id);
        let times = extra.and_then(|extra| extra.times).unwrap_or((meta.mtime, meta.mtime));
        let size = match &node.kind {
            SourceKind::File { size, .. } => *size,
            SourceKind::Symlink(target) => target.len() as u32,
            _ => 0,
        };
        let same = [
            (stat.kind == node.kind.file_kind(), "its type"),
            (stat.meta == meta, "its mode, owner or time"),
            ((stat.atime, stat.ctime) == times, "its access or change time"),
            (stat.size == size, "its size"),
        ];
        same.into_iter().find(|(same, _)| !same).map_or(Ok(()), |(_, what)| Err(what))
    }

    fn contents(&self, content: &Content, ino: u32, path: &[u8]) -> Result<(), VerifyError> {
        let failed = |error| VerifyError::Source { path: show_path(path), error };
        let mut source = content.open().map_err(failed)?;
        let mut file = self.image.open(ino)?;
        let (mut there, mut wanted) = (vec![0; STEP], vec![0; STEP]);
        let mut offset = 0;
        loop {
            let len = file.read_at(offset, &mut there)?;
            source.read_exact(&mut wanted[..len]).map_err(failed)?;
            if there[..len] != wanted[..len] {
                return Err(at(path)("its content"));
            }
            if len == 0 {
                return Ok(());
            }
            offset += len as u32;
        }
    }

    fn xattrs(&self, id: NodeId, ino: u32, path: &[u8]) -> Result<(), VerifyError> {
        let mut there = self.image.xattrs(ino)?;
        there.sort_by(|a, b| a.name.cmp(&b.name));
        let wanted = self.source.extra(id).map_or(&[][..], |extra| &extra.xattrs);
        if there == wanted { Ok(()) } else { Err(at(path)("an extended attribute")) }
    }
}

fn at(path: &[u8]) -> impl Fn(&'static str) -> VerifyError {
    move |what| VerifyError::Differs { path: show_path(path), what }
}
