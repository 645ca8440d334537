//! Transactions: begin, change anything, commit; or lose power, and the next mount sees the old tree.
//!
//! How a stock reader comes to honour that: `DESIGN.md`. Every byte: `FORMAT.md`.

use alloc::{string::String, sync::Arc, vec::Vec};

use crate::codec::ZlibEncoder;
use crate::flash::{Flash, FlashMut};
use crate::index::Index;
use crate::log::{PayloadWriter, Pool, free_block};
use crate::scan::Rules;
use crate::wire::{CommitPoint, Endian, MAX_LABEL};

mod commit;
mod commit_block;
#[cfg(feature = "std")]
mod contents;
mod digest;
mod error;
mod estimate;
mod gc;
mod ops;
mod overlay;
mod payload;
mod plan;
mod recover;
#[cfg(feature = "std")]
mod replace;
mod settle;
#[cfg(feature = "std")]
mod stream;
#[cfg(test)]
mod tests;

pub use digest::{DigestState, verify_digest};
pub use error::{PathProblem, TxError};
pub use estimate::Estimate;
pub use gc::{GcOptions, GcPlan, GcReport, gc, plan_gc};
pub use ops::NewFile;
pub use overlay::Entry;
pub use recover::{RecoverAction, RecoverReport, Rewrite, plan_recovery, recover};
#[cfg(feature = "std")]
pub use replace::ReplaceReport;
#[cfg(feature = "std")]
pub use stream::Stream;

use overlay::Overlay;

/// How a transaction is made.
#[derive(Clone, Debug, Default)]
pub struct TxOptions {
    /// Free text in the markers, say the version of the new tree; at most 64 bytes of UTF-8 are kept.
    pub label: String,
    /// What makes the transaction visible; `None` chooses: *dirent* where the change allows it, otherwise *head* on
    /// NOR and *summary* on NAND.
    pub commit_point: Option<CommitPoint>,
    /// Names the transaction; random, so that no two on one flash are alike.
    pub txid: [u8; 16],
    /// Seconds since 1970, for the markers.
    pub time: u64,
    /// Eraseblocks that stay free; `None` for as many as the kernel needs to work.
    pub reserve: Option<u32>,
    /// Take eraseblocks too that only readers without summaries still need: those that hold the tree from before a
    /// *summary* commit.
    pub summary_readers_only: bool,
    /// The flash is mounted read-only: only eraseblocks in which no reader sees a node are touched (`DESIGN.md`
    /// section 10). The mounted tree stays the old one; the next mount sees the new one.
    pub online: bool,
    /// Whether *summary* may be chosen. One that is asked for is made all the same.
    pub kernel_summaries: KernelSummaries,
    /// Find out what the transaction would take, by [`Transaction::estimate`]: nothing is programmed or erased, and
    /// [`ReadOnly`](crate::flash::ReadOnly) flash will do. New contents cannot be read back through the transaction.
    pub dry_run: bool,
}

/// Whether the kernel that will mount the flash knows summaries (CONFIG_JFFS2_SUMMARY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelSummaries {
    /// It does.
    #[default]
    Known,
    /// It does if the flash shows summaries that a kernel wrote: [`Index::kernel_summaries`].
    IfSeen,
    /// It does not.
    Unknown,
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitReport {
    /// What made it visible; `None` if there was nothing to change and nothing was written.
    pub commit_point: Option<CommitPoint>,
    /// Sequence number in the markers.
    pub sequence: u64,
    /// Bytes programmed.
    pub bytes_programmed: u64,
    /// Nodes written.
    pub nodes: u32,
    /// Eraseblocks taken, the commit block included.
    pub eraseblocks_taken: u32,
    /// Eraseblocks erased.
    pub eraseblocks_erased: u32,
    /// Eraseblocks that failed and were replaced.
    pub eraseblocks_failed: u32,
    /// Directories that got a new inode so that the change fits.
    pub directories_shadowed: u32,
    /// Unchanged files that got a new inode so that the change fits.
    pub files_copied: u32,
    /// Free eraseblocks left, the kernel's reserve included.
    pub eraseblocks_free: u32,
}

