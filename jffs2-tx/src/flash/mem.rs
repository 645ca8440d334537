//! A flash in memory: for tests, and to build an image before it goes anywhere.

use alloc::{vec, vec::Vec};

use super::{Ecc, Flash, FlashKind, FlashMut, Geometry};

/// A flash in memory. NAND bad blocks and OOB cleanmarkers are kept beside the data.
#[derive(Clone, Debug)]
pub struct MemFlash {
    geometry: Geometry,
    data: Vec<u8>,
    cleanmarkers: Vec<bool>,
    bad: Vec<bool>,
}

/// Misuse of a flash in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemError {
    /// Outside the flash, across eraseblocks, or not in whole write units.
    #[error("{len} bytes at {offset:#x} do not fit the flash or its write units")]
    Range {
        /// Start, bytes.
        offset: u32,
        /// Length, bytes.
        len: usize,
    },
    /// The data needs bits set that are programmed already.
    #[error("program at {offset:#x} would have to set bits")]
    NotErased {
        /// First such byte.
        offset: u32,
    },
    /// The eraseblock is marked bad.
    #[error("eraseblock {0} is bad")]
    Bad(u32),
}

impl MemFlash {
    /// An erased flash.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Self::with_data(geometry, vec![0xff; geometry.size() as usize])
    }

    /// A flash that holds `data`, cut or filled with 0xFF to its size.
    #[must_use]
    pub fn with_data(geometry: Geometry, mut data: Vec<u8>) -> Self {
        data.resize(geometry.size() as usize, 0xff);
        let blocks = geometry.blocks() as usize;
        Self { geometry, data, cleanmarkers: vec![false; blocks], bad: vec![false; blocks] }
    }

    /// All of the flash's bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// All of the flash's bytes, to damage them in tests.
    #[must_use]
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    fn range(&self, offset: u32, len: usize, unit: u32) -> Result<core::ops::Range<usize>, MemError> {
        let end = offset as usize + len;
        let fits = end <= self.data.len() && offset.is_multiple_of(unit) && len.is_multiple_of(unit as usize);
        if fits { Ok(offset as usize..end) } else { Err(MemError::Range { offset, len }) }
    }

    fn check_good(&self, block: u32) -> Result<(), MemError> {
        match self.bad.get(block as usize) {
            Some(false) => Ok(()),
            Some(true) => Err(MemError::Bad(block)),
            None => Err(MemError::Range { offset: self.geometry.size(), len: 0 }),
        }
    }
}

impl Flash for MemFlash {
    type Error = MemError;

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, MemError> {
        let range = self.range(offset, buf.len(), 1)?;
        buf.copy_from_slice(&self.data[range]);
        Ok(Ecc::Clean)
    }

    fn is_bad(&self, block: u32) -> Result<bool, MemError> {
        Ok(self.check_good(block).is_err())
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, MemError> {
        Ok(self.cleanmarkers.get(block as usize).copied().unwrap_or(false))
    }
}

impl FlashMut for MemFlash {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), MemError> {
        let range = self.range(offset, data.len(), self.geometry.write_size())?;
        let block = self.geometry.block_of(offset);
        self.check_good(block)?;
        if range.end as u64 > u64::from(self.geometry.offset_of(block)) + u64::from(self.geometry.eraseblock()) {
            return Err(MemError::Range { offset, len: data.len() });
        }
        let cells = &mut self.data[range];
        if let Some(at) = cells.iter().zip(data).position(|(cell, new)| cell & new != *new) {
            return Err(MemError::NotErased { offset: offset + at as u32 });
        }
        cells.copy_from_slice(data);
        Ok(())
    }

    fn erase(&mut self, block: u32) -> Result<(), MemError> {
        self.check_good(block)?;
        let start = self.geometry.offset_of(block) as usize;
        self.data[start..start + self.geometry.eraseblock() as usize].fill(0xff);
        self.cleanmarkers[block as usize] = false;
        Ok(())
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), MemError> {
        self.check_good(block)?;
        self.cleanmarkers[block as usize] = self.geometry.kind() == FlashKind::Nand;
        Ok(())
    }

    fn mark_bad(&mut self, block: u32) -> Result<(), MemError> {
        self.check_good(block)?;
        self.bad[block as usize] = self.geometry.kind() == FlashKind::Nand;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), MemError> {
        Ok(())
    }
}
