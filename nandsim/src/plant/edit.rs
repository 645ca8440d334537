//! The nodes that an update writes, changed where they stand.

use std::collections::BTreeMap;

use jffs2_tx::flash::Geometry;
use jffs2_tx::wire::{Dirent, Endian, Header, Inode, emit_padding, pad4};

use crate::torture::Torture;
use crate::trace::{Op, Trace};

/// Where the eraseblock that is taken last, the commit block, is erased.
pub(super) fn commit_erase(ops: &[Op]) -> Option<usize> {
    ops.iter().rposition(|op| matches!(op, Op::Erase { .. }))
}

pub(super) fn commit_block(ops: &[Op]) -> Option<u32> {
    match ops[commit_erase(ops)?] {
        Op::Erase { block } => Some(block),
        _ => None,
    }
}

/// Programs from `from` on.
pub(super) fn programs(ops: &[Op], from: usize) -> Vec<usize> {
    (from..ops.len()).filter(|&i| matches!(ops[i], Op::Program { .. })).collect()
}

/// Programs of the commit block.
pub(super) fn commit_programs(ops: &[Op]) -> Option<Vec<usize>> {
    Some(programs(ops, commit_erase(ops)?))
}

/// Bytes of eraseblocks, and the nodes in them.
pub(super) struct Cells {
    endian: Endian,
    geometry: Geometry,
    blocks: BTreeMap<u32, Vec<u8>>,
}

impl Cells {
    /// All that the update programs, and nothing else.
    pub(super) fn written(torture: &Torture) -> Self {
        let geometry = torture.trace.geometry;
        let mut cells = Self { endian: torture.workload.endian, geometry, blocks: BTreeMap::new() };
        for op in &torture.trace.ops {
            if let Op::Program { offset, data } = op {
                cells.at(*offset, data.len()).copy_from_slice(data);
            }
        }
        cells
    }

    /// All that was there before.
    pub(super) fn before(torture: &Torture) -> Self {
        let geometry = torture.trace.geometry;
        let blocks = (0..geometry.blocks()).map(|block| (block, torture.start.block_data(block).to_vec())).collect();
        Self { endian: torture.workload.endian, geometry, blocks }
    }

    /// Bytes that a recorded program covers: they are within an eraseblock.
    fn at(&mut self, offset: u32, len: usize) -> &mut [u8] {
        let eraseblock = self.geometry.eraseblock();
        let block = self.blocks.entry(offset / eraseblock).or_insert_with(|| vec![0xff; eraseblock as usize]);
        &mut block[(offset % eraseblock) as usize..][..len]
    }

    /// Nodes in the order of the flash: offset, header, bytes from the header on.
    fn nodes(&self) -> Vec<(u32, Header, &[u8])> {
        let mut nodes = Vec::new();
        for (block, cells) in &self.blocks {
            let mut at = 0;
            while let Some(rest) = cells.get(at..).filter(|rest| !rest.is_empty()) {
                let header = Header::parse(self.endian, rest).ok().filter(|node| node.totlen as usize <= rest.len());
                if let Some(header) = header {
                    nodes.push((self.geometry.offset_of(*block) + at as u32, header, rest));
                }
                at += header.map_or(4, |node| pad4(node.totlen).max(4) as usize);
            }
        }
        nodes
    }

    /// The dirents.
    pub(super) fn dirents(&self) -> impl Iterator<Item = (u32, Dirent<'_>)> {
        self.nodes().into_iter().filter_map(|(at, _, bytes)| Some((at, Dirent::parse(self.endian, bytes).ok()?)))
    }

    /// The inode nodes, with their data.
    pub(super) fn inodes(&self) -> impl Iterator<Item = (u32, Inode, &[u8])> {
        self.nodes().into_iter().filter_map(|(at, header, bytes)| {
            let node = Inode::parse(self.endian, bytes.get(..header.totlen as usize)?).ok()?;
            Some((at, node, node.data(bytes)?))
        })
    }

    /// The transaction markers.
    pub(super) fn of_type(&self, nodetype: u16) -> impl Iterator<Item = (u32, &[u8])> {
        let nodes = self.nodes().into_iter().filter(move |(_, node, _)| node.nodetype == nodetype);
        nodes.filter_map(|(at, node, bytes)| Some((at, bytes.get(..node.totlen as usize)?)))
    }
}

/// Puts bytes where programs have put others: each program takes its part of them.
pub(super) fn overwrite(trace: &mut Trace, at: u32, bytes: &[u8]) {
    for op in &mut trace.ops {
        if let Op::Program { offset, data } = op {
            for (here, byte) in (*offset..).zip(data.iter_mut()) {
                if let Some(new) = here.checked_sub(at).and_then(|i| bytes.get(i as usize)) {
                    *byte = *new;
                }
            }
        }
    }
}

/// Changes the first dirent written that `pick` takes.
pub(super) fn change_dirent(
    torture: &mut Torture,
    pick: impl Fn(&Dirent<'_>) -> bool,
    change: impl FnOnce(Dirent<'_>) -> Dirent<'_>,
) -> Option<()> {
    let cells = Cells::written(torture);
    let (at, dirent) = cells.dirents().find(|(_, dirent)| pick(dirent))?;
    let mut bytes = Vec::new();
    change(dirent).emit(torture.workload.endian, &mut bytes);
    overwrite(&mut torture.trace, at, &bytes);
    Some(())
}

/// Changes the first inode node written that `pick` takes.
pub(super) fn change_inode(
    torture: &mut Torture,
    pick: impl Fn(&Inode) -> bool,
    change: impl FnOnce(Inode) -> Inode,
) -> Option<()> {
    let cells = Cells::written(torture);
    let (at, node, data) = cells.inodes().find(|(_, node, _)| pick(node))?;
    let mut bytes = Vec::new();
    change(node).emit(torture.workload.endian, &mut bytes, data);
    overwrite(&mut torture.trace, at, &bytes);
    Some(())
}

/// Writes filler in place of the first dirent that `pick` takes.
pub(super) fn forget_dirent(torture: &mut Torture, pick: impl Fn(&Dirent<'_>) -> bool) -> Option<()> {
    let (at, len) = {
        let cells = Cells::written(torture);
        let (at, dirent) = cells.dirents().find(|(_, dirent)| pick(dirent))?;
        (at, Dirent::flash_size(dirent.name.len()))
    };
    fill(torture, at, len);
    Some(())
}

/// Writes filler in place of the first inode node that `pick` takes.
pub(super) fn forget_inode(torture: &mut Torture, pick: impl Fn(&Inode) -> bool) -> Option<()> {
    let (at, len) = {
        let cells = Cells::written(torture);
        let (at, node, _) = cells.inodes().find(|(_, node, _)| pick(node))?;
        (at, Inode::flash_size(node.csize as usize))
    };
    fill(torture, at, len);
    Some(())
}

fn fill(torture: &mut Torture, at: u32, len: usize) {
    let mut filler = Vec::new();
    emit_padding(torture.workload.endian, &mut filler, len as u32);
    overwrite(&mut torture.trace, at, &filler);
}
