//! What an image file says about itself: byte order, eraseblock size, kind of flash.
//!
//! A file has no field for any of these, but its nodes betray them. No node crosses an eraseblock; an eraseblock that
//! holds anything starts with a node, unless its head is blank; cleanmarkers and begin markers stand at eraseblock
//! starts only; a summary ends its eraseblock and says where in it it starts, a commit marker says the index of the
//! eraseblock that it stands in. [`Survey::of`] counts all that in one pass, [`Survey::detect`] concludes,
//! [`Survey::check_eraseblock`] holds a size that somebody claims against it.

use std::format;
use std::fs::File;
use std::io::{self, Read};
use std::string::String;
#[cfg(test)]
use std::vec::Vec;

use crate::flash::oob::find_cleanmarker;
use crate::flash::{Container, FlashKind, OobLayout};
use crate::scan::blank_prefix;
use crate::wire::{Endian, Header, nodetype};

mod dump;
mod tally;
#[cfg(test)]
mod tests;
mod walk;

pub use dump::{LAYOUTS, Oob};
pub(crate) use walk::{Rest, walk};

use dump::Votes;
use tally::{SIZES, Seen, SpareMarks, Tally, size_class};

/// Largest eraseblock that is detected, bytes; larger ones must be given. No node in a smaller one is longer.
pub const MAX_DETECTED: u32 = 1 << 20;

/// What OpenWrt puts at the start of the eraseblock that ends a file system; the rest is erased at the first mount.
pub const END_MARK: [u8; 4] = [0xde, 0xad, 0xc0, 0xde];

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
    /// Spare bytes between its pages, if it is a dump that holds them.
    pub oob: Option<Oob>,
    /// Where an end mark ends the file system: an offset in its data, a multiple of the eraseblock size.
    pub end: Option<u64>,
    /// The node that the end of the file cuts.
    pub cut: Option<Cut>,
}

/// A node that the end of the file cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where it starts, an offset in the image's data.
    pub at: u64,
    /// Bytes of it that are not in the file.
    pub missing: u64,
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
    /// The file system ends where it starts.
    #[error("an end mark (de ad c0 de) at its start says that the file system is empty")]
    Ended,
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

/// What a pass over an image file found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    little: Tally,
    big: Tally,
    /// Of the data before the first end mark, if there is one.
    before_mark: Option<(Tally, Tally)>,
    end_marks: EndMarks,
    votes: Votes,
    oob: Option<Oob>,
    cut: Option<Cut>,
    size: u64,
    written: bool,
}

/// End marks at multiples of 4 KiB, sorted as nodes are.
#[derive(Clone, Debug, Default)]
struct EndMarks {
    at_start: bool,
    at: [Seen; SIZES],
}

impl Survey {
    /// Reads an image's data to its end. Memory: 2 MiB, whatever its size.
    ///
    /// # Errors
    /// [`DetectError::Io`].
    pub fn of(reader: impl Read) -> Result<Self, DetectError> {
        let mut survey = Self::default();
        survey.size = walk(reader, |at, rest| survey.step(at, rest))?;
        Ok(survey)
    }

    /// Reads an image in its file to its end, twice if it turns out to be a dump. `oob` is the layout if it is known,
    /// `Some(None)` if there are no spare bytes; `at` has no say in it. Memory: 3 MiB, whatever its size.
    ///
    /// # Errors
    /// [`DetectError::Io`].
    pub fn of_file(file: &File, at: Container, oob: Option<Option<OobLayout>>) -> Result<Self, DetectError> {
        let at = Container { oob: None, ..at };
        match oob {
            Some(None) => Self::of(at.reader(file, |_, _| {})),
            Some(Some(layout)) => Self::of_dump(file, at, Oob { layout, evidence: "given".into(), sure: true }),
            None => {
                let plain = Self::of(at.reader(file, |_, _| {}))?;
                plain.dump().map_or(Ok(plain), |oob| Self::of_dump(file, at, oob))
            }
        }
    }

    /// Reads a dump in its file to its end.
    pub(crate) fn of_dump(file: &File, at: Container, oob: Oob) -> Result<Self, DetectError> {
        let container = Container { oob: Some(oob.layout), ..at };
        let mut marks = [SpareMarks::default(), SpareMarks::default()];
        let mut survey = Self::of(container.reader(file, |at, spare| match find_cleanmarker(spare) {
            Some((Endian::Little, _)) => marks[0].add(at),
            Some((Endian::Big, _)) => marks[1].add(at),
            None => {}
        }))?;
        survey.oob = Some(oob);
        for (little, big) in
            [(&mut survey.little, &mut survey.big)].into_iter().chain(survey.before_mark.as_mut().map(|(l, b)| (l, b)))
        {
            little.add_spare(&marks[0]);
            big.add_spare(&marks[1]);
        }
        Ok(survey)
    }

    /// The spare bytes between the pages of what was read, if it is a dump.
    #[must_use]
    pub fn dump(&self) -> Option<Oob> {
        self.votes.conclude()
    }

    /// The spare bytes that were left out of what was read.
    #[must_use]
    pub fn oob(&self) -> Option<&Oob> {
        self.oob.as_ref()
    }

