//! An update of a device, and who uses it meanwhile.

use std::collections::BTreeSet;

use jffs2_tx::flash::MtdInfo;
use jffs2_tx::tx::TxOptions;

use super::flag::{self, Flag};
use super::{Mounted, mounted};
use crate::failure::{Exit, Failure, note};
use crate::show;

/// What is written to, and who used it when it was opened. An image file has no other users.
#[derive(Debug)]
pub(crate) struct Watch {
    device: Option<MtdInfo>,
    /// Mounts, all of them read-only.
    mounts: BTreeSet<u32>,
}

impl Watch {
    /// Looks who uses a device; refuses if somebody may write to it.
    pub(crate) fn start(device: Option<&MtdInfo>) -> Result<Self, Failure> {
        let mounts = device.map_or(Ok(BTreeSet::new()), read_only_mounts)?;
        Ok(Self { device: device.cloned(), mounts })
    }

    /// Whether a file system on it is mounted, read-only.
    pub(crate) fn is_online(&self) -> bool {
        !self.mounts.is_empty()
    }

    /// Whether it is a device of this machine, which will mount it.
    pub(crate) fn is_device(&self) -> bool {
        self.device.is_some()
    }

    /// Refuses to go on if it has been mounted otherwise since.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let Some(device) = &self.device else { return Ok(()) };
        let now = read_only_mounts(device)?;
        if now.is_empty() || self.is_online() {
            return Ok(());
        }
        Err(Failure::new(Exit::Busy, "it has been mounted since the update began: unmount it and try again"))
    }

    /// Before the commit: raises the flag under a mounted file system, so that it stands whatever happens then. What stood
    /// there before, for [`Watch::not_committed`].
    pub(crate) fn committing(&self, options: &TxOptions) -> Option<Vec<u8>> {
        let device = self.device.as_ref().filter(|_| self.is_online())?;
        let saved = flag::saved(device);
        let label = show::text(options.label.as_bytes());
        let raised =
            Flag::new(show::digits(&options.txid), label, self.mounts.clone()).and_then(|flag| flag.raise(device));
        if let Err(error) = raised {
            note(&format!("the flag that a reboot is needed cannot be written: {error}"));
        }
        saved
    }

    /// The tree is surely the one from before.
    pub(crate) fn not_committed(&self, saved: Option<Vec<u8>>) {
        if let Some(device) = self.device.as_ref().filter(|_| self.is_online()) {
            flag::restore(device, saved);
        }
    }

    /// After the commit: says what a mounted file system shows. Where none is, an old flag is taken down.
    pub(crate) fn committed(&self) {
        let Some(device) = &self.device else { return };
        if !self.is_online() {
            return flag::lower(device);
        }
        note(
            "mounted read-only: the new tree appears at the next boot or mount; until then nobody may remount read-write, \
             as the kernel takes the new tree's eraseblocks for free",
        );
    }

    /// After a recovery: nothing that is mounted is behind.
    pub(crate) fn recovered(&self) {
        self.device.iter().for_each(flag::lower);
    }
}

/// The mounts of a device that nobody may write to.
fn read_only_mounts(device: &MtdInfo) -> Result<BTreeSet<u32>, Failure> {
    match mounted(device)? {
        Mounted::No => Ok(BTreeSet::new()),
        Mounted::ReadOnly { ids } => Ok(ids),
        Mounted::Writable { place, .. } => {
            let what = format!("mounted read-write on {place}: unmount it, or remount it read-only, and try again");
            Err(Failure::new(Exit::Busy, what))
        }
        Mounted::Ubi { number } => {
            Err(Failure::new(Exit::Busy, format!("in use by UBI device {number}: detach it (ubidetach) and try again")))
        }
    }
}
