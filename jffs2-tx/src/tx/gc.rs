//! Garbage collection on a flash that nothing has mounted: live nodes move together, eraseblocks become free.
//!
//! A node is copied as it is, byte by byte and with its version, into an erased eraseblock; that one is read back and made
//! durable; only then is the eraseblock that the node came from erased. Until then both copies stand, and say the same. So
//! no moment is visible, and a power cut costs space, which the next collection gets back. Why readers of every kind agree,
//! and which eraseblocks stay where they are: `DESIGN.md` section 9.

use alloc::vec::Vec;

use super::recover::{RecoverAction, Without, doomed, open_to_write, plan_recovery, run};
use super::{RecoverReport, Result, TxError};
use crate::flash::{Flash, FlashMut};
use crate::index::Index;
use crate::log::MAX_FAILED;
use crate::wire::Endian;

mod hands;
mod inventory;
mod round;
#[cfg(test)]
mod tests;

use hands::{Copied, Dry, Freed, Hands, OnFlash};
use inventory::Space;

/// How to collect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcOptions {
    /// Stop when so many eraseblocks are free; `None` to free all that can be. Eraseblocks that nothing needs are erased in
    /// any case.
    pub target_free: Option<u32>,
    /// Collect also what only readers without summaries still need, as
    /// [`TxOptions::summary_readers_only`](super::TxOptions::summary_readers_only) has it.
    pub summary_readers_only: bool,
}

/// What a collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Eraseblocks with nothing in them before: blank ones, and those with a cleanmarker only.
    pub free_before: u32,
    /// The same after it.
    pub free_after: u32,
    /// What was left of transactions: sealed, and erased as hidden or as needed by nothing.
    pub recovered: RecoverReport,
    /// Nodes copied.
    pub moved_nodes: u32,
    /// Bytes of these nodes, each rounded up to a multiple of 4.
    pub moved_bytes: u64,
    /// Eraseblocks that took them.
    pub eraseblocks_taken: u32,
    /// Eraseblocks freed: those that the nodes came from, and those that held nothing but copies of what stands elsewhere.
    pub eraseblocks_freed: u32,
    /// Erases in all, the wear: those that took nodes were erased first, whatever they held.
    pub erases: u32,
    /// Eraseblocks that failed and were given up; NAND ones are marked bad. Those of [`GcReport::recovered`] are not counted.
    pub eraseblocks_failed: u32,
    /// Eraseblocks that hold live nodes and must stay as they are: see `DESIGN.md` section 9.
    pub eraseblocks_pinned: u32,
}

/// What a collection would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcPlan {
    /// The report if nothing fails. More may become free: a deletion may not be needed any more once the older name has gone.
    pub expected: GcReport,
    /// Eraseblocks to be freed by moving nodes, in the order of their erases.
    pub victims: Vec<u32>,
}

/// What [`gc`] would do. Writes nothing.
///
/// # Errors
/// As [`gc`], but for writing.
pub fn plan_gc<F: Flash>(flash: &F, endian: Endian, options: &GcOptions) -> Result<GcPlan, F> {
    let mut index = open_to_write(flash, endian)?;
    let mut report = GcReport { free_before: Space::blank(&index), ..GcReport::default() };
    let (mut erased, mut taken) = (Vec::new(), Vec::new());
    let actions = plan_recovery(flash, &index)?;
    let blocks = doomed(&actions);
    if !blocks.is_empty() {
        index = Index::open(&Without { flash, blocks: &blocks }, index.rules())?;
    }
    for action in actions {
        report.recovered.add(&action);
        match action {
            RecoverAction::EraseHidden { block }
            | RecoverAction::EraseCopies { block }
            | RecoverAction::EraseDead { block } => erased.push(block),
            RecoverAction::Settle { blocks, rewrite } => {
                erased.extend(blocks);
                taken.extend(rewrite.and_then(|rewrite| rewrite.to.first().copied()));
            }
            RecoverAction::SealHead { .. } | RecoverAction::SealDirent { .. } | RecoverAction::Vouch { .. } => {}
            RecoverAction::CopyAgain { to, .. } => taken.push(to),
        }
    }
    let mut space = Space::on(flash, &index, options, &erased)?;
    taken.into_iter().for_each(|block| space.give_up(block));
    report.erases = report.recovered.erased_hidden + report.recovered.erased_dead;
    let mut collection = Collection { space, report, freed: Vec::new() };
    collection.run(options, &mut Dry::<F>::new())?;
    let Collection { space, mut report, freed } = collection;
    report.free_after = space.free();
    report.eraseblocks_pinned = space.pinned();
    Ok(GcPlan { expected: report, victims: freed })
}

