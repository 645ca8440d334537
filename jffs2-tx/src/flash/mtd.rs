//! A Linux MTD character device as flash (feature `mtd`).
//!
//! What is there is asked of the kernel by ioctl, and of sysfs where no ioctl tells. NAND is read and programmed with
//! error correction; what it had to do is counted ([`MtdFlash::corrections`]).
//!
//! # Durability
//! A program or an erase returns when the chip has done it: MTD caches nothing, and a chip's driver waits for the chip.
//! The exception is memory that stands in for flash: `mtdram` forgets all when the power fails, and `block2mtd` writes
//! to the page cache of its block device. MTD devices refuse fsync(2); the kernel calls the driver's own sync when a
//! file that was open for writing is closed, so [`FlashMut::sync`] opens the device once more and closes it. On
//! `block2mtd` that writes the page cache to the block device, which may have a cache of its own.

use std::borrow::ToOwned;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use nix::errno::Errno;
use nix::sys::stat::{major, minor};

use super::{Ecc, Flash, FlashKind, FlashMut, Geometry};
use crate::wire::{Cleanmarker, Endian};

mod error;
mod info;
mod ioctl;
mod name;
mod spare;
mod sysfs;
mod tally;

pub use error::MtdError;
pub use info::{MtdInfo, MtdKind};
use ioctl::EccResult;
use name::Name;
use sysfs::Class;
pub use tally::Corrections;
use tally::{Tally, verdict};

const CLASS: &str = "/sys/class/mtd";

/// What is known of an eraseblock's bad-block mark.
const UNASKED: u8 = 0;
const GOOD: u8 = 1;
const BAD: u8 = 2;

/// An MTD character device. It may be read from several threads.
#[derive(Debug)]
pub struct MtdFlash {
    file: File,
    /// As it was opened.
    node: PathBuf,
    info: MtdInfo,
    geometry: Geometry,
    endian: Endian,
    /// Of each eraseblock: [`UNASKED`], [`GOOD`] or [`BAD`].
    marks: Vec<AtomicU8>,
    tally: Mutex<Tally>,
    /// Held from one reading of the device's ECC counters to the next, where they are the only source.
    counters: Mutex<()>,
}

impl MtdFlash {
    /// Opens `/dev/mtdN`, `/dev/mtdNro` (for reading only), `/dev/mtdblockN` (of which the character device is taken),
    /// `mtdN`, `mtd:NAME` (a device's or partition's name, as in `/proc/mtd`), or any path of such a device. Nothing
    /// is locked: see [`MtdFlash::file`].
    ///
    /// # Errors
    /// [`MtdError`]; nothing was changed.
    pub fn open(device: &Path, write: bool) -> Result<Self, MtdError> {
        Self::open_in(&Class::new(CLASS), device, write)
    }

    fn open_in(class: &Class, device: &Path, write: bool) -> Result<Self, MtdError> {
        let name = Name::parse(device).ok_or_else(|| MtdError::Unsupported {
            device: device.display().to_string(),
            reason: "it is no MTD device; give one as /dev/mtdN or mtd:NAME".into(),
        })?;
        let node = name.node(class)?;
        // Reading is asked for first: it tells a protected device from one that this user may not open.
        let file = open_node(class, &node, false)?;
        let number = device_number(&file, &node)?;
        let (number, read_only) = (number / 2, number % 2 == 1);
        let unusable = |reason| MtdError::Unsupported { device: node.display().to_string(), reason };
        let info = MtdInfo::read(&file, number, class).map_err(|errno| match errno {
            Errno::ENOTTY => unusable("it does not answer as an MTD device".to_owned()),
            errno => failure(&node, "ask what it is", 0, errno),
        })?;
        let geometry = info.geometry().map_err(unusable)?;
        let file = if write { open_to_write(class, &node, read_only, &info)? } else { file };
        let marks = (0..geometry.blocks()).map(|_| AtomicU8::new(UNASKED)).collect();
        let (tally, counters) = Default::default();
        Ok(Self { file, node, info, geometry, endian: Endian::Little, marks, tally, counters })
    }

