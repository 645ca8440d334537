//! An image file as flash. What is synced is durable as far as the host's file system says so.
//!
//! The image may be a part of its file, and a NAND dump with spare bytes (OOB) between its pages: bad-block marks and
//! cleanmarkers are read from them then, and nothing can be written, as nobody computes the ECC bytes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::vec::Vec;

use super::oob::{BlockMarks, believe};
use super::{Container, Ecc, Flash, FlashMut, Geometry, OobLayout};

/// An image file. If it ends within its last eraseblock, the rest reads as blank.
#[derive(Debug)]
pub struct ImageFlash {
    file: File,
    geometry: Geometry,
    container: Container,
    /// The file goes on behind the container: the image may not grow.
    fixed: bool,
    /// Of each eraseblock of a dump.
    marks: Vec<BlockMarks>,
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
    /// The image is a dump with spare bytes.
    #[error("a dump with spare bytes cannot be written: its ECC bytes would have to be computed")]
    ReadOnly,
    /// Eraseblocks are not whole pages of the dump.
    #[error("eraseblocks of {eraseblock} bytes are no whole pages of a dump with {layout}")]
    Layout {
        /// Eraseblock size, bytes.
        eraseblock: u32,
        /// The dump's pages.
        layout: OobLayout,
    },
}

impl ImageFlash {
    /// Takes an open file, all of which is the image. Writing needs it open for writing; it may grow up to the
    /// geometry's size.
    #[must_use]
    pub fn new(file: File, geometry: Geometry) -> Self {
        Self { file, geometry, container: Container::whole(u64::MAX), fixed: false, marks: Vec::new() }
    }

    /// Takes an open file with the image in it. If the file goes on behind the container, nothing is written there.
    ///
    /// # Errors
    /// [`ImageError::Layout`], and [`ImageError::Io`] if a dump's spare bytes cannot be read.
    pub fn inside(file: File, geometry: Geometry, container: Container) -> Result<Self, ImageError> {
        let fixed = file.metadata()?.len() > container.offset.saturating_add(container.length);
        let mut flash = Self { file, geometry, container, fixed, marks: Vec::new() };
        if let Some(oob) = container.oob {
            flash.marks = flash.read_marks(oob)?;
        }
        Ok(flash)
    }

    /// Opens the file, for reading only unless `write`.
    ///
    /// # Errors
    /// The host's.
    pub fn open(path: &Path, geometry: Geometry, write: bool) -> std::io::Result<Self> {
        Ok(Self::new(OpenOptions::new().read(true).write(write).open(path)?, geometry))
    }

    /// Where in the file the image is.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.container
    }

    fn read_marks(&self, oob: OobLayout) -> Result<Vec<BlockMarks>, ImageError> {
        let eraseblock = self.geometry.eraseblock();
        if !eraseblock.is_multiple_of(oob.page()) {
            return Err(ImageError::Layout { eraseblock, layout: oob });
        }
        let (mut first, mut second) = (std::vec![0; oob.spare() as usize], std::vec![0; oob.spare() as usize]);
        let mut all = Vec::with_capacity(self.geometry.blocks() as usize);
        for block in 0..self.geometry.blocks() {
            let start = u64::from(self.geometry.offset_of(block));
            let of_first = self.container.spare(&self.file, oob, start, &mut first)?;
            let next = start + u64::from(oob.page());
            let of_second = match eraseblock > oob.page() {
                true => self.container.spare(&self.file, oob, next, &mut second)?,
                false => 0,
            };
            all.push(oob.marks(&first[..of_first], &second[..of_second]));
        }
        believe(&mut all);
        Ok(all)
    }

    fn marks(&self, block: u32) -> BlockMarks {
        self.marks.get(block as usize).copied().unwrap_or_default()
    }

    /// Where in the file to write; refuses what is outside the container.
    fn place_to_write(&self, offset: u32, len: usize) -> Result<u64, ImageError> {
        if self.container.oob.is_some() {
            return Err(ImageError::ReadOnly);
        }
        let end = u64::from(offset) + len as u64;
        let place = self.container.offset.checked_add(u64::from(offset));
        place.filter(|_| !self.fixed || end <= self.container.length).ok_or(ImageError::Range { offset, len })
    }

    /// A file that ended in its last eraseblock reaches further now.
    fn grow(&mut self, offset: u32, len: usize) {
        self.container.length = self.container.length.max(u64::from(offset) + len as u64);
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
        let filled = self.container.read_at(&self.file, u64::from(offset), buf, |_, _| {})?;
        buf[filled..].fill(0xff);
        Ok(Ecc::Clean)
    }

    fn is_bad(&self, block: u32) -> Result<bool, ImageError> {
        Ok(self.marks(block).bad)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, ImageError> {
        Ok(self.marks(block).cleanmarker.is_some())
    }
}

impl FlashMut for ImageFlash {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), ImageError> {
        self.check(offset, data.len(), self.geometry.write_size())?;
        let place = self.place_to_write(offset, data.len())?;
        // As flash would: bits only go from one to zero. A file that is not blank there shows at the read-back.
        let mut cells = std::vec![0; data.len()];
        self.read(offset, &mut cells)?;
        for (cell, new) in cells.iter_mut().zip(data) {
            *cell &= new;
        }
        self.file.write_all_at(&cells, place)?;
        self.grow(offset, data.len());
        Ok(())
    }

    fn erase(&mut self, block: u32) -> Result<(), ImageError> {
        let len = self.geometry.eraseblock() as usize;
        if block >= self.geometry.blocks() {
            return Err(ImageError::Range { offset: self.geometry.size(), len });
        }
        let place = self.place_to_write(self.geometry.offset_of(block), len)?;
        self.file.write_all_at(&std::vec![0xff; len], place)?;
        self.grow(self.geometry.offset_of(block), len);
        Ok(())
    }

    fn write_oob_cleanmarker(&mut self, _block: u32) -> Result<(), ImageError> {
        if self.container.oob.is_some() { Err(ImageError::ReadOnly) } else { Ok(()) }
    }

    fn mark_bad(&mut self, _block: u32) -> Result<(), ImageError> {
        if self.container.oob.is_some() { Err(ImageError::ReadOnly) } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), ImageError> {
        Ok(self.file.sync_data()?)
    }

    /// A file has no eraseblocks that wear out: what fails is the host's.
    fn is_lasting(&self, _error: &ImageError) -> bool {
        true
    }
}
