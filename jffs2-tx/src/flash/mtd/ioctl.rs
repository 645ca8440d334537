//! The ioctls of MTD character devices (Linux include/uapi/mtd/mtd-abi.h): the library's only unsafe code.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;

use nix::errno::Errno;
use nix::sys::ioctl::ioctl_num_type as Request;
use nix::{request_code_read, request_code_readwrite, request_code_write};

/// Spare bytes stand where the request says; data goes through error correction.
const OPS_PLACE_OOB: u8 = 0;
/// Spare bytes are those that error correction leaves free, one after another.
const OPS_AUTO_OOB: u8 = 1;

/// `struct mtd_info_user`. Its size has 32 bits and is cut above that.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct RawInfo {
    pub(super) kind: u8,
    pub(super) flags: u32,
    pub(super) size: u32,
    pub(super) eraseblock: u32,
    pub(super) write_size: u32,
    pub(super) oob_size: u32,
    padding: u64,
}

#[repr(C)]
struct EraseRange {
    start: u64,
    length: u64,
}

#[repr(C)]
struct LockRange {
    start: u32,
    length: u32,
}

#[repr(C)]
struct OobRequest {
    start: u64,
    padding: u32,
    length: u32,
    bytes: u64,
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
    ecc: EccResult,
}

/// What error correction met during one read.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct EccResult {
    /// ECC steps that could not be corrected.
    pub(super) uncorrectable: u32,
    /// Bits that were corrected.
    pub(super) corrected: u32,
    /// Most bits that were corrected in one ECC step.
    pub(super) max_bitflips: u32,
}

/// `struct mtd_ecc_stats`: counters of the device since it was registered.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct EccCounters {
    /// Bits.
    pub(super) corrected: u32,
    /// ECC steps.
    pub(super) failed: u32,
    bad_blocks: u32,
    table_blocks: u32,
}

/// A run of spare bytes.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct OobRun {
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// `struct nand_ecclayout_user`: which spare bytes are free; the kernel cuts it to its first eight runs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct EccLayout {
    ecc_bytes: u32,
    ecc_positions: [u32; 64],
    /// Free spare bytes of a page.
    pub(super) available: u32,
    /// Where they are; unused runs are empty.
    pub(super) free: [OobRun; 8],
}

const MEMGETINFO: Request = request_code_read!(b'M', 1, size_of::<RawInfo>());
const MEMGETREGIONCOUNT: Request = request_code_read!(b'M', 7, size_of::<i32>());
const MEMGETBADBLOCK: Request = request_code_write!(b'M', 11, size_of::<i64>());
const MEMSETBADBLOCK: Request = request_code_write!(b'M', 12, size_of::<i64>());
const ECCGETLAYOUT: Request = request_code_read!(b'M', 17, size_of::<EccLayout>());
const ECCGETSTATS: Request = request_code_read!(b'M', 18, size_of::<EccCounters>());
const MEMERASE64: Request = request_code_write!(b'M', 20, size_of::<EraseRange>());
const MEMWRITEOOB64: Request = request_code_readwrite!(b'M', 21, size_of::<OobRequest>());
const MEMREADOOB64: Request = request_code_readwrite!(b'M', 22, size_of::<OobRequest>());
const MEMISLOCKED: Request = request_code_read!(b'M', 23, size_of::<LockRange>());
const MEMWRITE: Request = request_code_readwrite!(b'M', 24, size_of::<WriteRequest>());
const MEMREAD: Request = request_code_readwrite!(b'M', 26, size_of::<ReadRequest>());

nix::ioctl_read_bad!(mem_get_info, MEMGETINFO, RawInfo);
nix::ioctl_read_bad!(mem_get_region_count, MEMGETREGIONCOUNT, i32);
nix::ioctl_write_ptr_bad!(mem_get_bad_block, MEMGETBADBLOCK, i64);
nix::ioctl_write_ptr_bad!(mem_set_bad_block, MEMSETBADBLOCK, i64);
nix::ioctl_read_bad!(ecc_get_layout, ECCGETLAYOUT, EccLayout);
nix::ioctl_read_bad!(ecc_get_stats, ECCGETSTATS, EccCounters);
nix::ioctl_write_ptr_bad!(mem_erase, MEMERASE64, EraseRange);
nix::ioctl_readwrite_bad!(mem_write_oob, MEMWRITEOOB64, OobRequest);
nix::ioctl_readwrite_bad!(mem_read_oob, MEMREADOOB64, OobRequest);
nix::ioctl_read_bad!(mem_is_locked, MEMISLOCKED, LockRange);
nix::ioctl_readwrite_bad!(mem_write, MEMWRITE, WriteRequest);
nix::ioctl_readwrite_bad!(mem_read, MEMREAD, ReadRequest);

