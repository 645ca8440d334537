//! Packs an image that is there into eraseblocks that end in summaries: what sumtool is for.
//!
//! [`summarize`] reads eraseblock by eraseblock, by the rules of a reader with summaries (`FORMAT.md` section 3), and
//! copies what that reader sees, in the order that it stands in: of nodes of equal version the later one wins, so the tree
//! stays what it was. Memory: two eraseblocks, and 2 MiB for the first look at the image.
//!
//! # What becomes of each node
//! - Those that readers see are copied as they are, with their versions: superseded ones and deletions too, as these keep
//!   older nodes from coming back, and inode nodes and attributes with bad data, which say that something is lost.
//! - Nodes marked obsolete, or that no reader sees (behind a blank head, or not listed by a summary), are left out.
//! - What is damaged in header or fields is no node to any reader and is left out; [`Report::damage`] counts it.
//! - Nodes of unknown types go by their compatibility bits, as in Linux's garbage collector: copied, left out, or the
//!   image is refused. A summary cannot list them, so the eraseblock of a copied one has none.
//! - Cleanmarkers, padding and summaries are made anew; eraseblocks without a node are left out.
//! - A transaction's markers say where it stands, which changes: they are left out. What it wrote stays as visible as it
//!   was. If it was not committed that is files without a name, which Linux frees when it mounts.
//! - A node that leaves no room for a summary goes into an eraseblock that has none.

use std::io::{self, Read, Seek, SeekFrom, Write};

use jffs2_tx::detect::{DetectError, Survey};
use jffs2_tx::flash::{Geometry, GeometryError, OobLayout};
use jffs2_tx::scan::{BlockScan, BlockState, Rules, UnknownRecord, incompatible, scan_block};
use jffs2_tx::wire::{Compat, Endian, HEADER_SIZE, Header};

use crate::packer::Packer;
use crate::{BuildError, Pad};

/// What the image with summaries is to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Byte order of the image.
    pub endian: Endian,
    /// Its eraseblock size, bytes: a power of two from 4 KiB to 16 MiB.
    pub eraseblock: u32,
    /// What each eraseblock starts with.
    pub cleanmarkers: Cleanmarkers,
    /// Whether a last eraseblock without a summary is padded with 0xFF. Those with one are whole anyway.
    pub pad: bool,
}

/// Cleanmarkers of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanmarkers {
    /// As in the image that is read.
    AsRead,
    /// None: for NAND and UBI.
    None,
    /// So many bytes, at least 12 and less than an eraseblock.
    Of(u32),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Size of the new image, bytes.
    pub bytes: u64,
    /// Its eraseblocks.
    pub eraseblocks: u32,
    /// Of those, without a summary.
    pub unlisted_blocks: u32,
    /// Nodes that were copied.
    pub nodes: u64,
    /// Markers of transactions, and nodes of unknown types that may be left out.
    pub left_out: u64,
    /// Damaged places in what readers see.
    pub damage: u64,
    /// Where the first one is, bytes from the start of the image that was read.
    pub first_damage: Option<u32>,
    /// Where OpenWrt's end mark ended the file system that was read; neither it nor what is behind it is copied.
    pub end_mark: Option<u64>,
}

/// Why an image gets no summaries.
#[derive(Debug, thiserror::Error)]
pub enum SumError {
    /// It is no image, or its eraseblock size is another.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// It has the other byte order.
    #[error("the image is {} endian: give {}", match .0 { Endian::Little => "little" , Endian::Big => "big" },
        match .0 { Endian::Little => "-l", Endian::Big => "-b" })]
    Endian(Endian),
    /// Eraseblocks of this size cannot be.
    #[error("eraseblock size {0} is not a power of two from 4 KiB to 16 MiB: take the flash's own")]
    Eraseblock(u32),
    /// Cleanmarkers of this size cannot be.
    #[error("cleanmarkers of {0} bytes: they have at least 12, and less than an eraseblock")]
    Cleanmarker(u32),
    /// Offsets on the flash have 32 bits.
    #[error("the image has {0} bytes: JFFS2 addresses less than 4 GiB")]
    FourGib(u64),
    /// There are spare bytes between its pages.
    #[error("this is a NAND dump with spare bytes ({0}): take the image without them")]
    Spare(OobLayout),
    /// The file ends too early.
    #[error("the image ends in the node at {at:#x}, {missing} bytes before its end: it is not whole, build it again")]
    Cut {
        /// Where the node starts, bytes.
        at: u64,
        /// Bytes that are missing.
        missing: u64,
    },
    /// A node that only a reader that knows its type may handle.
    #[error("the node at {:#x} has type {:#06x}, which must be known to write this image: take the tools that made it",
        .0.at, .0.nodetype)]
    Unknown(UnknownRecord),
    /// The image cannot be read.
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    /// The new image cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Copies the image in `input`, from its start to its end, to `out`, with summaries. An empty or blank image, which is an
/// empty file system, gives nothing.
///
/// # Errors
/// [`SumError`]. What has been written by then is no image: throw it away.
pub fn summarize(input: impl Read + Seek, options: &Options, out: &mut impl Write) -> Result<Report, SumError> {
    let mut input = input;
    let Some(source) = Source::of(&mut input, options)? else { return Ok(Report::default()) };
    let mut copy = Copy { source, report: Report { end_mark: source.end_mark, ..Report::default() } };
    let mut packer = Packer::new(out, &source.packing(options));
    input.seek(SeekFrom::Start(0)).map_err(SumError::Read)?;
    let mut bytes = Vec::with_capacity(options.eraseblock as usize);
    for block in 0..source.geometry.blocks() {
        bytes.clear();
        (&mut input).take(options.eraseblock.into()).read_to_end(&mut bytes).map_err(SumError::Read)?;
        bytes.resize(options.eraseblock as usize, 0xff);
        copy.block(block, &bytes, &mut packer)?;
    }
    let size = packer.finish(if options.pad { Pad::Eraseblock } else { Pad::None })?;
    let (bytes, eraseblocks, unlisted_blocks, nodes) = (size.bytes, size.eraseblocks, size.unlisted_blocks, size.nodes);
    Ok(Report { bytes, eraseblocks, unlisted_blocks, nodes, ..copy.report })
}

