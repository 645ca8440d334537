//! What a collection was copying when the power failed (`DESIGN.md` section 9).
//!
//! An eraseblock that takes nodes says so first. When all copies stand it says that they do, twice, each time durably; what they
//! were copied from is erased only then. So where it does not say so at all, the originals stand, and the copies can go, whatever they
//! read as. Where it says so, what came before that was complete: the copies stay, but if it says so only once, that may not last.
//! Then the originals go: an erase of them may have been cut.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec,
    vec::Vec,
};

use super::RecoverAction;
use crate::error::ReadError;
use crate::flash::{Ecc, Flash, FlashMut, Geometry};
use crate::index::{Copies, Index};
use crate::log::{WriteError, erase, program, sync};
use crate::scan::{BlockScan, BlockState, InodeRecord, Rules};
use crate::tx::{Result, other_readers};
use crate::wire::{COPY_MARKER_SIZE, CopyMarker, CopyStage, Endian, emit_padding};

/// Places for [`CopyStage::Done`] behind the copies: two for the collection, one more for a recovery.
pub(in crate::tx) const DONE_PLACES: u32 = 3;

/// A marker with filler behind it, `len` bytes at least: it is programmed alone.
pub(in crate::tx) fn copy_marker(geometry: &Geometry, endian: Endian, marker: CopyMarker, len: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    marker.emit(endian, &mut bytes);
    let len = len.next_multiple_of(geometry.write_size());
    emit_padding(endian, &mut bytes, len - COPY_MARKER_SIZE as u32);
    bytes
}

/// Bytes at the start of an eraseblock that takes nodes in which none stands. On NOR Linux takes them for a cleanmarker when it has
/// filled the eraseblock up and written its summary, and hits BUG() if a listed node is there (`FORMAT.md` section 7).
pub(in crate::tx) fn copies_start(geometry: &Geometry) -> u32 {
    done_size(geometry).max(geometry.cleanmarker_size())
}

/// Bytes that a [`CopyStage::Done`] takes.
pub(in crate::tx) fn done_size(geometry: &Geometry) -> u32 {
    (COPY_MARKER_SIZE as u32).next_multiple_of(geometry.write_size())
}

/// Copies that may not last, and what was copied and may not either; and what to do with them.
pub(super) fn plan_copies<F: Flash>(flash: &F, index: &Index) -> Result<Vec<RecoverAction>, F> {
    let used = |block: &u32| index.blocks()[*block as usize].state == BlockState::Used;
    let begun = (0..index.geometry().blocks()).filter(used).filter_map(|block| Some((block, index.copies(block)?)));
    let begun: BTreeMap<u32, Copies> = begun.collect();
    let mut actions = Vec::new();
    let mut doubtful = Vec::new();
    for (block, copies) in &begun {
        match copies.done[..] {
            [] => doubtful.push(*block),
            [done] if is_as_it_was(index, &begun, *block, done) => {
                actions.extend(vouch_again(flash, index, *block, copies, done)?);
            }
            _ => {}
        }
    }
    doubtful.extend(copied(index, &begun));
    // What is dead goes like anything else.
    doubtful.retain(|block| index.blocks()[*block as usize].live > 0);
    if doubtful.is_empty() {
        return Ok(actions);
    }
    let others = other_readers(flash, index)?;
    let mut gone = Vec::new();
    for block in doubtful {
        gone.push(block);
        if !is_same_without(flash, index, others.as_ref(), &gone)? {
            gone.pop();
        }
    }
    actions.extend(gone.into_iter().map(|block| RecoverAction::EraseCopies { block }));
    Ok(actions)
}

/// Eraseblocks of which all live nodes were copied, and by a collection that was to erase them.
fn copied(index: &Index, begun: &BTreeMap<u32, Copies>) -> Vec<u32> {
    if !begun.values().any(Copies::last) {
        return Vec::new();
    }
    let (mut stay, mut go) = (BTreeSet::new(), BTreeSet::new());
    for (at, is_copied) in live_nodes(index, begun) {
        let set = if is_copied { &mut go } else { &mut stay };
        set.insert(index.geometry().block_of(at));
    }
    go.difference(&stay).copied().collect()
}

