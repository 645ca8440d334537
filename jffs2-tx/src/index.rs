//! Newest version wins: from located nodes to inodes and names (`FORMAT.md` section 3).
//!
//! The index holds no file data and no metadata beyond what finding them takes; [`Index::memory`] says how much.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use crate::error::ReadError;
use crate::flash::{Flash, Geometry};
use crate::inode_kind::FileKind;
use crate::scan::{
    BlockScan, BlockState, CopyMarkerRecord, InodeRecord, MarkerRecord, Rules, Suspect, UnknownRecord, XattrRecord,
    incompatible, scan,
};
use crate::wire::{Compat, CopyMarker, CopyStage};

mod extents;
mod liveness;
mod same;
mod xattrs;

pub(crate) use extents::cover;
pub use extents::{Extent, extents};

/// The root directory's inode number.
pub const ROOT: u32 = 1;

/// What is known of one eraseblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// What it is to the reader.
    pub state: BlockState,
    /// Visible nodes without which the tree, or a part of it, could change.
    pub live: u32,
    /// Visible nodes.
    pub visible: u32,
    /// Flash offset of the end of what is written in it.
    pub written_end: u32,
    /// Only readers that believe summaries see its nodes.
    pub summary_only: bool,
    /// Readers that believe summaries do not see all of its nodes.
    pub unlisted: bool,
}

/// A name as the index keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRecord {
    /// Inode number of the directory.
    pub pino: u32,
    /// Inode number that the name leads to, 0 for a deletion that is still needed.
    pub ino: u32,
    /// Version of the dirent.
    pub version: u32,
    /// The directory's time as of this dirent.
    pub mctime: u32,
    /// Flash offset of the node.
    pub at: u32,
    name_start: u32,
    name_len: u8,
    /// DT_* type.
    pub kind: u8,
    /// An older dirent of this name is on the flash: without this one, that one would show.
    shadows_older: bool,
}

/// What an eraseblock says of the copies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copies {
    /// Of the collection.
    pub generation: u32,
    /// Where it says that they are done; flash offsets, ascending.
    pub done: Vec<u32>,
}

impl Copies {
    /// Whether they are sure to stand: it says more than once that they are done, and what was said before another was written
    /// lasts.
    pub(crate) fn last(&self) -> bool {
        self.done.len() > 1
    }
}

/// Names and inodes of a file system.
#[derive(Clone, Debug)]
pub struct Index {
    rules: Rules,
    geometry: Geometry,
    blocks: Vec<BlockInfo>,
    inodes: Vec<InodeRecord>,
    names: Vec<NameRecord>,
    arena: Vec<u8>,
    markers: Vec<MarkerRecord>,
    copy_markers: Vec<CopyMarkerRecord>,
    said_before: Vec<(u32, u32)>,
    max_ino: u32,
    damage: u32,
    suspects: Vec<Suspect>,
    kernel_summaries: bool,
    read_only: Option<UnknownRecord>,
    reachable: Vec<InodeSummary>,
    xattrs: xattrs::Xattrs,
}

/// What all nodes and names of an inode together say. Taken once for each inode that the root leads to: an inode may
/// have a hundred thousand names, and as many nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeSummary {
    /// Inode number.
    pub ino: u32,
    /// Names that lead to it from the root; the root has 1.
    pub names: u32,
    /// Names of directories in it.
    pub directories: u32,
    /// Size of its data, bytes (see [`extents`]).
    pub size: u32,
    /// Its newest good node has all of its data, as Linux wants it of symlinks and devices.
    pub one_node: bool,
    /// Its newest good node, as an index into [`Index::nodes`].
    latest: Option<u32>,
    /// The newest of its dirents that has a time, as an index into [`Index::dirents`].
    timed: Option<u32>,
}

