//! What an image file says about itself: byte order, eraseblock size, kind of flash.
//!
//! A file has no field for any of these, but its nodes betray them. No node crosses an eraseblock; an eraseblock that
//! holds anything starts with a node, unless its head is blank; cleanmarkers and begin markers stand at eraseblock
//! starts only; a summary ends its eraseblock and says where in it it starts. [`Survey::of`] counts all that in one
//! pass, [`Survey::detect`] concludes, [`Survey::check_eraseblock`] holds a size that somebody claims against it.

use std::format;
use std::io::{self, ErrorKind, Read};
use std::string::String;
use std::vec::Vec;

use crate::flash::FlashKind;
use crate::wire::{
    Dirent, Endian, HEADER_SIZE, Header, Inode, Marker, MarkerKind, SUMMARY_MAGIC, Summary, nodetype, pad4,
};

/// Largest eraseblock that is detected, bytes; larger ones must be given. No node in a smaller one is longer.
pub const MAX_DETECTED: u32 = 1 << 20;

/// Log2 of the least eraseblock size.
const LEAST: u32 = 12;
/// Sizes that are told apart: 4 KiB to 16 MiB.
const SIZES: usize = 13;
/// Bytes that are in memory behind every position that is looked at.
const WINDOW: usize = MAX_DETECTED as usize;

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// Byte order.
    pub endian: Endian,
    /// Eraseblock size, bytes.
    pub eraseblock: u32,
    /// NOR if there are cleanmarkers in band, otherwise NAND.
    pub kind: FlashKind,
    /// Least unit of programming, bytes: on NAND the page that is usual for this eraseblock size.
    pub page_size: u32,
    /// What speaks for the eraseblock size, in words.
    pub evidence: String,
    /// The evidence leaves no other eraseblock size that is likely.
    pub sure: bool,
}

/// Why an image file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The host's error.
    #[error("read at {offset:#x}: {error}")]
    Io {
        /// Offset in the file, bytes.
        offset: u64,
        /// The host's error.
        error: io::Error,
    },
    /// There is nothing in the file.
    #[error("the file is empty")]
    Empty,
    /// Every byte is 0xFF.
    #[error("the image is blank (every byte is 0xff)")]
    Blank,
    /// No node in either byte order.
    #[error("not a JFFS2 image (no valid node found)")]
    NotJffs2,
    /// The eraseblock size that was given cannot be.
    #[error("eraseblock size {} contradicts the image: {evidence}; it looks like {}", show_size(*.given), show_size(*.likely))]
    Eraseblock {
        /// What was given, bytes.
        given: u32,
        /// What is likely, bytes.
        likely: u32,
        /// What contradicts it, with its offset.
        evidence: String,
    },
}

/// Occurrences, and where the first one is.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: u64,
    first: u64,
}

impl Seen {
    fn add(&mut self, at: u64) {
        if self.count == 0 {
            self.first = at;
        }
        self.count += 1;
    }
}

/// What the nodes of one byte order say. Offsets are sorted by the largest size that divides them: `[0]` holds odd
/// multiples of 4 KiB, `[1]` odd multiples of 8 KiB, and so on.
#[derive(Clone, Debug, Default)]
struct Tally {
    nodes: u64,
    cleanmarkers: u64,
    cleanmarker_len: u32,
    /// Nodes that start there.
    starts: [Seen; SIZES],
    /// Nodes that reach across.
    crossings: [Seen; SIZES],
    /// Nodes that only ever start an eraseblock.
    firsts: [Seen; SIZES],
    /// Summaries that give this very size.
    summaries: [Seen; SIZES],
}

/// What a pass over an image file found.
#[derive(Clone, Debug)]
pub struct Survey {
    little: Tally,
    big: Tally,
    size: u64,
    blank: bool,
}

impl Survey {
    /// Reads the image to its end. Memory: 2 MiB, whatever its size.
    ///
    /// # Errors
    /// [`DetectError::Io`].
    pub fn of(mut reader: impl Read) -> Result<Self, DetectError> {
        let mut survey = Self { little: Tally::default(), big: Tally::default(), size: 0, blank: true };
        let mut buf = Vec::with_capacity(2 * WINDOW);
        loop {
            let more = fill(&mut reader, &mut buf).map_err(|error| DetectError::Io { offset: survey.size, error })?;
            let stop = if more { WINDOW } else { buf.len() };
            let mut at = 0;
            while at < stop {
                at += survey.step(survey.size + at as u64, &buf[at..]);
            }
            let done = at.min(buf.len());
            survey.size += done as u64;
            buf.drain(..done);
            if !more {
                return Ok(survey);
            }
        }
    }

