//! The nodes of an eraseblock, whoever sees them, as reports tell of them.

use std::fmt::Write;

use jffs2_tx::dump::Fields;
use jffs2_tx::scan::{Place, Places};
use jffs2_tx::wire::{CommitPoint, Endian, Header, MarkerKind, WireError};

use super::names::Names;
use crate::content::{ContentId, Hasher};

/// Files, names and the like that [`told`] lists.
const TOLD: usize = 4;

/// A node, or garbage where one should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Flash offset, bytes.
    pub at: u32,
    /// Flash offset of its end, bytes, its padding to a multiple of 4 included.
    pub end: u32,
    /// Identifies its bytes.
    pub id: ContentId,
    /// What it says. If it is damaged every field may be wrong.
    pub what: What,
    /// Marked obsolete.
    pub obsolete: bool,
    /// Why it is no good node.
    pub problem: Option<WireError>,
}

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Metadata of an inode and a range of its data.
    Inode {
        /// Inode number.
        ino: u32,
        /// Version.
        version: u32,
        /// Start of the range in the file, bytes.
        offset: u32,
        /// Length of the range, bytes.
        dsize: u32,
        /// Stored bytes.
        csize: u32,
        /// Size of the file, bytes.
        isize: u32,
    },
    /// A name in a directory.
    Dirent {
        /// Inode number of the directory.
        pino: u32,
        /// Version.
        version: u32,
        /// What the name leads to, 0 for a deletion.
        ino: u32,
        /// The name.
        name: Vec<u8>,
    },
    /// A summary of so many nodes.
    Summary(usize),
    /// A transaction's begin marker: the eraseblock is its payload block of that number.
    Begin(u32),
    /// A transaction's commit marker.
    Commit(Option<CommitPoint>),
    /// The eraseblock was erased completely.
    Cleanmarker,
    /// Fills space.
    Padding,
    /// An extended attribute, or its tie to an inode.
    Xattr,
    /// A node of another type, or one too damaged to say more.
    Other(u16),
    /// No node.
    Garbage,
}

impl Node {
    /// All that stands in an eraseblock, ascending. `start` is the eraseblock's flash offset, `cells` are all its bytes.
    #[must_use]
    pub fn all(endian: Endian, start: u32, cells: &[u8]) -> Vec<Self> {
        Places::new(endian, cells, 0).map(|place| Self::of(endian, start, cells, &place)).collect()
    }

    fn of(endian: Endian, start: u32, cells: &[u8], place: &Place<'_>) -> Self {
        let (at, end) = place.range();
        let end = end.min(cells.len());
        let (what, obsolete, problem) = match *place {
            Place::Node { header, bytes, .. } => {
                let (fields, problem) = Fields::read(endian, &header, bytes);
                (What::of(&header, &fields), header.obsolete, problem)
            }
            Place::Garbage { reason, .. } => (What::Garbage, false, Some(reason)),
        };
        let mut hasher = Hasher::new();
        hasher.update(&cells[at..end]);
        Self { at: start + at as u32, end: start + end as u32, id: hasher.finish(), what, obsolete, problem }
    }

    /// Flash bytes, padding included.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.end - self.at
    }

    /// Type, numbers and names, in one line.
    #[must_use]
    pub fn line(&self, names: &Names) -> String {
        match &self.what {
            What::Inode { ino, version, offset, dsize, isize, .. } => {
                let mut line = format!("inode #{ino} v{version} {}", names.path(*ino));
                if *dsize > 0 {
                    let _ = write!(line, " {offset}-{}", offset.saturating_add(*dsize));
                }
                let _ = write!(line, " of {isize}");
                line
            }
            What::Dirent { pino, version, ino: 0, name } => {
                format!("dirent in #{pino} v{version} {} deleted", names.child(*pino, name))
            }
            What::Dirent { pino, version, ino, name } => {
                format!("dirent in #{pino} v{version} {} -> #{ino}", names.child(*pino, name))
            }
            What::Summary(nodes) => format!("summary of {nodes} nodes"),
            What::Begin(number) => format!("begin marker of payload block {number}"),
            What::Commit(Some(point)) => format!("commit marker ({point})"),
            What::Commit(None) => "commit marker".into(),
            What::Cleanmarker => "cleanmarker".into(),
            What::Padding => "padding".into(),
            What::Xattr => "extended attribute".into(),
            What::Other(nodetype) => format!("node of type {nodetype:#06x}"),
            What::Garbage => "garbage".into(),
        }
    }
}

