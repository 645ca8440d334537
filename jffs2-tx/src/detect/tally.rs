//! What the nodes of one byte order say of the eraseblock size.

use std::format;
use std::string::String;
use std::vec::Vec;

use super::{MAX_DETECTED, show_size, usual_page_size};
use crate::flash::FlashKind;
use crate::wire::{
    Dirent, Endian, HEADER_SIZE, Header, Inode, Marker, MarkerKind, SUMMARY_MAGIC, Summary, nodetype, pad4,
};

/// Log2 of the least eraseblock size.
const LEAST: u32 = 12;
/// Sizes that are told apart: 4 KiB to 16 MiB.
pub(super) const SIZES: usize = 13;
/// The size that is assumed when nothing speaks for any: 64 KiB.
const USUAL: usize = 4;

/// Occurrences, and where the first one is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) count: u64,
    pub(super) first: u64,
}

impl Seen {
    pub(super) fn add(&mut self, at: u64) {
        if self.count == 0 {
            self.first = at;
        }
        self.count += 1;
    }
}

/// What the nodes of one byte order say. Offsets are sorted by the largest size that divides them: `[0]` holds odd
/// multiples of 4 KiB, `[1]` odd multiples of 8 KiB, and so on.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) nodes: u64,
    cleanmarkers: u64,
    /// Those in spare bytes: they stand at eraseblock starts only, and are no nodes.
    pub(super) spare_cleanmarkers: u64,
    /// Of the last one in band.
    pub(super) cleanmarker_len: u32,
    /// Nodes that start there.
    starts: [Seen; SIZES],
    /// Nodes that reach across.
    crossings: [Seen; SIZES],
    /// Nodes that only ever start an eraseblock.
    firsts: [Seen; SIZES],
    /// Summaries and commit markers that give this very size.
    stated: [Seen; SIZES],
}

/// Cleanmarkers in spare bytes, by the offset of their page's data.
#[derive(Clone, Debug, Default)]
pub(super) struct SpareMarks {
    count: u64,
    at: [Seen; SIZES],
}

impl SpareMarks {
    pub(super) fn add(&mut self, at: u64) {
        self.count += 1;
        if let Some(size) = size_class(at) {
            self.at[size].add(at);
        }
    }
}

impl Tally {
    pub(super) fn add_spare(&mut self, marks: &SpareMarks) {
        self.spare_cleanmarkers = marks.count;
        for (seen, more) in self.firsts.iter_mut().zip(&marks.at).filter(|(_, more)| more.count > 0) {
            seen.first = if seen.count == 0 { more.first } else { seen.first.min(more.first) };
            seen.count += more.count;
        }
    }

    /// Counts the node at the start of `rest`; its length, or `None` if there is no valid one.
    pub(super) fn take(&mut self, endian: Endian, at: u64, rest: &[u8]) -> Option<usize> {
        let header = Header::parse(endian, rest).ok()?;
        let node = rest.get(..header.totlen as usize).filter(|node| node.len() >= HEADER_SIZE)?;
        let is_first = match header.nodetype {
            nodetype::INODE => Inode::parse(endian, node).ok().map(|_| false)?,
            nodetype::DIRENT => Dirent::parse(endian, node).ok().map(|_| false)?,
            nodetype::TX_MARKER => self.take_marker(at, &Marker::parse(endian, node).ok()?),
            nodetype::SUMMARY => self.take_summary(endian, at, node).map(|()| false)?,
            nodetype::CLEANMARKER => {
                self.cleanmarkers += 1;
                self.cleanmarker_len = header.totlen;
                true
            }
            _ => false,
        };
        self.nodes += 1;
        if let Some(size) = size_class(at) {
            self.starts[size].add(at);
            if is_first {
                self.firsts[size].add(at);
            }
        }
        for boundary in ((at | 0xfff) + 1..at + u64::from(header.totlen)).step_by(1 << LEAST) {
            if let Some(size) = size_class(boundary) {
                self.crossings[size].add(at);
            }
        }
        Some(pad4(header.totlen) as usize)
    }

    fn take_summary(&mut self, endian: Endian, at: u64, node: &[u8]) -> Option<()> {
        let trailer = node.len().checked_sub(8)?;
        // Before the CRCs: they would cost a pass over the node.
        if endian.u32(node, trailer + 4) != SUMMARY_MAGIC {
            return None;
        }
        Summary::parse(endian, node).ok()?;
        let eraseblock = u64::from(endian.u32(node, trailer)) + node.len() as u64;
        let ends_block = eraseblock.is_power_of_two() && (at + node.len() as u64).is_multiple_of(eraseblock);
        if let Some(size) = size_class(eraseblock).filter(|_| ends_block) {
            self.stated[size].add(at);
        }
        Some(())
    }

