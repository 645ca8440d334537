//! A regular file: its bytes, and those that it has lost.

use alloc::{collections::VecDeque, vec::Vec};

use super::loss::{Loss, LossReason, losses, note};
use super::{Result, Tree};
use crate::codec::decode;
use crate::error::ReadError;
use crate::flash::Flash;
use crate::index::Extent;
use crate::scan::{InodeRecord, Suspect};
use crate::wire::Compression;

/// Decoded nodes that an open file keeps, each at most [`MAX_DECODED`](crate::codec::MAX_DECODED) bytes. A node that
/// smaller, newer ones cut into pieces is needed again between them: with one place for it, a hostile file would have
/// it decoded for every piece.
const DECODED_NODES: usize = 4;

/// A decoded node, or why it cannot be decoded.
type Decoded = core::result::Result<Vec<u8>, LossReason>;

/// A regular file. Reading in ascending order decodes every node about once.
#[derive(Debug)]
pub struct File<'a, F> {
    pub(super) tree: Tree<'a, F>,
    pub(super) nodes: &'a [InodeRecord],
    /// Damaged nodes that may have been its own.
    pub(super) suspects: &'a [Suspect],
    pub(super) size: u32,
    pub(super) extents: Vec<Extent>,
    /// Nodes decoded last, the newest last.
    pub(super) decoded: VecDeque<(usize, Decoded)>,
}

impl<F: Flash> File<'_, F> {
    /// Closes the file; what opening it again needs. Its size, and its ranges.
    #[cfg(feature = "write")]
    pub(crate) fn into_extents(self) -> (u32, Vec<Extent>) {
        (self.size, self.extents)
    }

    /// Size, bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The ranges that nodes cover, ascending; a node that is a hole, and what no node covers, read as zeros.
    pub fn data_ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        let hole = Compression::Zero.id();
        self.extents.iter().filter(move |e| self.nodes[e.node].compression != hole).map(|e| (e.start, e.end))
    }

    /// The ranges and their nodes, ascending.
    pub fn extents(&self) -> impl Iterator<Item = (Extent, &InodeRecord)> {
        self.extents.iter().map(|extent| (*extent, &self.nodes[extent.node]))
    }

    /// What the file has lost as far as its nodes tell without being decoded, ascending: there, reading gives older
    /// bytes or zeros, as Linux does. A loss may reach past [`File::size`].
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        losses(self.nodes, self.suspects, self.size, &self.extents)
    }

    /// Everything that the file has lost, ascending: [`File::losses`] and the nodes that cannot be decoded.
    ///
    /// # Errors
    /// [`ReadError::Device`].
    pub fn all_losses(&mut self) -> Result<Vec<Loss>, F> {
        let mut found = self.losses();
        let ranges: Vec<(u32, u32)> = self.data_ranges().collect();
        for (start, end) in ranges {
            let mut one = Vec::new();
            // A byte is enough: a node is decoded as a whole.
            self.salvage_at(start, &mut [0], &mut one)?;
            found.extend(one.first().map(|loss| Loss { end, ..*loss }));
        }
        found.sort_by_key(|loss| (loss.start, loss.end));
        Ok(found)
    }

    /// Fills `buf` from `offset` on, as far as the file reaches; the number of bytes.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Codec`] or [`ReadError::Device`].
    pub fn read_at(&mut self, offset: u32, buf: &mut [u8]) -> Result<usize, F> {
        self.read_ranges(offset, buf, |node, reason, _| Err(reason.error(node)))
    }

    /// The same, but gives zeros for nodes that cannot be decoded and adds them to `lost`; what [`File::losses`] lists
    /// is not added.
    ///
    /// # Errors
    /// [`ReadError::Device`].
    pub fn salvage_at(&mut self, offset: u32, buf: &mut [u8], lost: &mut Vec<Loss>) -> Result<usize, F> {
        self.read_ranges(offset, buf, |node, reason, (start, end)| {
            note(lost, Loss { start, end, at: Some(node.at), reason });
            Ok(())
        })
    }

    /// Fills `buf`; `failed` decides on nodes that cannot be decoded, and gets the range that was wanted of them.
    fn read_ranges(
        &mut self,
        offset: u32,
        buf: &mut [u8],
        mut failed: impl FnMut(&InodeRecord, LossReason, (u32, u32)) -> Result<(), F>,
    ) -> Result<usize, F> {
        let len = buf.len().min(self.size.saturating_sub(offset) as usize);
        let end = offset.saturating_add(len as u32);
        buf[..len].fill(0);
        let first = self.extents.partition_point(|extent| extent.end <= offset);
        for at in first..self.extents.len() {
            let extent = self.extents[at];
            if extent.start >= end {
                break;
            }
            let (from, to) = (extent.start.max(offset), extent.end.min(end));
            let into = &mut buf[(from - offset) as usize..(to - offset) as usize];
            if let Err(reason) = self.copy(extent.node, from, into)? {
                failed(&self.nodes[extent.node], reason, (from, to))?;
            }
        }
        Ok(len)
    }

    fn copy(&mut self, at: usize, from: u32, into: &mut [u8]) -> Result<core::result::Result<(), LossReason>, F> {
        let node = self.nodes[at];
        if node.compression == Compression::Zero.id() {
            return Ok(Ok(()));
        }
        let known = self.decoded.iter().position(|(decoded, _)| *decoded == at);
        let entry = match known.and_then(|known| self.decoded.remove(known)) {
            Some(entry) => entry,
            None => (at, self.decode(&node)?),
        };
        let copied = entry.1.as_ref().map_err(|reason| *reason).map(|decoded| {
            let start = (from - node.offset) as usize;
            into.copy_from_slice(&decoded[start..start + into.len()]);
        });
        self.decoded.push_back(entry);
        Ok(copied)
    }

    /// Decodes a node, in the place of the one that was not needed for longest. Only the device's errors end it.
    fn decode(&mut self, node: &InodeRecord) -> Result<Decoded, F> {
        let full = self.decoded.len() >= DECODED_NODES;
        let oldest = if full { self.decoded.pop_front() } else { None };
        let mut out = oldest.and_then(|(_, out)| out.ok()).unwrap_or_default();
        out.clear();
        let stored = match self.tree.stored(node) {
            Ok(stored) => stored,
            Err(error @ ReadError::Device { .. }) => return Err(error),
            Err(_) => return Ok(Err(LossReason::Changed)),
        };
        let decoded = decode(Compression::from_id(node.compression), &stored, node.dsize, &mut out);
        Ok(decoded.map(|()| out).map_err(LossReason::Codec))
    }
}
