//! What an image file says about itself: byte order, eraseblock size, kind of flash.
//!
//! A file has no field for any of these, but its nodes betray them. No node crosses an eraseblock; an eraseblock that
//! holds anything starts with a node, unless its head is blank; cleanmarkers and begin markers stand at eraseblock
//! starts only; a summary ends its eraseblock and says where in it it starts, a commit marker says the index of the
//! eraseblock that it stands in. [`Survey::of`] counts all that in one pass, [`Survey::detect`] concludes,
//! [`Survey::check_eraseblock`] holds a size that somebody claims against it.

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
/// The size that is assumed when nothing speaks for any: 64 KiB.
const USUAL: usize = 4;
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
    /// Summaries and commit markers that give this very size.
    stated: [Seen; SIZES],
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

    /// Whether eraseblocks of `given` bytes are possible; what is no power of two is for [`Geometry`] to refuse.
    ///
    /// [`Geometry`]: crate::flash::Geometry
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
    fn eraseblock(&self, file_size: u64) -> (u32, bool) {
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
    fn against(&self, given: u32) -> Option<String> {
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

    fn evidence(&self, eraseblock: u32) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Cleanmarker;
    use std::vec;

    const E: Endian = Endian::Little;

    /// Eraseblocks of 32 KiB, each begun by `first` and filled with names.
    fn image(blocks: usize, mut first: impl FnMut(usize, &mut Vec<u8>)) -> Vec<u8> {
        let mut all = Vec::new();
        for block in 0..blocks {
            let mut bytes = Vec::new();
            first(block, &mut bytes);
            while bytes.len() + 96 <= 0x8000 {
                Dirent { pino: 1, version: 1, ino: 2, mctime: 0, kind: 8, name: &[b'n'; 55] }.emit(E, &mut bytes);
            }
            bytes.resize(0x8000, 0xff);
            all.append(&mut bytes);
        }
        all
    }

    fn detect(image: &[u8]) -> Detected {
        Survey::of(image).unwrap().detect().unwrap()
    }

    #[test]
    fn eraseblocks_without_cleanmarkers_do_not_double_the_size() {
        let mixed = image(8, |block, bytes| {
            if block % 2 == 0 {
                Cleanmarker::emit(E, bytes, 12);
            }
        });
        let found = detect(&mixed);
        assert_eq!((found.eraseblock, found.sure, found.kind), (0x8000, true, FlashKind::Nor));
        assert!(Survey::of(&mixed[..]).unwrap().check_eraseblock(0x1_0000).is_ok());
    }

    #[test]
    fn begin_markers_stand_at_eraseblock_starts() {
        let begin = Marker {
            kind: MarkerKind::Begin,
            commit_point: None,
            sequence: 1,
            txid: [1; 16],
            commit_block: u32::MAX,
            nodes: 0,
            bytes: 0,
            time: 0,
            digest: [0; 32],
            label: String::new(),
        };
        let survey = Survey::of(&image(4, |_, bytes| begin.emit(E, bytes))[..]).unwrap();
        assert_eq!(survey.detect().unwrap().eraseblock, 0x8000);
        assert!(matches!(survey.check_eraseblock(0x1_0000), Err(DetectError::Eraseblock { likely: 0x8000, .. })));
        assert!(matches!(survey.check_eraseblock(0x4000), Err(DetectError::Eraseblock { likely: 0x8000, .. })));
    }

    #[test]
    fn one_stray_node_does_not_outvote_the_rest() {
        let mut bytes = image(40, |_, _| {});
        // Part of some other image, in a file that was stored as it is and lost its own header.
        bytes.truncate(0x12_7fa0);
        Dirent { pino: 1, version: 1, ino: 2, mctime: 0, kind: 8, name: &[b'n'; 200] }.emit(E, &mut bytes);
        assert_eq!(detect(&bytes).eraseblock, 0x8000);
    }

    #[test]
    fn nodes_are_found_wherever_reads_and_windows_end() {
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let len = buf.len().min(7001);
                self.0.read(&mut buf[..len])
            }
        }
        let bytes = image(200, |_, _| {});
        let survey = Survey::of(Slow(&bytes)).unwrap();
        assert_eq!(survey.nodes(E), 200 * (0x8000 / 96));
        assert_eq!(survey.detect().unwrap(), detect(&bytes));
    }

    #[test]
    fn nothing_to_go_by_is_not_sure() {
        let mut bytes = Vec::new();
        Cleanmarker::emit(E, &mut bytes, 16);
        let found = detect(&bytes);
        assert_eq!((found.eraseblock, found.page_size, found.sure), (0x1_0000, 16, false));
        bytes.resize(0x5000, 0xff);
        assert_eq!(detect(&bytes).eraseblock, 0x1000);
        assert!(matches!(Survey::of(&vec![0xff; 5000][..]).unwrap().detect(), Err(DetectError::Blank)));
        assert!(matches!(Survey::of(io::empty()).unwrap().detect(), Err(DetectError::Empty)));
    }
}
