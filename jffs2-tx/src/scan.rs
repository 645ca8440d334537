//! Eraseblocks to located nodes, by the rules of stock readers (`FORMAT.md` section 3; Linux fs/jffs2/scan.c).
//!
//! An eraseblock is scanned on its own: [`scan_block`] is a function of its bytes. What it finds is compact records;
//! names are kept, data is not.

use alloc::{vec, vec::Vec};

use crate::error::ReadError;
use crate::flash::{Ecc, Flash, FlashKind, Geometry};
use crate::wire::{
    CommitPoint, Compat, CopyMarker, Dirent, Endian, HEAD_SIZE, Header, Inode, Marker, MarkerKind, Summary, WireError,
    nodetype, pad4,
};

mod evidence;
mod places;
mod suspect;
mod xattrs;

pub use places::{Place, Places};
pub use suspect::{Held, Suspect, damaged_name};
pub use xattrs::{XattrRecord, XrefRecord};

/// If so many bytes at the start of an eraseblock are 0xFF, Linux takes it for empty.
pub const EMPTY_SCAN_SIZE: usize = 256;
/// A cleanmarker with 0xFF behind it up to here means that the eraseblock is free; Linux reads no further.
pub const CLEANMARKER_SCAN_SIZE: usize = 32;
/// Most places of damage that are listed for one eraseblock; the rest are counted.
pub const MAX_DAMAGE: usize = 64;

/// Most markers that are looked at in one eraseblock: no transaction leaves more than three there. What is done for
/// each of them is bounded so.
pub const MAX_MARKERS: usize = 4;

/// Which reader's rules to see the flash by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Byte order of the image.
    pub endian: Endian,
    /// Whether summaries are believed: true for Linux with CONFIG_JFFS2_SUMMARY, false for Linux without, and for
    /// most boot firmware.
    pub summaries: bool,
}

/// What an eraseblock is to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Marked bad.
    Bad,
    /// Every byte is 0xFF, and nothing says that it was erased completely: to be erased before use.
    Blank,
    /// Free: a cleanmarker and nothing else.
    Clean,
    /// The reader sees nothing in it, but something is there.
    Hidden,
    /// The reader sees its nodes.
    Used,
}

/// What one eraseblock holds. Offsets are from the start of the flash.
#[derive(Clone, Debug)]
pub struct BlockScan {
    /// What it is to the reader.
    pub state: BlockState,
    /// The visible nodes are those that a valid summary lists.
    pub by_summary: bool,
    /// Nodes stand in it that its summary does not list.
    pub unlisted: bool,
    /// Its first [`EMPTY_SCAN_SIZE`] bytes are 0xFF.
    pub head_blank: bool,
    /// Visible inode nodes, ascending by offset.
    pub inodes: Vec<InodeRecord>,
    /// Visible dirents, ascending by offset.
    pub dirents: Vec<DirentRecord>,
    /// The dirents' names, one after the other.
    pub names: Vec<u8>,
    /// Visible extended attributes, ascending by offset.
    pub xattrs: Vec<XattrRecord>,
    /// Visible ties of extended attributes to inodes, ascending by offset.
    pub xrefs: Vec<XrefRecord>,
    /// Markers of transactions, visible or not, the first [`MAX_MARKERS`].
    pub markers: Vec<MarkerRecord>,
    /// Markers of collections, the first [`MAX_MARKERS`].
    pub copy_markers: Vec<CopyMarkerRecord>,
    /// Visible nodes of unknown types.
    pub unknown: Vec<UnknownRecord>,
    /// Places where nodes are damaged, at most [`MAX_DAMAGE`].
    pub damage: Vec<Damage>,
    /// All places of damage.
    pub damage_count: u32,
    /// Those that still say what they were, and would be visible.
    pub suspects: Vec<Suspect>,
    /// End of the last node, visible or not; the eraseblock's start if there is none.
    pub end: u32,
    /// End of the last byte that is not 0xFF.
    pub written_end: u32,
    /// Highest inode number in any node, visible or not.
    pub max_ino: u32,
    /// Uncorrectable pages were read.
    pub uncorrectable: bool,
}

/// An inode node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeRecord {
    /// Inode number.
    pub ino: u32,
    /// Version.
    pub version: u32,
    /// Flash offset of the node.
    pub at: u32,
    /// Where its data starts in the file.
    pub offset: u32,
    /// Bytes of the file that it covers.
    pub dsize: u32,
    /// Bytes stored.
    pub csize: u32,
    /// File size as of this node.
    pub isize: u32,
    /// `st_mode`.
    pub mode: u16,
    /// Compressor number.
    pub compression: u8,
    /// The stored data agrees with its CRC. If not, the node counts for nothing but that the inode exists.
    pub good: bool,
}

