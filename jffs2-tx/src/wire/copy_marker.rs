//! What a collection says of the eraseblock that it copies nodes to (`FORMAT.md` section 4).

use alloc::vec::Vec;

use super::{Endian, WireError, emit_header, nodetype, parse_as};
use crate::crc::crc32;

/// Size of the node, bytes.
pub const COPY_MARKER_SIZE: usize = 28;

const VERSION: u8 = 1;

/// How far a collection has come with an eraseblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStage {
    /// First node of the eraseblock: what follows are copies, and as long as nothing says more, what they were copied from
    /// stands as it was.
    Begun,
    /// All copies stand, durable and read back. Twice: only then is anything erased that they were copied from.
    Done,
}

/// A collection's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyMarker {
    /// What it says.
    pub stage: CopyStage,
    /// Index of the eraseblock that it stands in.
    pub block: u32,
    /// One more than any on the flash when the copies were made: what they were copied from has a lower one, or none.
    pub generation: u32,
}

impl CopyMarker {
    /// Reads a marker and checks its CRC.
    ///
    /// # Errors
    /// [`WireError`]; [`WireError::Value`] for another format version or an unknown stage.
    pub fn parse(endian: Endian, bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = parse_as(endian, bytes, nodetype::COPY_MARKER, COPY_MARKER_SIZE)?;
        if crc32(&bytes[..24]) != endian.u32(bytes, 24) {
            return Err(WireError::NodeCrc);
        }
        let stage = match (bytes[12], bytes[13]) {
            (VERSION, 1) => CopyStage::Begun,
            (VERSION, 2) => CopyStage::Done,
            _ => return Err(WireError::Value),
        };
        Ok(Self { stage, block: endian.u32(bytes, 16), generation: endian.u32(bytes, 20) })
    }

    /// Appends the marker.
    pub fn emit(self, endian: Endian, out: &mut Vec<u8>) {
        let start = emit_header(endian, out, nodetype::COPY_MARKER, COPY_MARKER_SIZE as u32);
        let stage = if self.stage == CopyStage::Begun { 1 } else { 2 };
        out.extend_from_slice(&[VERSION, stage, 0, 0]);
        endian.put_u32(out, self.block);
        endian.put_u32(out, self.generation);
        let crc = crc32(&out[start..]);
        endian.put_u32(out, crc);
    }
}
