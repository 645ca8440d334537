//! Where an image is in its file: at an offset, and between spare bytes.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::vec;
use std::vec::Vec;

use super::OobLayout;

/// Bytes of data that one read takes from a dump. Memory: a little more.
const READ: usize = 64 << 10;

/// The part of a file that is an image. Offsets of the image's data do not count spare bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container {
    /// Where it starts in the file, bytes.
    pub offset: u64,
    /// Bytes of the file that it takes, spare bytes included.
    pub length: u64,
    /// Its spare bytes, if it is a dump that holds them.
    pub oob: Option<OobLayout>,
}

impl Container {
    /// A whole file of so many bytes, without spare bytes.
    #[must_use]
    pub fn whole(length: u64) -> Self {
        Self { offset: 0, length, oob: None }
    }

    /// Bytes of data in it.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.oob.map_or(self.length, |oob| oob.data_len(self.length))
    }

    /// Fills `buf` with data from `at` on; where it ends. `spare` gets the offset of each page that was read to its
    /// end, and its spare bytes (fewer if the file ends in them).
    ///
    /// # Errors
    /// The host's.
    pub fn read_at(
        &self,
        file: &File,
        at: u64,
        buf: &mut [u8],
        mut spare: impl FnMut(u64, &[u8]),
    ) -> io::Result<usize> {
        let Some(oob) = self.oob else { return self.raw(file, at, buf) };
        let mut raw = vec![0; (oob.dump_len(buf.len().min(READ) as u64) + oob.unit()) as usize];
        let (page, mut filled) = (u64::from(oob.page()), 0);
        while filled < buf.len() {
            let from = at.saturating_add(filled as u64);
            let wanted = (buf.len() - filled).min(READ);
            let (first, last) = (from / page, from.saturating_add(wanted as u64).div_ceil(page));
            let len = ((last.saturating_sub(first)).saturating_mul(oob.unit()) as usize).min(raw.len());
            let got = self.raw(file, first.saturating_mul(oob.unit()), &mut raw[..len])?;
            let before = filled;
            for (number, unit) in (first..).zip(raw[..got].chunks(oob.unit() as usize)) {
                let (data, rest) = unit.split_at(unit.len().min(page as usize));
                let skip = if number == first { (from % page) as usize } else { 0 };
                let data = data.get(skip..).unwrap_or_default();
                let data = &data[..data.len().min(wanted - (filled - before))];
                buf[filled..filled + data.len()].copy_from_slice(data);
                filled += data.len();
                spare(number * page, rest);
            }
            if filled == before || got < len {
                break;
            }
        }
        Ok(filled)
    }

    /// Fills `buf` from byte `at` of the container on, spare bytes included; where it ends.
    fn raw(&self, file: &File, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(at).min(buf.len() as u64) as usize;
        let Some(start) = self.offset.checked_add(at) else { return Ok(0) };
        let mut filled = 0;
        while filled < left {
            match file.read_at(&mut buf[filled..left], start.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    /// The spare bytes of the page whose data starts at `at`: as many as there are.
    ///
    /// # Errors
    /// The host's.
    pub(super) fn spare(&self, file: &File, oob: OobLayout, at: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.raw(file, oob.in_dump(at).saturating_add(u64::from(oob.page())), buf)
    }

    /// Reads its data from the start.
    #[must_use]
    pub fn reader<'a, S: FnMut(u64, &[u8])>(&self, file: &'a File, spare: S) -> DataReader<'a, S> {
        DataReader { container: *self, file, at: 0, buf: Vec::new(), taken: 0, spare }
    }
}

/// The data of a container, in order; `spare` as in [`Container::read_at`].
#[derive(Debug)]
pub struct DataReader<'a, S> {
    container: Container,
    file: &'a File,
    at: u64,
    /// Of a dump, so that the spare bytes of each page are seen once whatever is asked for.
    buf: Vec<u8>,
    taken: usize,
    spare: S,
}

impl<S: FnMut(u64, &[u8])> Read for DataReader<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.container.oob.is_none() {
            let got = self.container.raw(self.file, self.at, buf)?;
            self.at += got as u64;
            return Ok(got);
        }
        if self.taken == self.buf.len() {
            self.buf.resize(READ, 0);
            let got = self.container.read_at(self.file, self.at, &mut self.buf, &mut self.spare)?;
            self.buf.truncate(got);
            self.at += got as u64;
            self.taken = 0;
        }
        let len = buf.len().min(self.buf.len() - self.taken);
        buf[..len].copy_from_slice(&self.buf[self.taken..self.taken + len]);
        self.taken += len;
        Ok(len)
    }
}
