//! The flag of an update under a mounted file system: the tree that is mounted is not the one on the flash.
//!
//! A file in `/run`, which does not outlive a boot. It counts as long as one of the mounts that there were is there: a new
//! mount sees the new tree. (Linux gives a mount's id away again: after an unmount and a mount the flag may count longer.)

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jffs2_tx::flash::MtdInfo;
use serde::{Deserialize, Serialize};

use super::Mounted;

const DIRECTORY: &str = "/run/jffs2-tx";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flag {
    /// Transaction id, 32 hexadecimal digits.
    pub(crate) txid: String,
    /// Label, escaped as the crate's documentation says.
    pub(crate) label: String,
    /// Of the kernel's boot.
    boot_id: String,
    /// The mounts that see the old tree.
    mounts: BTreeSet<u32>,
}

impl Flag {
    /// For an update under these mounts.
    pub(crate) fn new(txid: String, label: String, mounts: BTreeSet<u32>) -> io::Result<Self> {
        Ok(Self { txid, label, boot_id: boot_id()?, mounts })
    }

    /// Writes it for a device; the path.
    pub(crate) fn raise(&self, info: &MtdInfo) -> io::Result<PathBuf> {
        let path = path(Path::new(DIRECTORY), info.number);
        self.write(&path).map(|()| path)
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        // Whole or not at all, for those who read it meanwhile.
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }

    /// The flag of a device, if it still counts.
    pub(crate) fn of(info: &MtdInfo, mounted: &Mounted) -> Option<Self> {
        let text = fs::read(path(Path::new(DIRECTORY), info.number)).ok()?;
        let flag: Self = serde_json::from_slice(&text).ok()?;
        (boot_id().ok()? == flag.boot_id && flag.counts(mounted)).then_some(flag)
    }

    fn counts(&self, mounted: &Mounted) -> bool {
        match mounted {
            Mounted::ReadOnly { ids } | Mounted::Writable { ids, .. } => !ids.is_disjoint(&self.mounts),
            Mounted::No | Mounted::Ubi { .. } => false,
        }
    }
}

/// The flag of a device as it stands, to be put back by [`restore`].
pub(crate) fn saved(info: &MtdInfo) -> Option<Vec<u8>> {
    fs::read(path(Path::new(DIRECTORY), info.number)).ok()
}

/// Puts back what stood there before an update that was not made.
pub(crate) fn restore(info: &MtdInfo, saved: Option<Vec<u8>>) {
    match saved {
        // What cannot be written now was there to be written over a moment ago: then it says too much.
        Some(flag) => _ = fs::write(path(Path::new(DIRECTORY), info.number), flag),
        None => lower(info),
    }
}

/// Takes the flag of a device down, if there is one: nothing that is mounted is behind.
pub(crate) fn lower(info: &MtdInfo) {
    // One that stays does not count: its mount is gone.
    let _ = fs::remove_file(path(Path::new(DIRECTORY), info.number));
}

fn path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("mtd{number}.reboot"))
}

fn boot_id() -> io::Result<String> {
    fs::read_to_string(BOOT_ID).map(|id| id.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_while_its_mount_is_there() {
        let flag = Flag::new("00".into(), "v2".into(), BTreeSet::from([7, 8])).unwrap();
        let read_only = |ids: &[u32]| Mounted::ReadOnly { ids: ids.iter().copied().collect() };
        assert!(flag.counts(&read_only(&[8, 9])));
        assert!(!flag.counts(&read_only(&[9])));
        assert!(flag.counts(&Mounted::Writable { ids: BTreeSet::from([7]), place: "/".into() }));
        assert!(!flag.counts(&Mounted::No));
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir.path().join("run"), 3);
        flag.write(&path).unwrap();
        assert_eq!(serde_json::from_slice::<Flag>(&fs::read(path).unwrap()).unwrap(), flag);
    }
}
