//! Recovery: never needed for the tree to be right, only to get space back early and to make a weakly programmed
//! commit last.
//!
//! [`plan_recovery`] is a function of what the flash holds; [`recover`] carries its actions out. A power cut in
//! between is just another state to recover from: every action leaves the tree as it is.

use alloc::{boxed::Box, vec::Vec};

use super::settle::{Open, open_commits, plan_settle, write_settled};
use super::{Result, TxError, other_readers};
use crate::flash::{Flash, FlashMut};
use crate::index::Index;
use crate::log::{MAX_FAILED, WriteError, free_block, is_lasting, retire, reusable};
use crate::scan::{BlockState, MarkerRecord, Rules};
use crate::wire::{CopyMarker, CopyStage, Endian, Marker, MarkerKind};

mod copies;
mod seal;

pub(super) use copies::{DONE_PLACES, Without, copies_start, copy_marker, done_size, doomed, vouch, write_copies};
use copies::{copy_again, plan_copies};
use seal::{seal, seal_block, write_witness};

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
    /// Program the dirent of a *dirent* commit once more where it stands, a second one behind it, one version higher, and
    /// behind that what vouches for both.
    SealDirent {
        /// Index of the eraseblock.
        block: u32,
        /// Where the dirent stands, from the start of the eraseblock.
        at: u32,
        /// Both nodes.
        nodes: Vec<u8>,
    },
    /// Erase commit blocks that the next power-up may see or not, once what is visible of them stands elsewhere.
    Settle {
        /// Indexes of the eraseblocks.
        blocks: Vec<u32>,
        /// What is to be written first, if anything depends on it.
        rewrite: Option<Box<Rewrite>>,
    },
    /// Erase an eraseblock that a collection had not done copying nodes to, or of which it had copied all that counts.
    EraseCopies {
        /// Index of the eraseblock.
        block: u32,
    },
    /// Say once more that a collection had copied all that it was to copy to an eraseblock.
    Vouch {
        /// Index of the eraseblock.
        block: u32,
        /// Where it is to be said, from the start of the eraseblock.
        at: u32,
        /// The node.
        marker: Vec<u8>,
    },
    /// Copy once more what a collection had copied.
    CopyAgain {
        /// Index of the eraseblock.
        block: u32,
        /// Where the copies end in it.
        len: u32,
        /// Index of the eraseblock that is to take them.
        to: u32,
        /// What that one is to say.
        generation: u32,
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

/// A commit written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Eraseblocks that may take it, the best first. None: it cannot be written, and nothing is erased.
    pub to: Vec<u32>,
    /// Its nodes.
    pub body: Vec<u8>,
    /// Its marker.
    pub marker: Marker,
}

/// What a recovery did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverReport {
    /// Commits that were sealed or written again, and collections' copies that were vouched for.
    pub sealed: u32,
    /// Eraseblocks erased that an interrupted transaction had left hidden, or visible by chance.
    pub erased_hidden: u32,
    /// Eraseblocks erased that held only nodes that nothing needs.
    pub erased_dead: u32,
    /// Eraseblocks that failed: those to be erased are marked bad, where the flash has such marks.
    pub failed: u32,
    /// Commits that may read differently at the next power-up, and could not be written again: no eraseblock is free.
    pub unsettled: u32,
}

impl RecoverReport {
    /// Counts an action as done.
    pub(super) fn add(&mut self, action: &RecoverAction) {
        match action {
            RecoverAction::SealHead { .. } | RecoverAction::SealDirent { .. } => self.sealed += 1,
            RecoverAction::Vouch { .. } | RecoverAction::CopyAgain { .. } => self.sealed += 1,
            RecoverAction::Settle { rewrite: Some(rewrite), .. } if rewrite.to.is_empty() => self.unsettled += 1,
            RecoverAction::Settle { blocks, rewrite } => {
                self.sealed += u32::from(rewrite.as_ref().is_some_and(|rewrite| rewrite.marker.kind.commits()));
                self.erased_hidden += blocks.len() as u32;
            }
            RecoverAction::EraseHidden { .. } | RecoverAction::EraseCopies { .. } => self.erased_hidden += 1,
            RecoverAction::EraseDead { .. } => self.erased_dead += 1,
        }
    }
}

/// What there is to do.
///
/// # Errors
/// [`TxError::Read`].
pub fn plan_recovery<F: Flash>(flash: &F, index: &Index) -> Result<Vec<RecoverAction>, F> {
    let mut actions = plan_copies(flash, index)?;
    let blocks = doomed(&actions);
    let flash = &Without { flash, blocks: &blocks };
    let newer = if blocks.is_empty() { None } else { Some(Index::open(flash, index.rules())?) };
    let index = newer.as_ref().unwrap_or(index);
    let Planned { seals, open, erases } = plan(flash, index)?;
    actions.extend(seals);
    for of_one in &open {
        actions.push(plan_settle(flash, index, of_one)?);
    }
    actions.extend(erases);
    Ok(actions)
}

