//! A regular file as nodes: pages, split at the ends of eraseblocks, and holes.

use std::io::{self, Read, Write};

use jffs2_tx::wire::{Compression, Inode};

use crate::deflate::Deflate;
use crate::packer::Packer;
use crate::{BuildError, Report};

/// Shortest run of zeros that becomes a hole node, bytes. Shorter runs are compressed, a page of zeros to some 20
/// bytes: there is boot firmware that fails on hole nodes, and kernels and libraries rarely hold long runs.
pub const HOLE_MIN: u32 = 32 << 10;

/// Less room for data than this at an eraseblock's end is left unused, bytes.
const MIN_SPLIT: usize = 128;
/// How near a split comes to the longest data that fits, bytes of the file.
const SPLIT_STEP: usize = 32;

/// Why a file's content was not written.
pub(crate) enum FileError {
    Read(io::Error),
    /// It is not as long as was said.
    Changed,
    Build(BuildError),
}

impl From<BuildError> for FileError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

/// Writes one file's nodes.
pub(crate) struct FileWriter<'a, 't, W> {
    pub(crate) nodes: FileNodes<'a, 't, W>,
    pub(crate) deflate: &'a mut Deflate,
    pub(crate) page_size: u32,
}

/// The nodes so far.
pub(crate) struct FileNodes<'a, 't, W> {
    pub(crate) packer: &'a mut Packer<'t, W>,
    pub(crate) report: &'a mut Report,
    /// The next one: its version and offset move on.
    pub(crate) next: Inode,
}

impl<W: Write> FileWriter<'_, '_, W> {
    /// Writes all of `content`, which is as long as the node's isize.
    pub(crate) fn write(mut self, mut content: impl Read) -> Result<(), FileError> {
        let size = self.nodes.next.isize;
        if size == 0 {
            self.nodes.put(0, Compression::None, &[])?;
        }
        let mut page = vec![0; self.page_size.min(size) as usize];
        let mut read = 0;
        let mut zeros = 0;
        while read < size {
            let page = &mut page[..self.page_size.min(size - read) as usize];
            content.read_exact(page).map_err(short_is_changed)?;
            read += page.len() as u32;
            if page.iter().all(|&byte| byte == 0) {
                zeros += page.len() as u32;
            } else {
                self.zeros(std::mem::take(&mut zeros))?;
                self.data(page)?;
            }
        }
        self.zeros(zeros)?;
        if content.read(&mut [0]).map_err(FileError::Read)? != 0 {
            return Err(FileError::Changed);
        }
        Ok(())
    }

    /// Writes a run of zeros that starts at a page.
    fn zeros(&mut self, len: u32) -> Result<(), BuildError> {
        if len >= HOLE_MIN {
            self.nodes.report.hole_bytes += u64::from(len);
            return self.nodes.put(len, Compression::Zero, &[]);
        }
        for page in vec![0; len as usize].chunks(self.page_size as usize) {
            self.data(page)?;
        }
        Ok(())
    }

    /// Writes data that lies in one page.
    fn data(&mut self, mut data: &[u8]) -> Result<(), BuildError> {
        let mut take = data.len();
        while !data.is_empty() {
            if self.place(&data[..take])? {
                data = &data[take..];
                take = data.len();
                continue;
            }
            let room = self.nodes.packer.data_room();
            if room < MIN_SPLIT {
                self.nodes.packer.finish_block()?;
            } else {
                take = self.split(data, room);
            }
        }
        Ok(())
    }

    /// Writes data as one node, if it fits into this eraseblock.
    fn place(&mut self, data: &[u8]) -> Result<bool, BuildError> {
        let room = self.nodes.packer.data_room();
        let Some((compression, stored)) = self.deflate.encode(data, room) else {
            return Ok(false);
        };
        self.nodes.put(data.len() as u32, compression, stored)?;
        Ok(true)
    }

    /// About the longest start of `data` that fits `room`, given that all of it does not.
    fn split(&mut self, data: &[u8], room: usize) -> usize {
        let mut fits = room;
        let mut too_long = data.len();
        while too_long - fits > SPLIT_STEP {
            let middle = fits.midpoint(too_long);
            match self.deflate.encode(&data[..middle], room) {
                Some(_) => fits = middle,
                None => too_long = middle,
            }
        }
        fits
    }
}

impl<W: Write> FileNodes<'_, '_, W> {
    /// Writes the next `len` bytes of the file as one node.
    fn put(&mut self, len: u32, compression: Compression, stored: &[u8]) -> Result<(), BuildError> {
        self.packer.inode(&Inode { dsize: len, compression, ..self.next }, stored)?;
        self.next.version += 1;
        self.next.offset += len;
        self.report.data_bytes += u64::from(len);
        self.report.stored_bytes += stored.len() as u64;
        Ok(())
    }
}

fn short_is_changed(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FileError::Changed,
        _ => FileError::Read(error),
    }
}
