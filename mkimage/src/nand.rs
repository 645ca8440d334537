//! Images for NAND programmers: behind each page its spare bytes (OOB).
//!
//! In the spare bytes stands the cleanmarker of each eraseblock, where Linux puts it, and nothing else: bytes for ECC stay
//! 0xFF, for the programmer or its controller to fill.

use std::io::{self, BufWriter, Write};

use jffs2_tx::detect::LAYOUTS;
use jffs2_tx::flash::OobLayout;
use jffs2_tx::wire::Cleanmarker;

use crate::{BuildError, Options};

/// Where the first free spare byte is, as Linux has it: with pages of 512 bytes behind ECC bytes and the bad-block mark,
/// with larger ones behind the two bytes of the mark.
const FREE_SMALL: usize = 8;
const FREE_LARGE: usize = 2;

/// Puts spare bytes between the pages that are written to it. Memory: a page.
pub(crate) struct NandWriter<W: Write> {
    out: BufWriter<W>,
    layout: OobLayout,
    /// Bytes of an eraseblock's data.
    eraseblock: u64,
    /// In the spare bytes of each eraseblock, if there are to be any.
    cleanmarker: Option<[u8; 8]>,
    /// What is there of the next page.
    page: Vec<u8>,
    /// Bytes of data in the pages that have been written.
    written: u64,
}

/// Refuses spare bytes of which nobody knows where the free ones are, and eraseblocks that such flash has not got.
pub(crate) fn check(layout: OobLayout, eraseblock: u32) -> Result<(), BuildError> {
    if !LAYOUTS.contains(&layout) {
        return Err(BuildError::Layout(layout));
    }
    // Four pages are the least of any flash: Linux mounts no smaller ones either.
    if eraseblock / layout.page() < 4 {
        return Err(BuildError::LayoutEraseblock { layout, eraseblock });
    }
    Ok(())
}

impl<W: Write> NandWriter<W> {
    /// `layout` has been checked.
    pub(crate) fn new(out: W, layout: OobLayout, options: &Options) -> Self {
        Self {
            out: BufWriter::new(out),
            layout,
            eraseblock: options.eraseblock.into(),
            cleanmarker: options.cleanmarkers.then(|| Cleanmarker::oob(options.endian)),
            page: Vec::with_capacity(layout.unit() as usize),
            written: 0,
        }
    }

    /// Fills the last eraseblock with erased pages; the size of the whole image, bytes.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        while !self.page.is_empty() || !self.written.is_multiple_of(self.eraseblock) {
            self.end_page()?;
        }
        self.out.flush()?;
        Ok(self.layout.dump_len(self.written))
    }

    /// Writes the page that is there, or an erased one, and its spare bytes.
    fn end_page(&mut self) -> io::Result<()> {
        let page = self.layout.page() as usize;
        self.page.resize(self.layout.unit() as usize, 0xff);
        if self.written.is_multiple_of(self.eraseblock) {
            let free = page + if page <= 512 { FREE_SMALL } else { FREE_LARGE };
            if let Some(cleanmarker) = self.cleanmarker {
                self.page[free..free + cleanmarker.len()].copy_from_slice(&cleanmarker);
            }
        }
        self.out.write_all(&self.page)?;
        self.written += page as u64;
        self.page.clear();
        Ok(())
    }
}

impl<W: Write> Write for NandWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let page = self.layout.page() as usize;
        let taken = data.len().min(page.saturating_sub(self.page.len()));
        self.page.extend_from_slice(&data[..taken]);
        if self.page.len() == page {
            self.end_page()?;
        }
        Ok(taken)
    }

    /// A page that is not full waits for the rest of it.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
