//! Where the bytes of a file are in an archive.

use std::io::{self, Read};

use super::sparse::{self, Sparse};

/// Where the archive has the bytes of a file.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) offset: u64,
    pub(super) stored: u64,
    pub(super) sparse: Option<Sparse>,
}

impl Place {
    /// Of the first stored byte, from the archive's start.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// All bytes of the file, its holes as zeros. `archive` goes on at [`Place::offset`].
    pub fn read<R: Read>(&self, archive: R) -> Stored<R> {
        Stored { archive, stored: self.stored, sparse: self.sparse.clone() }
    }
}

/// Bytes of a file in an archive.
#[derive(Debug)]
pub struct Stored<R> {
    archive: R,
    /// Bytes that have not been read.
    stored: u64,
    sparse: Option<Sparse>,
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (zeros, wanted) = sparse::next(self.sparse.as_mut(), self.stored, buf.len());
        buf[..zeros].fill(0);
        self.archive.read_exact(&mut buf[zeros..zeros + wanted])?;
        self.stored -= wanted as u64;
        Ok(zeros + wanted)
    }
}
