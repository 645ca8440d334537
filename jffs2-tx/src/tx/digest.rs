//! The SHA-256 over a transaction: made at the commit, checked by anyone later (`FORMAT.md` section 4).

use alloc::{collections::BTreeMap, vec, vec::Vec};
use sha2::{Digest, Sha256};

use crate::error::ReadError;
use crate::flash::{Flash, Geometry};
use crate::log::WriteError;
use crate::scan::{MarkerRecord, Rules, scan_one};
use crate::wire::{Endian, Marker, MarkerKind};

/// Whether a transaction is as it was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestState {
    /// Every byte is as written.
    Holds,
    /// Something has been added or changed since: the kernel writes on into half-filled eraseblocks and moves nodes
    /// when it cleans. No sign of damage by itself.
    Changed,
    /// Not all of it is there any more.
    Gone,
}

/// Hash of the payload, block by block in the order written.
#[derive(Clone, Debug)]
pub(super) struct PayloadDigest {
    hash: Sha256,
    eraseblock: u32,
    pub nodes: u32,
    pub bytes: u64,
}

impl PayloadDigest {
    pub(super) fn new(geometry: &Geometry) -> Self {
        Self { hash: Sha256::new(), eraseblock: geometry.eraseblock(), nodes: 0, bytes: 0 }
    }

    /// Reads a payload block and adds it; its bytes.
    pub(super) fn add<F: Flash>(&mut self, flash: &F, block: u32, used: u32) -> Result<Vec<u8>, WriteError<F::Error>> {
        let offset = flash.geometry().offset_of(block);
        let mut bytes = vec![0; self.eraseblock as usize];
        flash.read(offset, &mut bytes).map_err(|error| WriteError::Device { operation: "read back", offset, error })?;
        self.add_bytes(block, used, &bytes);
        Ok(bytes)
    }

    fn add_bytes(&mut self, block: u32, used: u32, bytes: &[u8]) {
        let used = used.min(self.eraseblock);
        self.hash.update(block.to_le_bytes());
        self.hash.update(used.to_le_bytes());
        self.hash.update(&bytes[..used as usize]);
        self.bytes += u64::from(used);
    }

    /// The digest, with the commit block's body before the marker.
    pub(super) fn finish(&self, body: &[u8]) -> [u8; 32] {
        let mut hash = self.hash.clone();
        hash.update(body);
        hash.finalize().into()
    }
}

/// Checks the digest of the committed transaction whose commit marker `commit` is; `markers` are all on the flash.
///
/// # Errors
/// [`ReadError::Device`].
pub fn verify_digest<F: Flash>(
    flash: &F,
    endian: Endian,
    markers: &[MarkerRecord],
    commit: &MarkerRecord,
) -> Result<DigestState, ReadError<F::Error>> {
    let marker = &commit.marker;
    let Some(digest) = payload_digest(flash, endian, markers, marker)? else { return Ok(DigestState::Gone) };
    let Some(body) = commit_body(flash, endian, commit)? else { return Ok(DigestState::Gone) };
    let holds = digest.finish(&body) == marker.digest && digest.bytes == marker.bytes;
    Ok(if holds { DigestState::Holds } else { DigestState::Changed })
}

/// The digest of a committed transaction with another body in its commit block; as it is if it does not hold.
pub(super) fn digest_with<F: Flash>(
    flash: &F,
    endian: Endian,
    markers: &[MarkerRecord],
    commit: &MarkerRecord,
    body: &[u8],
) -> Result<[u8; 32], ReadError<F::Error>> {
    let holds = verify_digest(flash, endian, markers, commit)? == DigestState::Holds;
    let payload = if holds { payload_digest(flash, endian, markers, &commit.marker)? } else { None };
    Ok(payload.map_or(commit.marker.digest, |digest| digest.finish(body)))
}

/// Of the payload as it stands on the flash, if all of it is there.
fn payload_digest<F: Flash>(
    flash: &F,
    endian: Endian,
    markers: &[MarkerRecord],
    marker: &Marker,
) -> Result<Option<PayloadDigest>, ReadError<F::Error>> {
    let Some(blocks) = payload_blocks(flash.geometry(), markers, marker) else { return Ok(None) };
    let geometry = *flash.geometry();
    let mut digest = PayloadDigest::new(&geometry);
    let mut bytes = vec![0; geometry.eraseblock() as usize];
    for (at, block) in blocks.iter().enumerate() {
        let found = scan_one(flash, Rules { endian, summaries: false }, *block, &mut bytes)?;
        let end = (found.end - geometry.offset_of(*block)).next_multiple_of(geometry.write_size());
        // The last block may have been written on since: it ends where the sum says.
        let rest = marker.bytes.saturating_sub(digest.bytes);
        let is_last = at + 1 == blocks.len();
        let used = if is_last { rest.min(u64::from(geometry.eraseblock())) as u32 } else { end };
        digest.add_bytes(*block, used, &bytes);
    }
    Ok(Some(digest))
}

/// The payload blocks in the order written, if all are there.
fn payload_blocks(geometry: &Geometry, markers: &[MarkerRecord], commit: &Marker) -> Option<Vec<u32>> {
    let begins = markers
        .iter()
        .filter(|seen| seen.marker.kind == MarkerKind::Begin)
        .filter(|seen| (seen.marker.txid, seen.marker.sequence) == (commit.txid, commit.sequence))
        .map(|seen| (seen.marker.nodes, geometry.block_of(seen.at)));
    let by_ordinal: BTreeMap<u32, u32> = begins.collect();
    let in_order = by_ordinal.keys().copied().eq(0..by_ordinal.len() as u32);
    (in_order && (by_ordinal.is_empty() == (commit.bytes == 0))).then(|| by_ordinal.into_values().collect())
}

/// The bytes of a commit block from the first node of its body up to its marker.
fn commit_body<F: Flash>(
    flash: &F,
    endian: Endian,
    commit: &MarkerRecord,
) -> Result<Option<Vec<u8>>, ReadError<F::Error>> {
    let geometry = *flash.geometry();
    let block = geometry.block_of(commit.at);
    if block != commit.marker.commit_block {
        return Ok(None);
    }
    let mut bytes = vec![0; geometry.eraseblock() as usize];
    let found = scan_one(flash, Rules { endian, summaries: false }, block, &mut bytes)?;
    let start = super::commit_block::body_start(&geometry, commit.marker.commit_point) as usize;
    let here = commit.at - geometry.offset_of(block);
    // A copy in the head stands for the marker behind the body.
    let end = if commit.in_head {
        let last = found.markers.iter().rfind(|seen| !seen.in_head && seen.marker.txid == commit.marker.txid);
        let Some(last) = last else { return Ok(None) };
        (last.at - geometry.offset_of(block)) as usize
    } else {
        here as usize
    };
    Ok(bytes.get(start..end).map(<[u8]>::to_vec))
}