/// Kind, flags and sizes.
pub(super) fn info(mtd: &File) -> Result<RawInfo, Errno> {
    let mut info = RawInfo::default();
    // SAFETY: the kernel writes only `info`, which has the layout of its struct and outlives the call.
    unsafe { mem_get_info(mtd.as_raw_fd(), &raw mut info) }?;
    Ok(info)
}

/// Erase regions that differ in eraseblock size; 0 or 1 if all are alike.
pub(super) fn erase_regions(mtd: &File) -> Result<i32, Errno> {
    let mut count = 0;
    // SAFETY: the kernel writes only `count`, an int as it expects, which outlives the call.
    unsafe { mem_get_region_count(mtd.as_raw_fd(), &raw mut count) }?;
    Ok(count)
}

/// Which spare bytes are free.
pub(super) fn ecc_layout(mtd: &File) -> Result<EccLayout, Errno> {
    let mut layout = EccLayout { ecc_bytes: 0, ecc_positions: [0; 64], available: 0, free: [OobRun::default(); 8] };
    // SAFETY: the kernel writes only `layout`, which has the layout of its struct and outlives the call.
    unsafe { ecc_get_layout(mtd.as_raw_fd(), &raw mut layout) }?;
    Ok(layout)
}

/// What error correction met since the device was registered, whoever read.
pub(super) fn ecc_counters(mtd: &File) -> Result<EccCounters, Errno> {
    let mut counters = EccCounters::default();
    // SAFETY: the kernel writes only `counters`, which has the layout of its struct and outlives the call.
    unsafe { ecc_get_stats(mtd.as_raw_fd(), &raw mut counters) }?;
    Ok(counters)
}

/// Whether the eraseblock at `start` is marked bad, or reserved for a table of those that are.
pub(super) fn is_bad(mtd: &File, start: u32) -> Result<bool, Errno> {
    let offset = i64::from(start);
    // SAFETY: the kernel only reads `offset`, a 64-bit offset as it expects, which outlives the call.
    unsafe { mem_get_bad_block(mtd.as_raw_fd(), &raw const offset) }.map(|answer| answer != 0)
}

/// Marks the eraseblock at `start` bad.
pub(super) fn mark_bad(mtd: &File, start: u32) -> Result<(), Errno> {
    let offset = i64::from(start);
    // SAFETY: the kernel only reads `offset`, a 64-bit offset as it expects, which outlives the call.
    unsafe { mem_set_bad_block(mtd.as_raw_fd(), &raw const offset) }.map(drop)
}

/// Erases whole eraseblocks.
pub(super) fn erase(mtd: &File, start: u32, length: u32) -> Result<(), Errno> {
    let range = EraseRange { start: start.into(), length: length.into() };
    // SAFETY: the kernel only reads `range`, which has the layout of its struct and outlives the call.
    unsafe { mem_erase(mtd.as_raw_fd(), &raw const range) }.map(drop)
}

/// Whether the chip refuses to write there. `EOPNOTSUPP` from chips that know no locks.
pub(super) fn is_locked(mtd: &File, start: u32, length: u32) -> Result<bool, Errno> {
    let mut range = LockRange { start, length };
    // SAFETY: the kernel only reads `range` (whatever the request's direction says), which outlives the call.
    unsafe { mem_is_locked(mtd.as_raw_fd(), &raw mut range) }.map(|answer| answer != 0)
}

/// Programs whole pages.
pub(super) fn write_data(mtd: &File, start: u32, data: &[u8]) -> Result<(), Errno> {
    write(mtd, start, data, &[], OPS_PLACE_OOB)
}

/// Programs the first of the free spare bytes of the page at `start`.
pub(super) fn write_free_oob(mtd: &File, start: u32, oob: &[u8]) -> Result<(), Errno> {
    write(mtd, start, &[], oob, OPS_AUTO_OOB)
}

