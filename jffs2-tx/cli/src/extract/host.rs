//! The host's side of extraction: everything is created new and relative to an open directory; symlinks are not
//! followed anywhere.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::tree::{Attribute, Stat};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, futimens, makedev, mkdirat, mknodat, umask, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};
use xattr::FileExt as _;

use super::left_out::LeftOut;
use crate::failure::{Exit, Failure};

const SET_IDS: u32 = 0o6000;
/// How directories are opened.
const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// An open directory.
pub(super) struct Dir(File);

/// A file while it is written.
pub(super) struct NewFile {
    file: File,
    /// Bytes so far, holes included.
    len: u64,
}

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
        let opened = File::open(path).map_err(io_failure)?;
        // Pipes and devices get their modes as they are created.
        umask(Mode::empty());
        Ok(Self(opened))
    }

    /// Opens a directory below this one, by a path of plain names. Neither a symlink nor `..` leads anywhere.
    pub(super) fn open_below(&self, path: &[u8]) -> io::Result<Self> {
        if path.is_empty() {
            return Ok(Self(self.0.try_clone()?));
        }
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        match openat2(&self.0, path, OpenHow::new().flags(DIRECTORY).resolve(resolve)) {
            Ok(fd) => Ok(Self(fd.into())),
            // An old kernel, a sandbox, or a path that is too long for one call.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::ENAMETOOLONG) => self.step_down(path),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same, name by name.
    fn step_down(&self, path: &[u8]) -> io::Result<Self> {
        let mut dir = Self(self.0.try_clone()?);
        for name in path.split(|byte| *byte == b'/') {
            dir = Self(openat(&dir.0, name, DIRECTORY, Mode::empty())?.into());
        }
        Ok(dir)
    }

    /// Gives what stands under `first` in the directory `from` another name, in this one. A symlink is not followed.
    pub(super) fn link(&self, from: &Self, first: &[u8], name: &[u8]) -> io::Result<()> {
        Ok(linkat(&from.0, first, &self.0, name, AtFlags::empty())?)
    }

    /// Only its owner may do anything in it until it gets its metadata.
    pub(super) fn make_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(mkdirat(&self.0, name, Mode::S_IRWXU)?)
    }

    pub(super) fn make_file(&self, name: &[u8]) -> io::Result<NewFile> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let fd = openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(NewFile { file: fd.into(), len: 0 })
    }

    pub(super) fn symlink(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    /// Creates a pipe, a socket or a device; false if that was not possible.
    pub(super) fn node(&self, name: &[u8], stat: &Stat, left_out: &mut LeftOut) -> io::Result<bool> {
        let kind = match stat.kind {
            FileKind::Fifo => SFlag::S_IFIFO,
            FileKind::CharDevice => SFlag::S_IFCHR,
            FileKind::BlockDevice => SFlag::S_IFBLK,
            _ => SFlag::S_IFSOCK,
        };
        let number = stat.device.map_or(0, |device| makedev(device.major.into(), device.minor.into()));
        // Set-id bits come last: a new owner clears them.
        let mode = Mode::from_bits_truncate((stat.meta.mode & !SET_IDS) as _);
        match mknodat(&self.0, name, kind, mode, number) {
            Err(Errno::EPERM) if stat.device.is_some() => {
                left_out.devices += 1;
                Ok(false)
            }
            outcome => outcome.map(|()| true).map_err(io::Error::from),
        }
    }

    /// Owner, extended attributes, mode and times of a symlink, pipe, socket or device in this directory.
    pub(super) fn set_meta_at(
        &self,
        name: &[u8],
        stat: &Stat,
        xattrs: &[Attribute],
        left_out: &mut LeftOut,
    ) -> io::Result<()> {
        let (uid, gid) = owner(stat);
        owned(fchownat(&self.0, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW), left_out)?;
        // No system call takes a directory and a name; this path does not follow its last name.
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(OsStr::from_bytes(name));
        set_xattrs(xattrs, left_out, |name, value| xattr::set(&path, name, value))?;
        let has_set_ids = stat.meta.mode & SET_IDS != 0;
        // An ACL changes the mode, too.
        if stat.kind != FileKind::Symlink && (has_set_ids || !xattrs.is_empty()) {
            match self.set_mode_at(name, stat) {
                Err(_) if has_set_ids => left_out.set_ids += 1,
                outcome => outcome?,
            }
        }
        let (atime, mtime) = times(stat);
        Ok(utimensat(&self.0, name, &atime, &mtime, UtimensatFlags::NoFollowSymlink)?)
    }

    /// The mode of what stands here itself: it is not opened, and no symlink is followed.
    fn set_mode_at(&self, name: &[u8], stat: &Stat) -> io::Result<()> {
        let node = openat(&self.0, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        fs::set_permissions(format!("/proc/self/fd/{}", node.as_raw_fd()), Permissions::from_mode(stat.meta.mode))
    }

    /// The directory's own owner, extended attributes, mode and times.
    pub(super) fn set_own_meta(&self, stat: &Stat, xattrs: &[Attribute], left_out: &mut LeftOut) -> io::Result<()> {
        set_meta(&self.0, stat, xattrs, left_out)
    }
}

impl NewFile {
    /// Writes behind what has been written; what lies between is a hole.
    pub(super) fn write_at(&mut self, offset: u32, bytes: &[u8]) -> io::Result<()> {
        self.len = u64::from(offset) + bytes.len() as u64;
        self.file.write_all_at(bytes, offset.into())
    }

    /// Size, owner, extended attributes, mode and times.
    pub(super) fn finish(self, stat: &Stat, xattrs: &[Attribute], left_out: &mut LeftOut) -> io::Result<()> {
        if self.len != u64::from(stat.size) {
            self.file.set_len(stat.size.into())?;
        }
        set_meta(&self.file, stat, xattrs, left_out)
    }
}

fn set_meta(file: &File, stat: &Stat, xattrs: &[Attribute], left_out: &mut LeftOut) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    let mut mode = stat.meta.mode;
    // A set-uid program of the wrong owner would hand out that owner's rights.
    if !owned(fchown(file, uid, gid), left_out)? && stat.kind == FileKind::File && mode & SET_IDS != 0 {
        mode &= !SET_IDS;
        left_out.set_ids += 1;
    }
    // After the owner, which takes capabilities away; before a mode that may forbid it.
    set_xattrs(xattrs, left_out, |name, value| file.set_xattr(name, value))?;
    // After the owner: changing that clears the set-id bits.
    fchmod(file, Mode::from_bits_truncate(mode as _))?;
    let (atime, mtime) = times(stat);
    Ok(futimens(file, &atime, &mtime)?)
}

