//! What a collection has to deal with: eraseblocks, the live nodes in them, and which of those may move where.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use super::GcOptions;
use crate::crc::crc32;
use crate::error::ReadError;
use crate::flash::{Flash, Geometry};
use crate::index::Index;
use crate::scan::{BlockScan, BlockState, Rules, scan_block, scan_one};
use crate::tx::recover::{DONE_PLACES, copies_start, done_size};
use crate::tx::{Result, other_readers};
use crate::wire::{Compat, CopyMarker, CopyStage, Header, pad4};

/// Versions from here on are signed in some readers.
const MAX_VERSION: u32 = (1 << 31) - 3;

/// What a node is; what a reader does with a torn one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Inode,
    Dirent,
    Xattr,
    Xref,
}

/// A live node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Flash offset.
    pub at: u32,
    /// Length, bytes.
    pub len: u32,
    pub kind: Kind,
    /// A dirent that may be, or is to be, written anew.
    pub anew: Option<Anew>,
}

/// A dirent with a higher version says the same as the old one, wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anew {
    pub version: u32,
    /// Its time is the directory's. Others are written with time 0, which says nothing, as Linux does when it cleans.
    pub timed: bool,
}

impl Node {
    /// Bytes that it takes.
    pub(super) fn room(&self) -> u32 {
        pad4(self.len)
    }
}

/// A live node that stands in two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twins {
    /// In the eraseblock that is to go.
    pub node: Node,
    /// Where the other one is.
    pub copy: u32,
}

/// Where an eraseblock's nodes may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Anywhere,
    /// To higher flash offsets only.
    Up,
    /// To lower ones only.
    Down,
}

#[derive(Clone, Debug, Default)]
struct Block {
    /// Nothing is in it.
    free: bool,
    /// It stays as it is.
    pinned: bool,
    /// A good summary lists its nodes.
    summary: bool,
    /// Something in it does not read well: no place for the only copy of a node.
    unsound: bool,
    /// Damaged nodes are in it, and not only at the end, where a cut write leaves them.
    damaged: bool,
    /// Live nodes, as indexes into [`Space::nodes`], that stand nowhere else.
    nodes: Vec<u32>,
    /// Live nodes that stand elsewhere, too.
    twins: Vec<Twins>,
    /// A collection has copied nodes to it: its generation, and whether they are sure to stand.
    copies: Option<(u32, bool)>,
}

/// The flash as a collection sees it.
#[derive(Clone, Debug)]
pub(super) struct Space {
    geometry: Geometry,
    blocks: Vec<Block>,
    nodes: Vec<Node>,
    /// Eraseblocks of which every live node stands elsewhere, too.
    doubles: Vec<u32>,
    /// Of the next eraseblock that takes nodes.
    generation: u32,
}

impl Space {
    /// Eraseblocks with nothing in them.
    pub(super) fn blank(index: &Index) -> u32 {
        index.blocks().iter().filter(|info| matches!(info.state, BlockState::Blank | BlockState::Clean)).count() as u32
    }

    /// Reads the whole flash once more: the index does not know what nodes are alike.
    /// Eraseblocks in `erased` count as if they were.
    pub(super) fn on<F: Flash>(flash: &F, index: &Index, options: &GcOptions, erased: &[u32]) -> Result<Self, F> {
        let others = if options.summary_readers_only { None } else { other_readers(flash, index)? };
        let mut live = index.live_nodes();
        live.extend(others.iter().flat_map(Index::live_nodes));
        live.sort_unstable();
        live.dedup();
        let mut space = Self {
            geometry: *flash.geometry(),
            blocks: vec![Block::default(); flash.geometry().blocks() as usize],
            nodes: Vec::new(),
            doubles: Vec::new(),
            generation: index.next_generation(),
        };
        let seen = space.look(flash, index, options, erased)?;
        space.sort_out(&live, seen);
        space.allow_anew(index, others.as_ref());
        Ok(space)
    }

