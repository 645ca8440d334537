//! Commits of which the next power-up may think otherwise, and how a recovery makes up everyone's mind.
//!
//! Cells that a cut write has left half programmed may read well now and not the next time. The commit point is the last thing that
//! is written to a commit block, so what it reads as proves nothing by itself. [`plan_settle`] finds the commit blocks that
//! nothing else vouches for, and has what is visible of them now written once more, elsewhere, with higher versions;
//! whatever they read as later, they have lost. Only then are they erased (`DESIGN.md` section 11).

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

use super::commit::MAX_VERSION;
use super::commit_block::{BlockProgram, CommitNodes, body_start};
use super::digest::digest_with;
use super::payload::inode_fields;
use super::recover::{RecoverAction, Rewrite};
use crate::error::ReadError;
use crate::flash::{Flash, FlashMut, Geometry};
use crate::index::{Index, NameRecord};
use crate::inode_kind::FileKind;
use crate::log::{MAX_FAILED, WriteError, erase, reusable};
use crate::scan::{BlockState, MarkerRecord, Place, Places, blank_prefix};
use crate::tree::Tree;
use crate::wire::{CommitPoint, Dirent, Endian, Inode, Marker, MarkerKind, Summary, SummaryEntry, nodetype};

type Result<T, F> = core::result::Result<T, ReadError<<F as Flash>::Error>>;

/// Versions that one writing of a commit takes above what can be read of those before it: a dirent and its seal may both be torn.
const VERSIONS_EACH: u32 = 4;

/// A transaction, and all eraseblocks that hold a commit of it.
pub(super) struct Open {
    pub blocks: Vec<CommitBlock>,
}

/// An eraseblock with a commit, or with nodes that undo one.
pub(super) struct CommitBlock {
    pub block: u32,
    record: MarkerRecord,
    visible: bool,
    live: bool,
    /// Nothing but its own commit point could hide it, and that was programmed to the end.
    proven: bool,
    nodes: Vec<What>,
}

/// What a node in a commit block is about, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct What {
    of: Subject,
    version: u32,
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
        let [only] = &self.blocks[..] else { return self.blocks.iter().all(|block| block.visible && !block.live) };
        // The others were erased when this one stood.
        let alone = only.record.marker.kind != MarkerKind::Commit;
        only.visible && (only.proven || alone || !only.live)
    }
}

/// Transactions that are not settled, the oldest first.
pub(super) fn open_commits<F: Flash>(flash: &F, index: &Index) -> Result<Vec<Open>, F> {
    let mut by_id: BTreeMap<(u64, [u8; 16]), Vec<CommitBlock>> = BTreeMap::new();
    let geometry = *index.geometry();
    let stands_here = |seen: &&MarkerRecord| seen.marker.commit_block == geometry.block_of(seen.at);
    let is_end = |seen: &&MarkerRecord| seen.marker.kind != MarkerKind::Begin && !seen.in_head;
    for seen in index.markers().iter().filter(is_end).filter(stands_here) {
        let blocks = by_id.entry((seen.marker.sequence, seen.marker.txid)).or_default();
        blocks.push(CommitBlock::read(flash, index, seen)?);
    }
    let open = by_id.into_values().map(|blocks| Open { blocks });
    Ok(open.filter(|open| !open.is_settled()).collect())
}

impl CommitBlock {
    fn read<F: Flash>(flash: &F, index: &Index, record: &MarkerRecord) -> Result<Self, F> {
        let geometry = *index.geometry();
        let block = geometry.block_of(record.at);
        let offset = geometry.offset_of(block);
        let mut bytes = vec![0; geometry.eraseblock() as usize];
        flash.read(offset, &mut bytes).map_err(|error| ReadError::Device { offset, error })?;
        let point = record.marker.commit_point;
        let (marker, start) = ((record.at - offset) as usize, body_start(&geometry, point) as usize);
        let behind = marker + record.marker.flash_size();
        // A dirent stands behind the marker, any other body before it.
        let body = if point == Some(CommitPoint::Dirent) { behind..bytes.len() } else { start..marker.max(start) };
        let (nodes, end) = nodes_in(index, &bytes[..body.end], body.start);
        let end = end.next_multiple_of(geometry.write_size() as usize).min(bytes.len());
        let info = index.blocks()[block as usize];
        let proven = match point {
            Some(CommitPoint::Head) => info.state == BlockState::Used && geometry.can_overwrite(),
            // Its seal and what is behind that; or the recovery completes it where it stands.
            Some(CommitPoint::Dirent) => {
                geometry.can_overwrite() || nodes.len() > 1 && blank_prefix(&bytes[end..]) < bytes.len() - end
            }
            Some(CommitPoint::Summary) | None => false,
        };
        let visible = match point {
            Some(CommitPoint::Dirent) => info.visible > 0,
            _ => info.state == BlockState::Used,
        };
        Ok(Self { block, record: record.clone(), visible, live: info.live > 0, proven, nodes })
    }

