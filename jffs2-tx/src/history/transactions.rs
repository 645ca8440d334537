//! What became of the transactions whose markers are on the flash.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use crate::error::ReadError;
use crate::flash::Flash;
use crate::index::Index;
use crate::scan::{BlockState, MarkerRecord, scan_one};
use crate::wire::{CommitPoint, Marker, MarkerKind};

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxState {
    /// Readers see it.
    Committed,
    /// Readers see it, but one of the two copies in its head is missing: recovery completes it.
    NotSealed,
    /// No commit of it is to be seen: it was cut, or the kernel has dropped its commit marker since.
    Leftover,
}

/// A transaction, from its markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxRecord {
    /// Its commit marker, or a begin marker if there is none.
    pub marker: MarkerRecord,
    /// What became of it.
    pub state: TxState,
    /// Eraseblocks with a begin marker of it, ascending.
    pub payload_blocks: Vec<u32>,
    /// Eraseblock with a commit marker of it.
    pub commit_block: Option<u32>,
}

/// The transactions whose markers are on the flash, by sequence number.
///
/// # Errors
/// [`ReadError::Device`].
pub fn transactions<F: Flash>(flash: &F, index: &Index) -> Result<Vec<TxRecord>, ReadError<F::Error>> {
    let mut by_id: BTreeMap<(u64, [u8; 16]), Vec<&MarkerRecord>> = BTreeMap::new();
    // Where a recovery has undone one nothing of it is left to tell of.
    for record in index.markers().iter().filter(|record| record.marker.kind != MarkerKind::Undo) {
        by_id.entry((record.marker.sequence, record.marker.txid)).or_default().push(record);
    }
    by_id.into_values().map(|records| TxRecord::of(flash, index, &records)).collect()
}

impl TxRecord {
    /// From all markers of one transaction, at least one.
    fn of<F: Flash>(flash: &F, index: &Index, records: &[&MarkerRecord]) -> Result<Self, ReadError<F::Error>> {
        let geometry = index.geometry();
        let of_kind = |kind| records.iter().copied().filter(move |record| record.marker.kind == kind);
        // The copy in the body has the whole label; those in a head may be all that power left.
        let commits = records.iter().copied().filter(|record| record.marker.kind.commits());
        let commit = commits.min_by_key(|record| (!is_visible(index, record), record.in_head));
        Ok(Self {
            marker: commit.unwrap_or(records[0]).clone(),
            state: commit.map_or(Ok(TxState::Leftover), |commit| state(flash, index, records, commit))?,
            payload_blocks: of_kind(MarkerKind::Begin).map(|record| geometry.block_of(record.at)).collect(),
            commit_block: commit.map(|commit| geometry.block_of(commit.at)),
        })
    }

    /// The marker's fields.
    #[must_use]
    pub fn fields(&self) -> &Marker {
        &self.marker.marker
    }
}

/// What became of a transaction that has a commit marker.
fn state<F: Flash>(
    flash: &F,
    index: &Index,
    records: &[&MarkerRecord],
    commit: &MarkerRecord,
) -> Result<TxState, ReadError<F::Error>> {
    let in_head = records.iter().filter(|record| record.in_head).count();
    Ok(match commit.marker.commit_point {
        _ if !is_visible(index, commit) => TxState::Leftover,
        Some(CommitPoint::Head) if in_head < 2 => TxState::NotSealed,
        Some(CommitPoint::Dirent) if !has_dirent_behind(flash, index, commit)? => TxState::Leftover,
        _ => TxState::Committed,
    })
}

fn is_visible(index: &Index, commit: &MarkerRecord) -> bool {
    let block = index.geometry().block_of(commit.at) as usize;
    index.blocks().get(block).is_some_and(|block| block.state == BlockState::Used)
}

/// A dirent commit: the marker is the last node before the one dirent that matters.
fn has_dirent_behind<F: Flash>(flash: &F, index: &Index, commit: &MarkerRecord) -> Result<bool, ReadError<F::Error>> {
    let geometry = index.geometry();
    let mut bytes = vec![0; geometry.eraseblock() as usize];
    let found = scan_one(flash, index.rules(), geometry.block_of(commit.at), &mut bytes)?;
    Ok(found.dirents.iter().any(|dirent| dirent.at > commit.at))
}
