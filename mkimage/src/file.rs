//! A regular file as nodes: pages, split at the ends of eraseblocks, and holes.

use std::io::Write;

use jffs2_tx::wire::{Compression, Inode};

use crate::compress::Encoder;
use crate::packer::Packer;
use crate::pages::Page;
use crate::{BuildError, Report};

/// Shortest run of zeros that becomes a hole node, bytes. Shorter runs are compressed, a page of zeros to some 20
/// bytes: there is boot firmware that fails on hole nodes, and kernels and libraries rarely hold long runs.
pub const HOLE_MIN: u32 = 32 << 10;

/// Less room for data than this at an eraseblock's end is left unused, bytes.
const MIN_SPLIT: usize = 128;
/// A split that leaves no more than this is good enough, bytes.
const GOOD_SPLIT: usize = 16;
/// How often a page is compressed, at most, to find where to split it.
const SPLIT_TRIES: usize = 5;

/// Writes one file's nodes.
pub(crate) struct FileWriter<'a, W> {
    pub(crate) packer: &'a mut Packer<W>,
    pub(crate) report: &'a mut Report,
    pub(crate) encoder: &'a mut Encoder,
    pub(crate) page_size: u32,
    /// The next node: its version and offset move on.
    pub(crate) next: Inode,
    /// Zeros before the next page that are not written yet, bytes.
    pub(crate) zeros: u32,
}

impl<W: Write> FileWriter<'_, W> {
    /// Writes the file's next page.
    pub(crate) fn page(&mut self, page: Page<'_>) -> Result<(), BuildError> {
        if page.compression == Compression::Zero {
            self.zeros += page.data.len() as u32;
            return Ok(());
        }
        self.pending_zeros()?;
        self.data(page)
    }

    /// Writes what is left to write after the last page.
    pub(crate) fn finish(mut self) -> Result<(), BuildError> {
        if self.next.isize == 0 {
            return self.put(0, Compression::None, &[]);
        }
        self.pending_zeros()
    }

    /// Writes a run of zeros that starts at a page.
    fn pending_zeros(&mut self) -> Result<(), BuildError> {
        let len = std::mem::take(&mut self.zeros);
        if len >= HOLE_MIN {
            return self.put(len, Compression::Zero, &[]);
        }
        for page in vec![0; len as usize].chunks(self.page_size as usize) {
            self.compress(page)?;
        }
        Ok(())
    }

    /// Writes data that lies in one page and is not compressed yet.
    fn compress(&mut self, data: &[u8]) -> Result<(), BuildError> {
        let (compression, stored) = self.encoder.encode(data);
        let stored = stored.to_vec();
        self.data(Page { data, compression, stored: &stored })
    }

    fn data(&mut self, page: Page<'_>) -> Result<(), BuildError> {
        let Page { data, compression, stored } = page;
        let room = self.packer.data_room();
        if stored.len() <= room {
            return self.put(data.len() as u32, compression, stored);
        }
        if room < MIN_SPLIT {
            self.packer.finish_block()?;
            return self.data(page);
        }
        let taken = self.split(page, room)?;
        self.compress(&data[taken..])
    }

    /// Writes about the longest start of the page that fits `room`, which all of it does not; its length, bytes.
    fn split(&mut self, page: Page<'_>, room: usize) -> Result<usize, BuildError> {
        // Stored as it is this much fits.
        let mut best = (room, Compression::None, page.data[..room].to_vec());
        // What is stored grows about evenly with what is taken, between what fits and what does not.
        let (mut below, mut above) = ((0, 0), (page.data.len(), page.stored.len()));
        for _ in 0..SPLIT_TRIES {
            let aim = room.saturating_sub(GOOD_SPLIT / 2).max(below.1);
            let take = below.0 + (above.0 - below.0) * (aim - below.1) / (above.1 - below.1);
            if take <= best.0 {
                break;
            }
            let (compression, stored) = self.encoder.encode(&page.data[..take]);
            if stored.len() > room {
                above = (take, stored.len());
                continue;
            }
            below = (take, stored.len());
            best = (take, compression, stored.to_vec());
            if room - stored.len() <= GOOD_SPLIT {
                break;
            }
        }
        let (taken, compression, stored) = best;
        self.put(taken as u32, compression, &stored)?;
        Ok(taken)
    }

    /// Writes the next `len` bytes of the file as one node.
    fn put(&mut self, len: u32, compression: Compression, stored: &[u8]) -> Result<(), BuildError> {
        self.packer.inode(&Inode { dsize: len, compression, ..self.next }, stored)?;
        self.next.version += 1;
        self.next.offset += len;
        self.report.count(len, compression, stored.len());
        Ok(())
    }
}