struct Planned {
    /// What completes commits where they stand.
    seals: Vec<RecoverAction>,
    /// Commits to be settled, the newest first. While there are any, either tree may be the one that is needed.
    open: Vec<Open>,
    /// What can be erased after that.
    erases: Vec<RecoverAction>,
}

/// What there is to do when no copies are in doubt.
fn plan<F: Flash>(flash: &F, index: &Index) -> Result<Planned, F> {
    let others = other_readers(flash, index)?;
    let open = open_commits(flash, index)?;
    let geometry = index.geometry();
    let is_open = |block: u32| open.iter().flat_map(|open| &open.blocks).any(|open| open.block == block);
    let is_end = |seen: &&MarkerRecord| seen.marker.kind != MarkerKind::Begin && !seen.in_head;
    let is_marked = |block: u32| index.markers().iter().filter(is_end).any(|seen| geometry.block_of(seen.at) == block);
    let (mut erases, mut last) = (Vec::new(), Vec::new());
    for (block, info) in index.blocks().iter().enumerate() {
        let block = block as u32;
        let dead = others.iter().all(|other| reusable(other, block)) && reusable(index, block);
        // What is left of a commit block may show once more while it is erased: what has undone it goes later.
        let erases = if is_marked(block) { &mut last } else { &mut erases };
        match info.state {
            _ if is_open(block) => {}
            BlockState::Hidden if dead => erases.push(RecoverAction::EraseHidden { block }),
            BlockState::Used if dead => erases.push(RecoverAction::EraseDead { block }),
            _ => {}
        }
    }
    erases.append(&mut last);
    let mut seals = Vec::new();
    for seen in index.markers().iter().filter(is_end) {
        let block = geometry.block_of(seen.at);
        if index.blocks()[block as usize].live > 0 && block == seen.marker.commit_block && !is_open(block) {
            seals.extend(seal(flash, index, block, seen)?);
        }
    }
    Ok(Planned { seals, open, erases })
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
    run(flash, &index, &|_| true, &mut report)?;
    Ok(report)
}

/// Carries a recovery out, as far as its actions are wanted; whether there was anything to do.
pub(super) fn run<F: FlashMut>(
    flash: &mut F,
    index: &Index,
    wanted: &dyn Fn(&RecoverAction) -> bool,
    report: &mut RecoverReport,
) -> Result<bool, F> {
    let erased = report.erased_hidden;
    let any = run_once(flash, index, wanted, report)?;
    // What could not be settled for want of an eraseblock may be now.
    if report.unsettled > 0 && report.erased_hidden > erased {
        report.unsettled = 0;
        run_once(flash, &open_to_write(&*flash, index.rules().endian)?, wanted, report)?;
    }
    Ok(any)
}

fn run_once<F: FlashMut>(
    flash: &mut F,
    index: &Index,
    wanted: &dyn Fn(&RecoverAction) -> bool,
    report: &mut RecoverReport,
) -> Result<bool, F> {
    let endian = index.rules().endian;
    let mut newer = run_copies(flash, index, wanted, report)?;
    let mut any = newer.is_some();
    let mut planned = plan(&*flash, newer.as_ref().unwrap_or(index))?;
    for _ in 0..index.geometry().blocks() {
        for action in core::mem::take(&mut planned.seals).into_iter().filter(|action| wanted(action)) {
            any = true;
            carry_out(flash, endian, action, report)?;
        }
        let now = newer.as_ref().unwrap_or(index);
        let Some(action) = next_settle(&*flash, now, &planned.open, wanted)? else { break };
        any = true;
        carry_out(flash, endian, action, report)?;
        let before = planned.open.len();
        // What is written again changes what the next commit is to be written as.
        planned = plan(&*flash, newer.insert(open_to_write(&*flash, endian)?))?;
        // An eraseblock that cannot be erased would have the same written again and again.
        if report.unsettled > 0 || report.failed > 0 && planned.open.len() >= before {
            break;
        }
    }
    let settled =
        |action: &RecoverAction| planned.open.is_empty() || matches!(action, RecoverAction::EraseHidden { .. });
    for action in planned.erases.into_iter().filter(|action| wanted(action) && settled(action)) {
        any = true;
        carry_out(flash, endian, action, report)?;
    }
    Ok(any)
}

/// What a collection has left goes first, or other things would rest on it; the newer index, if there was anything.
fn run_copies<F: FlashMut>(
    flash: &mut F,
    index: &Index,
    wanted: &dyn Fn(&RecoverAction) -> bool,
    report: &mut RecoverReport,
) -> Result<Option<Index>, F> {
    let mut newer = None;
    let failed = report.failed;
    for _ in 0..index.geometry().blocks() {
        let actions = plan_copies(&*flash, newer.as_ref().unwrap_or(index))?;
        let actions: Vec<RecoverAction> = actions.into_iter().filter(|action| wanted(action)).collect();
        if actions.is_empty() || report.failed > failed {
            break;
        }
        for action in actions {
            let copies = matches!(action, RecoverAction::CopyAgain { .. });
            carry_out(flash, index.rules().endian, action, report)?;
            // An eraseblock that has been taken is not there for another.
            if copies {
                break;
            }
        }
        newer = Some(open_to_write(&*flash, index.rules().endian)?);
    }
    Ok(newer)
}