/// A change that is not visible to anyone else until [`Transaction::commit`] returns.
///
/// Reads through it see what it has changed. Dropped, it leaves eraseblocks behind that no reader sees anything in;
/// [`Transaction::abort`] erases them at once.
#[derive(Debug)]
pub struct Transaction<'f, F: FlashMut> {
    flash: &'f mut F,
    index: Arc<Index>,
    options: TxOptions,
    sequence: u64,
    pool: Pool,
    /// Set aside for the commit block, so that the payload cannot take the last one.
    commit_block: Option<u32>,
    free_at_begin: u32,
    writer: PayloadWriter,
    overlay: Overlay,
    encoder: Option<ZlibEncoder>,
    begin_erased: u32,
    poisoned: bool,
}

type Result<T, F> = core::result::Result<T, TxError<<F as Flash>::Error>>;

impl<'f, F: FlashMut> Transaction<'f, F> {
    /// Begins a transaction on a flash that nobody else writes to.
    ///
    /// The last commit is sealed if that is left to do, and eraseblocks that an interrupted transaction left hidden are
    /// erased; nothing visible changes. A dry run leaves that to do, and counts on what it would give.
    ///
    /// # Errors
    /// [`TxError::Read`], [`TxError::ReadOnly`], [`TxError::Foreign`], [`TxError::Write`].
    pub fn begin(flash: &'f mut F, endian: Endian, mut options: TxOptions) -> Result<Self, F> {
        truncate_label(&mut options.label);
        let mut index = recover::open_to_write(&*flash, endian)?;
        let (begun, taken) = match options.dry_run {
            true => recover::would_tidy(&*flash, &index, options.online)?,
            false => (recover::tidy(flash, &index, options.online)?, Vec::new()),
        };
        if begun != RecoverReport::default() && !options.dry_run {
            index = recover::open_to_write(&*flash, endian)?;
        }
        if begun.unsettled > 0 {
            return Err(TxError::Unsettled);
        }
        let mut pool = pool(&*flash, &index, &options)?;
        pool.give_up(&taken);
        let free_at_begin = pool.len();
        let commit_block = pool.take_highest();
        let sequence = index.markers().iter().map(|seen| seen.marker.sequence).max().unwrap_or(0).saturating_add(1);
        let new_writer = if options.dry_run { PayloadWriter::dry } else { PayloadWriter::new };
        let writer = new_writer(*flash.geometry(), endian);
        let overlay = Overlay::new(&index);
        Ok(Self {
            flash,
            index: Arc::new(index),
            options,
            sequence,
            pool,
            commit_block,
            free_at_begin,
            writer,
            overlay,
            encoder: Some(ZlibEncoder::new()),
            begin_erased: begun.erased_hidden,
            poisoned: false,
        })
    }

    /// The tree as it was when the transaction began.
    #[must_use]
    pub fn old(&self) -> &Index {
        &self.index
    }

    /// Gives up: erases the eraseblocks that were taken. The tree is the old one, whether this returns or not.
    ///
    /// # Errors
    /// [`TxError::Write`]; what is left then is erased by the next transaction.
    pub fn abort(self) -> Result<(), F> {
        self.release()
    }

    fn release(self) -> Result<(), F> {
        if self.options.dry_run {
            return Ok(());
        }
        let endian = self.index.rules().endian;
        for block in self.writer.blocks().iter().filter_map(|written| written.block) {
            free_block(self.flash, endian, block)?;
        }
        Ok(())
    }

    fn endian(&self) -> Endian {
        self.index.rules().endian
    }
}

/// The eraseblocks that the transaction may take.
fn pool<F: Flash>(flash: &F, index: &Index, options: &TxOptions) -> Result<Pool, F> {
    let reserve = options.reserve.unwrap_or_else(|| flash.geometry().kernel_reserve());
    let others = if options.summary_readers_only { None } else { other_readers(flash, index)? };
    let unneeded = Pool::new(index, &others.iter().collect::<Vec<_>>(), reserve);
    if !options.online {
        return Ok(unneeded);
    }
    // The kernel erases what is dead when it mounts read-write: that is room for it, though not for us.
    let dead = unneeded.len().saturating_sub(Pool::unseen(index, 0).len());
    Ok(Pool::unseen(index, reserve.saturating_sub(dead)))
}

/// The tree as readers without summaries see it, where that can be another one.
fn other_readers<F: Flash>(flash: &F, index: &Index) -> Result<Option<Index>, F> {
    if !index.blocks().iter().any(|info| info.summary_only || info.unlisted) {
        return Ok(None);
    }
    Ok(Some(Index::open(flash, Rules { summaries: false, ..index.rules() })?))
}

fn truncate_label(label: &mut String) {
    let mut end = label.len().min(MAX_LABEL);
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    label.truncate(end);
}
