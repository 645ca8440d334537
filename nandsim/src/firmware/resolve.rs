//! From a path to the file that a loader loads.

use super::files::{Files, FirmwareKind, MAX_FILE, ROOT};
use super::{Firmware, FirmwareError};

/// Links that are followed on one path, as in Linux.
const MAX_LINKS: u32 = 40;

impl Files {
    /// Bytes of the file that a path from the root leads to, through symbolic links where the firmware follows them.
    ///
    /// # Errors
    /// [`FirmwareError`].
    pub fn read(&self, path: &[u8]) -> Result<Vec<u8>, FirmwareError> {
        let ino = if self.firmware.is_u_boot() { self.resolve_last(path)? } else { self.resolve_all(path)? };
        match self.kind(ino) {
            FirmwareKind::File => self.bytes(ino, MAX_FILE),
            FirmwareKind::Unknown => Err(FirmwareError::Damaged),
            _ => Err(FirmwareError::NotAFile),
        }
    }

    /// U-Boot: a link counts at the path's end only, and starts where the newest dirent of its inode stands.
    fn resolve_last(&self, path: &[u8]) -> Result<u32, FirmwareError> {
        let mut ino = self.find(ROOT, path)?;
        for _ in 0..MAX_LINKS {
            if self.kind(ino) != FirmwareKind::Symlink {
                return Ok(ino);
            }
            let target = self.target(ino)?;
            let start = if target.starts_with(b"/") { ROOT } else { self.home(ino) };
            ino = self.find(start, &target)?;
        }
        Err(FirmwareError::TooManyLinks)
    }

    /// What a path without links leads to. Dots are names like any other.
    fn find(&self, start: u32, path: &[u8]) -> Result<u32, FirmwareError> {
        components(path).try_fold(start, |dir, name| self.step(dir, name))
    }

    fn step(&self, dir: u32, name: &[u8]) -> Result<u32, FirmwareError> {
        match self.kind(dir) {
            FirmwareKind::Directory => self.child(dir, name).ok_or(FirmwareError::NotFound),
            _ => Err(FirmwareError::NotADirectory),
        }
    }

    /// As Linux: links count anywhere, and start where they stand.
    fn resolve_all(&self, path: &[u8]) -> Result<u32, FirmwareError> {
        debug_assert!(matches!(self.firmware, Firmware::Barebox | Firmware::OpenFirmware));
        let mut links = 0;
        // The way down from the root, and what is still to be walked, its end first.
        let mut way = vec![ROOT];
        let mut todo: Vec<Vec<u8>> = reversed(path);
        while let Some(name) = todo.pop() {
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    way.pop_if(|ino| *ino != ROOT);
                    continue;
                }
                _ => {}
            }
            let ino = self.step(way.last().copied().unwrap_or(ROOT), &name)?;
            if self.kind(ino) != FirmwareKind::Symlink {
                way.push(ino);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(FirmwareError::TooManyLinks);
            }
            let target = self.target(ino)?;
            if target.starts_with(b"/") {
                way.truncate(1);
            }
            todo.extend(reversed(&target));
        }
        Ok(way.last().copied().unwrap_or(ROOT))
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    components(path).rev().map(<[u8]>::to_vec).collect()
}
