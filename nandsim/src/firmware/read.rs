//! Eraseblocks as firmware reads them.

use std::borrow::Cow;
use std::ops::Range;

use super::wire::is_blank;
use super::{ByteOrder, Firmware, FirmwareError};

/// What firmware is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Of the CPU, so of the file system.
    pub order: ByteOrder,
    /// NAND, where cleanmarkers are not among the nodes.
    pub nand: bool,
    /// Page of NAND, write unit of NOR, bytes.
    pub page: usize,
}

/// An eraseblock.
#[derive(Clone, Debug)]
pub struct RawBlock<'a> {
    /// Its bytes.
    pub cells: &'a [u8],
    /// Ranges of it that error correction gives up on.
    pub unreadable: Vec<Range<usize>>,
}

impl Firmware {
    /// What the firmware parses for an eraseblock; `before` is the one that it has read before, or nothing.
    ///
    /// # Errors
    /// [`FirmwareError::Unreadable`].
    pub(super) fn parses<'a>(
        self,
        part: &Part,
        block: &RawBlock<'a>,
        before: &[u8],
    ) -> Result<Cow<'a, [u8]>, FirmwareError> {
        if block.unreadable.is_empty() {
            return Ok(Cow::Borrowed(block.cells));
        }
        match self {
            Self::UBoot2026 | Self::UBoot2015 => Ok(Cow::Owned(with_stale(block, before))),
            Self::Barebox => {
                let head = self.blank_head(part).min(block.cells.len());
                let head_read = block.unreadable.iter().all(|range| range.start >= head);
                let in_use = !head_read || !block.cells.get(..head).is_some_and(is_blank);
                if in_use { Err(FirmwareError::Unreadable) } else { Ok(Cow::Borrowed(block.cells)) }
            }
            Self::OpenFirmware => Ok(Cow::Borrowed(block.cells)),
        }
    }
}

/// The reads fail, nobody notices, and the buffer holds what it held.
fn with_stale(block: &RawBlock<'_>, before: &[u8]) -> Vec<u8> {
    let mut buffer = block.cells.to_vec();
    for range in &block.unreadable {
        for (byte, at) in buffer.iter_mut().skip(range.start).zip(range.clone()) {
            *byte = before.get(at).copied().unwrap_or(0xff);
        }
    }
    buffer
}
