//! What is written to settle a commit, and where.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{Open, Subject};
use crate::flash::{Flash, FlashMut, Geometry};
use crate::index::{BlockInfo, Index, NameRecord};
use crate::inode_kind::FileKind;
use crate::log::{MAX_FAILED, WriteError, erase};
use crate::scan::BlockState;
use crate::tree::Tree;
use crate::tx::commit::MAX_VERSION;
use crate::tx::commit_block::{BlockProgram, CommitNodes, body_start};
use crate::tx::payload::inode_fields;
use crate::wire::{CommitPoint, Dirent, Endian, Inode, Marker, Summary, SummaryEntry};

/// Versions that one writing of a commit takes above what can be read of those before it: a dirent and its seal may both be torn.
const VERSIONS_EACH: u32 = 4;

/// Bytes of an eraseblock that settles a commit.
pub(super) fn size(index: &Index, marker: &Marker, body: &[u8]) -> usize {
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

/// Eraseblocks that may take it, the best first: free ones, then those in which nobody sees a node and no transaction has marked. None
/// with nodes: what this tree does not need the other one may, and a kernel that has mounted read-only may still look at it.
pub(super) fn spare(index: &Index) -> Vec<u32> {
    let is_marked = |block: u32| index.markers().iter().any(|seen| index.geometry().block_of(seen.at) == block);
    let info = |block: u32| index.blocks()[block as usize];
    let free = |block: &u32| matches!(info(*block).state, BlockState::Blank | BlockState::Clean);
    let garbage = |block: &u32| {
        let BlockInfo { state, live, visible, unlisted, .. } = info(*block);
        state == BlockState::Used && live + visible == 0 && !unlisted && !is_marked(*block)
    };
    let all = || (0..index.geometry().blocks()).rev();
    all().filter(free).chain(all().filter(garbage)).take(MAX_FAILED).collect()
}

/// Nodes that say of everything that the commit blocks are about what is visible of it now, and that win over theirs. `None` if
/// that cannot be said: versions have run out, or an inode cannot be read.
pub(super) fn repeated<F: Flash>(flash: &F, index: &Index, open: &Open) -> Option<Vec<u8>> {
    let mut versions: BTreeMap<u32, u32> = BTreeMap::new();
    let mut order: Vec<&Subject> = Vec::new();
    let above = VERSIONS_EACH * open.blocks.len() as u32;
    let mut known = BTreeSet::new();
    for node in open.blocks.iter().flat_map(|block| &block.nodes) {
        if known.insert(&node.of) {
            order.push(&node.of);
        }
        let last = versions.entry(node.of.ino()).or_insert_with(|| index.max_version(node.of.ino()));
        *last = node.version.max(*last);
    }
    versions.values_mut().for_each(|last| *last = last.saturating_add(above - 1));
    let mut nodes = CommitNodes::new(index.rules().endian);
    for subject in order {
        let ino = subject.ino();
        // Gone since, with the directory that it was in.
        if index.links(ino) == 0 {
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
pub(in crate::tx) fn write_settled<F: FlashMut>(
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
