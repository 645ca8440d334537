//! Trees from tar archives: ustar, GNU and pax, with sparse files, hard links, extended attributes and ACLs.
//!
//! Nothing is unpacked: of each file the tree knows where in the archive its bytes are. Owners are those of the numbers in the
//! archive; names of users do not count. Slashes in front, behind and doubled are ignored, and `.`; `..` is refused, and so is
//! what would go below a symlink. Of entries with one path the last counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use jffs2_archive::{Archive, ArchiveError, AttributeError, Kind, Member, Place};
use jffs2_tx::check::MAX_PATH;
use jffs2_tx::inode_kind::Meta;
use jffs2_tx::manifest::escape;
use jffs2_tx::source::{
    Content, Extra, NodeId, OpenContent, ROOT, Refusal, SourceError, SourceKind, SourceNode, SourceTree,
};

use super::copy::Copier;
use super::overlay::Layer;

/// Directories that the archive has no entry for.
const IMPLIED: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It cannot be read on.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// JFFS2 cannot hold a member, or it is in the way of another one.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An extended attribute of a member.
    #[error("{path}: {error}")]
    Attribute {
        /// The member's path, escaped.
        path: String,
        /// What is wrong with it.
        error: AttributeError,
    },
    /// No members.
    #[error("the archive has no entries")]
    Empty,
    /// The file itself.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A pipe's bytes, in a file in `dir` that has no name and goes away with the last that has it open.
///
/// # Errors
/// The host's.
pub fn spool(mut pipe: impl Read, dir: &Path) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(dir)?;
    io::copy(&mut pipe, &mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Reads an archive, which must be a regular file that stands at its start and stays as it is while the tree is used.
/// An `owner` (user and group) gets everything, whatever the archive has.
///
/// # Errors
/// [`TarError`], also for an archive that is cut short.
pub fn read(archive: File, owner: Option<(u16, u16)>) -> Result<Layer, TarError> {
    let file = Arc::new(archive);
    let mut archive = Archive::open(BufReader::with_capacity(BUFFER, &*file))?.with_owner(owner);
    let mut reader = Reader {
        file: &file,
        tree: SourceTree::new(IMPLIED),
        implied: BTreeSet::from([ROOT]),
        is_empty: true,
        has_orphans: false,
    };
    while let Some(member) = archive.next()? {
        reader.is_empty = false;
        reader.take(member, archive.place())?;
    }
    reader.finish()
}

struct Reader<'f> {
    file: &'f Arc<File>,
    tree: SourceTree,
    implied: BTreeSet<NodeId>,
    is_empty: bool,
    /// There are nodes that no name leads to any more.
    has_orphans: bool,
}

impl Reader<'_> {
    fn take(&mut self, member: Member, place: Place) -> Result<(), TarError> {
        let path = &member.path;
        let kind = match member.kind {
            Kind::Link(target) => return Ok(self.link(path, &target)?),
            Kind::File(size) => {
                let size = u32::try_from(size).map_err(|_| at(path, Refusal::FileSize(size)))?;
                let content = Content::Other(Arc::new(InArchive { file: Arc::clone(self.file), place }));
                SourceKind::File { size, content }
            }
            Kind::Special(ref kind) => kind.clone(),
        };
        let id = self.put(path, SourceNode { meta: member.meta, kind })?;
        let xattrs = member.xattrs().map_err(|error| TarError::Attribute { path: escape(path), error })?;
        Ok(self.tree.set_extra(id, Extra { times: None, xattrs })?)
    }

    /// Puts a node in place of what came under its path.
    fn put(&mut self, path: &[u8], node: SourceNode) -> Result<NodeId, SourceError> {
        let is_directory = matches!(node.kind, SourceKind::Directory(_));
        let Some((parent, name)) = self.place(path)? else {
            if !is_directory {
                return Err(at(b"/", Refusal::NotADirectory));
            }
            return Ok(self.describe(ROOT, node.meta));
        };
        match self.tree.child(parent, name) {
            Some(there) if is_directory && self.is_directory(there) => Ok(self.describe(there, node.meta)),
            there => {
                self.vacate(path, parent, name, there)?;
                self.tree.add(parent, name, node)
            }
        }
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), SourceError> {
        let plain = components(target).collect::<Vec<_>>().join(&b'/');
        let id = self.tree.find(&plain).filter(|&id| !self.is_directory(id));
        let id = id.ok_or_else(|| at(path, Refusal::LinkTarget(escape(target))))?;
        let (parent, name) = self.place(path)?.ok_or_else(|| at(b"/", Refusal::NotADirectory))?;
        let there = self.tree.child(parent, name);
        if there == Some(id) {
            return Ok(());
        }
        self.vacate(path, parent, name, there)?;
        self.tree.link(parent, name, id)
    }

    /// The directory and the last name of a path, none for the root. Directories that have not come are made.
    fn place<'p>(&mut self, path: &'p [u8]) -> Result<Option<(NodeId, &'p [u8])>, SourceError> {
        if path.len() > MAX_PATH {
            return Err(at(path, Refusal::PathLength(path.len())));
        }
        let mut names = components(path).peekable();
        let mut dir = ROOT;
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return Ok(Some((dir, name)));
            }
            dir = match self.tree.child(dir, name) {
                Some(there) => there,
                None => {
                    let kind = SourceKind::Directory(BTreeMap::new());
                    let made = self.tree.add(dir, name, SourceNode { meta: IMPLIED, kind })?;
                    self.implied.insert(made);
                    made
                }
            };
        }
        Ok(None)
    }

    /// Takes away what came under a name.
    fn vacate(&mut self, path: &[u8], parent: NodeId, name: &[u8], there: Option<NodeId>) -> Result<(), SourceError> {
        let Some(there) = there else { return Ok(()) };
        if self.tree.children(there).next().is_some() {
            return Err(at(path, Refusal::Occupied));
        }
        self.tree.unlink(parent, name);
        self.has_orphans = true;
        Ok(())
    }

    /// An entry for a directory that is there.
    fn describe(&mut self, id: NodeId, meta: Meta) -> NodeId {
        self.tree.node_mut(id).meta = meta;
        self.implied.remove(&id);
        id
    }

    fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.tree.node(id).kind, SourceKind::Directory(_))
    }

    fn finish(self) -> Result<Layer, TarError> {
        let Self { tree, implied, is_empty, has_orphans, .. } = self;
        if is_empty {
            return Err(TarError::Empty);
        }
        if !has_orphans {
            return Ok(Layer { tree, implied });
        }
        let mut copier = Copier::new(&tree);
        let copy = copier.all(|_, _| true)?;
        let implied = implied.iter().filter_map(|&id| copier.copy_of(id)).collect();
        Ok(Layer { tree: copy, implied })
    }
}

fn at(path: &[u8], reason: Refusal) -> SourceError {
    SourceError { path: escape(path), reason }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// Bytes of a file in an archive.
#[derive(Debug)]
struct InArchive {
    file: Arc<File>,
    place: Place,
}

impl OpenContent for InArchive {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.place.read(Positioned { file: &self.file, at: self.place.offset() })))
    }
}

/// A file from an offset on, which others may read elsewhere.
struct Positioned<'f> {
    file: &'f File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(buf, self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}