impl Index {
    /// Scans `flash` and indexes what a reader with these rules sees.
    ///
    /// # Errors
    /// [`ReadError::Device`], or [`ReadError::Incompatible`] where Linux would refuse to mount.
    pub fn open<F: Flash>(flash: &F, rules: Rules) -> Result<Self, ReadError<F::Error>> {
        let mut builder = IndexBuilder::new(*flash.geometry(), rules);
        let mut refused = None;
        scan(flash, rules, |_, found| {
            refused = refused.or(incompatible(found));
            builder.add(found);
        })?;
        match refused {
            Some(node) => Err(ReadError::Incompatible { offset: node.at, nodetype: node.nodetype }),
            None => Ok(builder.finish()),
        }
    }

    /// The rules that the index was made by.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The flash's geometry.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What is known of each eraseblock.
    #[must_use]
    pub fn blocks(&self) -> &[BlockInfo] {
        &self.blocks
    }

    /// Good inode nodes of an inode, ascending by version, and by offset where versions are equal.
    #[must_use]
    pub fn nodes(&self, ino: u32) -> &[InodeRecord] {
        let start = self.inodes.partition_point(|node| node.ino < ino);
        let len = self.inodes[start..].partition_point(|node| node.ino == ino);
        &self.inodes[start..start + len]
    }

    /// The node that has the inode's metadata.
    #[must_use]
    pub fn latest(&self, ino: u32) -> Option<&InodeRecord> {
        match self.reached(ino) {
            Some(inode) => self.nodes(ino).get(inode.latest? as usize),
            None => self.nodes(ino).iter().rev().find(|node| node.good),
        }
    }

    /// What all nodes and names of an inode together say. At once if the root leads to it.
    #[must_use]
    pub fn inode(&self, ino: u32) -> InodeSummary {
        self.reached(ino).copied().unwrap_or_else(|| self.summarize(ino, 0))
    }

    fn reached(&self, ino: u32) -> Option<&InodeSummary> {
        self.reachable.binary_search_by_key(&ino, |inode| inode.ino).ok().map(|at| &self.reachable[at])
    }

    fn summarize(&self, ino: u32, names: u32) -> InodeSummary {
        let nodes = self.nodes(ino);
        let latest = nodes.iter().rposition(|node| node.good);
        let is_directory = |name: &&NameRecord| name.kind == FileKind::Directory.dirent_type();
        let has_time = |name: &NameRecord| name.mctime != 0 && (name.ino == 0 || self.exists(name.ino));
        let timed = self.dirents(ino).iter().enumerate().filter(|(_, name)| has_time(name));
        InodeSummary {
            ino,
            names,
            directories: self.names(ino).filter(is_directory).count() as u32,
            size: extents(nodes).0,
            one_node: latest.is_some_and(|at| has_all_data(nodes, &nodes[at])),
            latest: latest.map(|at| at as u32),
            timed: timed.max_by_key(|(_, name)| name.version).map(|(at, _)| at as u32),
        }
    }

    /// Names of a directory in byte order, deletions included.
    #[must_use]
    pub fn dirents(&self, pino: u32) -> &[NameRecord] {
        let start = self.names.partition_point(|name| name.pino < pino);
        let len = self.names[start..].partition_point(|name| name.pino == pino);
        &self.names[start..start + len]
    }

    /// Names of a directory that lead to something, in byte order.
    pub fn names(&self, pino: u32) -> impl Iterator<Item = &NameRecord> {
        self.dirents(pino).iter().filter(|name| name.ino != 0 && self.exists(name.ino))
    }

    /// The bytes of a name.
    #[must_use]
    pub fn name(&self, record: &NameRecord) -> &[u8] {
        &self.arena[record.name_start as usize..][..usize::from(record.name_len)]
    }

    /// The dirent for a name in a directory; a deletion too.
    #[must_use]
    pub fn find(&self, pino: u32, name: &[u8]) -> Option<&NameRecord> {
        let dirents = self.dirents(pino);
        dirents.binary_search_by(|record| self.name(record).cmp(name)).ok().map(|at| &dirents[at])
    }