/// The first that is wanted; those after it are not looked into yet, as that takes reading all of their payload.
fn next_settle<F: Flash>(
    flash: &F,
    index: &Index,
    open: &[Open],
    wanted: &dyn Fn(&RecoverAction) -> bool,
) -> Result<Option<RecoverAction>, F> {
    for of_one in open {
        let action = plan_settle(flash, index, of_one)?;
        if wanted(&action) {
            return Ok(Some(action));
        }
    }
    Ok(None)
}

/// The part of a recovery that a transaction begins with: eraseblocks that nothing needs are left for it to take. Online
/// only what nobody sees is touched, so that nothing is sealed.
pub(super) fn tidy<F: FlashMut>(flash: &mut F, index: &Index, online: bool) -> Result<RecoverReport, F> {
    let mut report = RecoverReport::default();
    run(flash, index, &|action| is_tidying(index, action, online), &mut report)?;
    Ok(report)
}

/// What [`tidy`] would do, nothing of it done; and the eraseblocks that would not be free any more.
pub(super) fn would_tidy<F: Flash>(flash: &F, index: &Index, online: bool) -> Result<(RecoverReport, Vec<u32>), F> {
    let (mut report, mut taken) = (RecoverReport::default(), Vec::new());
    for action in plan_recovery(flash, index)?.iter().filter(|action| is_tidying(index, action, online)) {
        report.add(action);
        // A commit that is written again leaves its old eraseblock free instead.
        if let RecoverAction::Settle { rewrite: Some(rewrite), .. } = action
            && rewrite.marker.kind == MarkerKind::Undo
        {
            taken.extend(rewrite.to.first());
        }
    }
    Ok((report, taken))
}

fn is_tidying(index: &Index, action: &RecoverAction, online: bool) -> bool {
    let hidden = |block: &u32| index.blocks()[*block as usize].state == BlockState::Hidden;
    match action {
        RecoverAction::EraseHidden { .. } => true,
        RecoverAction::Settle { blocks, .. } => !online || blocks.iter().all(hidden),
        RecoverAction::SealHead { .. }
        | RecoverAction::SealDirent { .. }
        | RecoverAction::Vouch { .. }
        | RecoverAction::CopyAgain { .. }
        | RecoverAction::EraseCopies { .. } => !online,
        RecoverAction::EraseDead { .. } => false,
    }
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
        RecoverAction::SealDirent { block, at, nodes } => {
            let (at, behind) = (*at, at + nodes.len() as u32);
            seal_block(flash, *block, at, nodes).and_then(|()| write_witness(flash, endian, *block, behind))
        }
        RecoverAction::Settle { blocks, rewrite } => return settle(flash, endian, blocks, rewrite.as_deref(), report),
        RecoverAction::Vouch { block, at, marker } => seal_block(flash, *block, *at, marker),
        RecoverAction::CopyAgain { block, len, to, generation } => {
            let begun = CopyMarker { stage: CopyStage::Begun, block: *to, generation: *generation };
            copy_again(flash, endian, (*block, *len), begun)
        }
        RecoverAction::EraseHidden { block }
        | RecoverAction::EraseCopies { block }
        | RecoverAction::EraseDead { block } => free_block(flash, endian, *block),
    };
    let Err(error) = done else {
        report.add(&action);
        return Ok(());
    };
    match action {
        RecoverAction::EraseHidden { block }
        | RecoverAction::EraseCopies { block }
        | RecoverAction::EraseDead { block } => failed(flash, block, error, report),
        // Readers need what stands there.
        _ if is_lasting(flash, &error) => Err(error.into()),
        _ => {
            report.failed += 1;
            Ok(())
        }
    }
}

/// So many are a failing device, and no reason to mark the whole flash bad.
fn failed<F: FlashMut>(
    flash: &mut F,
    block: u32,
    error: WriteError<F::Error>,
    report: &mut RecoverReport,
) -> Result<(), F> {
    report.failed += 1;
    if report.failed as usize <= MAX_FAILED {
        retire(flash, block, error)?;
    }
    Ok(())
}

fn settle<F: FlashMut>(
    flash: &mut F,
    endian: Endian,
    blocks: &[u32],
    rewrite: Option<&Rewrite>,
    report: &mut RecoverReport,
) -> Result<(), F> {
    let mut written = None;
    if let Some(rewrite) = rewrite {
        for block in &rewrite.to {
            match write_settled(flash, endian, *block, &rewrite.body, &rewrite.marker) {
                Ok(()) => {
                    written = Some(*block);
                    break;
                }
                Err(error) => failed(flash, *block, error, report)?,
            }
        }
        report.unsettled += u32::from(written.is_none());
        report.sealed += u32::from(written.is_some() && rewrite.marker.kind.commits());
        if written.is_none() {
            return Ok(());
        }
    }
    for block in blocks.iter().filter(|block| Some(**block) != written) {
        match free_block(flash, endian, *block) {
            Ok(()) => report.erased_hidden += 1,
            Err(error) => failed(flash, *block, error, report)?,
        }
    }
    Ok(())
}