    /// Whether the path names an MTD device, in one of the ways that [`MtdFlash::open`] takes. Opens nothing. A file
    /// that is there counts for what it is: a dump called `mtd0` is none.
    #[must_use]
    pub fn is_device_name(path: &Path) -> bool {
        Name::parse(path).is_some()
    }

    /// The byte order of cleanmarkers that are written; little-endian unless set. Either is recognised.
    pub fn set_endian(&mut self, endian: Endian) {
        self.endian = endian;
    }

    /// What the kernel says the device is.
    #[must_use]
    pub fn info(&self) -> &MtdInfo {
        &self.info
    }

    /// `/dev/mtdN`, however it was named.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        name::node_of(self.info.number)
    }

    /// The open device, to lock it: with flock(2). A lock of fcntl(2) that is not of the open file description would
    /// be lost at the next [`FlashMut::sync`].
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What error correction had to do since the device was opened. Always nothing on NOR.
    #[must_use]
    pub fn corrections(&self) -> Corrections {
        self.tally().corrections()
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads within one eraseblock of NAND.
    fn read_nand(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, MtdError> {
        let block = self.geometry.block_of(offset);
        match ioctl::read_data(&self.file, offset, buf) {
            Ok(ecc) if verdict(ecc) == Ecc::Clean => Ok(Ecc::Clean),
            Ok(ecc) => {
                self.tally().note_block(block, ecc, self.info.bitflip_threshold);
                self.read_pages(offset, buf, Some(ecc))
            }
            Err(errno) if is_unknown(errno) => self.read_pages(offset, buf, None),
            Err(errno) => Err(self.failed("read", offset, errno)),
        }
    }

    /// Reads page by page, to learn which ones need correction. `whole` is what a read of all of it met, if there was
    /// one: if it is one page, that is the answer.
    fn read_pages(&self, offset: u32, buf: &mut [u8], whole: Option<EccResult>) -> Result<Ecc, MtdError> {
        let page_size = self.geometry.write_size();
        let (mut at, mut rest, mut worst) = (offset, buf, Ecc::Clean);
        while !rest.is_empty() {
            let len = ((page_size - at % page_size) as usize).min(rest.len());
            let (part, behind) = core::mem::take(&mut rest).split_at_mut(len);
            let ecc = match whole {
                Some(ecc) if at == offset && behind.is_empty() => ecc,
                _ => self.read_page(at, part).map_err(|errno| self.failed("read", at, errno))?,
            };
            let mut tally = self.tally();
            tally.note_page(at / page_size, verdict(ecc));
            tally.note_block(self.geometry.block_of(at), ecc, self.info.bitflip_threshold);
            worst = worst.max(verdict(ecc));
            (at, rest) = (at + len as u32, behind);
        }
        // Bits that flip now and then read right the second time. They were seen all the same.
        if whole.is_some() && worst == Ecc::Clean {
            worst = Ecc::Corrected;
            self.tally().note_page(offset / page_size, worst);
        }
        Ok(worst)
    }

    fn read_page(&self, offset: u32, buf: &mut [u8]) -> Result<EccResult, Errno> {
        match ioctl::read_data(&self.file, offset, buf) {
            // Linux before 6.1: read(2) hides what error correction met, the device's counters tell. They count for
            // all who read; someone else's page may be taken for ours.
            Err(errno) if is_unknown(errno) => {
                let _held = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
                let before = ioctl::ecc_counters(&self.file)?;
                self.file.read_exact_at(buf, offset.into()).map_err(errno_of)?;
                let after = ioctl::ecc_counters(&self.file)?;
                let corrected = after.corrected.wrapping_sub(before.corrected);
                let uncorrectable = after.failed.wrapping_sub(before.failed);
                // How many of them in one step is not known: advise to scrub rather than not.
                Ok(EccResult { uncorrectable, corrected, max_bitflips: corrected })
            }
            result => result,
        }
    }

    /// Bytes of a cleanmarker that fit the free spare bytes of a page. Linux fs/jffs2/wbuf.c cuts it likewise.
    fn cleanmarker_len(&self) -> usize {
        Cleanmarker::oob(self.endian).len().min(self.info.oob_free as usize)
    }

    fn check_range(&self, offset: u32, len: usize, unit: u32) -> Result<(), MtdError> {
        let end = u64::from(offset) + len as u64;
        let fits = end <= u64::from(self.geometry.size())
            && offset.is_multiple_of(unit)
            && (len as u64).is_multiple_of(unit.into());
        if fits { Ok(()) } else { Err(MtdError::Range { offset, len }) }
    }

    fn start_of(&self, block: u32) -> Result<u32, MtdError> {
        let range = MtdError::Range { offset: self.geometry.size(), len: self.geometry.eraseblock() as usize };
        if block < self.geometry.blocks() { Ok(self.geometry.offset_of(block)) } else { Err(range) }
    }

    fn failed(&self, action: &'static str, offset: u32, errno: Errno) -> MtdError {
        failure(&self.node, action, offset, errno)
    }

    /// Likewise for what changes an eraseblock: a locked sector is named, whatever the driver makes of it.
    fn failed_to_write(&self, action: &'static str, offset: u32, errno: Errno) -> MtdError {
        let eraseblock = self.geometry.eraseblock();
        let start = offset - offset % eraseblock;
        let nor = self.geometry.kind() == FlashKind::Nor;
        if nor && ioctl::is_locked(&self.file, start, eraseblock) == Ok(true) {
            return MtdError::Locked { device: self.node.display().to_string(), offset: start };
        }
        self.failed(action, offset, errno)
    }
}

impl Flash for MtdFlash {
    type Error = MtdError;

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, MtdError> {
        self.check_range(offset, buf.len(), 1)?;
        if self.geometry.kind() == FlashKind::Nor {
            let read = self.file.read_exact_at(buf, offset.into());
            return read.map(|()| Ecc::Clean).map_err(|error| self.failed("read", offset, errno_of(error)));
        }
        let eraseblock = self.geometry.eraseblock();
        let (mut at, mut rest, mut worst) = (offset, buf, Ecc::Clean);
        while !rest.is_empty() {
            let len = ((eraseblock - at % eraseblock) as usize).min(rest.len());
            let (part, behind) = core::mem::take(&mut rest).split_at_mut(len);
            worst = worst.max(self.read_nand(at, part)?);
            (at, rest) = (at.wrapping_add(len as u32), behind);
        }
        Ok(worst)
    }

    fn is_bad(&self, block: u32) -> Result<bool, MtdError> {
        let start = self.start_of(block)?;
        if self.geometry.kind() == FlashKind::Nor {
            return Ok(false);
        }
        let mark = &self.marks[block as usize];
        if mark.load(Ordering::Relaxed) == UNASKED {
            let bad = ioctl::is_bad(&self.file, start);
            let bad = bad.map_err(|errno| self.failed("ask for the bad-block mark", start, errno))?;
            mark.store(if bad { BAD } else { GOOD }, Ordering::Relaxed);
        }
        Ok(mark.load(Ordering::Relaxed) == BAD)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, MtdError> {
        let start = self.start_of(block)?;
        if self.geometry.kind() == FlashKind::Nor {
            return Ok(false);
        }
        let mut found = [0; 8];
        let found = &mut found[..self.cleanmarker_len()];
        let ecc = spare::read_free(&self.file, start, self.info.oob_size, found)
            .map_err(|errno| self.failed("read the spare bytes", start, errno))?;
        self.tally().note_block(block, ecc, self.info.bitflip_threshold);
        Ok([Endian::Little, Endian::Big].into_iter().any(|endian| Cleanmarker::oob(endian).starts_with(found)))
    }
}

impl FlashMut for MtdFlash {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), MtdError> {
        self.check_range(offset, data.len(), self.geometry.write_size())?;
        let Some(last) = data.len().checked_sub(1) else { return Ok(()) };
        if self.geometry.block_of(offset) != self.geometry.block_of(offset + last as u32) {
            return Err(MtdError::Range { offset, len: data.len() });
        }
        let written = match self.geometry.kind() {
            FlashKind::Nand => ioctl::write_data(&self.file, offset, data),
            // The request is not for flash without spare bytes.
            FlashKind::Nor => Err(Errno::EOPNOTSUPP),
        };
        let written = match written {
            Err(errno) if is_unknown(errno) => self.file.write_all_at(data, offset.into()).map_err(errno_of),
            result => result,
        };
        written.map_err(|errno| self.failed_to_write("program", offset, errno))
    }

    fn erase(&mut self, block: u32) -> Result<(), MtdError> {
        let start = self.start_of(block)?;
        let erased = ioctl::erase(&self.file, start, self.geometry.eraseblock());
        erased.map_err(|errno| self.failed_to_write("erase", start, errno))
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), MtdError> {
        let start = self.start_of(block)?;
        if self.geometry.kind() == FlashKind::Nor {
            return Ok(());
        }
        let marker = &Cleanmarker::oob(self.endian)[..self.cleanmarker_len()];
        let written = spare::write_free(&self.file, start, self.info.oob_size, marker);
        written.map_err(|errno| self.failed("program the spare bytes", start, errno))
    }

    fn mark_bad(&mut self, block: u32) -> Result<(), MtdError> {
        let start = self.start_of(block)?;
        if self.geometry.kind() == FlashKind::Nor {
            return Ok(());
        }
        let marked = ioctl::mark_bad(&self.file, start);
        // Also when it failed half-way: the next question is asked of the kernel.
        self.marks[block as usize].store(if marked.is_ok() { BAD } else { UNASKED }, Ordering::Relaxed);
        marked.map_err(|errno| self.failed("mark the eraseblock bad", start, errno))
    }

    fn is_lasting(&self, error: &MtdError) -> bool {
        // What a chip says of a worn eraseblock is EIO; anything else is the system's: no memory, no descriptors.
        !matches!(error, MtdError::Io { errno: Errno::EIO, .. } | MtdError::Range { .. })
    }

    /// See the module's documentation, "Durability".
    fn sync(&mut self) -> Result<(), MtdError> {
        let opened = OpenOptions::new().read(true).write(true).open(&self.node);
        opened.map(drop).map_err(|error| self.failed("sync", 0, errno_of(error)))
    }
}

/// Whether the kernel or the driver does not know a request.
fn is_unknown(errno: Errno) -> bool {
    matches!(errno, Errno::ENOTTY | Errno::EOPNOTSUPP)
}

fn errno_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn failure(node: &Path, action: &'static str, offset: u32, errno: Errno) -> MtdError {
    let device = node.display().to_string();
    match errno {
        Errno::ENODEV | Errno::ENXIO => MtdError::Gone { device },
        Errno::EBUSY => MtdError::Busy { device },
        Errno::EROFS => MtdError::WriteProtected { device, reason: "its driver refuses to change it" },
        Errno::EBADF | Errno::EPERM | Errno::EACCES => {
            MtdError::WriteProtected { device, reason: "it was opened for reading only" }
        }
        errno => MtdError::Io { device, action, offset, errno },
    }
}

fn open_node(class: &Class, node: &Path, write: bool) -> Result<File, MtdError> {
    let device = || node.display().to_string();
    OpenOptions::new().read(true).write(write).open(node).map_err(|error| match errno_of(error) {
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => {
            MtdError::NotFound { device: device(), present: name::list(&class.devices()) }
        }
        Errno::EACCES | Errno::EPERM => MtdError::Permission { device: device() },
        errno => failure(node, "open", 0, errno),
    })
}

fn open_to_write(class: &Class, node: &Path, read_only: bool, info: &MtdInfo) -> Result<File, MtdError> {
    let protected = |reason| Err(MtdError::WriteProtected { device: node.display().to_string(), reason });
    if read_only {
        return protected("this is its node for reading; give the one without \"ro\"");
    }
    if !info.writable {
        return protected(
            "the kernel lets no one write; look for \"read-only\" in its device tree, or \"ro\" in mtdparts",
        );
    }
    open_node(class, node, true)
}

/// Twice the number of the device, and one more for its node for reading.
fn device_number(file: &File, node: &Path) -> Result<u32, MtdError> {
    let metadata = file.metadata().map_err(|error| failure(node, "ask what it is", 0, errno_of(error)))?;
    if metadata.file_type().is_char_device() && major(metadata.rdev()) == name::MAJOR {
        return Ok(minor(metadata.rdev()) as u32);
    }
    let reason = String::from("it is no character device of MTD; give /dev/mtdN");
    Err(MtdError::Unsupported { device: node.display().to_string(), reason })
}