    /// The newest dirent of a directory that says when it changed. Linux drops dirents that lead to no inode before it
    /// looks for it.
    #[must_use]
    pub fn newest_time(&self, pino: u32) -> Option<&NameRecord> {
        self.dirents(pino).get(self.inode(pino).timed? as usize)
    }

    /// Whether a reader would find the inode: it has a node, or names in it. Linux makes an inode of either.
    #[must_use]
    pub fn exists(&self, ino: u32) -> bool {
        ino == ROOT || !self.nodes(ino).is_empty() || !self.dirents(ino).is_empty()
    }

    /// Whether the inode is a directory: its newest node says so, or it has no good node but names in it.
    #[must_use]
    pub fn is_directory(&self, ino: u32) -> bool {
        match self.latest(ino) {
            Some(node) => FileKind::from_mode(u32::from(node.mode)) == Some(FileKind::Directory),
            None => ino == ROOT || !self.dirents(ino).is_empty(),
        }
    }

    /// Number of names that lead to the inode from the root; 0 if none does. The root has 1.
    #[must_use]
    pub fn links(&self, ino: u32) -> u32 {
        self.reached(ino).map_or(0, |inode| inode.names)
    }

    /// Numbers of all inodes with a node, whether a name leads to them or not, ascending.
    pub fn inodes(&self) -> impl Iterator<Item = u32> {
        self.inodes.chunk_by(|a, b| a.ino == b.ino).map(|nodes| nodes[0].ino)
    }

    /// Numbers of all inodes with names in them, whether a name leads to them or not, ascending.
    pub fn directories(&self) -> impl Iterator<Item = u32> {
        self.names.chunk_by(|a, b| a.pino == b.pino).map(|names| names[0].pino)
    }

    /// Inode numbers that the root leads to, ascending.
    pub fn reachable(&self) -> impl Iterator<Item = u32> {
        self.reachable.iter().map(|inode| inode.ino)
    }

    /// Highest version of any of the inode's nodes, a directory's dirents included; 0 if there are none.
    #[must_use]
    pub fn max_version(&self, ino: u32) -> u32 {
        let nodes = self.nodes(ino).last().map_or(0, |node| node.version);
        self.dirents(ino).iter().map(|name| name.version).fold(nodes, u32::max)
    }

    /// Highest inode number in any node on the flash, visible or not.
    #[must_use]
    pub fn max_ino(&self) -> u32 {
        self.max_ino
    }

    /// Nodes of the extended attributes that are tied to an inode, damaged ones too. Of two with the same name the
    /// first that is good counts.
    pub fn xattrs(&self, ino: u32) -> impl Iterator<Item = &XattrRecord> {
        self.xattrs.of(ino)
    }

    /// Markers of transactions, ascending by flash offset.
    #[must_use]
    pub fn markers(&self) -> &[MarkerRecord] {
        &self.markers
    }

    /// Markers of collections, ascending by flash offset.
    #[must_use]
    pub fn copy_markers(&self) -> &[CopyMarkerRecord] {
        &self.copy_markers
    }

    /// What an eraseblock says of its copies, if it begins as one that a collection copies nodes to.
    pub(crate) fn copies(&self, block: u32) -> Option<Copies> {
        let start = self.geometry.offset_of(block);
        let first = self.copy_markers.binary_search_by_key(&start, |seen| seen.at).ok()?;
        let in_it = |seen: &&CopyMarkerRecord| self.geometry.block_of(seen.at) == block;
        let mut markers = self.copy_markers[first..].iter().take_while(in_it);
        let CopyMarker { generation, .. } =
            markers.next().map(|seen| seen.marker).filter(|is| is.block == block && is.stage == CopyStage::Begun)?;
        let done = |seen: &&CopyMarkerRecord| seen.marker == CopyMarker { stage: CopyStage::Done, block, generation };
        Some(Copies { generation, done: markers.filter(done).map(|seen| seen.at).collect() })
    }

