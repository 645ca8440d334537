//! The transaction marker: the one node type that is ours (`FORMAT.md` section 4).

use alloc::{string::String, vec::Vec};

use super::{Endian, WireError, emit_header, emit_pad4, nodetype, parse_as};
use crate::crc::crc32;

/// Size of a marker without its label, bytes.
pub const MARKER_SIZE: usize = 100;
/// Longest label, bytes of UTF-8.
pub const MAX_LABEL: usize = 64;
/// Longest label in a head copy, bytes: what the whole marker leaves of its 128 bytes.
pub const MAX_HEAD_LABEL: usize = 28;
/// Where the two copies of the commit marker stand in a head, bytes from the start of the eraseblock.
pub const HEAD_COPY_OFFSETS: [u32; 2] = [0, 128];
/// Bytes of a blank head that a head commit ever programs.
pub const HEAD_SIZE: usize = 256;

const VERSION: u8 = 1;

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerKind {
    /// First node of every payload eraseblock.
    Begin,
    /// Last node before the commit point; in a head, the commit point itself.
    Commit,
    /// The same of a commit that a recovery has written again.
    Repeat,
    /// The same of nodes that a recovery has written to keep the tree from before a transaction that was cut in its commit.
    Undo,
}

impl MarkerKind {
    /// Whether the marker stands for a commit: the transaction's own, or one written again.
    #[must_use]
    pub fn commits(self) -> bool {
        matches!(self, Self::Commit | Self::Repeat)
    }

    const ALL: [Self; 4] = [Self::Begin, Self::Commit, Self::Repeat, Self::Undo];

    fn id(self) -> u8 {
        match self {
            Self::Begin => 1,
            Self::Commit => 2,
            Self::Repeat => 3,
            Self::Undo => 4,
        }
    }
}

/// What makes a transaction visible (`FORMAT.md` section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitPoint {
    /// The summary at the end of the commit block becomes valid.
    Summary,
    /// The first bit of the commit block's blank head is programmed.
    Head,
    /// One dirent becomes valid.
    Dirent,
}

impl CommitPoint {
    fn id(self) -> u8 {
        match self {
            Self::Summary => 1,
            Self::Head => 2,
            Self::Dirent => 3,
        }
    }

    fn from_id(id: u8) -> Option<Self> {
        [Self::Summary, Self::Head, Self::Dirent].into_iter().find(|point| point.id() == id)
    }
}

impl core::fmt::Display for CommitPoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Summary => "summary",
            Self::Head => "head",
            Self::Dirent => "dirent",
        })
    }
}

/// A transaction marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// What it says.
    pub kind: MarkerKind,
    /// What makes the transaction visible; `None` in a begin marker, where it is not decided yet.
    pub commit_point: Option<CommitPoint>,
    /// One more than any sequence number on the flash when the transaction began.
    pub sequence: u64,
    /// Random.
    pub txid: [u8; 16],
    /// Index of the commit block; `u32::MAX` in a begin marker.
    pub commit_block: u32,
    /// Begin: which payload block of the transaction this is, from 0. Commit: number of payload nodes.
    pub nodes: u32,
    /// Begin: 0. Commit: bytes of all payload blocks, each to the end of its last node.
    pub bytes: u64,
    /// Seconds since 1970.
    pub time: u64,
    /// Commit: SHA-256 of what the transaction wrote. Begin: zero.
    pub digest: [u8; 32],
    /// Free text, say the version of the new tree; at most 64 bytes.
    pub label: String,
}

impl Marker {
    /// Reads a marker and checks its CRC.
    ///
    /// # Errors
    /// [`WireError`]; [`WireError::Value`] for another format version or a label that is too long or not UTF-8.
    pub fn parse(endian: Endian, bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = parse_as(endian, bytes, nodetype::TX_MARKER, MARKER_SIZE)?;
        let label = bytes[MARKER_SIZE..].get(..usize::from(bytes[15])).ok_or(WireError::Length)?;
        if node_crc(&bytes[..96], label) != endian.u32(bytes, 96) {
            return Err(WireError::NodeCrc);
        }
        let kind = MarkerKind::ALL.into_iter().find(|kind| kind.id() == bytes[13]).ok_or(WireError::Value)?;
        if bytes[12] != VERSION
            || label.len() > MAX_LABEL
            || (kind == MarkerKind::Begin) == CommitPoint::from_id(bytes[14]).is_some()
        {
            return Err(WireError::Value);
        }
        let mut txid = [0; 16];
        txid.copy_from_slice(&bytes[24..40]);
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[64..96]);
        Ok(Self {
            kind,
            commit_point: CommitPoint::from_id(bytes[14]),
            sequence: endian.u64(bytes, 16),
            txid,
            commit_block: endian.u32(bytes, 40),
            nodes: endian.u32(bytes, 44),
            bytes: endian.u64(bytes, 48),
            time: endian.u64(bytes, 56),
            digest,
            label: core::str::from_utf8(label).map_err(|_| WireError::Value)?.into(),
        })
    }

    /// Bytes that the marker takes on flash, padding included.
    #[must_use]
    pub fn flash_size(&self) -> usize {
        (MARKER_SIZE + self.label.len()).next_multiple_of(4)
    }

    /// Appends the marker. A label over 64 bytes is the caller's error.
    pub fn emit(&self, endian: Endian, out: &mut Vec<u8>) {
        debug_assert!(self.label.len() <= MAX_LABEL);
        let totlen = (MARKER_SIZE + self.label.len()) as u32;
        let start = emit_header(endian, out, nodetype::TX_MARKER, totlen);
        out.extend_from_slice(&[
            VERSION,
            self.kind.id(),
            self.commit_point.map_or(0, CommitPoint::id),
            self.label.len() as u8,
        ]);
        endian.put_u64(out, self.sequence);
        out.extend_from_slice(&self.txid);
        endian.put_u32(out, self.commit_block);
        endian.put_u32(out, self.nodes);
        endian.put_u64(out, self.bytes);
        endian.put_u64(out, self.time);
        out.extend_from_slice(&self.digest);
        let crc = node_crc(&out[start..], self.label.as_bytes());
        endian.put_u32(out, crc);
        out.extend_from_slice(self.label.as_bytes());
        emit_pad4(out, start);
    }

    /// The first 256 bytes of a committed head: two copies of the marker, the label cut to what fits, between
    /// bytes that stay blank.
    #[must_use]
    pub fn head(&self, endian: Endian) -> [u8; HEAD_SIZE] {
        let mut cut = MAX_HEAD_LABEL.min(self.label.len());
        while !self.label.is_char_boundary(cut) {
            cut -= 1;
        }
        let copy = Self { label: self.label[..cut].into(), ..self.clone() };
        let mut bytes = Vec::new();
        copy.emit(endian, &mut bytes);
        let mut head = [0xff; HEAD_SIZE];
        for offset in HEAD_COPY_OFFSETS {
            head[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        head
    }
}

fn node_crc(fields: &[u8], label: &[u8]) -> u32 {
    let mut checked = fields.to_vec();
    checked.extend_from_slice(label);
    crc32(&checked)
}