    /// Notes what eraseblocks are; returns every node that some reader sees.
    fn look<F: Flash>(
        &mut self,
        flash: &F,
        index: &Index,
        options: &GcOptions,
        erased: &[u32],
    ) -> core::result::Result<Vec<Seen>, ReadError<F::Error>> {
        let rules = index.rules();
        let mut bytes = vec![0; self.geometry.eraseblock() as usize];
        let mut seen = Vec::new();
        for block in 0..self.geometry.blocks() {
            let state = &mut self.blocks[block as usize];
            if erased.contains(&block) {
                state.free = true;
                continue;
            }
            let found = scan_one(flash, rules, block, &mut bytes)?;
            state.free = matches!(found.state, BlockState::Blank | BlockState::Clean);
            state.summary = found.by_summary;
            state.copies = index.copies(block).map(|copies| (copies.generation, copies.last()));
            // What one kind of reader does not see must not become visible to it piece by piece.
            let divided = found.summary_only() || found.unlisted;
            let divided_for_all = found.unlisted && !found.summary_only();
            let to_keep = found.unknown.iter().any(|node| Compat::of(node.nodetype) != Compat::Delete);
            state.pinned = found.state != BlockState::Used
                || to_keep
                || divided_for_all
                || divided && !options.summary_readers_only;
            state.unsound = found.damage_count > 0 || found.uncorrectable;
            state.damaged =
                found.damage.first().is_some_and(|damage| last_good(&found).is_some_and(|at| damage.at < at));
            let start = self.geometry.offset_of(block);
            see(&found, rules, start, &bytes, !divided, &mut seen);
            if divided {
                let plain = Rules { summaries: false, ..rules };
                see(&scan_block(&self.geometry, plain, block, &bytes, false), rules, start, &bytes, false, &mut seen);
            }
        }
        Ok(seen)
    }

    /// Gives each eraseblock its live nodes. Of two nodes that are alike one is enough: an eraseblock of which everything stands
    /// elsewhere, too, as an interrupted collection leaves it, can go at once.
    fn sort_out(&mut self, live: &[u32], mut seen: Vec<Seen>) {
        seen.sort_unstable_by_key(|node| (node.identity, node.node.at));
        let mut held: Vec<Vec<(Node, Vec<u32>)>> = vec![Vec::new(); self.blocks.len()];
        self.pin_unseen(live, &seen);
        for same in seen.chunk_by(|a, b| a.identity == b.identity) {
            for node in same.iter().filter(|node| live.binary_search(&node.node.at).is_ok()) {
                let block = self.geometry.block_of(node.node.at) as usize;
                // Which of them counts may depend on which comes first.
                if same.iter().any(|other| (other.node.len, other.sum) != (node.node.len, node.sum)) {
                    self.blocks[block].pinned = true;
                }
                let home = |other: &Seen| self.geometry.block_of(other.node.at) as usize;
                let elsewhere =
                    |other: &&Seen| other.by_all && home(other) != block && !self.blocks[home(other)].unsound;
                held[block].push((node.node, same.iter().filter(elsewhere).map(|other| other.node.at).collect()));
            }
        }
        self.find_doubles(&mut held);
        for (block, nodes) in held.into_iter().enumerate() {
            let first = self.nodes.len() as u32;
            self.nodes.extend(nodes.into_iter().map(|(node, _)| node));
            let state = &mut self.blocks[block];
            state.nodes = (first..self.nodes.len() as u32).collect();
            state.nodes.sort_unstable_by_key(|node| self.nodes[*node as usize].at);
            state.pinned |= state.damaged;
        }
    }

    /// Damaged nodes are live where nothing better is left of an inode. They cannot be told from a bad copy.
    fn pin_unseen(&mut self, live: &[u32], seen: &[Seen]) {
        let mut found: Vec<u32> = seen.iter().map(|node| node.node.at).collect();
        found.sort_unstable();
        for at in live.iter().filter(|at| found.binary_search(at).is_err()) {
            self.pin(*at);
        }
    }

