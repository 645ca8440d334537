//! The simulated flash: brings each eraseblock to what a case wants, and leaves alone those that hold it already.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use kernel_guest::script::{BlockStep, DeviceStep, Mode};

use nix::errno::Errno;

use crate::sys::OobLayout;
use crate::work::Amount;
use crate::{boot, sys};

/// How many bytes of data a page has for each byte of its spare area.
const OOB_SHARE: usize = 32;
/// Length of a cleanmarker in the spare area.
const CLEANMARKER_LEN: usize = 8;
/// Length of a cleanmarker among the data.
const NOR_CLEANMARKER_LEN: u64 = 12;
/// How many bytes have an error correction code of their own.
const STEP: usize = 256;

/// An MTD device that one module simulates.
pub(crate) struct Chip {
    step: DeviceStep,
    number: u32,
    mtd: File,
    held: Vec<Held>,
}

/// What an eraseblock holds: its bytes, and on NAND where its cleanmarker is.
#[derive(PartialEq, Eq)]
pub(crate) struct BlockCopy {
    pub(crate) data: Vec<u8>,
    oob: Vec<u8>,
}

/// What the first node of an eraseblock begins with: its header and the fields behind that.
pub(crate) type Head = [u8; 24];

/// What we know of an eraseblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Erased,
    Block { id: u32, bad: bool },
    Unknown,
}

impl Chip {
    /// Loads the module and finds its device.
    pub(crate) fn create(step: DeviceStep) -> Result<Self> {
        boot::load_module(&step.module, &CString::new(step.parameters.join(" "))?)?;
        let number = find_mtd(&step)?;
        let path = format!("/dev/mtd{number}");
        let mtd = OpenOptions::new().read(true).write(true).open(&path).context(path)?;
        let held = vec![Held::Erased; step.blocks as usize];
        Ok(Self { step, number, mtd, held })
    }

    /// Removes the device and all that it held.
    pub(crate) fn destroy(self) -> Result<DeviceStep> {
        drop(self.mtd);
        boot::unload_module(&self.step.module)?;
        Ok(self.step)
    }

    /// What to give to mount(2).
    pub(crate) fn mount_source(&self) -> String {
        format!("mtd{}", self.number)
    }

    /// How much to write to it.
    pub(crate) fn amount(&self, mode: Mode) -> Amount {
        // Less would leave the eraseblocks that it finds half-used as they are.
        let file = self.step.block_size as usize / 2;
        Amount { file, times: if mode == Mode::Heavy { 4 * self.step.blocks } else { 3 } }
    }

    /// Number of eraseblocks.
    pub(crate) fn blocks(&self) -> u32 {
        self.step.blocks
    }

    /// Bytes in all eraseblocks.
    pub(crate) fn size(&self) -> u64 {
        u64::from(self.step.blocks) * u64::from(self.step.block_size)
    }

    /// Copies what it holds to the second disk.
    pub(crate) fn dump(&self, offset: u64) -> Result<()> {
        let disk = OpenOptions::new().write(true).open("/dev/vdb").context("disk for what the flash holds")?;
        for (start, block) in self.starts().zip(self.copy()?) {
            disk.write_all_at(&block.data, offset + start).context("write to the second disk")?;
        }
        disk.sync_all().context("write to the second disk")
    }

    fn starts(&self) -> impl Iterator<Item = u64> + use<> {
        let block_size = u64::from(self.step.block_size);
        (0..u64::from(self.step.blocks)).map(move |block| block * block_size)
    }

    fn is_nand(&self) -> bool {
        self.step.page_size < self.step.block_size
    }

    /// All that it holds; it may be mounted.
    pub(crate) fn copy(&self) -> Result<Vec<BlockCopy>> {
        self.starts().map(|start| self.copy_block(start)).collect()
    }

    fn copy_block(&self, start: u64) -> Result<BlockCopy> {
        let mut data = vec![0; self.step.block_size as usize];
        self.mtd.read_exact_at(&mut data, start).context("read an eraseblock")?;
        let mut oob = vec![0xff; if self.is_nand() { CLEANMARKER_LEN } else { 0 }];
        if self.is_nand() {
            sys::read_oob(&self.mtd, start, &mut oob, OobLayout::Free).context("read a spare area")?;
        }
        Ok(BlockCopy { data, oob })
    }

    /// Makes it hold a copy again.
    pub(crate) fn restore(&self, copy: &[BlockCopy]) -> Result<()> {
        for (start, wanted) in self.starts().zip(copy) {
            let now = self.copy_block(start)?;
            if now == *wanted {
                continue;
            }
            sys::erase(&self.mtd, start, self.step.block_size.into()).context("erase")?;
            if !is_erased(&wanted.oob) {
                self.program_oob(start, &wanted.oob)?;
            }
            self.program_pages(start, &wanted.data)?;
        }
        Ok(())
    }

    /// What the first node of each eraseblock begins with.
    pub(crate) fn heads(&self) -> Result<Vec<Head>> {
        let skip = if self.is_nand() { 0 } else { NOR_CLEANMARKER_LEN };
        let mut head = [0; size_of::<Head>()];
        self.starts()
            .map(|start| self.mtd.read_exact_at(&mut head, start + skip).context("read a head").map(|()| head))
            .collect()
    }

    /// Forgets what the eraseblocks hold, as someone else may have written to them.
    pub(crate) fn forget(&mut self) {
        for held in &mut self.held {
            if !matches!(held, Held::Block { bad: true, .. }) {
                *held = Held::Unknown;
            }
        }
    }

    /// Whether an eraseblock is marked bad that shall not be: the mark can't be taken back.
    pub(crate) fn is_worn_for(&self, wanted: &[Option<&BlockStep>]) -> bool {
        let marked = self.held.iter().zip(wanted).filter(|(held, _)| matches!(held, Held::Block { bad: true, .. }));
        marked.into_iter().any(|(held, wanted)| *held != goal(*wanted))
    }