impl InodeRecord {
    /// The record of the node at `at`, whose bytes are `node`.
    pub(crate) fn of(at: u32, inode: &Inode, node: &[u8]) -> Self {
        // An old bug wrote hole nodes with csize and dsize swapped; Linux reads them, so must we.
        let swapped = inode.compression.id() == 1 && inode.dsize == 0;
        Self {
            ino: inode.ino,
            version: inode.version,
            at,
            offset: inode.offset,
            dsize: if swapped { inode.csize } else { inode.dsize },
            csize: inode.csize,
            isize: inode.isize,
            mode: inode.mode as u16,
            compression: inode.compression.id(),
            good: inode.data_is_good(node),
        }
    }
}

/// A dirent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirentRecord {
    /// Inode number of the directory.
    pub pino: u32,
    /// Version.
    pub version: u32,
    /// Inode number that the name leads to, 0 for a deletion.
    pub ino: u32,
    /// The directory's time.
    pub mctime: u32,
    /// Flash offset of the node.
    pub at: u32,
    /// Where the name starts in [`BlockScan::names`].
    pub name_start: u32,
    /// Length of the name.
    pub name_len: u8,
    /// DT_* type.
    pub kind: u8,
}

/// A transaction's marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerRecord {
    /// Flash offset of the node.
    pub at: u32,
    /// The marker.
    pub marker: Marker,
    /// Stands in the head of a commit block: a copy that is the commit itself.
    pub in_head: bool,
}

/// A collection's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyMarkerRecord {
    /// Flash offset of the node.
    pub at: u32,
    /// The marker.
    pub marker: CopyMarker,
}

/// A node of a type that this reader does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRecord {
    /// Flash offset of the node.
    pub at: u32,
    /// Its type.
    pub nodetype: u16,
}

/// A place where there should be a node and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Flash offset.
    pub at: u32,
    /// Why it is no node.
    pub reason: WireError,
}

impl BlockScan {
    fn empty(state: BlockState, start: u32) -> Self {
        Self {
            state,
            by_summary: false,
            unlisted: false,
            head_blank: true,
            inodes: Vec::new(),
            dirents: Vec::new(),
            names: Vec::new(),
            xattrs: Vec::new(),
            xrefs: Vec::new(),
            markers: Vec::new(),
            copy_markers: Vec::new(),
            unknown: Vec::new(),
            damage: Vec::new(),
            damage_count: 0,
            suspects: Vec::new(),
            end: start,
            written_end: start,
            max_ino: 0,
            uncorrectable: false,
        }
    }

    /// Name of one of its dirents.
    #[must_use]
    pub fn name(&self, dirent: &DirentRecord) -> &[u8] {
        let start = dirent.name_start as usize;
        self.names.get(start..start + usize::from(dirent.name_len)).unwrap_or_default()
    }

    /// Visible nodes that say something about the tree.
    #[must_use]
    pub fn visible_nodes(&self) -> usize {
        self.inodes.len() + self.dirents.len() + self.xattr_nodes()
    }

    /// Visible nodes of extended attributes: the attributes, and their ties to inodes.
    #[must_use]
    pub fn xattr_nodes(&self) -> usize {
        self.xattrs.len() + self.xrefs.len()
    }

    /// The eraseblock has a summary that only a kernel can have written.
    #[must_use]
    pub fn summary_of_kernel(&self) -> bool {
        evidence::kernel_wrote_summary(self)
    }

    /// A reader without summaries sees nothing here, a reader with them sees nodes.
    #[must_use]
    pub fn summary_only(&self) -> bool {
        self.by_summary && self.head_blank
    }

    fn note_damage(&mut self, at: u32, reason: WireError) {
        self.damage_count += 1;
        if self.damage.len() < MAX_DAMAGE {
            self.damage.push(Damage { at, reason });
        }
    }

    /// Takes back all that is visible; markers and what is known of the space stay.
    fn hide(&mut self) {
        self.inodes = Vec::new();
        self.dirents = Vec::new();
        self.names = Vec::new();
        self.unknown = Vec::new();
        self.xattrs = Vec::new();
        self.xrefs = Vec::new();
        self.suspects = Vec::new();
    }
}

