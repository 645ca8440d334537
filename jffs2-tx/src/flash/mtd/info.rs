//! What an MTD device is, and whether JFFS2 can be on it.

use std::format;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::string::{String, ToString};

use nix::errno::Errno;

use super::ioctl;
use super::sysfs::Class;
use crate::flash::{FlashKind, Geometry};

/// Flags of `struct mtd_info_user`.
const WRITEABLE: u32 = 0x400;
const BIT_WRITEABLE: u32 = 0x800;

/// What kind of memory an MTD device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MtdKind {
    /// The place is there, the chip is not.
    Absent,
    /// Memory, as of the kernel's mtdram and block2mtd; as good as NOR.
    Ram,
    /// Memory that can only be read.
    Rom,
    /// NOR.
    Nor,
    /// SLC NAND.
    Nand,
    /// Atmel's DataFlash.
    DataFlash,
    /// A volume of UBI under MTD's interface (gluebi).
    UbiVolume,
    /// MLC or TLC NAND.
    MlcNand,
    /// A number that this library does not know.
    Unknown(u8),
}

impl MtdKind {
    fn from_raw(kind: u8) -> Self {
        match kind {
            0 => Self::Absent,
            1 => Self::Ram,
            2 => Self::Rom,
            3 => Self::Nor,
            4 => Self::Nand,
            6 => Self::DataFlash,
            7 => Self::UbiVolume,
            8 => Self::MlcNand,
            other => Self::Unknown(other),
        }
    }

    /// NAND of either sort.
    #[must_use]
    pub fn is_nand(self) -> bool {
        matches!(self, Self::Nand | Self::MlcNand)
    }
}

/// An MTD device, as the kernel describes it. What it does not tell (sysfs is not mounted, or the kernel is old) is
/// zero or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MtdInfo {
    /// N of `/dev/mtdN`.
    pub number: u32,
    /// What the driver or the partition table calls it.
    pub name: String,
    /// Kind of memory.
    pub kind: MtdKind,
    /// Whether the kernel lets anyone write.
    pub writable: bool,
    /// Whether single bits can be programmed at any time: NOR without a write buffer.
    pub bit_writable: bool,
    /// Bytes. The geometry is cut to whole eraseblocks, as Linux's JFFS2 does.
    pub size: u64,
    /// Bytes.
    pub eraseblock: u32,
    /// Least unit of programming, bytes: the page on NAND.
    pub write_size: u32,
    /// Least part of a NAND page that may be programmed alone, bytes. Not used: JFFS2 writes pages.
    pub subpage: u32,
    /// Spare bytes of a page.
    pub oob_size: u32,
    /// Spare bytes of a page that error correction leaves free.
    pub oob_free: u32,
    /// Bits that can be corrected in one ECC step.
    pub ecc_strength: u32,
    /// ECC step, bytes.
    pub ecc_step: u32,
    /// Bits in one ECC step from which on the kernel advises to move the data.
    pub bitflip_threshold: u32,
    /// Parts with eraseblocks of different sizes; 0 or 1 if all are alike.
    pub erase_regions: u32,
}

impl MtdInfo {
    pub(super) fn read(file: &File, number: u32, class: &Class) -> Result<Self, Errno> {
        let raw = ioctl::info(file)?;
        let known = |attribute| class.number(number, attribute);
        let kind = MtdKind::from_raw(raw.kind);
        let size = class.number(number, "size").or_else(|| seek_end(file)).unwrap_or(raw.size.into());
        let oob_free = match kind.is_nand() {
            true => known("oobavail").or_else(|| Some(ioctl::ecc_layout(file).ok()?.available)).unwrap_or(0),
            false => 0,
        };
        Ok(Self {
            number,
            name: class.text(number, "name").unwrap_or_default(),
            kind,
            writable: raw.flags & WRITEABLE != 0,
            bit_writable: raw.flags & BIT_WRITEABLE != 0,
            size,
            eraseblock: raw.eraseblock,
            write_size: raw.write_size,
            subpage: known("subpagesize").unwrap_or(0),
            oob_size: raw.oob_size,
            oob_free,
            ecc_strength: known("ecc_strength").unwrap_or(0),
            ecc_step: known("ecc_step_size").unwrap_or(0),
            bitflip_threshold: known("bitflip_threshold").unwrap_or(0),
            erase_regions: ioctl::erase_regions(file).ok().and_then(|n| n.try_into().ok()).unwrap_or(0),
        })
    }