    /// Counts what a marker says; whether it is the first node of its eraseblock.
    fn take_marker(&mut self, at: u64, marker: &Marker) -> bool {
        if marker.kind == MarkerKind::Begin {
            return true;
        }
        // It holds the index of its eraseblock; 0 would suit many sizes.
        let block = u64::from(marker.commit_block);
        let suits = |size: &usize| block > 0 && at / u64::from(bytes(*size)) == block;
        if let Some(size) = (0..SIZES).find(suits) {
            self.stated[size].add(at);
        }
        false
    }

    /// The eraseblock size in bytes, and whether that is sure.
    pub(super) fn eraseblock(&self, file_size: u64) -> (u32, bool) {
        let detected = (MAX_DETECTED.ilog2() - LEAST) as usize;
        let most = (0..=detected).max_by_key(|size| (self.stated[*size].count, *size)).unwrap_or(0);
        if self.stated[most].count > 0 {
            return (bytes(most), true);
        }
        let lower = (0..detected).find(|size| !self.crossed(*size)).unwrap_or(detected);
        let bound = (0..detected).find(|size| self.firsts[*size].count > 0);
        let upper = bound.unwrap_or(detected);
        if lower > upper {
            return (bytes(upper), false);
        }
        // Nodes start at multiples of smaller sizes too: one by chance, and one behind the blank head of each commit
        // block. So they must be as many as the blocks that are marked as such.
        let marked: u64 = self.firsts.iter().map(|seen| seen.count).sum();
        let enough = |size: usize| if size < upper { marked.max(2) } else { 2 };
        if let Some(size) = (lower..=upper).find(|size| self.starts[*size].count >= enough(*size)) {
            return (bytes(size), true);
        }
        let started = |size: &usize| self.starts[*size].count > 0;
        if let Some(size) = bound.or((lower..=upper).find(started)) {
            return (bytes(size), size == lower && lower > 0);
        }
        // Nothing says anything: 64 KiB, or less if the file is of so many whole eraseblocks.
        let usual = (0..=USUAL).rev().find(|size| fits(file_size, *size)).unwrap_or(USUAL);
        (bytes(usual.clamp(lower, upper)), false)
    }

    /// Nodes cross boundaries of this size, and not only one in a place where many start: that would be a stray one.
    fn crossed(&self, size: usize) -> bool {
        (size..SIZES).any(|at| self.crossings[at].count * 8 > self.starts[at].count)
    }

    /// What speaks against eraseblocks of `given` bytes; nothing, if that is no size to begin with.
    pub(super) fn against(&self, given: u32) -> Option<String> {
        let size = size_class(u64::from(given)).filter(|_| given.is_power_of_two())?;
        let is_stated = |at: &usize| self.stated[*at].count > 0;
        if let Some(other) = (0..SIZES).find(is_stated).filter(|_| !is_stated(&size)) {
            let at = self.stated[other].first;
            return Some(format!("the node at {at:#x} says that it is {}", show_size(bytes(other))));
        }
        if let Some(first) = self.firsts[..size].iter().find(|seen| seen.count > 0) {
            return Some(format!("the node at {:#x} stands at an eraseblock's start only", first.first));
        }
        let crossing = self.crossings[size..].iter().find(|seen| seen.count > 0).filter(|_| self.crossed(size));
        crossing.map(|seen| format!("the node at {:#x} would cross from one eraseblock to the next", seen.first))
    }

    pub(super) fn evidence(&self, eraseblock: u32) -> String {
        let Some(size) = size_class(u64::from(eraseblock)) else { return String::new() };
        let mut said = Vec::new();
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                said.push(format!("{count} {what}"));
            }
        };
        say(self.stated[size].count, "summaries and commit markers give it");
        let marks: u64 = self.firsts[size..].iter().map(|seen| seen.count).sum();
        say(marks, "cleanmarkers and begin markers stand at its multiples");
        let starts = self.starts[size..].iter().map(|seen| seen.count).sum();
        say(starts, "nodes start at its multiples");
        let crossings = self.crossings[..size].iter().map(|seen| seen.count).sum();
        say(crossings, "nodes cross boundaries of smaller sizes");
        if said.is_empty() { "none: the usual size is assumed".into() } else { said.join(", ") }
    }

    pub(super) fn kind(&self, eraseblock: u32) -> (FlashKind, u32) {
        let kind = if self.cleanmarkers > 0 { FlashKind::Nor } else { FlashKind::Nand };
        // Linux makes cleanmarkers as long as the units in which NOR with a write buffer is written.
        match self.cleanmarker_len {
            len @ (16 | 32 | 64) => (kind, len),
            _ => (kind, usual_page_size(kind, eraseblock)),
        }
    }
}

/// Which size's odd multiple an offset is; 0 is a multiple of all, and none of those below 4 KiB count.
pub(super) fn size_class(offset: u64) -> Option<usize> {
    let zeros = offset.trailing_zeros();
    (offset != 0 && zeros >= LEAST).then(|| ((zeros - LEAST) as usize).min(SIZES - 1))
}

pub(super) fn bytes(size: usize) -> u32 {
    1 << (LEAST + size as u32)
}

fn fits(file_size: u64, size: usize) -> bool {
    file_size.is_multiple_of(u64::from(bytes(size)))
}
