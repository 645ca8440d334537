//! Recovery: never needed for the tree to be right, only to get space back early and to make a weakly programmed
//! commit last.
//!
//! [`plan_recovery`] is a function of what the flash holds; [`recover`] carries its actions out. A power cut in
//! between is just another state to recover from: every action leaves the tree as it is.

use alloc::{vec, vec::Vec};

use super::commit_block::body_start;
use super::{Result, TxError, other_readers};
use crate::error::ReadError;
use crate::flash::{Flash, FlashMut};
use crate::index::Index;
use crate::log::{MAX_FAILED, WriteError, free_block, is_lasting, program, retire, reusable, sync};
use crate::scan::{BlockState, MarkerRecord, Rules, scan_one};
use crate::wire::{CommitPoint, Dirent, Endian, HEAD_SIZE, MarkerKind};

/// One step of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoverAction {
    /// Complete the copies of the commit marker in the head of a committed block.
    SealHead {
        /// Index of the eraseblock.
        block: u32,
        /// What the head is to be.
        head: Vec<u8>,
    },
    /// Write the dirent of a *dirent* commit a second time, one version higher.
    SealDirent {
        /// Index of the eraseblock.
        block: u32,
        /// Where, from the start of the eraseblock.
        at: u32,
        /// The node.
        node: Vec<u8>,
    },
    /// Erase an eraseblock in which readers see nothing.
    EraseHidden {
        /// Index of the eraseblock.
        block: u32,
    },
    /// Erase an eraseblock that holds only nodes that nothing needs.
    EraseDead {
        /// Index of the eraseblock.
        block: u32,
    },
}

/// What a recovery did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverReport {
    /// Commits that were sealed.
    pub sealed: u32,
    /// Eraseblocks erased that an interrupted transaction had left hidden.
    pub erased_hidden: u32,
    /// Eraseblocks erased that held only nodes that nothing needs.
    pub erased_dead: u32,
    /// Eraseblocks that failed: those to be erased are marked bad, where the flash has such marks.
    pub failed: u32,
}

impl RecoverReport {
    pub(super) fn count(&mut self, action: &RecoverAction) -> &mut u32 {
        match action {
            RecoverAction::SealHead { .. } | RecoverAction::SealDirent { .. } => &mut self.sealed,
            RecoverAction::EraseHidden { .. } => &mut self.erased_hidden,
            RecoverAction::EraseDead { .. } => &mut self.erased_dead,
        }
    }
}

/// What there is to do.
///
/// # Errors
/// [`TxError::Read`].
pub fn plan_recovery<F: Flash>(flash: &F, index: &Index) -> Result<Vec<RecoverAction>, F> {
    let others = other_readers(flash, index)?;
    let mut seals = Vec::new();
    let mut erases = Vec::new();
    for (block, info) in index.blocks().iter().enumerate() {
        let block = block as u32;
        let dead = others.iter().all(|other| reusable(other, block)) && reusable(index, block);
        match info.state {
            BlockState::Hidden if dead => erases.push(RecoverAction::EraseHidden { block }),
            BlockState::Used if dead => erases.push(RecoverAction::EraseDead { block }),
            _ => {}
        }
    }
    for seen in index.markers().iter().filter(|seen| seen.marker.kind == MarkerKind::Commit && !seen.in_head) {
        let block = index.geometry().block_of(seen.at);
        if index.blocks()[block as usize].live > 0 && block == seen.marker.commit_block {
            seals.extend(seal(flash, index, block, seen)?);
        }
    }
    seals.extend(erases);
    Ok(seals)
}