/// The image that is read.
#[derive(Clone, Copy)]
struct Source {
    geometry: Geometry,
    endian: Endian,
    /// Length of a cleanmarker in the new image, bytes; 0 for none.
    cleanmarker: u32,
    end_mark: Option<u64>,
}

impl Source {
    /// Looks all of it over; `None` if there is nothing in it.
    fn of(input: &mut (impl Read + Seek), options: &Options) -> Result<Option<Self>, SumError> {
        let Options { endian, eraseblock, cleanmarkers, .. } = *options;
        if !eraseblock.is_power_of_two() || !(4 << 10..=16 << 20).contains(&eraseblock) {
            return Err(SumError::Eraseblock(eraseblock));
        }
        let len = input.seek(SeekFrom::End(0)).map_err(SumError::Read)?;
        if len > u64::from(u32::MAX) {
            return Err(SumError::FourGib(len));
        }
        input.seek(SeekFrom::Start(0)).map_err(SumError::Read)?;
        let survey = Survey::of(input)?;
        let found = match survey.detect() {
            Err(DetectError::Empty | DetectError::Blank) => return Ok(None),
            found => found?,
        };
        if let Some(oob) = survey.dump() {
            return Err(SumError::Spare(oob.layout));
        }
        if found.endian != endian {
            return Err(SumError::Endian(found.endian));
        }
        survey.check_eraseblock(eraseblock)?;
        if let Some(cut) = found.cut {
            return Err(SumError::Cut { at: cut.at, missing: cut.missing });
        }
        let cleanmarker = match cleanmarkers {
            Cleanmarkers::AsRead => survey.cleanmarker_len(endian),
            Cleanmarkers::None => 0,
            Cleanmarkers::Of(len) if len < HEADER_SIZE as u32 => return Err(SumError::Cleanmarker(len)),
            Cleanmarkers::Of(len) => len,
        };
        if cleanmarker >= eraseblock {
            return Err(SumError::Cleanmarker(cleanmarker));
        }
        let end_mark = survey.end(eraseblock);
        let (kind, write_size) = survey.kind(eraseblock)?;
        let size = end_mark.unwrap_or(len).next_multiple_of(eraseblock.into());
        let geometry = Geometry::new(kind, size, eraseblock, write_size).map_err(|error| match error {
            GeometryError::Size { .. } => SumError::FourGib(len),
            _ => SumError::Eraseblock(eraseblock),
        })?;
        Ok(Some(Self { geometry, endian, cleanmarker, end_mark }))
    }

    fn packing(&self, options: &Options) -> crate::Options {
        crate::Options {
            endian: self.endian,
            eraseblock: options.eraseblock,
            cleanmarkers: self.cleanmarker != 0,
            cleanmarker_size: self.cleanmarker,
            summary: true,
            ..crate::Options::default()
        }
    }
}

struct Copy {
    source: Source,
    report: Report,
}

impl Copy {
    /// Copies what readers see of an eraseblock.
    fn block(&mut self, block: u32, bytes: &[u8], packer: &mut Packer<impl Write>) -> Result<(), SumError> {
        let Source { geometry, endian, .. } = self.source;
        let found = scan_block(&geometry, Rules { endian, summaries: true }, block, bytes, false);
        if found.state != BlockState::Used {
            return Ok(());
        }
        if let Some(node) = refused(&found) {
            return Err(SumError::Unknown(node));
        }
        self.count(&found);
        for at in to_copy(&found) {
            let rest = &bytes[(at - geometry.offset_of(block)) as usize..];
            let len = Header::parse(endian, rest).map_or(0, |header| header.totlen as usize);
            packer.place(&rest[..len.clamp(HEADER_SIZE, rest.len())])?;
        }
        Ok(())
    }

    fn count(&mut self, found: &BlockScan) {
        let is_left_out = |node: &&UnknownRecord| Compat::of(node.nodetype) == Compat::Delete;
        self.report.left_out += (found.markers.len() + found.unknown.iter().filter(is_left_out).count()) as u64;
        self.report.damage += u64::from(found.damage_count);
        self.report.first_damage = self.report.first_damage.or(found.damage.first().map(|damage| damage.at));
    }
}

/// The first node that forbids to write what is in its image to those who do not know it.
fn refused(found: &BlockScan) -> Option<UnknownRecord> {
    let read_only = || found.unknown.iter().copied().find(|node| Compat::of(node.nodetype) == Compat::ReadOnly);
    incompatible(found).or_else(read_only)
}

/// Where the nodes are that the new image needs, ascending.
fn to_copy(found: &BlockScan) -> Vec<u32> {
    let unknown = found.unknown.iter().filter(|node| Compat::of(node.nodetype) == Compat::Copy).map(|node| node.at);
    let mut places: Vec<u32> = unknown
        .chain(found.inodes.iter().map(|node| node.at))
        .chain(found.dirents.iter().map(|node| node.at))
        .chain(found.xattrs.iter().map(|node| node.at))
        .chain(found.xrefs.iter().map(|node| node.at))
        .collect();
    places.sort_unstable();
    places
}