/// Live nodes, each with whether a collection has copied it to where it stands for good.
fn live_nodes(index: &Index, begun: &BTreeMap<u32, Copies>) -> Vec<(u32, bool)> {
    let geometry = index.geometry();
    let generation = |block: u32| begun.get(&block).map_or(0, |copies| copies.generation);
    let is_copy = |copy: u32, at: u32| {
        let lasts = begun.get(&geometry.block_of(copy)).filter(|copies| copies.last());
        lasts.is_some_and(|copies| copies.generation > generation(geometry.block_of(at)))
    };
    let inodes: BTreeMap<u32, &InodeRecord> =
        index.reachable().flat_map(|ino| index.nodes(ino)).map(|node| (node.at, node)).collect();
    let is_copied = |at: u32| match inodes.get(&at) {
        Some(node) => alike(index, node).any(|copy| is_copy(copy, at)),
        None => index.said_before(at).any(|copy| is_copy(copy, at)),
    };
    index.live_nodes().into_iter().map(|at| (at, is_copied(at))).collect()
}

/// Whether nothing has been written behind copies that are done, and they have not been copied again: what cannot go afterwards
/// would be copied again and again.
fn is_as_it_was(index: &Index, begun: &BTreeMap<u32, Copies>, block: u32, done: u32) -> bool {
    let mut here = live_nodes(index, begun).into_iter().filter(|(at, _)| index.geometry().block_of(*at) == block);
    here.all(|(at, is_copied)| at < done && !is_copied)
}

/// Where nodes stand that say the same with the same version.
fn alike(index: &Index, node: &InodeRecord) -> impl Iterator<Item = u32> {
    let nodes = index.nodes(node.ino);
    let same = &nodes[nodes.partition_point(|other| other.version < node.version)..];
    let same = same.iter().take_while(|other| other.version == node.version);
    same.filter(|other| InodeRecord { at: node.at, ..**other } == *node).map(|other| other.at)
}