    fn version(&self) -> u32 {
        self.nodes.iter().map(|node| node.version).max().unwrap_or(0)
    }
}

/// The nodes of an eraseblock from `start` on that could be visible, and where the last one of them ends.
fn nodes_in(index: &Index, bytes: &[u8], start: usize) -> (Vec<What>, usize) {
    let endian = index.rules().endian;
    let (mut nodes, mut last) = (Vec::new(), start);
    let start = start.next_multiple_of(4).min(bytes.len());
    for place in Places::new(endian, bytes, start) {
        let end = place.range().1.min(bytes.len());
        let Place::Node { header, bytes, .. } = place else { continue };
        let what = match header.nodetype {
            nodetype::DIRENT => Dirent::parse(endian, bytes)
                .map(|node| What { of: Subject::Name(node.pino, node.name.into()), version: node.version }),
            nodetype::INODE => {
                Inode::parse(endian, bytes).map(|node| What { of: Subject::Inode(node.ino), version: node.version })
            }
            _ => continue,
        };
        if let Ok(what) = what {
            nodes.push(what);
            last = end;
        }
    }
    (nodes, last)
}

/// How to settle a transaction.
pub(super) fn plan_settle<F: Flash>(
    flash: &F,
    index: &Index,
    others: Option<&Index>,
    all: &[Open],
    open: &Open,
) -> Result<RecoverAction, F> {
    let blocks: Vec<u32> = open.blocks.iter().map(|block| block.block).collect();
    let newest = open.blocks.iter().filter(|block| block.visible).max_by_key(|block| block.version());
    let any = newest.unwrap_or(&open.blocks[0]);
    let kind = match newest {
        Some(newest) if newest.record.marker.kind.commits() => MarkerKind::Repeat,
        _ => MarkerKind::Undo,
    };
    let is_dirent = any.record.marker.commit_point == Some(CommitPoint::Dirent);
    // A single dirent is there or is not: it can be erased as it is, as long as the payload stands.
    if kind == MarkerKind::Undo && is_dirent {
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
    let to = if fits { spare(index, others, all) } else { Vec::new() };
    Ok(RecoverAction::Settle { blocks, rewrite: Some(Box::new(Rewrite { to, body, marker })) })
}

/// Bytes of an eraseblock that settles a commit.
fn size(index: &Index, marker: &Marker, body: &[u8]) -> usize {
    let geometry = index.geometry();
    let unit = geometry.write_size() as usize;
    let nodes = CommitNodes::of_body(index.rules().endian, body);
    let entries = nodes.summary(0).entries.iter().map(SummaryEntry::size).sum();
    let start = body_start(geometry, marker.commit_point) as usize;
    match marker.commit_point {
        Some(CommitPoint::Dirent) => marker.flash_size().next_multiple_of(unit) + 2 * body.len().next_multiple_of(unit),
        Some(CommitPoint::Summary) => {
            let end = start + (body.len() + marker.flash_size()).next_multiple_of(unit);
            end + Summary::flash_size(entries).next_multiple_of(unit)
        }
        _ => start + body.len() + marker.flash_size(),
    }
}

/// Eraseblocks that may take it, the best first: free ones, then those that nothing needs and no transaction has marked.
fn spare(index: &Index, others: Option<&Index>, all: &[Open]) -> Vec<u32> {
    let geometry = index.geometry();
    let is_open = |block: u32| all.iter().flat_map(|open| &open.blocks).any(|open| open.block == block);
    let is_marked = |block: u32| index.markers().iter().any(|seen| geometry.block_of(seen.at) == block);
    let state = |block: u32| index.blocks()[block as usize].state;
    let free = |block: &u32| matches!(state(*block), BlockState::Blank | BlockState::Clean);
    let dead = |block: &u32| {
        let unneeded = reusable(index, *block) && others.is_none_or(|other| reusable(other, *block));
        state(*block) == BlockState::Used && unneeded && !is_open(*block) && !is_marked(*block)
    };
    let all = || (0..geometry.blocks()).rev();
    all().filter(free).chain(all().filter(dead)).take(MAX_FAILED).collect()
}

/// Nodes that say of everything that the commit blocks are about what is visible of it now, and that win over theirs. `None` if
/// that cannot be said: versions have run out, or an inode cannot be read.
fn repeated<F: Flash>(flash: &F, index: &Index, open: &Open) -> Option<Vec<u8>> {
    let mut highest: BTreeMap<&Subject, u32> = BTreeMap::new();
    let mut versions: BTreeMap<u32, u32> = BTreeMap::new();
    let mut order = Vec::new();
    let above = VERSIONS_EACH * open.blocks.len() as u32;
    for node in open.blocks.iter().flat_map(|block| &block.nodes) {
        let max = highest.entry(&node.of).or_insert_with(|| {
            order.push(&node.of);
            0
        });
        *max = node.version.max(*max);
        let last = versions.entry(node.of.ino()).or_insert_with(|| index.max_version(node.of.ino()));
        *last = node.version.max(*last);
    }
    versions.values_mut().for_each(|last| *last = last.saturating_add(above - 1));
    let mut nodes = CommitNodes::new(index.rules().endian);
    for subject in order {
        let ino = subject.ino();
        let winner = match subject {
            Subject::Name(_, name) => index.find(ino, name).map(|dirent| dirent.version),
            Subject::Inode(_) => index.latest(ino).map(|node| node.version),
        };
        // A later change has won for good.
        if winner > highest.get(subject).copied() {
            continue;
        }
        let Some(version) = versions.get_mut(&ino) else { continue };
        *version = version.saturating_add(1);
        // One more is kept for a sealing dirent.
        if *version >= MAX_VERSION - 2 {
            return None;
        }
        match subject {
            Subject::Name(_, name) => push_name(index, ino, name, *version, &mut nodes),
            Subject::Inode(_) if !push_inode(flash, index, ino, *version, &mut nodes) => return None,
            Subject::Inode(_) => {}
        }
    }
    Some(nodes.bytes)
}

fn push_name(index: &Index, dir: u32, name: &[u8], version: u32, nodes: &mut CommitNodes) {
    let leads = |found: &&NameRecord| found.ino != 0 && index.exists(found.ino);
    let found = index.find(dir, name).filter(leads);
    // If a dirent gives the directory its time, this one is to give it the same; if not, none.
    let latest = index.latest(dir).map_or(0, |node| node.version);
    let mctime = index.newest_time(dir).filter(|timed| timed.version > latest).map_or(0, |timed| timed.mctime);
    let (ino, kind) = found.map_or((0, 0), |found| (found.ino, found.kind));
    nodes.push_dirent(&Dirent { pino: dir, version, ino, mctime, kind, name });
}

/// The inode's metadata, with all data of a symlink or device; whether it can be read.
fn push_inode<F: Flash>(flash: &F, index: &Index, ino: u32, version: u32, nodes: &mut CommitNodes) -> bool {
    let tree = Tree::new(flash, index);
    let Ok(stat) = tree.stat(ino) else { return false };
    let data = match stat.kind {
        FileKind::Symlink => tree.read_link(ino).ok(),
        FileKind::CharDevice | FileKind::BlockDevice => stat.device.map(|device| device.encode(index.rules().endian)),
        _ => Some(Vec::new()),
    };
    let Some(data) = data else { return false };
    let fields = Inode {
        atime: stat.atime,
        ctime: stat.ctime,
        isize: stat.size,
        dsize: data.len() as u32,
        ..inode_fields(ino, version, stat.kind, stat.meta)
    };
    nodes.push_inode(&fields, &data);
    true
}

/// Writes an eraseblock that settles a commit; when this returns it is visible for good.
pub(super) fn write_settled<F: FlashMut>(
    flash: &mut F,
    endian: Endian,
    block: u32,
    body: &[u8],
    marker: &Marker,
) -> core::result::Result<(), WriteError<F::Error>> {
    let geometry: Geometry = *flash.geometry();
    let marker = Marker { commit_block: block, ..marker.clone() };
    erase(flash, block)?;
    let nodes = CommitNodes::of_body(endian, body);
    let mut marker_bytes = Vec::new();
    marker.emit(endian, &mut marker_bytes);
    let at = body_start(&geometry, marker.commit_point);
    let start = geometry.offset_of(block);
    let mut out = BlockProgram { flash, geometry, start, at, endian, bytes: 0, dry: false };
    match marker.commit_point {
        Some(CommitPoint::Dirent) => {
            out.put(&[&marker_bytes])?;
            out.put(&[body])?;
            if let Some(seal) = nodes.sealing_dirent() {
                out.put(&[&seal])?;
                out.put_witness()?;
            }
        }
        Some(CommitPoint::Head) => {
            out.put(&[body, &marker_bytes])?;
            out.put_head(&marker.head(endian))?;
        }
        Some(CommitPoint::Summary) | None => {
            out.put(&[body, &marker_bytes])?;
            out.put_summary(&nodes.summary(at))?;
        }
    }
    Ok(())
}