fn seal<F: Flash>(
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

/// A *dirent* commit is sealed if its dirent stands there twice. Once anything follows, the kernel has taken over.
fn seal_dirent<F: Flash>(
    flash: &F,
    index: &Index,
    block: u32,
    commit: &MarkerRecord,
) -> core::result::Result<Option<RecoverAction>, ReadError<F::Error>> {
    let endian = index.rules().endian;
    let geometry = *flash.geometry();
    // Elsewhere a write unit that reads blank may have been programmed by a torn seal: it must not be again.
    if !geometry.can_overwrite() {
        return Ok(None);
    }
    let start = geometry.offset_of(block);
    let mut bytes = vec![0; geometry.eraseblock() as usize];
    let found = scan_one(flash, Rules { endian, summaries: true }, block, &mut bytes)?;
    let after: Vec<_> = found.dirents.iter().filter(|dirent| dirent.at > commit.at).collect();
    let [only] = after[..] else { return Ok(None) };
    // What a torn seal left may end anywhere; nodes start at multiples of 4.
    let end = (found.written_end.max(found.end) - start).next_multiple_of(4);
    let room = Dirent::flash_size(usize::from(only.name_len));
    if !found.inodes.is_empty() || end as usize + room > bytes.len() || commit.at - start != body_start(&geometry, None)
    {
        return Ok(None);
    }
    let Ok(dirent) = Dirent::parse(endian, &bytes[(only.at - start) as usize..]) else { return Ok(None) };
    // The kernel has changed the directory since if it has a newer node: the seal would compete with that.
    let version = dirent.version.checked_add(1).filter(|_| index.max_version(dirent.pino) == dirent.version);
    let Some(version) = version else { return Ok(None) };
    let mut node = Vec::new();
    Dirent { version, ..dirent }.emit(endian, &mut node);
    Ok(Some(RecoverAction::SealDirent { block, at: end, node }))
}

/// Reads a flash that is to be written to.
pub(super) fn open_to_write<F: Flash>(flash: &F, endian: Endian) -> Result<Index, F> {
    let index = Index::open(flash, Rules { endian, summaries: true })?;
    match index.read_only() {
        Some(node) => Err(TxError::ReadOnly { offset: node.at, nodetype: node.nodetype }),
        None if index.is_foreign() => Err(TxError::Foreign),
        None => Ok(index),
    }
}

/// Erases leftovers and seals the last commit, on a flash that nothing has mounted. Whatever moment the power fails,
/// the tree stays what it is. Done again it does nothing, or erases what only now has become useless: a deletion whose last
/// older dirent has gone.
///
/// # Errors
/// [`TxError::Read`], [`TxError::ReadOnly`], [`TxError::Foreign`].
pub fn recover<F: FlashMut>(flash: &mut F, endian: Endian) -> Result<RecoverReport, F> {
    let index = open_to_write(&*flash, endian)?;
    let mut report = RecoverReport::default();
    for action in plan_recovery(&*flash, &index)? {
        carry_out(flash, endian, action, &mut report)?;
    }
    Ok(report)
}

/// The part of a recovery that a transaction begins with: eraseblocks that nothing needs are left for it to take. Online
/// only what nobody sees is touched, so that nothing is sealed.
pub(super) fn tidy<F: FlashMut>(flash: &mut F, index: &Index, online: bool) -> Result<RecoverReport, F> {
    let mut report = RecoverReport::default();
    for action in tidying(&*flash, index, online)? {
        carry_out(flash, index.rules().endian, action, &mut report)?;
    }
    Ok(report)
}

/// What [`tidy`] would do, nothing of it done.
pub(super) fn would_tidy<F: Flash>(flash: &F, index: &Index, online: bool) -> Result<RecoverReport, F> {
    let mut report = RecoverReport::default();
    for action in tidying(flash, index, online)? {
        *report.count(&action) += 1;
    }
    Ok(report)
}

fn tidying<F: Flash>(flash: &F, index: &Index, online: bool) -> Result<Vec<RecoverAction>, F> {
    let wanted = |action: &RecoverAction| match action {
        RecoverAction::EraseHidden { .. } => true,
        RecoverAction::SealHead { .. } | RecoverAction::SealDirent { .. } => !online,
        RecoverAction::EraseDead { .. } => false,
    };
    Ok(plan_recovery(flash, index)?.into_iter().filter(wanted).collect())
}

/// An eraseblock that fails is no reason to stop: the tree does not need what is done here. A device that fails is one.
pub(super) fn carry_out<F: FlashMut>(
    flash: &mut F,
    endian: Endian,
    action: RecoverAction,
    report: &mut RecoverReport,
) -> Result<(), F> {
    let done = match &action {
        RecoverAction::SealHead { block, head } => seal_block(flash, *block, 0, head),
        RecoverAction::SealDirent { block, at, node } => seal_block(flash, *block, *at, node),
        RecoverAction::EraseHidden { block } | RecoverAction::EraseDead { block } => free_block(flash, endian, *block),
    };
    let Err(error) = done else {
        *report.count(&action) += 1;
        return Ok(());
    };
    report.failed += 1;
    // So many are a failing device, and no reason to mark the whole flash bad.
    if report.failed as usize > MAX_FAILED {
        return Ok(());
    }
    match action {
        // Readers need what stands there.
        RecoverAction::SealHead { .. } | RecoverAction::SealDirent { .. } if !is_lasting(flash, &error) => {}
        RecoverAction::SealHead { .. } | RecoverAction::SealDirent { .. } => return Err(error.into()),
        RecoverAction::EraseHidden { block } | RecoverAction::EraseDead { block } => retire(flash, block, error)?,
    }
    Ok(())
}

fn seal_block<F: FlashMut>(
    flash: &mut F,
    block: u32,
    at: u32,
    bytes: &[u8],
) -> core::result::Result<(), WriteError<F::Error>> {
    let offset = flash.geometry().offset_of(block) + at;
    program(flash, offset, bytes)?;
    sync(flash, offset)
}
