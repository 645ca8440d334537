//! What a transaction would take, found out without a write.

use super::{CommitReport, Result, Transaction, TxError};
use crate::flash::FlashMut;

/// What [`Transaction::commit`] would do, and whether there is room for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// What the commit would report if no eraseblock fails. Where it does not fit, what it would report if it did, except
    /// that `eraseblocks_erased` and `eraseblocks_free` count what there is.
    pub report: CommitReport,
    /// Eraseblocks that are free or hold nothing that is needed.
    pub free: u32,
    /// How many of them are to stay free.
    pub reserve: u32,
    /// Whether what is free suffices. The commit fails with [`TxError::NoSpace`] otherwise.
    pub fits: bool,
}

impl<F: FlashMut> Transaction<'_, F> {
    /// What the commit of a [dry run](super::TxOptions::dry_run) would do. Nothing has been written then or before.
    ///
    /// # Errors
    /// [`TxError::CommitBlockFull`], [`TxError::CommitPoint`] and the like, as the commit would give them;
    /// [`TxError::DryRun`] if this is none.
    pub fn estimate(mut self) -> Result<Estimate, F> {
        if !self.options.dry_run {
            self.release()?;
            return Err(TxError::DryRun);
        }
        let has_commit_block = self.commit_block.is_some();
        let report = self.try_commit()?;
        let fits = report.commit_point.is_none() || has_commit_block && self.writer.missing() == 0;
        Ok(Estimate { report, free: self.free_at_begin, reserve: self.pool.reserve(), fits })
    }
}