fn write(mtd: &File, start: u32, data: &[u8], oob: &[u8], mode: u8) -> Result<(), Errno> {
    let mut request = WriteRequest {
        start: start.into(),
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

/// Reads data; not from devices without spare bytes. Bits that could not be corrected are no error.
pub(super) fn read_data(mtd: &File, start: u32, data: &mut [u8]) -> Result<EccResult, Errno> {
    read(mtd, start, data, &mut [], OPS_PLACE_OOB)
}

/// Reads the first of the free spare bytes of the page at `start`.
pub(super) fn read_free_oob(mtd: &File, start: u32, oob: &mut [u8]) -> Result<EccResult, Errno> {
    read(mtd, start, &mut [], oob, OPS_AUTO_OOB)
}

fn read(mtd: &File, start: u32, data: &mut [u8], oob: &mut [u8], mode: u8) -> Result<EccResult, Errno> {
    let wanted = (data.len() as u64, oob.len() as u64);
    let mut request = ReadRequest {
        start: start.into(),
        len: wanted.0,
        oob_len: wanted.1,
        data: address_mut(data),
        oob: address_mut(oob),
        mode,
        padding: [0; 7],
        ecc: EccResult::default(),
    };
    // SAFETY: `request` has the layout of the kernel's struct; the kernel writes at most `len` bytes at `data` and
    // `oob_len` bytes at `oob`, memory that we hold exclusively until the call returns.
    let result = unsafe { mem_read(mtd.as_raw_fd(), &raw mut request) };
    let mut ecc = request.ecc;
    match result {
        Ok(_) => {}
        Err(Errno::EUCLEAN) => ecc.corrected = ecc.corrected.max(1),
        Err(Errno::EBADMSG) => ecc.uncorrectable = ecc.uncorrectable.max(1),
        Err(errno) => return Err(errno),
    }
    // The kernel tells how much it read. Linux's JFFS2 takes no less than all either.
    if (request.len, request.oob_len) == wanted { Ok(ecc) } else { Err(Errno::EIO) }
}

/// Programs spare bytes from the first one of the page at `start` on.
pub(super) fn write_oob(mtd: &File, start: u32, oob: &[u8]) -> Result<(), Errno> {
    let mut request = OobRequest { start: start.into(), padding: 0, length: oob.len() as u32, bytes: address(oob) };
    // SAFETY: `request` has the layout of the kernel's struct; the kernel reads `length` bytes at `bytes`, which is
    // what the slice holds and which live until the call returns.
    unsafe { mem_write_oob(mtd.as_raw_fd(), &raw mut request) }.map(drop)
}

/// Reads spare bytes from the first one of the page at `start` on, as they are on the flash.
pub(super) fn read_oob(mtd: &File, start: u32, oob: &mut [u8]) -> Result<(), Errno> {
    let length = oob.len() as u32;
    let mut request = OobRequest { start: start.into(), padding: 0, length, bytes: address_mut(oob) };
    // SAFETY: `request` has the layout of the kernel's struct; the kernel writes at most `length` bytes at `bytes`,
    // memory that we hold exclusively until the call returns.
    unsafe { mem_read_oob(mtd.as_raw_fd(), &raw mut request) }.map(drop)
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

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// As a C compiler makes them of the kernel's header: direction, size of the struct, 'M', number.
    #[test]
    fn requests_are_the_kernels() {
        for (ours, theirs) in [
            (MEMGETINFO, 0x8020_4d01),
            (MEMGETREGIONCOUNT, 0x8004_4d07),
            (MEMGETBADBLOCK, 0x4008_4d0b),
            (MEMSETBADBLOCK, 0x4008_4d0c),
            (ECCGETLAYOUT, 0x8148_4d11),
            (ECCGETSTATS, 0x8010_4d12),
            (MEMERASE64, 0x4010_4d14),
            (MEMWRITEOOB64, 0xc018_4d15),
            (MEMREADOOB64, 0xc018_4d16),
            (MEMISLOCKED, 0x8008_4d17),
            (MEMWRITE, 0xc030_4d18),
            (MEMREAD, 0xc040_4d1a),
        ] {
            assert_eq!(ours, theirs, "{ours:#x} is not {theirs:#x}");
        }
    }

    #[test]
    fn fields_are_where_the_kernel_has_them() {
        assert_eq!((offset_of!(RawInfo, flags), offset_of!(RawInfo, oob_size)), (4, 20));
        assert_eq!((offset_of!(OobRequest, length), offset_of!(OobRequest, bytes)), (12, 16));
        assert_eq!((offset_of!(WriteRequest, data), offset_of!(WriteRequest, mode)), (24, 40));
        assert_eq!((offset_of!(ReadRequest, mode), offset_of!(ReadRequest, ecc)), (40, 48));
        assert_eq!(offset_of!(ReadRequest, ecc) + offset_of!(EccResult, max_bitflips), 56);
        assert_eq!((offset_of!(EccLayout, available), offset_of!(EccLayout, free)), (260, 264));
    }
}