    /// What the next eraseblock that a collection copies nodes to is to say.
    pub(crate) fn next_generation(&self) -> u32 {
        self.copy_markers.iter().map(|seen| seen.marker.generation).max().unwrap_or(0).saturating_add(1)
    }

    /// Dirents that say the same as the one at `at`, which counts: with the same version, or the last ones before it.
    pub(crate) fn said_before(&self, at: u32) -> impl Iterator<Item = u32> {
        let first = self.said_before.partition_point(|(counts, _)| *counts < at);
        self.said_before[first..].iter().take_while(move |(counts, _)| *counts == at).map(|(_, before)| *before)
    }

    /// Number of damaged places on the flash.
    #[must_use]
    pub fn damage(&self) -> u32 {
        self.damage
    }

    /// Damaged nodes that say that they are of the inode, or dirents in it, ascending by version.
    #[must_use]
    pub fn suspects(&self, ino: u32) -> &[Suspect] {
        let start = self.suspects.partition_point(|node| node.ino < ino);
        let len = self.suspects[start..].partition_point(|node| node.ino == ino);
        &self.suspects[start..start + len]
    }

    /// Whether a kernel with CONFIG_JFFS2_SUMMARY has written to this flash: there are summaries that no image builder
    /// makes. Seen by rules with summaries only.
    #[must_use]
    pub fn kernel_summaries(&self) -> bool {
        self.kernel_summaries
    }

    /// A node that allows reading only, if there is one.
    #[must_use]
    pub fn read_only(&self) -> Option<UnknownRecord> {
        self.read_only
    }

    /// Whether the flash holds something, but no sign of JFFS2: nobody should erase it. A single eraseblock may be what
    /// is left of a first write to a blank flash.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        let count = |state| self.blocks.iter().filter(|info| info.state == state).count();
        self.node_count() == 0
            && self.markers.is_empty()
            && count(BlockState::Clean) == 0
            && count(BlockState::Used) > 1
    }

    /// Number of nodes in the index.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.inodes.len() + self.names.len()
    }

    /// Heap bytes that the index takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.inodes.capacity() * size_of::<InodeRecord>()
            + self.names.capacity() * size_of::<NameRecord>()
            + self.arena.capacity()
            + self.blocks.capacity() * size_of::<BlockInfo>()
            + self.reachable.capacity() * size_of::<InodeSummary>()
            + self.xattrs.memory()
            + self.suspects.capacity() * size_of::<Suspect>()
    }
}

/// Collects eraseblocks into an [`Index`].
#[derive(Debug)]
pub struct IndexBuilder {
    index: Index,
    dirents: Vec<NameRecord>,
}

impl IndexBuilder {
    /// An empty index.
    #[must_use]
    pub fn new(geometry: Geometry, rules: Rules) -> Self {
        let index = Index {
            rules,
            geometry,
            blocks: Vec::with_capacity(geometry.blocks() as usize),
            inodes: Vec::new(),
            names: Vec::new(),
            arena: Vec::new(),
            markers: Vec::new(),
            copy_markers: Vec::new(),
            said_before: Vec::new(),
            max_ino: ROOT,
            damage: 0,
            suspects: Vec::new(),
            kernel_summaries: false,
            read_only: None,
            reachable: Vec::new(),
            xattrs: xattrs::Xattrs::default(),
        };
        Self { index, dirents: Vec::new() }
    }

