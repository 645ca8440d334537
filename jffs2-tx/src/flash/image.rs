//! An image file as flash: plain data, no OOB. What is synced is durable as far as the host's file system says so.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Ecc, Flash, FlashMut, Geometry};

/// An image file. Its length is the flash's size; a file that ends within its last eraseblock reads as blank there.
#[derive(Debug)]
pub struct ImageFlash {
    file: File,
    geometry: Geometry,
}

/// An operation on an image file failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host's error.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Outside the image, across eraseblocks, or not in whole write units.
    #[error("{len} bytes at {offset:#x} do not fit the image or its write units")]
    Range {
        /// Start, bytes.
        offset: u32,
        /// Length, bytes.
        len: usize,
    },
}

impl ImageFlash {
    /// Takes an open file. Writing needs it open for writing.
    #[must_use]
    pub fn new(file: File, geometry: Geometry) -> Self {
        Self { file, geometry }
    }

    /// Opens the file, for reading only unless `write`.
    ///
    /// # Errors
    /// The host's.
    pub fn open(path: &Path, geometry: Geometry, write: bool) -> std::io::Result<Self> {
        Ok(Self::new(OpenOptions::new().read(true).write(write).open(path)?, geometry))
    }

    fn check(&self, offset: u32, len: usize, unit: u32) -> Result<(), ImageError> {
        let end = u64::from(offset) + len as u64;
        let fits =
            end <= u64::from(self.geometry.size()) && offset.is_multiple_of(unit) && len.is_multiple_of(unit as usize);
        if fits { Ok(()) } else { Err(ImageError::Range { offset, len }) }
    }
}

impl Flash for ImageFlash {
    type Error = ImageError;

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, ImageError> {
        self.check(offset, buf.len(), 1)?;
        let mut filled = 0;
        while filled < buf.len() {
            match self.file.read_at(&mut buf[filled..], u64::from(offset) + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        buf[filled..].fill(0xff);
        Ok(Ecc::Clean)
    }

    fn is_bad(&self, _block: u32) -> Result<bool, ImageError> {
        Ok(false)
    }

    fn has_oob_cleanmarker(&self, _block: u32) -> Result<bool, ImageError> {
        Ok(false)
    }
}

impl FlashMut for ImageFlash {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), ImageError> {
        self.check(offset, data.len(), self.geometry.write_size())?;
        // As flash would: bits only go from one to zero. A file that is not blank there shows at the read-back.
        let mut cells = std::vec![0; data.len()];
        self.read(offset, &mut cells)?;
        for (cell, new) in cells.iter_mut().zip(data) {
            *cell &= new;
        }
        Ok(self.file.write_all_at(&cells, u64::from(offset))?)
    }

    fn erase(&mut self, block: u32) -> Result<(), ImageError> {
        let len = self.geometry.eraseblock() as usize;
        if block >= self.geometry.blocks() {
            return Err(ImageError::Range { offset: self.geometry.size(), len });
        }
        Ok(self.file.write_all_at(&std::vec![0xff; len], u64::from(self.geometry.offset_of(block)))?)
    }

    fn write_oob_cleanmarker(&mut self, _block: u32) -> Result<(), ImageError> {
        Ok(())
    }

    fn mark_bad(&mut self, _block: u32) -> Result<(), ImageError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), ImageError> {
        Ok(self.file.sync_data()?)
    }
}