    fn find_doubles(&mut self, held: &mut [Vec<(Node, Vec<u32>)>]) {
        let mut order: Vec<u32> = (0..self.blocks.len() as u32).filter(|block| self.is_used(*block)).collect();
        // What cannot be moved should go this way if it can.
        order.sort_by_key(|block| {
            let nodes = &held[*block as usize];
            (!self.blocks[*block as usize].unsound, nodes.iter().map(|(node, _)| u64::from(node.room())).sum::<u64>())
        });
        for block in order {
            let stays = |at: &u32| !self.doubles.contains(&self.geometry.block_of(*at));
            let copy_of = |(node, twins): &(Node, Vec<u32>)| {
                let lasts = |at: &u32| self.lasts_beside(self.geometry.block_of(*at), block);
                let may = |at: &&u32| stays(at) && lasts(at) && self.may_go(block, *node, self.geometry.block_of(**at));
                twins.iter().find(may).map(|copy| Twins { node: *node, copy: *copy })
            };
            let found: Option<Vec<Twins>> = held[block as usize].iter().map(copy_of).collect();
            let Some(twins) = found else { continue };
            // The copies are live now.
            for twin in &twins {
                let home = &mut held[self.geometry.block_of(twin.copy) as usize];
                if home.iter().all(|(node, _)| node.at != twin.copy) {
                    home.push((Node { at: twin.copy, ..twin.node }, Vec::new()));
                }
            }
            held[block as usize].clear();
            self.blocks[block as usize].twins = twins;
            self.doubles.push(block);
        }
    }

    /// Where copies with equal versions would have to lie higher: dirents that all readers go by may be written anew.
    fn allow_anew(&mut self, index: &Index, others: Option<&Index>) {
        if self.can_forget() {
            return;
        }
        let mut versions: BTreeMap<u32, u32> = BTreeMap::new();
        let directories: Vec<u32> = index.directories().collect();
        for name in directories.iter().flat_map(|dir| index.dirents(*dir)) {
            let block = self.geometry.block_of(name.at);
            let by_all = others
                .is_none_or(|other| other.find(name.pino, index.name(name)).is_some_and(|same| same.at == name.at));
            if !by_all || !self.blocks[block as usize].summary {
                continue;
            }
            let highest = || index.max_version(name.pino).max(others.map_or(0, |other| other.max_version(name.pino)));
            let version = versions.entry(name.pino).or_insert_with(highest);
            let of_inode = index.latest(name.pino).map_or(0, |node| node.version);
            let timed = index.newest_time(name.pino).is_some_and(|newest| newest.at == name.at);
            let held = &self.blocks[block as usize].nodes;
            let found = held.iter().find(|node| self.nodes[**node as usize].at == name.at);
            if let Some(node) = found.filter(|_| *version < MAX_VERSION) {
                *version += 1;
                let timed = timed && name.version > of_inode;
                self.nodes[*node as usize].anew = Some(Anew { version: *version, timed });
            }
        }
    }

    fn is_used(&self, block: u32) -> bool {
        let state = &self.blocks[block as usize];
        !state.free && !state.pinned
    }

    /// Whether a copy that was found in eraseblock `kept` is sure to stand if it is all that is left of `gone`: what an erase or a program
    /// that was cut has left may read well now and not the next time.
    fn lasts_beside(&self, kept: u32, gone: u32) -> bool {
        match [kept, gone].map(|block| self.blocks[block as usize].copies) {
            [Some((kept, lasts)), gone] => lasts && gone.is_none_or(|(gone, _)| kept > gone),
            [None, gone] => gone.is_none(),
        }
    }

