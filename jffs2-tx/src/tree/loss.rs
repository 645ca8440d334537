//! What a file has lost: ranges whose bytes are not those that were written last.
//!
//! Linux shows older data there, or zeros, and says so in its log at most. This reader shows the same bytes and lists
//! the ranges. Every writer of JFFS2 writes a node for each range below a file's size, for holes too: a gap is a node
//! that is gone.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

use super::changed;
use crate::codec::{CodecError, MAX_DECODED};
use crate::error::ReadError;
use crate::index::{Extent, cover};
use crate::scan::{Held, InodeRecord, Suspect};

/// A range of a file that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Start in the file, bytes.
    pub start: u32,
    /// End in the file, bytes.
    pub end: u32,
    /// Flash offset of the node that should have given it, where one is left.
    pub at: Option<u32>,
    /// Why it does not.
    pub reason: LossReason,
}

/// Why a range is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// The node's data does not agree with its CRC: older bytes or zeros are read.
    DataCrc,
    /// The node's fields do not agree with their CRC; the range is what it claims. Older bytes or zeros are read.
    NodeCrc,
    /// No node covers the range below the file's size: zeros are read.
    Missing,
    /// The newest node gives a size that no node reaches: the file ends at the start of the range.
    Cut,
    /// The node reads differently than when it was indexed.
    Changed,
    /// The node's data cannot be decoded.
    Codec(CodecError),
}

impl LossReason {
    /// A word for programs; it does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::DataCrc => "data-crc",
            Self::NodeCrc => "node-crc",
            Self::Missing => "missing",
            Self::Cut => "cut",
            Self::Changed => "changed",
            Self::Codec(CodecError::Unsupported(_)) => "unsupported",
            Self::Codec(_) => "undecodable",
        }
    }

    /// The error of a reader that cannot go on without the node.
    pub(super) fn error<E>(self, node: &InodeRecord) -> ReadError<E> {
        match self {
            Self::Codec(error) => ReadError::Codec { ino: node.ino, offset: node.at, error },
            _ => changed(node),
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataCrc => f.write_str("bad data CRC: older bytes or zeros are read"),
            Self::NodeCrc => f.write_str("bad node CRC: older bytes or zeros are read"),
            Self::Missing => f.write_str("no node is left for it: zeros are read"),
            Self::Cut => f.write_str("no node is left for it: the file is cut there"),
            Self::Changed => f.write_str("node reads differently than before"),
            Self::Codec(error) => error.fmt(f),
        }
    }
}

/// Adds a loss; one that goes on where the last one ends makes that one longer.
pub(super) fn note(lost: &mut Vec<Loss>, loss: Loss) {
    match lost.last_mut() {
        Some(last) if last.end == loss.start && (last.at, last.reason) == (loss.at, loss.reason) => last.end = loss.end,
        _ => lost.push(loss),
    }
}

/// A node's claim on a range of the file.
struct Claim {
    version: u32,
    start: u32,
    end: u32,
    /// File size as of the node.
    isize: u32,
    /// Why the range is lost, if it is.
    lost: Option<(u32, LossReason)>,
}

impl Claim {
    fn of(node: &InodeRecord) -> Self {
        Self {
            version: node.version,
            start: node.offset,
            end: node.offset.saturating_add(node.dsize),
            isize: node.isize,
            lost: (!node.good).then_some((node.at, LossReason::DataCrc)),
        }
    }

    fn of_suspect(node: &Suspect) -> Option<Self> {
        let Held::Data { start, end, isize } = node.held else { return None };
        // Its length may be what is damaged.
        let end = end.min(start.saturating_add(MAX_DECODED as u32));
        let lost = Some((node.at, LossReason::NodeCrc));
        Some(Self { version: node.version, start, end, isize, lost })
    }
}

/// The losses of the file that `nodes` (ascending by version) make, with its size and ranges; `suspects` are the
/// damaged nodes of its inode.
pub(super) fn losses(nodes: &[InodeRecord], suspects: &[Suspect], size: u32, extents: &[Extent]) -> Vec<Loss> {
    let Some(latest) = nodes.iter().rev().find(|node| node.good) else { return Vec::new() };
    let whole = extents.iter().try_fold(0, |end, extent| (extent.start == end).then_some(extent.end)) == Some(size);
    if whole && latest.isize <= size && suspects.is_empty() && nodes.iter().all(|node| node.good) {
        return Vec::new();
    }
    let mut claims: Vec<Claim> = nodes.iter().map(Claim::of).collect();
    claims.extend(suspects.iter().filter_map(Claim::of_suspect));
    // Newest first. Of equal versions, copies that Linux's garbage collector makes, one good one is enough.
    claims.sort_by_key(|claim| (core::cmp::Reverse(claim.version), claim.lost.is_some()));
    let mut gaps = BTreeMap::from([(0, u32::MAX)]);
    let (mut lost, mut found, mut cut) = (Vec::new(), Vec::new(), u32::MAX);
    for claim in claims {
        found.clear();
        let Some((at, reason)) = claim.lost else {
            cover(&mut gaps, claim.start, claim.end, 0, &mut found);
            cut = cut.min(claim.isize);
            continue;
        };
        // What a newer node cut off was not wanted any more; what this one cut off shows again.
        cover(&mut gaps, claim.start, claim.end.min(cut), 0, &mut found);
        cover(&mut gaps, claim.isize, size, 0, &mut found);
        lost.extend(found.iter().map(|range| Loss { start: range.start, end: range.end, at: Some(at), reason }));
    }
    lost.extend(gaps.range(..latest.isize).flat_map(|(start, end)| left(*start, (*end).min(latest.isize), size)));
    lost.sort_unstable_by_key(|loss| loss.start);
    lost.into_iter().fold(Vec::new(), |mut merged, loss| {
        note(&mut merged, loss);
        merged
    })
}

/// What nothing claims, below the file's size and above it.
fn left(start: u32, end: u32, size: u32) -> impl Iterator<Item = Loss> {
    let parts = [(start, end.min(size), LossReason::Missing), (start.max(size), end, LossReason::Cut)];
    let some = parts.into_iter().filter(|(start, end, _)| start < end);
    some.map(|(start, end, reason)| Loss { start, end, at: None, reason })
}

#[cfg(test)]
mod tests;
