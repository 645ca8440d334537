//! The host's side of extraction: everything is created new and relative to an open directory; symlinks are not
//! followed anywhere.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::tree::Stat;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, futimens, makedev, mkdirat, mknodat, umask, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

use super::left_out::LeftOut;
use crate::failure::{Exit, Failure};

const SET_IDS: u32 = 0o6000;

/// An open directory.
pub(super) struct Dir(OwnedFd);

/// A file while it is written.
pub(super) struct NewFile(File);

impl Dir {
    /// Opens a directory of the user's: an empty one, or a new one.
    pub(super) fn create_empty(path: &Path) -> Result<Self, Failure> {
        let io_failure = |error: io::Error| Failure::new(Exit::Io, error);
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if fs::read_dir(path).map_err(io_failure)?.next().is_some() {
                    return Err(Failure::new(Exit::Usage, "directory is not empty"));
                }
            }
            Err(error) => return Err(io_failure(error)),
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let opened = openat(AT_FDCWD, path, flags, Mode::empty()).map_err(|errno| io_failure(errno.into()))?;
        // Pipes and devices get their modes as they are created.
        umask(Mode::empty());
        Ok(Self(opened))
    }

    /// Opens a directory below this one, by a path of plain names.
    pub(super) fn open_below(&self, path: &[u8]) -> io::Result<Self> {
        let mut dir = Self(self.0.try_clone()?);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            dir = Self(openat(&dir.0, name, flags, Mode::empty())?);
        }
        Ok(dir)
    }

    /// Gives what stands at `path` below this directory another name, in `dir`.
    pub(super) fn link_below(&self, path: &[u8], dir: &Self, name: &[u8]) -> io::Result<()> {
        let split = path.iter().rposition(|byte| *byte == b'/');
        let (from, first) = split.map_or((&[][..], path), |at| (&path[..at], &path[at + 1..]));
        Ok(linkat(&self.open_below(from)?.0, first, &dir.0, name, AtFlags::empty())?)
    }

    /// Only its owner may do anything in it until it gets its metadata.
    pub(super) fn make_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(mkdirat(&self.0, name, Mode::S_IRWXU)?)
    }

    pub(super) fn make_file(&self, name: &[u8]) -> io::Result<NewFile> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let fd = openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(NewFile(File::from(fd)))
    }

    pub(super) fn symlink(&self, name: &[u8], target: &[u8], stat: &Stat, left_out: &mut LeftOut) -> io::Result<()> {
        symlinkat(target, &self.0, name)?;
        self.set_owner_at(name, stat, left_out)?;
        self.set_times_at(name, stat)
    }

    /// Creates a pipe or a device; false if that was not possible.
    pub(super) fn node(&self, name: &[u8], stat: &Stat, left_out: &mut LeftOut) -> io::Result<bool> {
        let kind = match stat.kind {
            FileKind::Fifo => SFlag::S_IFIFO,
            FileKind::CharDevice => SFlag::S_IFCHR,
            FileKind::BlockDevice => SFlag::S_IFBLK,
            _ => {
                left_out.sockets += 1;
                return Ok(false);
            }
        };
        let number = stat.device.map_or(0, |device| makedev(device.major.into(), device.minor.into()));
        // There is no way to set the mode of a node later that cannot follow a symlink or open the device.
        let mode = Mode::from_bits_truncate((stat.meta.mode & !SET_IDS) as _);
        match mknodat(&self.0, name, kind, mode, number) {
            Err(Errno::EPERM) if stat.device.is_some() => {
                left_out.devices += 1;
                return Ok(false);
            }
            outcome => outcome?,
        }
        self.set_owner_at(name, stat, left_out)?;
        self.set_times_at(name, stat)?;
        Ok(true)
    }

    /// The directory's own owner, mode and times.
    pub(super) fn set_own_meta(&self, stat: &Stat, left_out: &mut LeftOut) -> io::Result<()> {
        set_meta(&self.0, stat, left_out)
    }

    fn set_owner_at(&self, name: &[u8], stat: &Stat, left_out: &mut LeftOut) -> io::Result<()> {
        let (uid, gid) = owner(stat);
        owned(fchownat(&self.0, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW), left_out).map(drop)
    }

    fn set_times_at(&self, name: &[u8], stat: &Stat) -> io::Result<()> {
        let (atime, mtime) = times(stat);
        Ok(utimensat(&self.0, name, &atime, &mtime, UtimensatFlags::NoFollowSymlink)?)
    }
}

impl NewFile {
    pub(super) fn write_at(&mut self, offset: u32, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset.into())
    }

    /// Size, owner, mode and times.
    pub(super) fn finish(self, stat: &Stat, left_out: &mut LeftOut) -> io::Result<()> {
        self.0.set_len(stat.size.into())?;
        set_meta(&self.0, stat, left_out)
    }
}

fn set_meta(file: &impl AsFd, stat: &Stat, left_out: &mut LeftOut) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    let mut mode = stat.meta.mode;
    // A set-uid program of the wrong owner would hand out that owner's rights.
    if !owned(fchown(file, uid, gid), left_out)? && stat.kind == FileKind::File && mode & SET_IDS != 0 {
        mode &= !SET_IDS;
        left_out.set_ids += 1;
    }
    // After the owner: changing that clears the set-id bits.
    fchmod(file, Mode::from_bits_truncate(mode as _))?;
    let (atime, mtime) = times(stat);
    Ok(futimens(file, &atime, &mtime)?)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.meta.uid.into())), Some(Gid::from_raw(stat.meta.gid.into())))
}

/// Whether the owner could be set. EINVAL: the number does not exist in this user namespace.
fn owned(outcome: nix::Result<()>, left_out: &mut LeftOut) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Errno::EPERM | Errno::EINVAL) => {
            left_out.owners += 1;
            Ok(false)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn times(stat: &Stat) -> (TimeSpec, TimeSpec) {
    (TimeSpec::new(stat.atime as _, 0), TimeSpec::new(stat.meta.mtime as _, 0))
}
