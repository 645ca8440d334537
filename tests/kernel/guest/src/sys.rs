//! System calls without a safe wrapper elsewhere: the ioctls of MTD character devices.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};

/// How spare bytes are laid out in a request: only the bytes that error correction leaves free, one after another.
const OPS_AUTO_OOB: u8 = 1;
/// Bytes go to the chip as they are, without error correction.
const OPS_RAW: u8 = 2;

#[repr(C)]
struct EraseRange {
    start: u64,
    length: u64,
}

#[repr(C)]
struct WriteRequest {
    start: u64,
    len: u64,
    oob_len: u64,
    data: u64,
    oob: u64,
    mode: u8,
    padding: [u8; 7],
}

#[repr(C)]
struct ReadRequest {
    start: u64,
    len: u64,
    oob_len: u64,
    data: u64,
    oob: u64,
    mode: u8,
    padding: [u8; 7],
    uncorrectable: u32,
    corrected: u32,
    max_bitflips: u32,
}

/// What a volume shall be, as the kernel's struct has it.
#[repr(C)]
struct VolumeRequest {
    number: i32,
    alignment: i32,
    bytes: i64,
    kind: u8,
    flags: u8,
    name_len: i16,
    padding: [u8; 4],
    name: [u8; 128],
}

/// The kind of volume that may be written to at any time.
const DYNAMIC_VOLUME: u8 = 3;
nix::ioctl_write_ptr!(make_volume, b'o', 0, VolumeRequest);
nix::ioctl_write_ptr!(mem_get_bad_block, b'M', 11, i64);
nix::ioctl_write_ptr!(mem_set_bad_block, b'M', 12, i64);
nix::ioctl_write_ptr!(mem_erase, b'M', 20, EraseRange);
nix::ioctl_readwrite!(mem_write, b'M', 24, WriteRequest);
nix::ioctl_readwrite!(mem_read, b'M', 26, ReadRequest);

/// Erases a range of eraseblocks.
pub(crate) fn erase(mtd: &File, start: u64, length: u64) -> Result<(), Errno> {
    let range = EraseRange { start, length };
    // SAFETY: the kernel only reads `range`, which has the layout of its struct and outlives the call.
    unsafe { mem_erase(mtd.as_raw_fd(), &raw const range) }.map(drop)
}

/// Marks the eraseblock at `start` bad.
pub(crate) fn mark_bad(mtd: &File, start: u64) -> Result<(), Errno> {
    let offset = i64::try_from(start).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel only reads `offset`, a 64-bit offset as it expects, which outlives the call.
    unsafe { mem_set_bad_block(mtd.as_raw_fd(), &raw const offset) }.map(drop)
}

/// Whether the eraseblock at `start` is marked bad.
pub(crate) fn is_bad(mtd: &File, start: u64) -> Result<bool, Errno> {
    let offset = i64::try_from(start).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel only reads `offset`, a 64-bit offset as it expects, which outlives the call.
    match unsafe { mem_get_bad_block(mtd.as_raw_fd(), &raw const offset) } {
        // NOR knows no bad eraseblocks.
        Err(Errno::EOPNOTSUPP) => Ok(false),
        answer => answer.map(|answer| answer > 0),
    }
}

/// Makes volume 0 of a UBI device.
pub(crate) fn make_ubi_volume(ubi: &File, name: &str, length: u64) -> Result<(), Errno> {
    let mut request = VolumeRequest {
        number: 0,
        alignment: 1,
        bytes: i64::try_from(length).map_err(|_| Errno::EOVERFLOW)?,
        kind: DYNAMIC_VOLUME,
        flags: 0,
        name_len: i16::try_from(name.len()).map_err(|_| Errno::EOVERFLOW)?,
        padding: [0; 4],
        name: [0; 128],
    };
    // The last byte stays 0.
    request.name[..127].iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    // SAFETY: the struct has the layout of the kernel's, which only reads it; it outlives the call.
    unsafe { make_volume(ubi.as_raw_fd(), &raw const request) }.map(drop)
}

/// Programs the beginning of the free spare area of the page at `start`.
pub(crate) fn write_oob(mtd: &File, start: u64, oob: &[u8]) -> Result<(), Errno> {
    write(mtd, start, &[], oob, OPS_AUTO_OOB)
}

/// Programs a whole page and its whole spare area with these bytes, without error correction.
pub(crate) fn write_raw(mtd: &File, start: u64, data: &[u8], oob: &[u8]) -> Result<(), Errno> {
    write(mtd, start, data, oob, OPS_RAW)
}

fn write(mtd: &File, start: u64, data: &[u8], oob: &[u8], mode: u8) -> Result<(), Errno> {
    let mut request = WriteRequest {
        start,
        len: data.len() as u64,
        oob_len: oob.len() as u64,
        data: address(data),
        oob: address(oob),
        mode,
        padding: [0; 7],
    };
    // SAFETY: `request` has the layout of the kernel's struct; the kernel reads `len` bytes at `data` and `oob_len`
    // bytes at `oob`, which are what the slices hold and which live until the call returns.
    unsafe { mem_write(mtd.as_raw_fd(), &raw mut request) }.map(drop)
}

/// Which bytes of a spare area to read.
#[derive(Clone, Copy)]
pub(crate) enum OobLayout {
    /// Those that error correction leaves free, one after another.
    Free,
    /// All of them.
    Whole,
}

/// Reads the beginning of the spare area of the page at `start`.
pub(crate) fn read_oob(mtd: &File, start: u64, oob: &mut [u8], layout: OobLayout) -> Result<(), Errno> {
    let mode = match layout {
        OobLayout::Free => OPS_AUTO_OOB,
        OobLayout::Whole => OPS_RAW,
    };
    read(mtd, start, &mut [], oob, mode)
}

/// Reads the page at `start`; `EBADMSG` if error correction has to give up.
pub(crate) fn read_page(mtd: &File, start: u64, page: &mut [u8]) -> Result<(), Errno> {
    read(mtd, start, page, &mut [], OPS_AUTO_OOB)
}

fn read(mtd: &File, start: u64, data: &mut [u8], oob: &mut [u8], mode: u8) -> Result<(), Errno> {
    let mut request = ReadRequest {
        start,
        len: data.len() as u64,
        oob_len: oob.len() as u64,
        data: address_mut(data),
        oob: address_mut(oob),
        mode,
        padding: [0; 7],
        uncorrectable: 0,
        corrected: 0,
        max_bitflips: 0,
    };
    // SAFETY: `request` has the layout of the kernel's struct; the kernel writes at most `len` bytes at `data` and
    // `oob_len` bytes at `oob`, memory that we hold exclusively until the call returns.
    unsafe { mem_read(mtd.as_raw_fd(), &raw mut request) }.map(drop)
}

/// The address of bytes for the kernel; null if there are none, which it takes for "not part of the request".
fn address(bytes: &[u8]) -> u64 {
    let start = if bytes.is_empty() { ptr::null() } else { bytes.as_ptr() };
    start.expose_provenance() as u64
}

/// Likewise for bytes that the kernel shall write.
fn address_mut(bytes: &mut [u8]) -> u64 {
    let start = if bytes.is_empty() { ptr::null_mut() } else { bytes.as_mut_ptr() };
    start.expose_provenance() as u64
}

/// Ends the machine; returns only if that fails.
pub(crate) fn power_off() -> Errno {
    match reboot(RebootMode::RB_POWER_OFF) {
        Err(error) => error,
    }
}
