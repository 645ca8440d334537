//! Commits of which the next power-up may think otherwise, and how a recovery makes up everyone's mind.
//!
//! Cells that a cut write has left half programmed may read well now and not the next time. The commit point is the last thing that
//! is written to a commit block, so what it reads as proves nothing by itself. [`plan_settle`] finds the commit blocks that
//! nothing else vouches for, and has what is visible of them now written once more, elsewhere, with higher versions;
//! whatever they read as later, they have lost. Only then are they erased (`DESIGN.md` section 11).

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

use super::commit_block::body_start;
use super::digest::digest_with;
use super::recover::{RecoverAction, Rewrite};
use crate::error::ReadError;
use crate::flash::{Flash, FlashKind};
use crate::index::Index;
use crate::inode_kind::FileKind;
use crate::scan::{BlockState, MarkerRecord, Place, Places, blank_prefix};
use crate::wire::{CommitPoint, Dirent, Inode, Marker, MarkerKind, nodetype};

mod rewrite;

pub(super) use rewrite::write_settled;
use rewrite::{repeated, size, spare};

type Result<T, F> = core::result::Result<T, ReadError<<F as Flash>::Error>>;

/// A transaction, and all eraseblocks that hold a commit of it.
pub(super) struct Open {
    pub blocks: Vec<CommitBlock>,
}

/// An eraseblock with a commit, or with nodes that undo one.
pub(super) struct CommitBlock {
    pub block: u32,
    record: MarkerRecord,
    visible: bool,
    /// Something depends on it, or on what has been written to take its place.
    matters: bool,
    /// Nothing but its own commit point could hide it, and that was programmed to the end.
    proven: bool,
    /// The tree needs a node in it that would not be written again: the kernel has written on behind the commit. So it stays.
    stays: bool,
    nodes: Vec<What>,
}

/// What a node in a commit block is about, its version, and the inode that a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct What {
    /// Flash offset of the node.
    at: u32,
    of: Subject,
    version: u32,
    target: u32,
    /// It has bytes of a file, which are not written again.
    has_data: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Name(u32, Vec<u8>),
    Inode(u32),
}

impl Subject {
    /// Whose versions count.
    fn ino(&self) -> u32 {
        match self {
            Self::Name(ino, _) | Self::Inode(ino) => *ino,
        }
    }
}

impl Open {
    /// Whether nothing can change any more: a single commit block that is visible for good, or that nothing depends on.
    fn is_settled(&self) -> bool {
        // What is written again is alone when the others have been erased.
        let lasts =
            |block: &CommitBlock| block.proven || block.record.marker.kind != MarkerKind::Commit || !block.matters;
        let mut blocks = self.to_erase();
        match (blocks.next(), blocks.next()) {
            (None, _) => self.blocks.iter().any(lasts),
            (Some(only), None) => only.visible && lasts(only),
            _ => self.to_erase().all(|block| block.visible && !block.matters),
        }
    }

    fn to_erase(&self) -> impl Iterator<Item = &CommitBlock> {
        self.blocks.iter().filter(|block| !block.stays)
    }
}

/// Transactions that are not settled, the newest first: what an older one has written again says what is visible now, and that is
/// to be no part of a newer one that may be gone the next time.
pub(super) fn open_commits<F: Flash>(flash: &F, index: &Index) -> Result<Vec<Open>, F> {
    let mut by_id: BTreeMap<(u64, [u8; 16]), Vec<CommitBlock>> = BTreeMap::new();
    let geometry = *index.geometry();
    let stands_here = |seen: &&MarkerRecord| seen.marker.commit_block == geometry.block_of(seen.at);
    let is_end = |seen: &&MarkerRecord| seen.marker.kind != MarkerKind::Begin && !seen.in_head;
    let live = index.live_nodes();
    for seen in index.markers().iter().filter(is_end).filter(stands_here) {
        let blocks = by_id.entry((seen.marker.sequence, seen.marker.txid)).or_default();
        blocks.push(CommitBlock::read(flash, index, &live, seen)?);
    }
    let open = by_id.into_values().rev().map(|blocks| Open { blocks });
    Ok(open.filter(|open| !open.is_settled()).collect())
}

impl CommitBlock {
    fn read<F: Flash>(flash: &F, index: &Index, live: &[u32], record: &MarkerRecord) -> Result<Self, F> {
        let geometry = *index.geometry();
        let block = geometry.block_of(record.at);
        let offset = geometry.offset_of(block);
        let mut bytes = vec![0; geometry.eraseblock() as usize];
        flash.read(offset, &mut bytes).map_err(|error| ReadError::Device { offset, error })?;
        let point = record.marker.commit_point;
        let is_dirent = point == Some(CommitPoint::Dirent);
        let (marker, start) = ((record.at - offset) as usize, body_start(&geometry, point) as usize);
        let behind = marker + record.marker.flash_size();
        // A dirent stands behind the marker, any other body before it.
        let body = if is_dirent { behind..bytes.len() } else { start..marker.max(start) };
        let (nodes, end) = nodes_in(index, &bytes[..body.end], body.start, offset, is_dirent);
        let end = end.next_multiple_of(geometry.write_size() as usize).min(bytes.len());
        let info = index.blocks()[block as usize];
        let proven = match point {
            Some(CommitPoint::Head) => info.state == BlockState::Used && geometry.can_overwrite(),
            Some(CommitPoint::Dirent) => {
                // Its seal and what is behind that; or the recovery completes it where it stands.
                let sealed = nodes.len() > 1 && blank_prefix(&bytes[end..]) < bytes.len() - end;
                geometry.can_overwrite() && !nodes.is_empty() || geometry.kind() == FlashKind::Nor && sealed
            }
            Some(CommitPoint::Summary) | None => false,
        };
        let visible = match point {
            Some(CommitPoint::Dirent) => info.visible > 0,
            _ => info.state == BlockState::Used,
        };
        let stays = holds_more(index, live, &bytes, offset, &nodes);
        let matters = match stays {
            true => nodes.iter().any(|node| live.binary_search(&node.at).is_ok()),
            false => info.live > 0 || nodes.iter().any(|node| is_said_again(index, node)),
        };
        Ok(Self { block, record: record.clone(), visible, matters, proven, stays, nodes })
    }