    /// The geometry that Linux's JFFS2 takes it for, or why it cannot be used.
    pub(super) fn geometry(&self) -> Result<Geometry, String> {
        let (kind, write_size) = self.kind_and_write_size()?;
        if self.erase_regions > 1 {
            return Err(format!(
                "it has {} parts with eraseblocks of different sizes; use a partition inside one of them",
                self.erase_regions
            ));
        }
        if self.size > u64::from(u32::MAX) {
            return Err("JFFS2 offsets have 32 bits, and it has 4 GiB or more; use a smaller partition".into());
        }
        if kind == FlashKind::Nand && self.oob_free == 0 {
            return Err("its driver leaves no spare (OOB) byte free for cleanmarkers, and Linux's JFFS2 refuses it too; use UBIFS".into());
        }
        let whole = self.size - self.size.checked_rem(self.eraseblock.into()).unwrap_or(0);
        Geometry::new(kind, whole, self.eraseblock, write_size).map_err(|error| error.to_string())
    }

    /// Linux has a write buffer for NAND and for NOR that cannot program single bits, and asks no other for its
    /// write size (fs/jffs2/os-linux.h).
    fn kind_and_write_size(&self) -> Result<(FlashKind, u32), String> {
        let refused = |reason: &str| Err(reason.into());
        match self.kind {
            MtdKind::Nor if !self.bit_writable => Ok((FlashKind::Nor, self.write_size)),
            MtdKind::Nor | MtdKind::Ram | MtdKind::Rom => Ok((FlashKind::Nor, 1)),
            MtdKind::Nand | MtdKind::MlcNand => Ok((FlashKind::Nand, self.write_size)),
            MtdKind::UbiVolume => refused(
                "it is a UBI volume, where JFFS2 has no cleanmarkers and a hidden eraseblock counts as free; use UBIFS there",
            ),
            MtdKind::DataFlash => {
                refused("it is DataFlash, where JFFS2 has no cleanmarkers and a hidden eraseblock counts as free")
            }
            MtdKind::Absent => refused("its chip is absent"),
            MtdKind::Unknown(kind) => Err(format!("its kind, number {kind}, is not known; use NOR, NAND or RAM")),
        }
    }
}

/// The device's size with 64 bits, as the kernel seeks.
fn seek_end(mut file: &File) -> Option<u64> {
    file.seek(SeekFrom::End(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: MtdKind, write_size: u32) -> MtdInfo {
        MtdInfo {
            number: 0,
            name: String::new(),
            kind,
            writable: true,
            bit_writable: !kind.is_nand(),
            size: 1 << 20,
            eraseblock: 1 << 16,
            write_size,
            subpage: 0,
            oob_size: 64,
            oob_free: 38,
            ecc_strength: 0,
            ecc_step: 0,
            bitflip_threshold: 0,
            erase_regions: 1,
        }
    }

    #[test]
    fn kinds_and_write_sizes_are_those_of_linux() {
        let taken = |info: &MtdInfo| info.geometry().map(|geometry| (geometry.kind(), geometry.write_size()));
        assert_eq!(taken(&info(MtdKind::Nor, 1)), Ok((FlashKind::Nor, 1)));
        // Programs 16 bytes at best, any byte if need be.
        assert_eq!(taken(&info(MtdKind::Nor, 16)), Ok((FlashKind::Nor, 1)));
        // With ECC: only 16 at a time.
        assert_eq!(taken(&MtdInfo { bit_writable: false, ..info(MtdKind::Nor, 16) }), Ok((FlashKind::Nor, 16)));
        assert_eq!(taken(&MtdInfo { bit_writable: false, ..info(MtdKind::Rom, 16) }), Ok((FlashKind::Nor, 1)));
        assert_eq!(taken(&info(MtdKind::MlcNand, 4096)), Ok((FlashKind::Nand, 4096)));
        let uneven = MtdInfo { size: (1 << 20) - 512, ..info(MtdKind::Ram, 1) };
        assert_eq!(uneven.geometry().map(|geometry| geometry.size()), Ok(15 << 16));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        let nand = info(MtdKind::Nand, 2048);
        for (info, reason) in [
            (info(MtdKind::UbiVolume, 2048), "UBI volume"),
            (info(MtdKind::DataFlash, 528), "DataFlash"),
            (info(MtdKind::Absent, 1), "absent"),
            (info(MtdKind::Unknown(5), 1), "number 5"),
            (MtdInfo { erase_regions: 2, ..info(MtdKind::Nor, 1) }, "2 parts"),
            (MtdInfo { oob_free: 0, ..nand.clone() }, "spare (OOB) byte"),
            (MtdInfo { size: 1 << 32, ..nand.clone() }, "4 GiB"),
            (MtdInfo { size: 100, ..nand.clone() }, "size 0"),
            (MtdInfo { eraseblock: 0, ..nand.clone() }, "eraseblock size 0"),
            (MtdInfo { write_size: 0, ..nand }, "write size 0"),
        ] {
            let text = info.geometry().unwrap_err();
            assert!(text.contains(reason), "{text}");
        }
    }
}
