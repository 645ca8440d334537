//! What an inode is, and the numbers that say so in modes, dirents and device nodes.

use alloc::vec::Vec;

use crate::wire::Endian;

/// Type of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

impl FileKind {
    /// From `st_mode`; `None` where the type bits name no type.
    #[must_use]
    pub fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o100_000 => Self::File,
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o020_000 => Self::CharDevice,
            0o060_000 => Self::BlockDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// The type bits of `st_mode`.
    #[must_use]
    pub fn mode_bits(self) -> u32 {
        match self {
            Self::File => 0o100_000,
            Self::Directory => 0o040_000,
            Self::Symlink => 0o120_000,
            Self::CharDevice => 0o020_000,
            Self::BlockDevice => 0o060_000,
            Self::Fifo => 0o010_000,
            Self::Socket => 0o140_000,
        }
    }

    /// From the DT_* number in a dirent.
    #[must_use]
    pub fn from_dirent_type(kind: u8) -> Option<Self> {
        Self::from_mode(u32::from(kind) << 12)
    }

    /// The DT_* number that a dirent holds.
    #[must_use]
    pub fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }

    /// The letter that `ls -l` shows.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::File => '-',
            Self::Directory => 'd',
            Self::Symlink => 'l',
            Self::CharDevice => 'c',
            Self::BlockDevice => 'b',
            Self::Fifo => 'p',
            Self::Socket => 's',
        }
    }
}

/// What can be set on an inode of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Permission bits with set-uid, set-gid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u16,
    /// Group.
    pub gid: u16,
    /// Modification time, seconds since 1970.
    pub mtime: u32,
}

/// Device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Major number, at most 4095.
    pub major: u32,
    /// Minor number, at most 1048575.
    pub minor: u32,
}

impl Device {
    /// Whether the format can hold the number.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.major <= 0xfff && self.minor <= 0xf_ffff
    }

    /// From the data of a device's inode node: 2 or 4 bytes; `None` for any other length.
    #[must_use]
    pub fn decode(endian: Endian, data: &[u8]) -> Option<Self> {
        match data.len() {
            2 => {
                let dev = u32::from(endian.u16(data, 0));
                Some(Self { major: dev >> 8, minor: dev & 0xff })
            }
            4 => {
                let dev = endian.u32(data, 0);
                Some(Self { major: (dev >> 8) & 0xfff, minor: (dev & 0xff) | ((dev >> 12) & 0xf_ff00) })
            }
            _ => None,
        }
    }

    /// The data of a device's inode node: 2 bytes where they suffice, as Linux writes it.
    #[must_use]
    pub fn encode(self, endian: Endian) -> Vec<u8> {
        let mut out = Vec::new();
        if self.major < 256 && self.minor < 256 {
            endian.put_u16(&mut out, (self.major << 8 | self.minor) as u16);
        } else {
            endian.put_u32(&mut out, (self.minor & 0xff) | (self.major << 8) | ((self.minor & 0xf_ff00) << 12));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_round_trip() {
        for e in [Endian::Little, Endian::Big] {
            for (major, minor, len) in [(5, 1, 2), (255, 255, 2), (300, 74565, 4), (4095, 0xf_ffff, 4), (0, 256, 4)] {
                let device = Device { major, minor };
                let data = device.encode(e);
                assert_eq!(data.len(), len);
                assert_eq!(Device::decode(e, &data), Some(device));
            }
        }
    }

    #[test]
    fn kinds_agree_with_modes() {
        for kind in [
            FileKind::File,
            FileKind::Directory,
            FileKind::Symlink,
            FileKind::CharDevice,
            FileKind::BlockDevice,
            FileKind::Fifo,
            FileKind::Socket,
        ] {
            assert_eq!(FileKind::from_mode(kind.mode_bits() | 0o4755), Some(kind));
        }
        assert_eq!(FileKind::Directory.dirent_type(), 4);
        assert_eq!(FileKind::from_mode(0o644), None);
    }
}
