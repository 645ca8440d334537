//! Commits that can be completed where they stand.

use alloc::{vec, vec::Vec};

use super::RecoverAction;
use crate::error::ReadError;
use crate::flash::{Flash, FlashMut};
use crate::index::{Index, NameRecord};
use crate::log::{WriteError, program, sync};
use crate::scan::MarkerRecord;
use crate::tx::commit_block::{BlockProgram, body_start};
use crate::wire::{CommitPoint, Dirent, Endian, HEAD_SIZE};

/// How often a dirent is read that was visible a moment ago.
const READS: u32 = 16;

/// What completes a visible commit, if anything is missing and can be programmed where it belongs.
pub(super) fn seal<F: Flash>(
    flash: &F,
    index: &Index,
    block: u32,
    commit: &MarkerRecord,
) -> core::result::Result<Option<RecoverAction>, ReadError<F::Error>> {
    match commit.marker.commit_point {
        Some(CommitPoint::Head) => seal_head(flash, index.rules().endian, block, commit),
        Some(CommitPoint::Dirent) => seal_dirent(flash, index, block, commit),
        Some(CommitPoint::Summary) | None => Ok(None),
    }
}

fn seal_head<F: Flash>(
    flash: &F,
    endian: Endian,
    block: u32,
    commit: &MarkerRecord,
) -> core::result::Result<Option<RecoverAction>, ReadError<F::Error>> {
    let head = commit.marker.head(endian);
    let offset = flash.geometry().offset_of(block);
    let mut is = [0; HEAD_SIZE];
    flash.read(offset, &mut is).map_err(|error| ReadError::Device { offset, error })?;
    // Only bits that the head clears can be completed; anything else there is not ours to touch.
    let completes = is.iter().zip(&head).all(|(is, wanted)| is & wanted == *wanted);
    let needed = is != head && completes && flash.geometry().can_overwrite();
    Ok(needed.then(|| RecoverAction::SealHead { block, head: head.to_vec() }))
}

/// A *dirent* commit is sealed if anything stands behind its second dirent: that was written when both were there for good.
/// Elsewhere than on NOR that can be programmed again it is not completed where it stands, but settled.
fn seal_dirent<F: Flash>(
    flash: &F,
    index: &Index,
    block: u32,
    commit: &MarkerRecord,
) -> core::result::Result<Option<RecoverAction>, ReadError<F::Error>> {
    let endian = index.rules().endian;
    let geometry = *flash.geometry();
    let start = geometry.offset_of(block);
    let at = (commit.at - start) as usize + commit.marker.flash_size();
    if !geometry.can_overwrite() || commit.at - start != body_start(&geometry, None) {
        return Ok(None);
    }
    let mut bytes = vec![0; geometry.eraseblock() as usize];
    // It was seen: if it does not read well now, it may the next time.
    for _ in 0..READS {
        flash.read(start, &mut bytes).map_err(|error| ReadError::Device { offset: start, error })?;
        if bytes.get(at..).is_some_and(|bytes| Dirent::parse(endian, bytes).is_ok()) {
            break;
        }
    }
    let Some(dirent) = bytes.get(at..).and_then(|bytes| Dirent::parse(endian, bytes).ok()) else { return Ok(None) };
    let Some(version) = dirent.version.checked_add(1) else { return Ok(None) };
    let mut nodes = Vec::new();
    dirent.emit(endian, &mut nodes);
    // The kernel has changed the directory since if it has another node as new as the seal, which would compete with that.
    let seal_at = start + (at + nodes.len()) as u32;
    let is_newer = |name: &NameRecord| name.version >= version && name.at != seal_at;
    let newest = index.nodes(dirent.pino).last().map_or(0, |node| node.version);
    if newest >= version || index.dirents(dirent.pino).iter().any(is_newer) {
        return Ok(None);
    }
    Dirent { version, ..dirent }.emit(endian, &mut nodes);
    let Some((is, behind)) = bytes.get(at..).and_then(|bytes| bytes.split_at_checked(nodes.len())) else {
        return Ok(None);
    };
    let completes = is.iter().zip(&nodes).all(|(is, wanted)| is & wanted == *wanted);
    let needed = completes && behind.iter().all(|byte| *byte == 0xff);
    Ok(needed.then_some(RecoverAction::SealDirent { block, at: at as u32, nodes }))
}

/// What vouches for the two dirents of a *dirent* commit, if there is room.
pub(super) fn write_witness<F: FlashMut>(
    flash: &mut F,
    endian: Endian,
    block: u32,
    at: u32,
) -> core::result::Result<(), WriteError<F::Error>> {
    let geometry = *flash.geometry();
    let start = geometry.offset_of(block);
    BlockProgram { flash, geometry, start, at, endian, bytes: 0, dry: false }.put_witness()
}

pub(super) fn seal_block<F: FlashMut>(
    flash: &mut F,
    block: u32,
    at: u32,
    bytes: &[u8],
) -> core::result::Result<(), WriteError<F::Error>> {
    let offset = flash.geometry().offset_of(block) + at;
    program(flash, offset, bytes)?;
    sync(flash, offset)
}
