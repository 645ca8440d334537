//! What can go wrong with an MTD device, and what to do then.

use std::string::String;

use nix::errno::Errno;

/// An operation on an MTD device failed, or it is not one that JFFS2 can live on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MtdError {
    /// No device of that name or number.
    #[error("{device}: no such MTD device; there are: {present}")]
    NotFound {
        /// As it was asked for.
        device: String,
        /// The devices that there are.
        present: String,
    },
    /// Several devices have that name.
    #[error("{device} names more than one MTD device, give one by its path: {devices}")]
    Ambiguous {
        /// As it was asked for.
        device: String,
        /// Those of that name.
        devices: String,
    },
    /// The device's node may not be opened by this user.
    #[error("{device}: permission denied; run this as root, or give the user access to the device's node")]
    Permission {
        /// Its node.
        device: String,
    },
    /// The device, or the way it was opened, only allows reading.
    #[error("{device} is write-protected: {reason}")]
    WriteProtected {
        /// Its node.
        device: String,
        /// Who protects it, and what to do.
        reason: &'static str,
    },
    /// The chip refuses to write there.
    #[error(
        "{device}: the chip's sector at {offset:#x} is locked; unlock it (flash_unlock of mtd-utils) and try again"
    )]
    Locked {
        /// Its node.
        device: String,
        /// Start of the eraseblock, bytes.
        offset: u32,
    },
    /// JFFS2 cannot be there, or not as this library writes it.
    #[error("{device} cannot be used: {reason}")]
    Unsupported {
        /// Its node, or what was asked for.
        device: String,
        /// Why, and what to use instead.
        reason: String,
    },
    /// Someone else has it to themselves.
    #[error("{device} is in use by someone who does not share it; try again when they are done")]
    Busy {
        /// Its node.
        device: String,
    },
    /// The device was removed.
    #[error("{device} is gone: its driver was unloaded or the chip does not answer; check it before anything else")]
    Gone {
        /// Its node.
        device: String,
    },
    /// Outside the flash, across eraseblocks, or not in whole write units.
    #[error("{len} bytes at {offset:#x} do not fit the flash, its eraseblocks or its write units")]
    Range {
        /// Start, bytes.
        offset: u32,
        /// Length, bytes.
        len: usize,
    },
    /// The kernel's error. From a program or an erase it means that the eraseblock is worn out.
    #[error("{device}: cannot {action} at {offset:#x}: {errno}; the kernel's log may say more")]
    Io {
        /// Its node.
        device: String,
        /// What was being done.
        action: &'static str,
        /// Where, bytes.
        offset: u32,
        /// What the kernel said.
        errno: Errno,
    },
}
