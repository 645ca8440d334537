//! What updates have left on a flash, at a glance: the first bytes of each eraseblock, its last ones, and its summary;
//! not the whole flash.
//!
//! Markers of transactions stand where that is enough: at the start of payload blocks and of *head* and *dirent* commit
//! blocks, and behind the nodes that the summary of a *summary* commit block lists (`FORMAT.md` sections 6 and 7). Only an
//! eraseblock that starts with no node, or with a commit marker, is read whole; and all of the flash, once, if the last
//! transaction has no commit marker: the kernel drops those when it cleans.

use alloc::{vec, vec::Vec};
use core::cell::Cell;

use crate::error::ReadError;
use crate::flash::{Ecc, Flash, Geometry};
use crate::index::Index;
use crate::scan::{BlockState, MarkerRecord, Rules, blank_prefix, is_marked_clean, scan_one};
use crate::wire::{
    CommitPoint, Endian, HEAD_SIZE, Header, MARKER_SIZE, MAX_LABEL, Marker, MarkerKind, Summary, nodetype,
};

/// Bytes of an eraseblock's end that say whether there is a summary.
const TRAILER: u32 = 8;
/// The longest marker, bytes.
const MARKER_MAX: usize = MARKER_SIZE + MAX_LABEL;

/// What state updates have left a flash in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateState {
    /// No sign of a transaction that is on the flash.
    Clean,
    /// A transaction was cut. The tree is right; recovery gets the space back.
    Leftover,
    /// The last transaction was committed: the tree is what it made of it, or what has been changed since.
    Committed,
}

/// What a glance at a flash shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: UpdateState,
    /// The last transaction that was committed, if its marker is still there: its commit marker, or a begin marker.
    pub last: Option<Marker>,
    /// A transaction that was cut: a marker of it, if there is one.
    pub cut: Option<Marker>,
    /// Commits of which recovery would write a second copy.
    pub not_sealed: u32,
    /// Eraseblocks in which readers see nothing, but something is.
    pub hidden: u32,
    /// Eraseblocks that are blank or clean, as far as a glance tells.
    pub free: u32,
    /// Eraseblocks that are marked bad.
    pub bad: u32,
    /// All eraseblocks.
    pub blocks: u32,
    /// Bytes read.
    pub bytes_read: u64,
    /// Reads that error correction could not mend.
    pub uncorrectable: u32,
}

/// What one eraseblock shows.
enum Glimpse {
    Bad,
    Free,
    Hidden,
    Used,
    /// Of a transaction whose commit is not here: starts with a marker.
    Begun(Marker),
    /// Holds a commit that readers with summaries see; whether it has all its copies.
    Commit(Marker, bool),
}

/// Looks at a flash.
///
/// # Errors
/// [`ReadError::Device`].
pub fn status<F: Flash>(flash: &F, endian: Endian) -> Result<Status, ReadError<F::Error>> {
    let eyes = Eyes { flash, endian, geometry: *flash.geometry(), read: Cell::new(0), uncorrectable: Cell::new(0) };
    let mut seen = Vec::new();
    for block in 0..eyes.geometry.blocks() {
        seen.push(eyes.glimpse(block)?);
    }
    let count = |wanted: fn(&Glimpse) -> bool| seen.iter().filter(|glimpse| wanted(glimpse)).count() as u32;
    let newest = |pick: fn(&Glimpse) -> Option<&Marker>| seen.iter().filter_map(pick).max_by_key(|mark| mark.sequence);
    let committed = newest(|glimpse| if let Glimpse::Commit(marker, _) = glimpse { Some(marker) } else { None });
    let begun = newest(|glimpse| if let Glimpse::Begun(marker) = glimpse { Some(marker) } else { None });
    let hidden = count(|glimpse| matches!(glimpse, Glimpse::Hidden));
    // Its marker stands in a later transaction's way no more: what is older was overtaken.
    let open = begun.filter(|begun| committed.is_none_or(|done| done.sequence < begun.sequence));
    let (cut, dropped) = match open {
        Some(begun) if hidden == 0 && eyes.tree_needs(begun)? => (None, Some(begun)),
        open => (open, None),
    };
    let last = dropped.or(committed);
    Ok(Status {
        state: match last {
            _ if hidden > 0 || cut.is_some() => UpdateState::Leftover,
            Some(_) => UpdateState::Committed,
            None => UpdateState::Clean,
        },
        last: last.cloned(),
        cut: cut.cloned(),
        not_sealed: count(|glimpse| matches!(glimpse, Glimpse::Commit(_, false))),
        hidden,
        free: count(|glimpse| matches!(glimpse, Glimpse::Free)),
        bad: count(|glimpse| matches!(glimpse, Glimpse::Bad)),
        blocks: eyes.geometry.blocks(),
        bytes_read: eyes.read.get(),
        uncorrectable: eyes.uncorrectable.get(),
    })
}

/// Reads, and counts what is read.
struct Eyes<'f, F> {
    flash: &'f F,
    endian: Endian,
    geometry: Geometry,
    read: Cell<u64>,
    uncorrectable: Cell<u32>,
}

