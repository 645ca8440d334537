//! One pass over a file of anything: which nodes belong together.
//!
//! Nodes belong to the file system before them unless they are in the other byte order, stand behind much that is
//! none of JFFS2, have cleanmarkers off its grid, or say something else in the same version of the same inode.
//! One node alone settles none of that: it could be part of a file in a damaged place. So nodes that do not fit are
//! kept apart until there are enough of them.

use std::collections::HashMap;
use std::vec::Vec;

use super::MAX_FOUND;
use super::node::{Kind, Node, until_magic};
use crate::detect::{END_MARK, LAYOUTS, Rest};
use crate::flash::OobLayout;
use crate::wire::Endian;

/// Bytes that are neither nodes nor 0xFF; behind so many another file system starts. A damaged eraseblock is less.
const MAX_FOREIGN: u64 = 256 << 10;
/// Keys that are remembered of a file system. Memory: about 2 MiB for each of two.
const MAX_KEYS: usize = 1 << 16;
/// Nodes that establish a file system of its own.
const ESTABLISHED: u64 = 3;
/// Nodes that stand there twice and make it a copy. Garbage collection copies nodes too, but of an eraseblock.
const COPIES: u64 = 256;
/// Nodes at the start of a file system that need not contradict the one before it.
const MAX_OPENING: u64 = 8;
/// Least eraseblock, bytes.
const LEAST: u64 = 4096;

/// Nodes that belong together.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) endian: Endian,
    /// Where its first node stands.
    pub(super) start: u64,
    /// Where its last node stands, and its length.
    pub(super) last: (u64, u64),
    /// An end mark stands behind it, at this offset.
    pub(super) mark: Option<u64>,
    nodes: u64,
    /// Those whose bodies have a CRC.
    keyed: u64,
    cleanmarkers: u64,
    /// Where the first cleanmarker stands.
    marker: Option<u64>,
    keys: HashMap<(u16, u32, u32), [u32; 2]>,
}

/// Nodes that may be another file system.
#[derive(Debug)]
struct Apart {
    region: Region,
    /// If it is one, the one before it ends with this node.
    before: (u64, u64),
    /// It was kept apart for nodes that are there twice: as they are, and with other contents.
    doubted: bool,
    copies: u64,
    conflicts: u64,
}

/// The state of the pass.
#[derive(Debug, Default)]
pub(super) struct Regions {
    pub(super) done: Vec<Region>,
    /// There are more than [`MAX_FOUND`].
    pub(super) more: bool,
    current: Option<Region>,
    apart: Option<Apart>,
    /// Non-blank bytes since the last node.
    foreign: u64,
    /// Where a file system could have started last, and the current one's last node before that.
    opening: (u64, (u64, u64)),
    /// Nodes since then.
    since: u64,
    /// Something stands between the last node and here.
    gap: bool,
}

impl Region {
    fn new(endian: Endian, start: u64) -> Self {
        Self {
            endian,
            start,
            last: (start, 0),
            mark: None,
            nodes: 0,
            keyed: 0,
            cleanmarkers: 0,
            marker: None,
            keys: HashMap::new(),
        }
    }

    fn fits(&self, at: u64, node: &Node, foreign: u64) -> bool {
        let on_grid = !matches!(node.kind, Kind::Cleanmarker)
            || self.marker.is_none_or(|first| is_whole_blocks(at.saturating_sub(first)));
        self.endian == node.endian && foreign <= MAX_FOREIGN && on_grid
    }

    /// Whether it holds the node already, and the same.
    fn holds(&self, node: &Node) -> Option<bool> {
        match node.kind {
            Kind::Keyed { key, crcs } => self.keys.get(&key).map(|held| *held == crcs),
            _ => None,
        }
    }

    fn add(&mut self, at: u64, node: &Node) {
        self.nodes += 1;
        self.last = (at, node.len);
        match node.kind {
            Kind::Keyed { key, crcs } => {
                self.keyed += 1;
                if self.keys.len() < MAX_KEYS {
                    self.keys.insert(key, crcs);
                }
            }
            Kind::Cleanmarker => {
                self.cleanmarkers += 1;
                self.marker.get_or_insert(at);
            }
            Kind::Other => {}
        }
    }

    /// One CRC of 32 bits is no evidence, and programs that write JFFS2 hold a cleanmarker.
    fn is_evident(&self) -> bool {
        self.keyed > 0 || self.cleanmarkers > 1
    }
}

/// Whether so many bytes could be whole eraseblocks: of some layout of dumps, if not plainly.
fn is_whole_blocks(distance: u64) -> bool {
    let least = |layout: &OobLayout| layout.dump_len(LEAST.max(u64::from(layout.page())));
    distance.is_multiple_of(LEAST) || LAYOUTS.iter().any(|layout| distance.is_multiple_of(least(layout)))
}

