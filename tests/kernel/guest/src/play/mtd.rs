//! An MTD device of any kind, as the kernel describes it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kernel_guest::listing::hex;
use sha2::{Digest, Sha256};

use crate::chip;
use crate::sys::{self, OobLayout};

/// The cleanmarker in the spare area of an eraseblock that is ready for use.
const CLEANMARKER: [u8; 8] = [0x85, 0x19, 0x03, 0x20, 0x08, 0x00, 0x00, 0x00];

/// For how long a device must stay the same to have settled.
const QUIET: Duration = Duration::from_millis(500);
/// How long that may take to come.
const LIMIT: Duration = Duration::from_secs(60);

/// An open device.
pub(super) struct Mtd {
    file: File,
    blocks: u64,
    block_size: u64,
    page_size: u64,
    is_nand: bool,
}

impl Mtd {
    pub(super) fn open(device: &str) -> Result<Self> {
        let name = device.strip_prefix("/dev/").context("not a device")?;
        let told = |what: &str| -> Result<String> {
            let path = Path::new("/sys/class/mtd").join(name).join(what);
            Ok(fs::read_to_string(&path).with_context(|| path.display().to_string())?.trim().to_owned())
        };
        let number = |what: &str| -> Result<u64> { Ok(told(what)?.parse()?) };
        let block_size = number("erasesize")?;
        Ok(Self {
            file: OpenOptions::new().read(true).write(true).open(device).context("open")?,
            blocks: number("size")? / block_size,
            block_size,
            page_size: number("writesize")?,
            is_nand: told("type")? == "nand",
        })
    }

    fn starts(&self) -> impl Iterator<Item = u64> + use<> {
        let block_size = self.block_size;
        (0..self.blocks).map(move |block| block * block_size)
    }

    /// Erases all and writes an image.
    pub(super) fn flash(&self, image: &[u8]) -> Result<()> {
        let mut parts = image.chunks(self.block_size as usize);
        for start in self.starts() {
            if sys::is_bad(&self.file, start).context("ask for a bad mark")? {
                continue;
            }
            sys::erase(&self.file, start, self.block_size).with_context(|| format!("erase at {start:#x}"))?;
            if self.is_nand {
                sys::write_oob(&self.file, start, &CLEANMARKER).context("write a cleanmarker")?;
            }
            if let Some(part) = parts.next() {
                self.program(start, part).with_context(|| format!("program at {start:#x}"))?;
            }
        }
        ensure!(parts.all(is_blank), "the image does not fit");
        Ok(())
    }

    fn program(&self, start: u64, part: &[u8]) -> Result<()> {
        for (at, page) in (start..).step_by(self.page_size as usize).zip(part.chunks(self.page_size as usize)) {
            if !is_blank(page) {
                self.file.write_all_at(page, at)?;
            }
        }
        Ok(())
    }

    /// The digest of all that can be read of it.
    pub(super) fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for start in self.starts() {
            let bad = sys::is_bad(&self.file, start).context("ask for a bad mark")?;
            hash.update([u8::from(bad)]);
            if !bad {
                hash.update(self.block(start)?);
                hash.update(self.oob(start)?);
            }
        }
        Ok(hex(&hash.finalize()))
    }

    /// Waits until nobody writes to it any more: its digest stays what it is.
    pub(super) fn settle(&self) -> Result<()> {
        let start = Instant::now();
        let mut last = self.digest()?;
        loop {
            sleep(QUIET);
            let now = self.digest()?;
            if now == last {
                return Ok(());
            }
            ensure!(start.elapsed() < LIMIT, "it is written to all the time");
            last = now;
        }
    }

    /// Copies it to the second disk; bad eraseblocks are all zeros there.
    pub(super) fn dump(&self, offset: u64) -> Result<()> {
        let disk = OpenOptions::new().write(true).open("/dev/vdb").context("second disk")?;
        for start in self.starts() {
            let bad = sys::is_bad(&self.file, start).context("ask for a bad mark")?;
            let block = if bad { vec![0; self.block_size as usize] } else { self.block(start)? };
            disk.write_all_at(&block, offset + start).context("write to the second disk")?;
        }
        disk.sync_all().context("write to the second disk")
    }

    /// Clears bits in an error correction code of the page at `at`.
    pub(super) fn spoil(&self, at: u64, bits: u32) -> Result<()> {
        ensure!(self.is_nand, "only NAND has error correction");
        chip::spoil(&self.file, self.page_size as usize, at, bits)
    }

    fn block(&self, start: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.block_size as usize];
        self.file.read_exact_at(&mut bytes, start).with_context(|| format!("read at {start:#x}"))?;
        Ok(bytes)
    }

    fn oob(&self, start: u64) -> Result<Vec<u8>> {
        let mut oob = vec![0xff; if self.is_nand { CLEANMARKER.len() } else { 0 }];
        if self.is_nand {
            sys::read_oob(&self.file, start, &mut oob, OobLayout::Free).context("read a spare area")?;
        }
        Ok(oob)
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0xff)
}
