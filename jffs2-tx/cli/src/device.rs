//! MTD devices: opened, and guarded against whoever else uses them.

use std::fs::{self, Metadata, TryLockError};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use jffs2_tx::detect::{Detected, show_size};
use jffs2_tx::flash::{Flash, MtdError, MtdFlash};
use jffs2_tx::wire::{Endian, Header};
use nix::sys::stat::{major, minor};

use crate::failure::{Exit, Failure};

pub(crate) mod flag;
mod mounts;
pub(crate) mod summaries;
mod watch;

pub(crate) use mounts::{Mounted, mounted};
pub(crate) use watch::Watch;

/// Opens a device; one to be written to for this process alone.
pub(crate) fn open(path: &Path, write: bool) -> Result<MtdFlash, Failure> {
    let mtd = MtdFlash::open(path, write).map_err(|error| mtd_failure(&error))?;
    if write {
        mtd.file().try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Failure::new(Exit::Busy, "in use by another update"),
            TryLockError::Error(error) => Failure::new(Exit::Io, format!("cannot be locked: {error}")),
        })?;
    }
    Ok(mtd)
}

/// What a device is: its driver knows the geometry, and its nodes the byte order.
pub(crate) fn detect(mtd: &mut MtdFlash, given: Option<Endian>) -> Result<Detected, Failure> {
    let geometry = *mtd.geometry();
    let endian = match (byte_order(mtd)?, given) {
        (Some(found), Some(given)) if found != given => {
            let text = "the file system on it is of the other byte order";
            return Err(Failure::new(Exit::NotJffs2, text));
        }
        (found, given) => found.or(given).unwrap_or(NATIVE),
    };
    mtd.set_endian(endian);
    Ok(Detected {
        endian,
        eraseblock: geometry.eraseblock(),
        kind: geometry.kind(),
        page_size: geometry.write_size(),
        evidence: format!("{:?} has eraseblocks of {}", mtd.info().name, show_size(geometry.eraseblock())),
        sure: true,
        oob: None,
        end: None,
        cut: None,
    })
}

/// What the kernel writes on a blank flash.
const NATIVE: Endian = if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };

/// The byte order of the nodes that eraseblocks start with, most of them; `None` if none does.
fn byte_order(mtd: &MtdFlash) -> Result<Option<Endian>, Failure> {
    let geometry = *mtd.geometry();
    let (mut little, mut big) = (0, 0);
    let mut head = vec![0; geometry.write_size().max(jffs2_tx::wire::HEADER_SIZE as u32) as usize];
    for block in 0..geometry.blocks() {
        if mtd.is_bad(block).map_err(|error| mtd_failure(&error))? {
            continue;
        }
        mtd.read(geometry.offset_of(block), &mut head).map_err(|error| mtd_failure(&error))?;
        little += u32::from(Header::parse(Endian::Little, &head).is_ok());
        big += u32::from(Header::parse(Endian::Big, &head).is_ok());
    }
    Ok(match little.cmp(&big) {
        std::cmp::Ordering::Less => Some(Endian::Big),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Endian::Little),
    })
}

/// Why something is refused that is neither a regular file nor an MTD device.
pub(crate) fn refusal(metadata: &Metadata) -> Failure {
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return Failure::new(Exit::Io, "not a regular file");
    }
    let (class, device) = (if kind.is_block_device() { "block" } else { "char" }, metadata.rdev());
    // The node may have any name; sysfs has it among UBI's.
    let place = fs::canonicalize(format!("/sys/dev/{class}/{}:{}", major(device), minor(device))).unwrap_or_default();
    let text = if place.components().any(|part| part.as_os_str() == "ubi") {
        "UBI is not supported: JFFS2 keeps no cleanmarkers there, and would take a hidden eraseblock for a free one"
    } else {
        "not supported: a device, but no MTD device; give one as /dev/mtdN or mtd:NAME"
    };
    Failure::new(Exit::Unsupported, text)
}

/// What is worn or was corrected while the device was read, as advice.
pub(crate) fn advice(mtd: &MtdFlash) -> Option<String> {
    let corrections = mtd.corrections();
    let scrub = corrections.scrub.len();
    (corrections.corrected_pages > 0 || corrections.uncorrectable_pages > 0).then(|| {
        format!(
            "bits were corrected in {} pages, {} pages could not be corrected; {scrub} eraseblocks should be written anew",
            corrections.corrected_pages, corrections.uncorrectable_pages
        )
    })
}

pub(crate) fn mtd_failure(error: &MtdError) -> Failure {
    let exit = match error {
        MtdError::Unsupported { .. } => Exit::Unsupported,
        MtdError::Busy { .. } => Exit::Busy,
        MtdError::Ambiguous { .. } => Exit::Usage,
        _ => Exit::Io,
    };
    Failure::new(exit, error)
}