    /// Takes what stands at the start of `rest`, offset `at`; the bytes to go on by.
    fn step(&mut self, at: u64, rest: &[u8]) -> usize {
        let blank = rest.iter().take_while(|byte| **byte == 0xff).count();
        if blank == rest.len() || blank >= 4 {
            return (blank & !3).max(4);
        }
        self.blank = false;
        let (endian, tally) = match rest {
            [0x85, 0x19, ..] => (Endian::Little, &mut self.little),
            [0x19, 0x85, ..] => (Endian::Big, &mut self.big),
            _ => return 4,
        };
        tally.take(endian, at, rest).unwrap_or(4)
    }

    /// Concludes.
    ///
    /// # Errors
    /// [`DetectError::Empty`], [`DetectError::Blank`], [`DetectError::NotJffs2`].
    pub fn detect(&self) -> Result<Detected, DetectError> {
        let endian = self.endian()?;
        let tally = self.tally(endian);
        let (eraseblock, sure) = tally.eraseblock(self.size);
        let (kind, page_size) = tally.kind(eraseblock);
        Ok(Detected { endian, eraseblock, kind, page_size, evidence: tally.evidence(eraseblock), sure })
    }

    /// The byte order that more nodes are in.
    ///
    /// # Errors
    /// As [`Survey::detect`].
    pub fn endian(&self) -> Result<Endian, DetectError> {
        match (self.little.nodes, self.big.nodes) {
            (0, 0) if self.size == 0 => Err(DetectError::Empty),
            (0, 0) if self.blank => Err(DetectError::Blank),
            (0, 0) => Err(DetectError::NotJffs2),
            (little, big) => Ok(if little >= big { Endian::Little } else { Endian::Big }),
        }
    }

    /// Number of valid nodes in a byte order.
    #[must_use]
    pub fn nodes(&self, endian: Endian) -> u64 {
        self.tally(endian).nodes
    }

    /// The kind of flash and the write unit in bytes, if its eraseblocks have this size.
    ///
    /// # Errors
    /// As [`Survey::detect`].
    pub fn kind(&self, eraseblock: u32) -> Result<(FlashKind, u32), DetectError> {
        Ok(self.tally(self.endian()?).kind(eraseblock))
    }

    /// Whether eraseblocks of `given` bytes, a power of two, are possible.
    ///
    /// # Errors
    /// [`DetectError::Eraseblock`] if not; otherwise as [`Survey::detect`].
    pub fn check_eraseblock(&self, given: u32) -> Result<(), DetectError> {
        let tally = self.tally(self.endian()?);
        match tally.against(given) {
            None => Ok(()),
            Some(evidence) => {
                let (likely, _) = tally.eraseblock(self.size);
                Err(DetectError::Eraseblock { given, likely, evidence })
            }
        }
    }

    fn tally(&self, endian: Endian) -> &Tally {
        match endian {
            Endian::Little => &self.little,
            Endian::Big => &self.big,
        }
    }
}

impl Tally {
    /// Counts the node at the start of `rest`; its length, or `None` if there is no valid one.
    fn take(&mut self, endian: Endian, at: u64, rest: &[u8]) -> Option<usize> {
        let header = Header::parse(endian, rest).ok()?;
        let node = rest.get(..header.totlen as usize).filter(|node| node.len() >= HEADER_SIZE)?;
        let is_first = match header.nodetype {
            nodetype::INODE => Inode::parse(endian, node).ok().map(|_| false)?,
            nodetype::DIRENT => Dirent::parse(endian, node).ok().map(|_| false)?,
            nodetype::TX_MARKER => Marker::parse(endian, node).ok()?.kind == MarkerKind::Begin,
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
            self.summaries[size].add(at);
        }
        Some(())
    }

    /// The eraseblock size in bytes, and whether that is sure.
    fn eraseblock(&self, file_size: u64) -> (u32, bool) {
        let detected = (MAX_DETECTED.ilog2() - LEAST) as usize;
        let most = (0..=detected).max_by_key(|size| (self.summaries[*size].count, *size)).unwrap_or(0);
        if self.summaries[most].count > 0 {
            return (bytes(most), true);
        }
        let lower = (0..detected).find(|size| !self.crossed(*size)).unwrap_or(detected);
        let bound = (0..detected).find(|size| self.firsts[*size].count > 0);
        let upper = bound.unwrap_or(detected);
        if lower > upper {
            return (bytes(upper), false);
        }
        // One node may start at a multiple of a smaller size by chance, two hardly, if none crosses any.
        let started = |least| (lower..=upper).find(|size| self.starts[*size].count >= least);
        if let Some(size) = started(2) {
            return (bytes(size), true);
        }
        if let Some(size) = bound.or(started(1)) {
            return (bytes(size), size == lower && lower > 0);
        }
        let usual = (lower..=upper).take_while(|size| *size <= 4).filter(|size| fits(file_size, *size)).last();
        (bytes(usual.unwrap_or(lower)), false)
    }