/// Whether every reader sees the same tree without these eraseblocks. Not if the kernel has written on in one.
fn is_same_without<F: Flash>(
    flash: &F,
    index: &Index,
    others: Option<&Index>,
    blocks: &[u32],
) -> core::result::Result<bool, ReadError<F::Error>> {
    for seen in [Some(index), others].into_iter().flatten() {
        if !seen.is_same_tree(&Index::open(&Without { flash, blocks }, seen.rules())?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Says once more that the copies are done; where a page that looks blank cannot be trusted to be, they are copied once more.
fn vouch_again<F: Flash>(
    flash: &F,
    index: &Index,
    block: u32,
    copies: &Copies,
    done: u32,
) -> core::result::Result<Option<RecoverAction>, ReadError<F::Error>> {
    let geometry = *index.geometry();
    let start = geometry.offset_of(block);
    // Above, where of equal versions the later counts.
    let free = |to: &u32| matches!(index.blocks()[*to as usize].state, BlockState::Blank | BlockState::Clean);
    if !geometry.can_overwrite()
        && let Some(to) = (block + 1..geometry.blocks()).rev().find(free)
    {
        let generation = index.next_generation();
        return Ok(Some(RecoverAction::CopyAgain { block, len: done - start, to, generation }));
    }
    let size = done_size(&geometry);
    let marker = CopyMarker { stage: CopyStage::Done, block, generation: copies.generation };
    let marker = copy_marker(&geometry, index.rules().endian, marker, size);
    // What a cut has begun there is completed, or passed over if there is room.
    let places = if geometry.can_overwrite() { [1, 2] } else { [2, 1] };
    for nth in places {
        let at = (done - start).saturating_add(nth * size);
        if at > geometry.eraseblock() - size {
            continue;
        }
        let mut is = vec![0; marker.len()];
        flash.read(start + at, &mut is).map_err(|error| ReadError::Device { offset: start + at, error })?;
        let completes = is.iter().zip(&marker).all(|(is, wanted)| is & wanted == *wanted);
        if completes && (geometry.can_overwrite() || is.iter().all(|byte| *byte == 0xff)) {
            return Ok(Some(RecoverAction::Vouch { block, at, marker }));
        }
    }
    Ok(None)
}

/// Erases an eraseblock and programs a marker and the copies behind it. They are not vouched for yet.
pub(in crate::tx) fn write_copies<F: FlashMut>(
    flash: &mut F,
    block: u32,
    (marker, copies): (&[u8], &[u8]),
) -> core::result::Result<(), WriteError<F::Error>> {
    let offset = flash.geometry().offset_of(block);
    erase(flash, block)?;
    // Were they programmed together a cut could leave copies that can be read behind a marker that cannot.
    for (at, bytes) in [(offset, marker), (offset + marker.len() as u32, copies)] {
        program(flash, at, bytes)?;
        sync(flash, at)?;
    }
    Ok(())
}

/// Says of copies, which end at `at` in their eraseblock, that they stand; and then that this has been said to the end.
pub(in crate::tx) fn vouch<F: FlashMut>(
    flash: &mut F,
    endian: Endian,
    begun: CopyMarker,
    at: u32,
) -> core::result::Result<(), WriteError<F::Error>> {
    let geometry = *flash.geometry();
    let marker = CopyMarker { stage: CopyStage::Done, ..begun };
    let done = copy_marker(&geometry, endian, marker, done_size(&geometry));
    let at = geometry.offset_of(begun.block) + at;
    for at in [at, at + done.len() as u32] {
        program(flash, at, &done)?;
        sync(flash, at)?;
    }
    Ok(())
}

/// Carries [`RecoverAction::CopyAgain`] out.
pub(super) fn copy_again<F: FlashMut>(
    flash: &mut F,
    endian: Endian,
    (block, len): (u32, u32),
    begun: CopyMarker,
) -> core::result::Result<(), WriteError<F::Error>> {
    let geometry = *flash.geometry();
    let start = copies_start(&geometry);
    let offset = geometry.offset_of(block) + start;
    let mut copies = vec![0; len.saturating_sub(start) as usize];
    let device = |error| WriteError::Device { operation: "read", offset, error };
    if flash.read(offset, &mut copies).map_err(device)? == Ecc::Uncorrectable {
        return Err(WriteError::ReadBack { operation: "read", offset });
    }
    write_copies(flash, begun.block, (&copy_marker(&geometry, endian, begun, start), &copies))?;
    vouch(flash, endian, begun, len)
}

/// Eraseblocks that are to go although something in them counts: until they have, what says the same elsewhere may look as
/// if nothing needed it.
pub(in crate::tx) fn doomed(actions: &[RecoverAction]) -> Vec<u32> {
    let copies = |action: &RecoverAction| match action {
        RecoverAction::EraseCopies { block } => Some(*block),
        _ => None,
    };
    actions.iter().filter_map(copies).collect()
}

/// The flash as if some eraseblocks were bad.
pub(in crate::tx) struct Without<'f, F> {
    pub(in crate::tx) flash: &'f F,
    pub(in crate::tx) blocks: &'f [u32],
}

impl<F: Flash> Flash for Without<'_, F> {
    type Error = F::Error;

    fn geometry(&self) -> &Geometry {
        self.flash.geometry()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> core::result::Result<Ecc, F::Error> {
        self.flash.read(offset, buf)
    }

    fn is_bad(&self, block: u32) -> core::result::Result<bool, F::Error> {
        Ok(self.blocks.contains(&block) || self.flash.is_bad(block)?)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> core::result::Result<bool, F::Error> {
        self.flash.has_oob_cleanmarker(block)
    }

    fn known_scan(&self, rules: Rules, block: u32) -> Option<Arc<BlockScan>> {
        if self.blocks.contains(&block) { None } else { self.flash.known_scan(rules, block) }
    }
}
