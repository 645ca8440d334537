//! The whole tree as one reader sees it, to be compared with another.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::Flash;
use jffs2_tx::index::{Index, ROOT};
use jffs2_tx::inode_kind::{Device, FileKind, Meta};
use jffs2_tx::source::{self, NodeId, SourceKind, SourceTree};
use jffs2_tx::tree::{File, Tree, show_path};

use crate::cache::Cache;
use crate::chip::{Chip, ChipError};
use crate::content::{ContentId, Hasher};

/// Bytes of a file that are hashed at once.
const CHUNK: usize = 64 << 10;
/// File contents whose hashes are kept.
const KNOWN_CONTENTS: usize = 1 << 16;

/// Every name of a tree and all that a user can see of what it leads to. Inode numbers and change times are left out:
/// they may differ where the trees are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// In the order of a walk, which is the same for the same names.
    entries: Vec<(Vec<u8>, SnapshotEntry)>,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Type.
    pub kind: FileKind,
    /// Permissions, owner, modification time.
    pub meta: Meta,
    /// Access time, seconds since 1970.
    pub atime: u32,
    /// Links as Linux counts them.
    pub links: u32,
    /// Number of a device.
    pub device: Option<Device>,
    /// Size of a file or of a symlink's target, bytes.
    pub size: u32,
    /// What is in it.
    pub content: SnapshotContent,
}

/// What is in a file or symlink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotContent {
    /// Neither a file nor a symlink.
    Nothing,
    /// Hash of a file's bytes.
    Hash(ContentId),
    /// Target of a symlink.
    Target(Vec<u8>),
}

/// A name is there, but what it leads to cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", show_path(path))]
pub struct SnapshotError {
    /// Path from the root.
    pub path: Vec<u8>,
    /// Why.
    pub error: ReadError<ChipError>,
}

impl Snapshot {
    /// What a chip holds according to `index`. `contents` saves reading again what an earlier snapshot has read.
    ///
    /// # Errors
    /// [`SnapshotError`] for the first name that leads to something unreadable.
    pub fn of_chip(chip: &Chip, index: &Index, contents: &mut Contents) -> Result<Self, SnapshotError> {
        let tree = Tree::new(chip, index);
        let mut entries = Vec::new();
        for step in tree.walk(ROOT) {
            match entry(&tree, chip, step.ino, contents) {
                Ok(entry) => entries.push((step.path, entry)),
                Err(error) => return Err(SnapshotError { path: step.path, error }),
            }
        }
        Ok(Self { entries })
    }

    /// What an image or an update made of `tree` is to look like. Access times are the modification times.
    ///
    /// # Errors
    /// The host's, if a file cannot be read.
    pub fn of_source(tree: &SourceTree) -> io::Result<Self> {
        let links = source_links(tree);
        let mut entries = Vec::new();
        let mut todo = vec![(Vec::new(), source::ROOT)];
        while let Some((path, id)) = todo.pop() {
            let first_child = todo.len();
            for (name, child) in tree.children(id) {
                let path = if path.is_empty() { name.to_vec() } else { [&path, &b"/"[..], name].concat() };
                todo.push((path, child));
            }
            todo[first_child..].reverse();
            entries.push((path, source_entry(tree, id, links[id])?));
        }
        Ok(Self { entries })
    }