    /// Nodes cross boundaries of this size, and not only one in a place where many start: that would be a stray one.
    fn crossed(&self, size: usize) -> bool {
        (size..SIZES).any(|at| self.crossings[at].count * 8 > self.starts[at].count)
    }

    /// What speaks against eraseblocks of `given` bytes.
    fn against(&self, given: u32) -> Option<String> {
        let size = size_class(u64::from(given))?;
        let stated = |at: &usize| self.summaries[*at].count > 0;
        if let Some(other) = (0..SIZES).find(stated).filter(|_| !stated(&size)) {
            let at = self.summaries[other].first;
            return Some(format!("the summary at {at:#x} ends an eraseblock of {}", show_size(bytes(other))));
        }
        if let Some(first) = self.firsts[..size].iter().find(|seen| seen.count > 0) {
            return Some(format!("the node at {:#x} stands at an eraseblock's start only", first.first));
        }
        let crossing = self.crossings[size..].iter().find(|seen| seen.count > 0).filter(|_| self.crossed(size));
        crossing.map(|seen| format!("the node at {:#x} would cross from one eraseblock to the next", seen.first))
    }

    fn evidence(&self, eraseblock: u32) -> String {
        let Some(size) = size_class(u64::from(eraseblock)) else { return String::new() };
        let mut said = Vec::new();
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                said.push(format!("{count} {what}"));
            }
        };
        say(self.summaries[size].count, "summaries give it");
        let marks: u64 = self.firsts[size..].iter().map(|seen| seen.count).sum();
        say(marks, "cleanmarkers and begin markers stand at its multiples");
        let starts = self.starts[size..].iter().map(|seen| seen.count).sum();
        say(starts, "nodes start at its multiples");
        let crossings = self.crossings[..size].iter().map(|seen| seen.count).sum();
        say(crossings, "nodes cross boundaries of smaller sizes");
        if said.is_empty() { "none: the usual size is assumed".into() } else { said.join(", ") }
    }

    fn kind(&self, eraseblock: u32) -> (FlashKind, u32) {
        let kind = if self.cleanmarkers > 0 { FlashKind::Nor } else { FlashKind::Nand };
        // Linux makes cleanmarkers as long as the units in which NOR with a write buffer is written.
        match self.cleanmarker_len {
            len @ (16 | 32 | 64) => (kind, len),
            _ => (kind, usual_page_size(kind, eraseblock)),
        }
    }
}

/// Which size's odd multiple an offset is; 0 is a multiple of all, and none of those below 4 KiB count.
fn size_class(offset: u64) -> Option<usize> {
    let zeros = offset.trailing_zeros();
    (offset != 0 && zeros >= LEAST).then(|| ((zeros - LEAST) as usize).min(SIZES - 1))
}

fn bytes(size: usize) -> u32 {
    1 << (LEAST + size as u32)
}

fn fits(file_size: u64, size: usize) -> bool {
    file_size.is_multiple_of(u64::from(bytes(size)))
}

/// Reads until `buf` holds two windows; whether there may be more.
fn fill(reader: &mut impl Read, buf: &mut Vec<u8>) -> io::Result<bool> {
    let mut filled = buf.len();
    buf.resize(2 * WINDOW, 0);
    while filled < buf.len() {
        match reader.read(&mut buf[filled..]) {
            Ok(0) => {
                buf.truncate(filled);
                return Ok(false);
            }
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Least unit of programming that flash of this kind and eraseblock size usually has, bytes.
#[must_use]
pub fn usual_page_size(kind: FlashKind, eraseblock: u32) -> u32 {
    match (kind, eraseblock) {
        (FlashKind::Nor, _) => 1,
        (FlashKind::Nand, ..=0x4000) => 512,
        (FlashKind::Nand, 0x4001..=0x2_0000) => 2048,
        (FlashKind::Nand, _) => 4096,
    }
}

/// A size for a message: `64 KiB`.
#[must_use]
pub fn show_size(bytes: u32) -> String {
    match bytes {
        0x10_0000.. if bytes.is_multiple_of(0x10_0000) => format!("{} MiB", bytes >> 20),
        1024.. if bytes.is_multiple_of(1024) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}