impl What {
    fn of(header: &Header, fields: &Fields<'_>) -> Self {
        match fields {
            Fields::Inode(inode) => Self::Inode {
                ino: inode.ino,
                version: inode.version,
                offset: inode.offset,
                dsize: inode.dsize,
                csize: inode.csize,
                isize: inode.isize,
            },
            Fields::Dirent(dirent) => {
                Self::Dirent { pino: dirent.pino, version: dirent.version, ino: dirent.ino, name: dirent.name.to_vec() }
            }
            Fields::Xattr(_) | Fields::Xref(_) => Self::Xattr,
            Fields::Cleanmarker => Self::Cleanmarker,
            Fields::Padding => Self::Padding,
            Fields::Summary(nodes) => Self::Summary(*nodes),
            Fields::Marker(marker) if marker.kind == MarkerKind::Begin => Self::Begin(marker.nodes),
            Fields::Marker(marker) => Self::Commit(marker.commit_point),
            Fields::CopyMarker(_) | Fields::Unknown => Self::Other(header.nodetype),
        }
    }
}

/// What nodes are about, in words: files with ranges, names, markers. Of many, the largest.
pub(super) fn told<'n>(nodes: impl Iterator<Item = &'n Node>, names: &Names) -> String {
    let mut phrases: Vec<(u32, Phrase)> = Vec::new();
    for node in nodes.filter(|node| node.what != What::Padding) {
        let (next, weight) = (Phrase::of(node, names), weight(node));
        match phrases.last_mut().and_then(|(sum, last)| last.joined(&next).then_some(sum)) {
            Some(sum) => *sum = sum.saturating_add(weight),
            None => phrases.push((weight, next)),
        }
    }
    let mut weights: Vec<u32> = phrases.iter().map(|(weight, _)| *weight).collect();
    weights.sort_unstable_by(|a, b| b.cmp(a));
    let least = weights.get(TOLD - 1).copied().unwrap_or(0);
    let told = phrases.iter().filter(|(weight, _)| *weight >= least).take(TOLD);
    let mut words: Vec<String> = told.map(|(_, phrase)| phrase.text()).collect();
    if let Some(more @ 1..) = phrases.len().checked_sub(TOLD) {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

/// Markers are always told.
fn weight(node: &Node) -> u32 {
    if matches!(node.what, What::Begin(_) | What::Commit(_)) { u32::MAX } else { node.size() }
}

/// Neighbours that are one thing to a reader of a log.
enum Phrase {
    Data { path: String, from: u32, to: u32 },
    Dirents { dir: String, names: Vec<String> },
    Plain(String),
}

impl Phrase {
    fn of(node: &Node, names: &Names) -> Self {
        match &node.what {
            _ if node.problem.is_some() => Self::Plain(format!("torn {}", node.line(names))),
            What::Inode { ino, offset, dsize, .. } if *dsize > 0 => {
                Self::Data { path: names.path(*ino), from: *offset, to: offset.saturating_add(*dsize) }
            }
            What::Inode { ino, .. } => Self::Plain(format!("inode {}", names.path(*ino))),
            What::Dirent { pino, ino, name, .. } => {
                let sign = if *ino == 0 { "-" } else { "" };
                Self::Dirents { dir: names.path(*pino), names: vec![format!("{sign}{}", name.escape_ascii())] }
            }
            What::Begin(_) => Self::Plain("begin marker".into()),
            What::Commit(_) => Self::Plain("commit marker".into()),
            _ => Self::Plain(node.line(names)),
        }
    }

    /// Takes in the next one, if both are one.
    fn joined(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Self::Data { path, to, .. }, Self::Data { path: next, from, to: end }) if path == next && to == from => {
                *to = *end;
                true
            }
            (Self::Dirents { dir, names }, Self::Dirents { dir: next, names: more }) if dir == next => {
                names.extend_from_slice(more);
                true
            }
            _ => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Data { path, from, to } => format!("{path} {from}-{to}"),
            Self::Dirents { dir, names } => {
                let more = names.len().saturating_sub(TOLD);
                let shown = names.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(" ");
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("names in {dir}: {shown}{more}")
            }
            Self::Plain(text) => text.clone(),
        }
    }
}