    /// The names with what they lead to; the root's is empty, others have no slash in front.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &SnapshotEntry)> {
        self.entries.iter().map(|(path, entry)| (path.as_slice(), entry))
    }

    /// The same with access times made equal to modification times, as they are on everything newly written.
    #[must_use]
    pub fn without_atimes(mut self) -> Self {
        for (_, entry) in &mut self.entries {
            entry.atime = entry.meta.mtime;
        }
        self
    }

    /// At most `most` lines that say in what this tree differs from the one wanted, and how many more there are.
    #[must_use]
    pub fn differences(&self, wanted: &Self, most: usize) -> Vec<String> {
        let (is, wanted): (BTreeMap<_, _>, BTreeMap<_, _>) = (self.entries().collect(), wanted.entries().collect());
        let paths: BTreeSet<&[u8]> = is.keys().chain(wanted.keys()).copied().collect();
        let mut lines: Vec<String> = paths
            .into_iter()
            .filter_map(|path| Some(format!("{}: {}", show_path(path), difference(is.get(path), wanted.get(path))?)))
            .collect();
        if let Some(more @ 1..) = lines.len().checked_sub(most) {
            lines.truncate(most);
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

fn entry(
    tree: &Tree<'_, Chip>,
    chip: &Chip,
    ino: u32,
    contents: &mut Contents,
) -> Result<SnapshotEntry, ReadError<ChipError>> {
    let stat = tree.stat(ino)?;
    let content = match stat.kind {
        FileKind::File => SnapshotContent::Hash(contents.hash(tree, chip, ino)?),
        FileKind::Symlink => SnapshotContent::Target(tree.read_link(ino)?),
        _ => SnapshotContent::Nothing,
    };
    let (kind, meta, atime, links, device, size) =
        (stat.kind, stat.meta, stat.atime, stat.links, stat.device, stat.size);
    Ok(SnapshotEntry { kind, meta, atime, links, device, size, content })
}

/// Names of each node, or what Linux counts for a directory.
fn source_links(tree: &SourceTree) -> Vec<u32> {
    let is_dir = |id: NodeId| matches!(tree.node(id).kind, SourceKind::Directory(_));
    let mut links = vec![0; tree.nodes().len()];
    links[source::ROOT] = 1;
    for dir in (0..links.len()).filter(|&id| is_dir(id)) {
        links[dir] += 2;
        for (_, child) in tree.children(dir) {
            // The name of a directory is in its 2; it counts for the one that it is in.
            links[if is_dir(child) { dir } else { child }] += 1;
        }
    }
    links
}

fn source_entry(tree: &SourceTree, id: NodeId, links: u32) -> io::Result<SnapshotEntry> {
    let node = tree.node(id);
    let (mut size, mut device, mut content) = (0, None, SnapshotContent::Nothing);
    match &node.kind {
        SourceKind::File { size: bytes, content: from } => {
            size = *bytes;
            let mut reader = from.open()?;
            content = SnapshotContent::Hash(hash(|buf| fill(&mut *reader, buf))?);
        }
        SourceKind::Symlink(target) => {
            size = target.len() as u32;
            content = SnapshotContent::Target(target.clone());
        }
        SourceKind::CharDevice(number) | SourceKind::BlockDevice(number) => device = Some(*number),
        SourceKind::Directory(_) | SourceKind::Fifo | SourceKind::Socket => {}
    }
    let (kind, meta) = (node.kind.file_kind(), node.meta);
    Ok(SnapshotEntry { kind, meta, atime: meta.mtime, links, device, size, content })
}

/// What an entry is instead of what is wanted; `None` if it is that.
fn difference(is: Option<&&SnapshotEntry>, wanted: Option<&&SnapshotEntry>) -> Option<String> {
    let (is, wanted) = match (is, wanted) {
        (Some(is), Some(wanted)) => (is, wanted),
        (None, Some(_)) => return Some("missing".into()),
        (Some(_), None) => return Some("should not be there".into()),
        (None, None) => return None,
    };
    let mut parts = Vec::new();
    let mut compare = |what: &str, is: String, wanted: String| {
        if is != wanted {
            parts.push(format!("{what} {is}, wanted {wanted}"));
        }
    };
    let (has, should) = (is.meta, wanted.meta);
    compare("type", is.kind.letter().into(), wanted.kind.letter().into());
    compare("mode", format!("{:o}", has.mode), format!("{:o}", should.mode));
    compare("owner", format!("{}:{}", has.uid, has.gid), format!("{}:{}", should.uid, should.gid));
    compare("mtime", has.mtime.to_string(), should.mtime.to_string());
    compare("atime", is.atime.to_string(), wanted.atime.to_string());
    compare("links", is.links.to_string(), wanted.links.to_string());
    compare("device", shown_device(is.device), shown_device(wanted.device));
    compare("size", is.size.to_string(), wanted.size.to_string());
    compare("content", shown_content(&is.content), shown_content(&wanted.content));
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn shown_device(device: Option<Device>) -> String {
    device.map_or_else(|| "none".into(), |device| format!("{}:{}", device.major, device.minor))
}

fn shown_content(content: &SnapshotContent) -> String {
    match content {
        SnapshotContent::Nothing => "none".into(),
        SnapshotContent::Hash(hash) => format!("{:032x}", hash.0),
        SnapshotContent::Target(target) => format!("\"{}\"", target.escape_ascii()),
    }
}

/// A range of a file, where its node stands, and what the eraseblock there holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Piece {
    start: u32,
    end: u32,
    at: u32,
    block: ContentId,
}

/// Hashes of file contents, each computed once: files of the same size and pieces have the same bytes.
#[derive(Debug)]
pub struct Contents {
    known: Cache<Box<[Piece]>, ContentId>,
}

impl Default for Contents {
    fn default() -> Self {
        Self { known: Cache::new(KNOWN_CONTENTS) }
    }
}

impl Contents {
    fn hash(&mut self, tree: &Tree<'_, Chip>, chip: &Chip, ino: u32) -> Result<ContentId, ReadError<ChipError>> {
        let mut file = tree.open(ino)?;
        let pieces = pieces(chip, &file);
        if let Some(hash) = self.known.get(&pieces[..]) {
            return Ok(hash);
        }
        let mut offset = 0;
        let hash = hash(|buf| {
            let len = file.read_at(offset, buf)?;
            offset += len as u32;
            Ok(len)
        })?;
        self.known.insert(pieces.into(), hash);
        Ok(hash)
    }
}

fn pieces(chip: &Chip, file: &File<'_, Chip>) -> Vec<Piece> {
    let block_id = |at| chip.block_id(chip.geometry().block_of(at));
    let pieces = file.extents().map(|(extent, node)| Piece {
        start: extent.start,
        end: extent.end,
        at: node.at,
        block: block_id(node.at),
    });
    // A piece of no bytes stands for the size.
    let end = Piece { start: file.size(), end: file.size(), at: 0, block: ContentId(0) };
    pieces.chain([end]).collect()
}

/// Hash of all that `read` gives until it gives nothing. Only its last chunk may be shorter than the buffer.
fn hash<E>(mut read: impl FnMut(&mut [u8]) -> Result<usize, E>) -> Result<ContentId, E> {
    let mut hasher = Hasher::new();
    let mut buf = vec![0; CHUNK];
    loop {
        match read(&mut buf)? {
            0 => return Ok(hasher.finish()),
            len => hasher.update(&buf[..len]),
        }
    }
}

/// Reads until the buffer is full or the source ends.
fn fill(source: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let len = buf.len() as u64;
    let mut rest = buf;
    Ok(io::copy(&mut source.take(len), &mut rest)? as usize)
}