/// Scans the whole flash, eraseblock by eraseblock; `each` gets every index and what it holds.
///
/// # Errors
/// [`ReadError::Device`] if an eraseblock cannot be read at all.
pub fn scan<F: Flash>(
    flash: &F,
    rules: Rules,
    mut each: impl FnMut(u32, &BlockScan),
) -> Result<(), ReadError<F::Error>> {
    let mut buf = vec![0; flash.geometry().eraseblock() as usize];
    for block in 0..flash.geometry().blocks() {
        match flash.known_scan(rules, block) {
            Some(known) => each(block, &known),
            None => each(block, &scan_one(flash, rules, block, &mut buf)?),
        }
    }
    Ok(())
}

/// Reads eraseblock `block` into `buf` (an eraseblock long) and scans it.
///
/// # Errors
/// [`ReadError::Device`].
pub fn scan_one<F: Flash>(
    flash: &F,
    rules: Rules,
    block: u32,
    buf: &mut [u8],
) -> Result<BlockScan, ReadError<F::Error>> {
    let geometry = *flash.geometry();
    let offset = geometry.offset_of(block);
    let device = |error| ReadError::Device { offset, error };
    if flash.is_bad(block).map_err(device)? {
        return Ok(BlockScan::empty(BlockState::Bad, offset));
    }
    let ecc = flash.read(offset, buf).map_err(device)?;
    let oob_cleanmarker = flash.has_oob_cleanmarker(block).map_err(device)?;
    let mut found = scan_block(&geometry, rules, block, buf, oob_cleanmarker);
    found.uncorrectable = ecc == Ecc::Uncorrectable;
    Ok(found)
}

/// Scans the bytes of one eraseblock.
#[must_use]
pub fn scan_block(geometry: &Geometry, rules: Rules, block: u32, bytes: &[u8], oob_cleanmarker: bool) -> BlockScan {
    let start = geometry.offset_of(block);
    let blank = blank_prefix(bytes);
    if blank == bytes.len() {
        let state = if oob_cleanmarker { BlockState::Clean } else { BlockState::Blank };
        return BlockScan::empty(state, start);
    }
    let mut found = BlockScan::empty(BlockState::Used, start);
    found.head_blank = blank >= EMPTY_SCAN_SIZE;
    found.written_end = start + written_end(bytes) as u32;
    scan_nodes(rules.endian, start, bytes, blank & !3, &mut found);
    let summary = if rules.summaries { listed(rules.endian, start, bytes) } else { None };
    if let Some(listed) = summary {
        found.by_summary = true;
        keep_listed(&mut found, &listed);
    } else if found.head_blank {
        found.state = BlockState::Hidden;
        found.hide();
    } else if is_marked_clean(geometry, rules.endian, bytes) {
        let rest_blank = found.written_end <= start + geometry.cleanmarker_size();
        found.state = if rest_blank { BlockState::Clean } else { BlockState::Hidden };
        found.hide();
    }
    found
}

/// Number of bytes at the start that are 0xFF.
pub(crate) fn blank_prefix(bytes: &[u8]) -> usize {
    let whole = bytes.chunks_exact(64).take_while(|chunk| is_blank(chunk)).count() * 64;
    whole + bytes[whole..].iter().take_while(|byte| **byte == 0xff).count()
}

/// Where the bytes that are 0xFF to the end start.
pub(crate) fn written_end(bytes: &[u8]) -> usize {
    let whole = bytes.rchunks_exact(64).take_while(|chunk| is_blank(chunk)).count() * 64;
    let rest = bytes.len() - whole;
    rest - bytes[..rest].iter().rev().take_while(|byte| **byte == 0xff).count()
}

/// Without a branch for each byte, so that it becomes vector code.
fn is_blank(chunk: &[u8]) -> bool {
    chunk.iter().fold(0xff, |all, byte| all & byte) == 0xff
}

/// Linux's shortcut: a cleanmarker of the right length, then 0xFF as far as it looks.
pub(crate) fn is_marked_clean(geometry: &Geometry, endian: Endian, bytes: &[u8]) -> bool {
    let len = geometry.cleanmarker_size();
    geometry.kind() == FlashKind::Nor
        && Header::parse(endian, bytes)
            .is_ok_and(|header| !header.obsolete && header.nodetype == nodetype::CLEANMARKER && header.totlen == len)
        && bytes[len as usize..CLEANMARKER_SCAN_SIZE.max(len as usize + 4)].iter().all(|byte| *byte == 0xff)
}

/// Takes every node from `first` on that is not marked obsolete.
fn scan_nodes(endian: Endian, start: u32, bytes: &[u8], first: usize, found: &mut BlockScan) {
    for place in Places::new(endian, bytes, first) {
        match place {
            Place::Node { at, header, bytes: node } => {
                let end = (at + pad4(header.totlen).max(4) as usize).min(bytes.len());
                found.end = start + end as u32;
                if !header.obsolete {
                    take_node(endian, start, start + at as u32, &header, node, found);
                }
            }
            Place::Garbage { at, reason, .. } => note_damage(endian, start + at as u32, &bytes[at..], reason, found),
        }
    }
}