    /// Whether a node of an eraseblock may be erased while its copy is in eraseblock `to`: an erase that is cut may leave it
    /// damaged.
    fn may_go(&self, from: u32, node: Node, to: u32) -> bool {
        let by_place = match node.kind {
            Kind::Inode | Kind::Xref => true,
            // Linux believes a summary that is left over: of equal versions the later counts, and this one is gone when it is read.
            Kind::Dirent => !self.blocks[from as usize].summary || to > from,
            // A damaged value counts, and of equal versions the later.
            Kind::Xattr => to > from,
        };
        by_place || self.can_forget()
    }

    /// Whether nodes and summaries can be made unreadable before an erase.
    fn can_forget(&self) -> bool {
        self.geometry.can_overwrite()
    }

    /// Where the nodes of an eraseblock may be copied; `None` if nowhere.
    pub(super) fn way(&self, block: u32) -> Option<Way> {
        let state = &self.blocks[block as usize];
        let mut way = Way::Anywhere;
        for node in state.nodes.iter().map(|node| self.nodes[*node as usize]) {
            way = match node.kind {
                // A copy that power has torn must not count: it has to come before the whole one.
                Kind::Xattr if !self.can_forget() => return None,
                Kind::Xattr => Way::Down,
                Kind::Dirent if state.summary && !self.can_forget() && node.anew.is_none() => Way::Up,
                _ => way,
            };
            if node.room() > self.capacity() {
                return None;
            }
        }
        Some(way)
    }

    /// What the next eraseblock that takes nodes is to say.
    pub(super) fn copy_marker(&self, block: u32) -> CopyMarker {
        CopyMarker { stage: CopyStage::Begun, block, generation: self.generation }
    }

    /// Number of eraseblocks.
    pub(super) fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Bytes of nodes that an eraseblock takes.
    pub(super) fn capacity(&self) -> u32 {
        self.geometry.eraseblock() - DONE_PLACES * done_size(&self.geometry) - copies_start(&self.geometry)
    }

    /// Eraseblocks with nothing in them.
    pub(super) fn free(&self) -> u32 {
        self.blocks.iter().filter(|block| block.free).count() as u32
    }

    /// The lowest and the highest of them.
    pub(super) fn free_range(&self) -> Option<(u32, u32)> {
        let lowest = self.blocks.iter().position(|block| block.free)?;
        let highest = self.blocks.iter().rposition(|block| block.free)?;
        Some((lowest as u32, highest as u32))
    }

    /// Eraseblocks with live nodes that stay as they are.
    pub(super) fn pinned(&self) -> u32 {
        let stays = |block: &u32| {
            let state = &self.blocks[*block as usize];
            !state.nodes.is_empty() && (state.pinned || self.way(*block).is_none())
        };
        (0..self.blocks()).filter(stays).count() as u32
    }

    /// Eraseblocks of which every live node stands elsewhere, too.
    pub(super) fn doubles(&self) -> Vec<u32> {
        self.doubles.clone()
    }

    /// Eraseblocks whose live nodes may be moved, with the way, the nodes and their bytes.
    pub(super) fn movable(&self) -> Vec<(u32, Way, &[u32], u32)> {
        let of = |block: u32| {
            let state = &self.blocks[block as usize];
            let bytes = state.nodes.iter().map(|node| self.nodes[*node as usize].room()).sum();
            Some((block, self.way(block)?, state.nodes.as_slice(), bytes))
        };
        (0..self.blocks()).filter(|block| self.is_used(*block)).filter_map(of).collect()
    }

    /// The node of an index.
    pub(super) fn node(&self, node: u32) -> Node {
        self.nodes[node as usize]
    }

    /// The free eraseblock furthest that way, and the nodes as they are to be written there; `None` if there is none that they may
    /// go to.
    pub(super) fn destination(&self, direction: Way, nodes: &[u32]) -> Option<(u32, Vec<Node>)> {
        let (lowest, highest) = self.free_range()?;
        let to = if direction == Way::Down { lowest } else { highest };
        let prepared = |node: &u32| {
            let node = self.nodes[*node as usize];
            let from = self.geometry.block_of(node.at);
            let torn_copy_loses = node.kind != Kind::Xattr || to < from;
            let as_it_is = self.may_go(from, node, to);
            let anew = node.anew.filter(|_| !as_it_is);
            (torn_copy_loses && (as_it_is || anew.is_some())).then_some(Node { anew, ..node })
        };
        let nodes: Option<Vec<Node>> = nodes.iter().map(prepared).collect();
        Some((to, nodes?))
    }