    fn version(&self) -> u32 {
        self.nodes.iter().map(|node| node.version).max().unwrap_or(0)
    }
}

/// Whether a node in the eraseblock at `offset` is live and would not be said again by what repeats `nodes`.
fn holds_more(index: &Index, live: &[u32], bytes: &[u8], offset: u32, nodes: &[What]) -> bool {
    let endian = index.rules().endian;
    let is_repeated = |at| nodes.binary_search_by_key(&at, |node| node.at).is_ok_and(|found| !nodes[found].has_data);
    Places::new(endian, bytes, 0).any(|place| {
        let Place::Node { at, header, bytes } = place else { return false };
        let at = offset + at as u32;
        // A dirent that was there a moment ago, and is not now, may be the commit itself.
        let flaps = header.nodetype == nodetype::DIRENT && Dirent::parse(endian, bytes).is_err();
        live.binary_search(&at).is_ok() && !is_repeated(at) && !flaps
    })
}

/// Whether a name leads where the node says, by a newer one: that may be a repetition that was cut.
fn is_said_again(index: &Index, node: &What) -> bool {
    let Subject::Name(dir, name) = &node.of else { return false };
    index.find(*dir, name).is_some_and(|found| found.version > node.version && found.ino == node.target)
}

/// The nodes of the eraseblock at `offset` from `start` on that could be visible, and where the last one of them ends. Those of a
/// *dirent* commit are all about one name: behind them there may be what the kernel has written since.
fn nodes_in(index: &Index, bytes: &[u8], start: usize, offset: u32, is_dirent: bool) -> (Vec<What>, usize) {
    let endian = index.rules().endian;
    let (mut nodes, mut last): (Vec<What>, _) = (Vec::new(), start);
    let start = start.next_multiple_of(4).min(bytes.len());
    for place in Places::new(endian, bytes, start) {
        let end = place.range().1.min(bytes.len());
        let Place::Node { at, header, bytes } = place else { continue };
        let at = offset + at as u32;
        let what = match header.nodetype {
            nodetype::DIRENT => Dirent::parse(endian, bytes).map(|node| What {
                at,
                of: Subject::Name(node.pino, node.name.into()),
                version: node.version,
                target: node.ino,
                has_data: false,
            }),
            nodetype::INODE => Inode::parse(endian, bytes).map(|node| What {
                at,
                of: Subject::Inode(node.ino),
                version: node.version,
                target: 0,
                has_data: node.dsize > 0 && FileKind::from_mode(node.mode) == Some(FileKind::File),
            }),
            _ => continue,
        };
        let Ok(what) = what else { continue };
        if is_dirent && nodes.first().is_some_and(|first| first.of != what.of) {
            break;
        }
        nodes.push(what);
        last = end;
    }
    (nodes, last)
}

/// How to settle a transaction.
pub(super) fn plan_settle<F: Flash>(flash: &F, index: &Index, open: &Open) -> Result<RecoverAction, F> {
    let blocks: Vec<u32> = open.to_erase().map(|block| block.block).collect();
    let newest = open.blocks.iter().filter(|block| block.visible).max_by_key(|block| block.version());
    let any = newest.unwrap_or(&open.blocks[0]);
    let kind = match newest {
        Some(newest) if newest.record.marker.kind.commits() => MarkerKind::Repeat,
        _ => MarkerKind::Undo,
    };
    let is_dirent = any.record.marker.commit_point == Some(CommitPoint::Dirent);
    // A single dirent is there or is not: it can be erased as it is, as long as the payload stands.
    if newest.is_none() && is_dirent {
        return Ok(RecoverAction::Settle { blocks, rewrite: None });
    }
    let mut marker = Marker { kind, digest: [0; 32], ..any.record.marker.clone() };
    let Some(body) = repeated(flash, index, open) else {
        // Not to be written again, so not to be erased either.
        let rewrite = Rewrite { to: Vec::new(), body: Vec::new(), marker };
        return Ok(RecoverAction::Settle { blocks, rewrite: Some(Box::new(rewrite)) });
    };
    if body.is_empty() {
        return Ok(RecoverAction::Settle { blocks, rewrite: None });
    }
    if kind == MarkerKind::Repeat {
        let covered = if is_dirent { &[][..] } else { &body };
        marker.digest = digest_with(flash, index.rules().endian, index.markers(), &any.record, covered)?;
    }
    let fits = size(index, &marker, &body) <= index.geometry().eraseblock() as usize;
    let mut to = if fits { spare(index) } else { Vec::new() };
    if fits && to.is_empty() && kind == MarkerKind::Repeat {
        // Nothing is free but what a cut left of such a repetition: readers see none of it, and it says what they see.
        let torn = open.blocks.iter().filter(|block| !block.visible && block.record.marker.kind == MarkerKind::Repeat);
        to.extend(torn.map(|block| block.block));
    }
    Ok(RecoverAction::Settle { blocks, rewrite: Some(Box::new(Rewrite { to, body, marker })) })
}