fn take_node(endian: Endian, start: u32, at: u32, header: &Header, node: &[u8], found: &mut BlockScan) {
    let outcome = match header.nodetype {
        nodetype::INODE => Inode::parse(endian, node).map(|inode| take_inode(at, &inode, node, found)),
        nodetype::DIRENT => Dirent::parse(endian, node).map(|dirent| take_dirent(at, &dirent, found)),
        nodetype::TX_MARKER => Marker::parse(endian, node).map(|marker| take_marker(start, at, marker, found)),
        nodetype::COPY_MARKER => CopyMarker::parse(endian, node).map(|marker| take_copy_marker(at, marker, found)),
        nodetype::XATTR => xattrs::take_xattr(endian, at, node, found),
        nodetype::XREF => xattrs::take_xref(endian, at, node, found),
        nodetype::CLEANMARKER | nodetype::PADDING | nodetype::SUMMARY => Ok(()),
        nodetype => {
            found.unknown.push(UnknownRecord { at, nodetype });
            Ok(())
        }
    };
    if let Err(reason) = outcome {
        note_damage(endian, at, node, reason, found);
    }
}

/// `bytes` start where the damage is.
fn note_damage(endian: Endian, at: u32, bytes: &[u8], reason: WireError, found: &mut BlockScan) {
    found.note_damage(at, reason);
    found.suspects.extend(Suspect::of(endian, at, bytes));
}

fn take_inode(at: u32, inode: &Inode, node: &[u8], found: &mut BlockScan) {
    let record = InodeRecord::of(at, inode, node);
    if !record.good {
        found.note_damage(at, WireError::DataCrc);
    }
    found.max_ino = found.max_ino.max(inode.ino);
    found.inodes.push(record);
}

fn take_dirent(at: u32, dirent: &Dirent<'_>, found: &mut BlockScan) {
    found.max_ino = found.max_ino.max(dirent.ino).max(dirent.pino);
    found.dirents.push(DirentRecord {
        pino: dirent.pino,
        version: dirent.version,
        ino: dirent.ino,
        mctime: dirent.mctime,
        at,
        name_start: found.names.len() as u32,
        name_len: dirent.name.len() as u8,
        kind: dirent.kind,
    });
    found.names.extend_from_slice(dirent.name);
}

fn take_marker(start: u32, at: u32, marker: Marker, found: &mut BlockScan) {
    if found.markers.len() == MAX_MARKERS {
        return;
    }
    let in_head = marker.kind != MarkerKind::Begin
        && marker.commit_point == Some(CommitPoint::Head)
        && at - start < HEAD_SIZE as u32;
    found.markers.push(MarkerRecord { at, marker, in_head });
}

fn take_copy_marker(at: u32, marker: CopyMarker, found: &mut BlockScan) {
    if found.copy_markers.len() < MAX_MARKERS {
        found.copy_markers.push(CopyMarkerRecord { at, marker });
    }
}

/// Offsets of the nodes that a valid summary lists, ascending; `None` if there is no valid summary.
fn listed(endian: Endian, start: u32, bytes: &[u8]) -> Option<Vec<u32>> {
    let at = Summary::locate(endian, bytes)?;
    let summary = Summary::parse(endian, &bytes[at..]).ok()?;
    let mut offsets: Vec<u32> = summary.entries.iter().map(|e| start.saturating_add(e.offset())).collect();
    offsets.sort_unstable();
    Some(offsets)
}

fn keep_listed(found: &mut BlockScan, listed: &[u32]) {
    let is_listed = |at: u32| listed.binary_search(&at).is_ok();
    let before = found.visible_nodes();
    found.inodes.retain(|node| is_listed(node.at));
    found.dirents.retain(|node| is_listed(node.at));
    found.xattrs.retain(|node| is_listed(node.at));
    found.xrefs.retain(|node| is_listed(node.at));
    found.unknown.retain(|node| is_listed(node.at));
    found.suspects.retain(|node| is_listed(node.at));
    found.unlisted = found.visible_nodes() < before;
}

/// The first node that forbids this reader to go on, if there is one.
#[must_use]
pub fn incompatible(found: &BlockScan) -> Option<UnknownRecord> {
    found.unknown.iter().copied().find(|node| Compat::of(node.nodetype) == Compat::Incompatible)
}