impl Apart {
    fn is_established(&self, current: &Region) -> bool {
        let copied = self.copies >= COPIES && self.copies * 2 >= current.keys.len() as u64;
        match self.doubted {
            true => self.conflicts >= ESTABLISHED || copied,
            false => self.region.nodes >= ESTABLISHED && self.region.is_evident(),
        }
    }

    /// Nodes that garbage collection copied, and then others: the same file system.
    fn is_refuted(&self) -> bool {
        self.doubted && self.region.nodes > 64 + 4 * (self.copies + self.conflicts)
    }
}

impl Regions {
    /// Takes what stands at `at`; the bytes to go on by.
    pub(super) fn step(&mut self, at: u64, rest: &Rest<'_>) -> usize {
        let skip = until_magic(rest.bytes);
        if skip > 0 {
            self.pass_over(&rest.bytes[..skip]);
            return skip;
        }
        if rest.bytes.starts_with(&END_MARK) {
            self.end_mark(at);
        }
        match Node::parse(rest.bytes) {
            Some(node) => {
                self.take(at, &node);
                node.len as usize
            }
            None => {
                self.pass_over(&rest.bytes[..1]);
                1
            }
        }
    }

    pub(super) fn finish(&mut self) {
        match self.apart.take() {
            Some(apart) if !apart.doubted => {
                self.close();
                self.current = Some(apart.region);
            }
            doubted => self.join(doubted),
        }
        self.close();
    }

    fn pass_over(&mut self, bytes: &[u8]) {
        self.gap = true;
        if self.foreign <= MAX_FOREIGN {
            let written = bytes.chunks(64).filter(|chunk| chunk.iter().fold(0xff, |all, byte| all & byte) != 0xff);
            self.foreign += written.map(<[u8]>::len).sum::<usize>() as u64;
        }
    }

    fn take(&mut self, at: u64, node: &Node) {
        if std::mem::take(&mut self.gap) || matches!(node.kind, Kind::Cleanmarker) {
            self.opening = (at, self.current.as_ref().map_or((at, 0), |current| current.last));
            self.since = 0;
        }
        self.since += 1;
        let foreign = std::mem::take(&mut self.foreign);
        if self.take_apart(at, node, foreign) {
            return;
        }
        let Some(current) = &mut self.current else {
            let mut region = Region::new(node.endian, at);
            region.add(at, node);
            self.current = Some(region);
            return;
        };
        let fits = current.fits(at, node, foreign);
        let held = if fits { current.holds(node) } else { None };
        if fits && held.is_none() {
            // What was apart did not go on: it was no file system.
            self.apart = None;
            current.add(at, node);
            return;
        }
        let (start, before) = if fits && self.since <= MAX_OPENING { self.opening } else { (at, current.last) };
        let mut region = Region::new(node.endian, start);
        region.add(at, node);
        let (copies, conflicts) = (u64::from(held == Some(true)), u64::from(held == Some(false)));
        self.apart = Some(Apart { region, before, doubted: fits, copies, conflicts });
    }

    /// Takes a node to those that are kept apart, if it fits there.
    fn take_apart(&mut self, at: u64, node: &Node, foreign: u64) -> bool {
        let (Some(current), Some(apart)) = (&mut self.current, &mut self.apart) else { return false };
        if !apart.region.fits(at, node, foreign) {
            if apart.doubted {
                let apart = self.apart.take();
                self.join(apart);
            }
            return false;
        }
        match current.holds(node) {
            Some(true) => apart.copies += 1,
            Some(false) => apart.conflicts += 1,
            None => {}
        }
        apart.region.add(at, node);
        if apart.is_established(current) {
            if apart.doubted {
                current.last = apart.before;
            }
            let next = self.apart.take().map(|apart| apart.region);
            self.close();
            self.current = next;
        } else if apart.is_refuted() {
            let apart = self.apart.take();
            self.join(apart);
        }
        true
    }

    /// What was kept apart belongs to the current one after all.
    fn join(&mut self, apart: Option<Apart>) {
        if let (Some(current), Some(apart)) = (&mut self.current, apart) {
            current.last = apart.region.last;
            current.nodes += apart.region.nodes;
            current.keyed += apart.region.keyed;
            current.cleanmarkers += apart.region.cleanmarkers;
            let room = MAX_KEYS.saturating_sub(current.keys.len());
            current.keys.extend(apart.region.keys.into_iter().take(room));
        }
    }

    fn end_mark(&mut self, at: u64) {
        if !self.current.as_ref().is_some_and(|current| is_whole_blocks(at.saturating_sub(current.start))) {
            return;
        }
        let apart = self.apart.take().filter(|apart| apart.doubted);
        self.join(apart);
        if let Some(current) = &mut self.current {
            current.mark = Some(at);
        }
        self.close();
    }

    fn close(&mut self) {
        let Some(mut region) = self.current.take().filter(Region::is_evident) else { return };
        region.keys = HashMap::new();
        if self.done.len() < MAX_FOUND {
            self.done.push(region);
        } else {
            self.more = true;
        }
    }
}