    /// Notes that nodes have been copied to an eraseblock, and as what.
    pub(super) fn moved(&mut self, indexes: &[u32], written: &[Node], to: u32) {
        let mut at = self.geometry.offset_of(to) + copies_start(&self.geometry);
        for (index, node) in indexes.iter().zip(written) {
            let from = &mut self.blocks[self.geometry.block_of(node.at) as usize];
            from.nodes.retain(|held| held != index);
            from.twins.push(Twins { node: *node, copy: at });
            self.nodes[*index as usize] = Node { at, anew: None, ..*node };
            at += node.room();
        }
        self.blocks[to as usize] =
            Block { nodes: indexes.to_vec(), copies: Some((self.generation, true)), ..Block::default() };
        self.generation = self.generation.saturating_add(1);
    }

    /// The live nodes of an eraseblock that stand elsewhere, too.
    pub(super) fn twins(&self, block: u32) -> Vec<Twins> {
        self.blocks[block as usize].twins.clone()
    }

    /// Notes that an eraseblock has been erased.
    pub(super) fn set_free(&mut self, block: u32) {
        self.blocks[block as usize] = Block { free: true, ..Block::default() };
        self.doubles.retain(|double| *double != block);
    }

    /// Notes that an eraseblock is not to be touched any more. It holds nothing that does not stand elsewhere.
    pub(super) fn give_up(&mut self, block: u32) {
        let state = &mut self.blocks[block as usize];
        (state.free, state.pinned) = (false, true);
    }

    /// Notes that the eraseblock of a node is to stay as it is.
    pub(super) fn pin(&mut self, at: u32) {
        self.blocks[self.geometry.block_of(at) as usize].pinned = true;
    }
}

/// A node that some reader sees.
struct Seen {
    /// Nodes that are equal in this compete by their place on the flash.
    identity: (Kind, u32, u32, u32),
    node: Node,
    sum: u32,
    /// All readers see it.
    by_all: bool,
}

/// Where the last good node starts.
fn last_good(found: &BlockScan) -> Option<u32> {
    let inodes = found.inodes.iter().filter(|node| node.good).map(|node| node.at);
    let names = found.dirents.iter().map(|dirent| dirent.at);
    let attributes = found.xattrs.iter().filter(|node| node.good).map(|node| node.at);
    inodes.chain(names).chain(attributes).chain(found.xrefs.iter().map(|record| record.at)).max()
}

fn see(found: &BlockScan, rules: Rules, start: u32, bytes: &[u8], by_all: bool, seen: &mut Vec<Seen>) {
    let mut add = |at: u32, identity: (Kind, u32, u32, u32)| {
        let rest = &bytes[(at - start) as usize..];
        let Some(node) = Header::parse(rules.endian, rest).ok().and_then(|header| rest.get(..header.totlen as usize))
        else {
            return;
        };
        let node_at = Node { at, len: node.len() as u32, kind: identity.0, anew: None };
        seen.push(Seen { identity, node: node_at, sum: crc32(node), by_all });
    };
    // One with bad data gives way to any other of its version.
    for node in found.inodes.iter().filter(|node| node.good) {
        add(node.at, (Kind::Inode, node.ino, node.version, 0));
    }
    for dirent in &found.dirents {
        add(dirent.at, (Kind::Dirent, dirent.pino, dirent.version, 0));
    }
    for node in &found.xattrs {
        add(node.at, (Kind::Xattr, node.xid, node.version, 0));
    }
    for record in &found.xrefs {
        add(record.at, (Kind::Xref, record.xref.ino, record.xref.xid, record.xref.seqno));
    }
}