fn set_xattrs(
    xattrs: &[Attribute],
    left_out: &mut LeftOut,
    set: impl Fn(&OsStr, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    for Attribute { name, value } in xattrs {
        match set(OsStr::from_bytes(name), value) {
            Ok(()) => {}
            Err(error) if is_left_out(&error) => left_out.xattr(name),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an extended attribute could not be set because of what it is, who asks, or what the file system takes.
fn is_left_out(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    use Errno::{E2BIG, EACCES, EDQUOT, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP, EPERM, ERANGE};
    matches!(errno, Some(E2BIG | EACCES | EDQUOT | EINVAL | ENOENT | ENOSPC | EOPNOTSUPP | EPERM | ERANGE))
}

/// Whether the host's file system refuses this one name or file; any other error ends the extraction.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    use Errno::{EEXIST, EFBIG, EILSEQ, EINVAL, EMLINK, ENAMETOOLONG, EOPNOTSUPP, EPERM};
    matches!(errno, Some(EEXIST | EFBIG | EILSEQ | EINVAL | EMLINK | ENAMETOOLONG | EOPNOTSUPP | EPERM))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_symlink_and_no_dots_lead_anywhere() {
        let bench = tempfile::tempdir().unwrap();
        let below = bench.path().join("root/a/b/c");
        fs::create_dir_all(&below).unwrap();
        fs::create_dir(bench.path().join("outside")).unwrap();
        symlink("../outside", bench.path().join("root/out")).unwrap();
        symlink("b", bench.path().join("root/a/in")).unwrap();
        let root = Dir(File::open(bench.path().join("root")).unwrap());
        let open_by_name = |path: &[u8]| root.step_down(path);
        let open = |path: &[u8]| root.open_below(path);
        for path in ["a", "a/b/c"] {
            for opened in [open(path.as_bytes()), open_by_name(path.as_bytes())] {
                let there = |file: &File| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
                let expected = File::open(bench.path().join("root").join(path)).unwrap();
                assert_eq!(there(&opened.unwrap().0), there(&expected));
            }
        }
        for path in ["out", "out/x", "a/in", "a/in/c", "none"] {
            assert!(open(path.as_bytes()).is_err() && open_by_name(path.as_bytes()).is_err(), "{path}");
        }
        // Paths are made of planned names, of which none is dots; the kernel would not leave either.
        for path in ["..", "a/../..", "/"] {
            assert!(open(path.as_bytes()).is_err(), "{path}");
        }
        // Under one name no second thing is made, and nothing that is there is taken.
        assert!(is_refusal(&root.make_dir(b"a").unwrap_err()));
        assert!(is_refusal(&root.make_dir(b"out").unwrap_err()));
        assert!(is_refusal(&root.make_file(b"out").err().unwrap()));
        assert!(is_refusal(&root.symlink(b"a", b"target").unwrap_err()));
    }
}