/// Frees eraseblocks. `progress` gets how many are done and how many there are to be. Whatever moment the power fails at, every
/// reader sees the tree that it saw before. When this returns everything is durable.
///
/// What nobody needs goes for good: after it `log` and deleted files have less to tell, as after the kernel's own collector.
///
/// # Errors
/// [`TxError::Read`], [`TxError::ReadOnly`], [`TxError::Foreign`], [`TxError::Unsettled`]; [`TxError::Write`] once so many eraseblocks have failed that
/// the device must have. What was freed until then stays free. Fewer failures are no error, nor is a target that cannot be reached:
/// the report tells.
pub fn gc<F: FlashMut>(
    flash: &mut F,
    endian: Endian,
    options: &GcOptions,
    progress: &mut dyn FnMut(u32, u32),
) -> Result<GcReport, F> {
    let mut index = open_to_write(&*flash, endian)?;
    let mut report = GcReport { free_before: Space::blank(&index), ..GcReport::default() };
    // Each pass but the last frees something that the one before has made useless: deletions whose older names have gone.
    for _ in 0..index.geometry().blocks() {
        if tidy_all(flash, &index, &mut report)? {
            index = open_to_write(&*flash, endian)?;
        }
        if report.recovered.unsettled > 0 {
            return Err(TxError::Unsettled);
        }
        let space = Space::on(&*flash, &index, options, &[])?;
        let (before, done, all) = (space.free(), report.eraseblocks_freed, planned(&space, options));
        report.eraseblocks_pinned = space.pinned();
        let mut collection = Collection { space, report, freed: Vec::new() };
        let mut hands = OnFlash::new(flash, endian, |freed: u32| progress(done + freed, done + all.max(freed)));
        collection.run(options, &mut hands)?;
        report = collection.report;
        index = open_to_write(&*flash, endian)?;
        if collection.space.free() <= before {
            break;
        }
    }
    report.free_after = Space::blank(&index);
    Ok(report)
}

/// Eraseblocks that there are to be freed if nothing fails.
fn planned(space: &Space, options: &GcOptions) -> u32 {
    let mut dry = Collection { space: space.clone(), report: GcReport::default(), freed: Vec::new() };
    match dry.run(options, &mut Dry::<crate::flash::MemFlash>::new()) {
        Ok(()) => dry.report.eraseblocks_freed,
        Err(_) => 0,
    }
}

/// Carries a recovery out; whether there was anything to do.
fn tidy_all<F: FlashMut>(flash: &mut F, index: &Index, report: &mut GcReport) -> Result<bool, F> {
    let mut recovered = RecoverReport::default();
    let any = run(flash, index, &|_| true, &mut recovered)?;
    report.erases += recovered.erased_hidden + recovered.erased_dead + recovered.failed;
    report.recovered.sealed += recovered.sealed;
    report.recovered.erased_hidden += recovered.erased_hidden;
    report.recovered.erased_dead += recovered.erased_dead;
    report.recovered.failed += recovered.failed;
    report.recovered.unsettled = recovered.unsettled;
    Ok(any && recovered != RecoverReport { unsettled: recovered.unsettled, ..RecoverReport::default() })
}

/// A collection under way: the same steps, whether they are done or only planned.
struct Collection {
    space: Space,
    report: GcReport,
    freed: Vec<u32>,
}

impl Collection {
    fn run<H: Hands>(&mut self, options: &GcOptions, hands: &mut H) -> core::result::Result<(), H::Error> {
        let target = options.target_free.unwrap_or(u32::MAX);
        for block in self.space.doubles() {
            self.free(block, hands)?;
        }
        // Each round frees more eraseblocks than it takes, so there are fewer rounds than eraseblocks.
        for _ in 0..self.space.blocks() {
            let before = self.space.free();
            let Some(round) = self.space.best_round(target.saturating_sub(before)) else { break };
            for batch in &round.batches {
                if !self.copy(&round, batch, hands)? {
                    break;
                }
                for victim in &batch.completes {
                    self.free(*victim, hands)?;
                }
            }
            if self.space.free() <= before {
                break;
            }
        }
        Ok(())
    }

    /// Copies a batch into a free eraseblock, into another one if that fails; whether it is copied.
    fn copy<H: Hands>(
        &mut self,
        round: &round::Round,
        batch: &round::Batch,
        hands: &mut H,
    ) -> core::result::Result<bool, H::Error> {
        while let Some((block, nodes)) = self.space.destination(round.direction, &batch.nodes) {
            self.report.erases += 1;
            match hands.copy(&nodes, self.space.copy_marker(block))? {
                Copied::Done => {
                    self.report.eraseblocks_taken += 1;
                    self.report.moved_nodes += nodes.len() as u32;
                    self.report.moved_bytes += nodes.iter().map(|node| u64::from(node.room())).sum::<u64>();
                    self.space.moved(&batch.nodes, &nodes, block);
                    return Ok(true);
                }
                Copied::SourceChanged { at } => {
                    self.report.erases -= 1;
                    self.space.pin(at);
                    return Ok(false);
                }
                Copied::Failed(error) => {
                    self.space.give_up(block);
                    self.report.eraseblocks_failed += 1;
                    if self.report.eraseblocks_failed as usize >= MAX_FAILED {
                        return Err(error);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Erases an eraseblock of which every live node stands elsewhere, too.
    fn free<H: Hands>(&mut self, block: u32, hands: &mut H) -> core::result::Result<(), H::Error> {
        let twins = self.space.twins(block);
        match hands.free(block, &twins)? {
            Freed::Done => {
                self.report.erases += 1;
                self.report.eraseblocks_freed += 1;
                self.space.set_free(block);
                self.freed.push(block);
            }
            Freed::Differs => self.space.give_up(block),
            Freed::Failed(error) => {
                self.report.erases += 1;
                self.report.eraseblocks_failed += 1;
                self.space.give_up(block);
                if self.report.eraseblocks_failed as usize >= MAX_FAILED {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