    /// Takes what stands at the start of `rest`, offset `at`; the bytes to go on by.
    fn step(&mut self, at: u64, rest: Rest<'_>) -> usize {
        let Rest { bytes, last } = rest;
        let blank = blank_prefix(bytes);
        if blank == bytes.len() || blank >= 4 {
            return (blank & !3).max(4);
        }
        self.written = true;
        // Those in spare bytes have no CRC, and need not stand at multiples of 4.
        self.votes.take_cleanmarker(at + blank as u64, &bytes[blank..]);
        if bytes.starts_with(&END_MARK) {
            self.take_end_mark(at);
        }
        let (endian, tally) = match bytes {
            [0x85, 0x19, ..] => (Endian::Little, &mut self.little),
            [0x19, 0x85, ..] => (Endian::Big, &mut self.big),
            _ => return 4,
        };
        if let Some(len) = tally.take(endian, at, bytes) {
            self.votes.take_node(endian, at, len, bytes);
            return len.max(4);
        }
        if last {
            self.cut = self.cut.or(cut(endian, at, bytes));
        }
        4
    }

    fn take_end_mark(&mut self, at: u64) {
        match size_class(at) {
            Some(size) => self.end_marks.at[size].add(at),
            None if at == 0 => self.end_marks.at_start = true,
            None => return,
        }
        self.before_mark.get_or_insert_with(|| (self.little.clone(), self.big.clone()));
    }

    /// Concludes.
    ///
    /// # Errors
    /// [`DetectError::Empty`], [`DetectError::Blank`], [`DetectError::NotJffs2`], [`DetectError::Ended`].
    pub fn detect(&self) -> Result<Detected, DetectError> {
        let endian = self.endian()?;
        let tally = self.tally(endian);
        let (eraseblock, sure) = tally.eraseblock(self.size);
        let (kind, page_size) = self.kind(eraseblock)?;
        let evidence = tally.evidence(eraseblock);
        let (oob, end) = (self.oob.clone(), self.end(eraseblock));
        let cut = self.cut.filter(|cut| end.is_none_or(|end| cut.at < end));
        Ok(Detected { endian, eraseblock, kind, page_size, evidence, sure, oob, end, cut })
    }

    /// Where an end mark ends the file system if its eraseblocks are of so many bytes.
    #[must_use]
    pub fn end(&self, eraseblock: u32) -> Option<u64> {
        let size = size_class(u64::from(eraseblock))?;
        self.end_marks.at[size..].iter().filter(|seen| seen.count > 0).map(|seen| seen.first).min()
    }

    /// The byte order that more nodes are in.
    ///
    /// # Errors
    /// As [`Survey::detect`].
    pub fn endian(&self) -> Result<Endian, DetectError> {
        let weight = |endian| {
            let tally = self.tally(endian);
            tally.nodes + tally.spare_cleanmarkers
        };
        match (weight(Endian::Little), weight(Endian::Big)) {
            _ if self.end_marks.at_start => Err(DetectError::Ended),
            (0, 0) if self.size == 0 => Err(DetectError::Empty),
            (0, 0) if !self.written => Err(DetectError::Blank),
            (0, 0) => Err(DetectError::NotJffs2),
            (little, big) => Ok(if little >= big { Endian::Little } else { Endian::Big }),
        }
    }

    /// Number of valid nodes in a byte order.
    #[must_use]
    pub fn nodes(&self, endian: Endian) -> u64 {
        self.tally(endian).nodes
    }

    /// Length of the cleanmarkers in band, bytes; 0 if there are none.
    #[must_use]
    pub fn cleanmarker_len(&self, endian: Endian) -> u32 {
        self.tally(endian).cleanmarker_len
    }

    /// The kind of flash and the write unit in bytes, if its eraseblocks have this size.
    ///
    /// # Errors
    /// As [`Survey::detect`].
    pub fn kind(&self, eraseblock: u32) -> Result<(FlashKind, u32), DetectError> {
        if let Some(oob) = &self.oob {
            return Ok((FlashKind::Nand, oob.layout.page()));
        }
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

    /// What counts: nodes before the first end mark, if it is one by what they say.
    fn tally(&self, endian: Endian) -> &Tally {
        let before = self.before_mark.as_ref().filter(|(little, big)| {
            let more = if little.nodes >= big.nodes { little } else { big };
            more.nodes > 0 && self.end(more.eraseblock(self.size).0).is_some()
        });
        match (endian, before) {
            (Endian::Little, Some((little, _))) => little,
            (Endian::Little, None) => &self.little,
            (Endian::Big, Some((_, big))) => big,
            (Endian::Big, None) => &self.big,
        }
    }
}

/// The node at the start of `bytes`, the image's last ones, if they are not all of it.
fn cut(endian: Endian, at: u64, bytes: &[u8]) -> Option<Cut> {
    let header = Header::parse(endian, bytes).ok()?;
    let known = matches!(
        header.nodetype,
        nodetype::INODE
            | nodetype::DIRENT
            | nodetype::SUMMARY
            | nodetype::XATTR
            | nodetype::XREF
            | nodetype::TX_MARKER
            | nodetype::COPY_MARKER
    );
    let missing = u64::from(header.totlen).checked_sub(bytes.len() as u64)?;
    (known && missing > 0 && header.totlen <= MAX_DETECTED).then_some(Cut { at, missing })
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