    /// Makes an eraseblock hold what is wanted (nothing: erased), unless it does.
    pub(crate) fn bring(
        &mut self,
        index: usize,
        wanted: Option<&BlockStep>,
        content: impl Fn(&BlockStep) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let held = *self.held.get(index).context("eraseblock beyond the device")?;
        if held == goal(wanted) {
            return Ok(());
        }
        let start = index as u64 * u64::from(self.step.block_size);
        self.held[index] = Held::Unknown;
        if held != Held::Erased {
            sys::erase(&self.mtd, start, self.step.block_size.into()).context("erase")?;
        }
        if let Some(block) = wanted {
            self.program(start, block, &content(block)?)?;
        }
        self.held[index] = goal(wanted);
        Ok(())
    }

    fn program(&self, start: u64, block: &BlockStep, content: &[u8]) -> Result<()> {
        if !block.oob.is_empty() {
            self.program_oob(start, &block.oob)?;
        }
        self.program_pages(start, content)?;
        for page in &block.unreadable {
            self.break_page(start, *page)?;
        }
        if block.bad {
            sys::mark_bad(&self.mtd, start).context("mark bad")?;
        }
        Ok(())
    }

    fn program_oob(&self, start: u64, oob: &[u8]) -> Result<()> {
        sys::write_oob(&self.mtd, start, oob).context("program the spare area")?;
        let mut back = vec![0; oob.len()];
        sys::read_oob(&self.mtd, start, &mut back, OobLayout::Free).context("read the spare area")?;
        ensure!(back == oob, "the spare area reads {back:x?}, not {oob:x?}");
        Ok(())
    }

    /// Programs each run of pages that hold anything in one go.
    fn program_pages(&self, start: u64, content: &[u8]) -> Result<()> {
        let page_size = self.step.page_size as usize;
        ensure!(content.len().is_multiple_of(page_size), "content ends inside a page");
        let mut pages = content.chunks(page_size).enumerate().peekable();
        while let Some((first, page)) = pages.next() {
            if is_erased(page) {
                continue;
            }
            let mut end = first + 1;
            while pages.next_if(|(_, page)| !is_erased(page)).is_some() {
                end += 1;
            }
            let bytes = &content[first * page_size..end * page_size];
            self.mtd.write_all_at(bytes, start + (first * page_size) as u64).context("program")?;
        }
        Ok(())
    }

    /// Makes error correction give up on a page; the data stays as it is.
    fn break_page(&self, start: u64, page: u32) -> Result<()> {
        let page_size = self.step.page_size as usize;
        spoil(&self.mtd, page_size, start + page as u64 * page_size as u64, 2)
    }
}

/// Clears bits of one of the error correction codes of the page at `at`: with one, error correction has something to do,
/// with two it has to give up.
pub(crate) fn spoil(mtd: &File, page_size: usize, at: u64, bits: u32) -> Result<()> {
    let mut oob = vec![0; page_size / OOB_SHARE];
    sys::read_oob(mtd, at, &mut oob, OobLayout::Whole).context("read a spare area")?;
    let code = codes(oob.len()).into_iter().find(|code| ones(&oob, code) >= bits);
    let code = code.with_context(|| format!("the page at {at:#x} has no {bits} bits to clear in a code"))?;
    for _ in 0..bits {
        let byte = code.into_iter().find(|&byte| oob[byte] != 0).context("a bit to clear")?;
        oob[byte] &= oob[byte] - 1;
    }
    sys::write_raw(mtd, at, &vec![0xff; page_size], &oob).context("spoil a page")?;
    let read = sys::read_page(mtd, at, &mut vec![0; page_size]);
    let wanted = if bits == 1 { Errno::EUCLEAN } else { Errno::EBADMSG };
    ensure!(read == Err(wanted), "a read of the page at {at:#x} shall give {wanted}, but: {read:?}");
    Ok(())
}

fn goal(wanted: Option<&BlockStep>) -> Held {
    wanted.map_or(Held::Erased, |block| Held::Block { id: block.id, bad: block.bad })
}

/// Where in the spare area the bytes of each error correction code are.
fn codes(oob_len: usize) -> Vec<[usize; 3]> {
    match oob_len {
        16 => vec![[0, 1, 2], [3, 6, 7]],
        len => (len - 3 * len * OOB_SHARE / STEP..len).step_by(3).map(|at| [at, at + 1, at + 2]).collect(),
    }
}

fn ones(oob: &[u8], code: &[usize; 3]) -> u32 {
    code.iter().map(|&byte| oob[byte].count_ones()).sum()
}

fn is_erased(page: &[u8]) -> bool {
    page.iter().all(|&byte| byte == 0xff)
}

/// The module's first device: a second one is the rest of a chip that is larger than the case's flash.
fn find_mtd(step: &DeviceStep) -> Result<u32> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir("/sys/class/mtd")? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix("mtd"));
        numbers.extend(digits.and_then(|digits| digits.parse::<u32>().ok()));
    }
    let number = numbers.into_iter().min().with_context(|| format!("{} made no device", step.module))?;
    let has = |what: &str| -> Result<u64> {
        let path = format!("/sys/class/mtd/mtd{number}/{what}");
        Ok(fs::read_to_string(&path).context(path)?.trim().parse()?)
    };
    let (size, block_size) = (has("size")?, has("erasesize")?);
    ensure!(
        block_size == u64::from(step.block_size) && size == block_size * u64::from(step.blocks),
        "{} made a device of {size} bytes in eraseblocks of {block_size}",
        step.module
    );
    Ok(number)
}