impl<F: Flash> Eyes<'_, F> {
    fn glimpse(&self, block: u32) -> Result<Glimpse, ReadError<F::Error>> {
        let offset = self.geometry.offset_of(block);
        let device = |error| ReadError::Device { offset, error };
        if self.flash.is_bad(block).map_err(device)? {
            return Ok(Glimpse::Bad);
        }
        let head = self.bytes(block, 0, self.page())?;
        let blank = blank_prefix(&head);
        if blank < HEAD_SIZE {
            return self.by_first_node(block, &head);
        }
        if let Some(marker) = self.summary_commit(block)? {
            return Ok(marker);
        }
        let tail = self.bytes(block, self.geometry.eraseblock() - TRAILER, TRAILER)?;
        let body = self.bytes(block, self.geometry.blank_head(), self.page())?;
        let blank = [&head, &body, &tail].iter().all(|bytes| blank_prefix(bytes) == bytes.len());
        Ok(if blank { Glimpse::Free } else { Glimpse::Hidden })
    }

    /// Of an eraseblock whose head is not blank.
    fn by_first_node(&self, block: u32, head: &[u8]) -> Result<Glimpse, ReadError<F::Error>> {
        match Header::parse(self.endian, head) {
            Ok(_) if is_marked_clean(&self.geometry, self.endian, head) => {
                let len = self.geometry.cleanmarker_size() as usize;
                let nothing_else = blank_prefix(&head[len..]) == head.len() - len;
                Ok(if nothing_else { Glimpse::Free } else { Glimpse::Hidden })
            }
            Ok(header) if header.nodetype != nodetype::TX_MARKER => Ok(Glimpse::Used),
            _ => match Marker::parse(self.endian, head) {
                Ok(marker) if marker.kind == MarkerKind::Begin => Ok(Glimpse::Begun(marker)),
                _ => self.whole(block),
            },
        }
    }

    /// A commit block that starts with its marker, or one that starts with no node at all.
    fn whole(&self, block: u32) -> Result<Glimpse, ReadError<F::Error>> {
        let mut bytes = vec![0; self.geometry.eraseblock() as usize];
        self.count(bytes.len());
        let found = scan_one(self.flash, Rules { endian: self.endian, summaries: true }, block, &mut bytes)?;
        if found.state == BlockState::Hidden {
            return Ok(Glimpse::Hidden);
        }
        let commits = |in_head: bool| {
            let of_kind = |seen: &&MarkerRecord| seen.marker.kind.commits() && seen.in_head == in_head;
            found.markers.iter().filter(of_kind).collect::<Vec<_>>()
        };
        let (heads, bodies) = (commits(true), commits(false));
        let Some(commit) = bodies.first().or(heads.first()) else { return Ok(Glimpse::Used) };
        let dirents = found.dirents.iter().filter(|dirent| dirent.at > commit.at).count();
        Ok(match commit.marker.commit_point {
            Some(CommitPoint::Dirent) if dirents == 0 => Glimpse::Begun(commit.marker.clone()),
            Some(CommitPoint::Head) => Glimpse::Commit(commit.marker.clone(), heads.len() > 1),
            _ => Glimpse::Commit(commit.marker.clone(), true),
        })
    }

    /// Of an eraseblock with a blank head: the commit that its summary makes, if it is valid.
    fn summary_commit(&self, block: u32) -> Result<Option<Glimpse>, ReadError<F::Error>> {
        let eraseblock = self.geometry.eraseblock();
        // As much as `locate` wants to see: the offset is checked against the length.
        let mut bytes = vec![0xff; eraseblock as usize];
        let trailer = self.bytes(block, eraseblock - TRAILER, TRAILER)?;
        bytes[(eraseblock - TRAILER) as usize..].copy_from_slice(&trailer);
        let Some(at) = Summary::locate(self.endian, &bytes) else { return Ok(None) };
        let node = self.bytes(block, at as u32, eraseblock - at as u32)?;
        let Ok(summary) = Summary::parse(self.endian, &node) else { return Ok(None) };
        let end = summary.entries.iter().map(|entry| entry.end()).max().unwrap_or(0);
        let room = (at as u32).saturating_sub(end).min(MARKER_MAX as u32);
        let behind = self.bytes(block, end.min(at as u32), room)?;
        Ok(Some(match Marker::parse(self.endian, &behind) {
            Ok(marker) if marker.kind.commits() => Glimpse::Commit(marker, true),
            _ => Glimpse::Used,
        }))
    }

    /// Whether the tree needs anything of the payload of this transaction: then it was committed.
    fn tree_needs(&self, begun: &Marker) -> Result<bool, ReadError<F::Error>> {
        self.count(self.geometry.size() as usize);
        let index = Index::open(self.flash, Rules { endian: self.endian, summaries: true })?;
        let of_it = |seen: &&MarkerRecord| seen.marker.kind == MarkerKind::Begin && seen.marker.txid == begun.txid;
        let block = |seen: &MarkerRecord| self.geometry.block_of(seen.at) as usize;
        Ok(index.markers().iter().filter(of_it).any(|seen| index.blocks()[block(seen)].live > 0))
    }

    /// What is read at the start of an eraseblock: a page, and on NOR what holds both copies of a head.
    fn page(&self) -> u32 {
        self.geometry.write_size().max(HEAD_SIZE as u32)
    }

    fn bytes(&self, block: u32, at: u32, len: u32) -> Result<Vec<u8>, ReadError<F::Error>> {
        let offset = self.geometry.offset_of(block) + at;
        let mut bytes = vec![0; len as usize];
        let ecc = self.flash.read(offset, &mut bytes).map_err(|error| ReadError::Device { offset, error })?;
        self.uncorrectable.set(self.uncorrectable.get() + u32::from(ecc == Ecc::Uncorrectable));
        self.count(bytes.len());
        Ok(bytes)
    }

    fn count(&self, bytes: usize) {
        self.read.set(self.read.get() + bytes as u64);
    }
}