    /// Adds the next eraseblock, in ascending order.
    pub fn add(&mut self, found: &BlockScan) {
        let index = &mut self.index;
        index.blocks.push(BlockInfo {
            state: found.state,
            live: found.unknown.iter().filter(|node| Compat::of(node.nodetype) == Compat::Copy).count() as u32,
            visible: found.visible_nodes() as u32,
            written_end: found.written_end,
            summary_only: found.summary_only(),
            unlisted: found.unlisted,
        });
        index.inodes.extend_from_slice(&found.inodes);
        index.markers.extend_from_slice(&found.markers);
        index.copy_markers.extend_from_slice(&found.copy_markers);
        index.xattrs.add(found);
        index.max_ino = index.max_ino.max(found.max_ino);
        index.damage += found.damage_count;
        index.suspects.extend_from_slice(&found.suspects);
        index.kernel_summaries |= found.summary_of_kernel();
        let forbids = |node: &&UnknownRecord| Compat::of(node.nodetype) == Compat::ReadOnly;
        index.read_only = index.read_only.or(found.unknown.iter().find(forbids).copied());
        let base = index.arena.len() as u32;
        index.arena.extend_from_slice(&found.names);
        self.dirents.extend(found.dirents.iter().map(|dirent| NameRecord {
            pino: dirent.pino,
            ino: dirent.ino,
            version: dirent.version,
            mctime: dirent.mctime,
            at: dirent.at,
            name_start: base + dirent.name_start,
            name_len: dirent.name_len,
            kind: dirent.kind,
            shadows_older: false,
        }));
    }

    /// The finished index.
    #[must_use]
    pub fn finish(self) -> Index {
        let Self { mut index, dirents } = self;
        // Stable: where versions are equal the later scanned stays last, and wins.
        index.inodes.sort_by_key(|node| (node.ino, node.version));
        index.inodes.shrink_to_fit();
        index.suspects.sort_by_key(|node| (node.ino, node.version));
        (index.names, index.said_before) = newest_names(&index, dirents);
        index.xattrs.finish();
        index.reachable = reach(&index);
        liveness::count(&mut index);
        index
    }
}

/// Of each name the dirent that counts; and with it those before it that say the same.
fn newest_names(index: &Index, mut dirents: Vec<NameRecord>) -> (Vec<NameRecord>, Vec<(u32, u32)>) {
    dirents.sort_by(|a, b| (a.pino, index.name(a), a.version).cmp(&(b.pino, index.name(b), b.version)));
    let mut names: Vec<NameRecord> = Vec::with_capacity(dirents.len());
    let mut said_before = Vec::new();
    let says = |name: &NameRecord| (name.ino, name.kind);
    // Of the last of the names, with their versions.
    let mut same: Vec<(u32, u32)> = Vec::new();
    for mut dirent in dirents {
        match names.last_mut() {
            Some(last) if last.pino == dirent.pino && index.name(last) == index.name(&dirent) => {
                same.retain(|(version, _)| *version == last.version && says(last) == says(&dirent));
                same.extend((says(last) == says(&dirent)).then_some((last.version, last.at)));
                dirent.shadows_older = true;
                *last = dirent;
            }
            last => {
                said_before.extend(same.drain(..).filter_map(|(_, at)| Some((last.as_ref()?.at, at))));
                names.push(dirent);
            }
        }
    }
    said_before.extend(same.drain(..).filter_map(|(_, at)| Some((names.last()?.at, at))));
    said_before.sort_unstable();
    names.shrink_to_fit();
    (names, said_before)
}

/// Walks from the root, each directory once, and counts the names that lead to each inode.
fn reach(index: &Index) -> Vec<InodeSummary> {
    let mut found = Vec::from([ROOT]);
    let mut entered = BTreeSet::from([ROOT]);
    let mut queue = vec![ROOT];
    while let Some(dir) = queue.pop() {
        for name in index.names(dir) {
            found.push(name.ino);
            if entered.insert(name.ino) && index.is_directory(name.ino) {
                queue.push(name.ino);
            }
        }
    }
    found.sort_unstable();
    let of_one = found.chunk_by(|a, b| a == b);
    of_one.map(|names| index.summarize(names[0], names.len() as u32)).collect()
}

fn has_all_data(nodes: &[InodeRecord], latest: &InodeRecord) -> bool {
    let good = |node: &&InodeRecord| node.good;
    latest.dsize > 0 && nodes.iter().filter(good).all(|node| node.dsize <= latest.dsize && node.offset == 0)
}
