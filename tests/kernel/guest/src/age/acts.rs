//! What is done while a file system grows old.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kernel_guest::manifest;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeSpec;
use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};

use super::names::{Kind, LEFT_ALONE, Names};
use super::rng::Rng;

/// How large the tree may become.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Names that there may be at a time.
    names: usize,
    /// Files that are written once and then left alone.
    aside: u32,
    /// Longest file, bytes.
    file: u64,
    /// How often an extended attribute is set.
    xattrs: u32,
    /// With less space left, of a hundred parts, something goes.
    low_water: u64,
}

/// Of a file system that is to be full now and then.
pub(crate) const LARGE: Limits = Limits { names: 120, aside: 60, file: 96 << 10, xattrs: u32::MAX, low_water: 15 };
/// Of one that shall have space left. A live attribute keeps its eraseblock from the library's garbage collection: always
/// on NAND, and on NOR where no eraseblock further down is free.
pub(crate) const SMALL: Limits = Limits { names: 40, aside: 10, file: 16 << 10, xattrs: 6, low_water: 40 };

/// Tags of POSIX ACL entries: owner, user, owning group, group, mask, others (acl(5)).
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;
/// The id in entries that name no one.
const NO_ID: u32 = u32::MAX;

/// The work, as far as it has come.
pub(crate) struct Work {
    names: Names,
    limits: Limits,
    rng: Rng,
    /// Files without a name that are still open.
    orphans: Vec<File>,
    /// Files that have been left alone.
    aside: u32,
    /// How often an extended attribute has been set.
    xattrs: u32,
    /// Bytes written to files.
    pub(crate) written: u64,
    /// The same, counted from when someone else set it to 0.
    pub(crate) written_since: u64,
    /// How often the flash was full.
    pub(crate) full: u32,
}

type Act = fn(&mut Work) -> io::Result<()>;

/// What is done, each with how often among the others.
const ACTS: [(u32, Act); 23] = [
    (18, Work::create),
    (12, Work::append),
    (14, Work::overwrite),
    (8, Work::truncate),
    (5, Work::write_behind_a_hole),
    (6, Work::rename),
    (5, Work::rename_over),
    (2, Work::rename_directory),
    (5, Work::link),
    (7, Work::unlink),
    (4, Work::symlink),
    (4, Work::make_directory),
    (2, Work::remove_directory),
    (4, Work::make_node),
    (4, Work::chmod),
    (4, Work::chown),
    (4, Work::set_times),
    (10, Work::set_xattr),
    (4, Work::remove_xattr),
    (4, Work::set_acl),
    (2, Work::make_orphan),
    (3, Work::set_aside),
    (1, Work::sync),
];

impl Work {
    pub(crate) fn new(root: &Path, seed: u64, limits: Limits) -> Self {
        let (names, rng) = (Names::new(root), Rng::new(seed));
        Self { names, limits, rng, orphans: Vec::new(), aside: 0, xattrs: 0, written: 0, written_since: 0, full: 0 }
    }

    /// To be called when the file system has been mounted.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.names.look()
    }

    /// To be called before it is unmounted.
    pub(crate) fn end(&mut self) {
        self.orphans.clear();
    }

    /// Does one thing. That the flash is full is no error.
    pub(crate) fn act(&mut self) -> Result<()> {
        if self.space_is_low()? || self.names.others.len() > self.limits.names {
            let outcome = self.make_room();
            self.unless_full(outcome).context("make room")?;
        }
        let number = self.rng.below(ACTS.iter().map(|(weight, _)| u64::from(*weight)).sum());
        let mut end = 0;
        let due = ACTS.iter().position(|(weight, _)| {
            end += u64::from(*weight);
            number < end
        });
        let index = due.unwrap_or_default();
        let outcome = ACTS[index].1(self);
        self.unless_full(outcome).with_context(|| format!("act {index}"))
    }

    /// On a full flash an act may be done in part, and even to remove a file can fail until something is cleaned.
    fn unless_full(&mut self, outcome: io::Result<()>) -> io::Result<()> {
        match outcome {
            Err(error) if is_full(&error) => {
                self.full += 1;
                self.names.look()?;
                match self.make_room() {
                    Err(error) if is_full(&error) => self.sync(),
                    other => other,
                }
            }
            other => other,
        }
    }

    fn space_is_low(&self) -> io::Result<bool> {
        let space = statvfs(&self.names.root)?;
        Ok(space.blocks_available() * 100 < space.blocks() * self.limits.low_water)
    }

    /// Removes a few files and forgets those that nobody can see.
    fn make_room(&mut self) -> io::Result<()> {
        self.orphans.clear();
        (0..4).try_for_each(|_| self.unlink())
    }

    fn create(&mut self) -> io::Result<()> {
        let path = self.names.new_path(&mut self.rng);
        let mut file = File::create_new(&path)?;
        self.names.add(path, Kind::File);
        let len = match self.rng.below(10) {
            0 => 0,
            1..4 => self.rng.between(1, 40),
            4..9 => self.rng.between(40, 9000),
            _ => self.rng.between(9000, 40_000),
        };
        self.write(&mut file, len)
    }

    fn append(&mut self) -> io::Result<()> {
        let Some(path) = self.file_to_grow()? else { return Ok(()) };
        let mut file = OpenOptions::new().append(true).open(path)?;
        let len = self.rng.between(1, 6000);
        self.write(&mut file, len)
    }

    fn overwrite(&mut self) -> io::Result<()> {
        let Some(path) = self.file_to_grow()? else { return Ok(()) };
        let file = OpenOptions::new().write(true).open(path)?;
        let at = self.rng.below(file.metadata()?.len() + 1);
        let len = self.rng.between(1, 6000);
        self.write_at(&file, at, len)
    }

    fn write_behind_a_hole(&mut self) -> io::Result<()> {
        let Some(path) = self.file_to_grow()? else { return Ok(()) };
        let file = OpenOptions::new().write(true).open(path)?;
        let at = file.metadata()?.len() + self.rng.between(1, 30_000);
        let len = self.rng.between(1, 300);
        self.write_at(&file, at, len)
    }

    fn truncate(&mut self) -> io::Result<()> {
        let Some(path) = self.names.of_kind(&mut self.rng, Kind::File) else { return Ok(()) };
        let file = OpenOptions::new().write(true).open(path)?;
        let size = file.metadata()?.len();
        file.set_len(self.rng.below((2 * size).min(self.limits.file) + 2))
    }

    /// A file that is not too long yet.
    fn file_to_grow(&mut self) -> io::Result<Option<PathBuf>> {
        let Some(path) = self.names.of_kind(&mut self.rng, Kind::File) else { return Ok(None) };
        let len = fs::metadata(&path)?.len();
        Ok((len < self.limits.file).then_some(path))
    }

    fn write(&mut self, file: &mut File, len: u64) -> io::Result<()> {
        let bytes = self.bytes(len);
        file.write_all(&bytes)?;
        self.sometimes_sync(file)
    }

    fn write_at(&mut self, file: &File, at: u64, len: u64) -> io::Result<()> {
        let bytes = self.bytes(len);
        file.write_all_at(&bytes, at)?;
        self.sometimes_sync(file)
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        self.written += len;
        self.written_since += len;
        self.rng.content(len)
    }

    fn sometimes_sync(&mut self, file: &File) -> io::Result<()> {
        if self.rng.percent(20) { file.sync_all() } else { Ok(()) }
    }

    fn rename(&mut self) -> io::Result<()> {
        let Some(from) = self.rng.pick(&self.names.others).map(|name| name.path.clone()) else { return Ok(()) };
        let to = self.names.new_path(&mut self.rng);
        fs::rename(&from, &to)?;
        self.names.moved(&from, &to);
        Ok(())
    }

    fn rename_over(&mut self) -> io::Result<()> {
        let others = &self.names.others;
        let (Some(from), Some(to)) = (self.rng.pick(others).cloned(), self.rng.pick(others).cloned()) else {
            return Ok(());
        };
        fs::rename(&from.path, &to.path)?;
        // Of two names of one inode both stay.
        if from.path != to.path && fs::symlink_metadata(&from.path).is_err() {
            self.names.forget(&to.path);
            self.names.moved(&from.path, &to.path);
        }
        Ok(())
    }

    fn rename_directory(&mut self) -> io::Result<()> {
        let Some(from) = self.names.below_root(&mut self.rng) else { return Ok(()) };
        let Some(to) = self.names.new_directory(&mut self.rng) else { return Ok(()) };
        if !to.starts_with(&from) {
            fs::rename(&from, &to)?;
            self.names.moved(&from, &to);
        }
        Ok(())
    }

    fn link(&mut self) -> io::Result<()> {
        let Some(name) = self.rng.pick(&self.names.others).cloned() else { return Ok(()) };
        let to = self.names.new_path(&mut self.rng);
        fs::hard_link(&name.path, &to)?;
        self.names.add(to, name.kind);
        Ok(())
    }

    fn unlink(&mut self) -> io::Result<()> {
        let Some(path) = self.rng.pick(&self.names.others).map(|name| name.path.clone()) else { return Ok(()) };
        fs::remove_file(&path)?;
        self.names.forget(&path);
        Ok(())
    }

    fn symlink(&mut self) -> io::Result<()> {
        let path = self.names.new_path(&mut self.rng);
        let len = if self.rng.percent(20) { self.rng.between(100, 255) } else { self.rng.between(1, 40) };
        let target: String = (0..len).map(|_| char::from(b'a' + self.rng.below(26) as u8)).collect();
        symlink(target, &path)?;
        self.names.add(path, Kind::Symlink);
        Ok(())
    }

    fn make_directory(&mut self) -> io::Result<()> {
        let Some(path) = self.names.new_directory(&mut self.rng) else { return Ok(()) };
        fs::create_dir(&path)?;
        self.names.directories.push(path);
        Ok(())
    }

    fn remove_directory(&mut self) -> io::Result<()> {
        let Some(path) = self.names.below_root(&mut self.rng) else { return Ok(()) };
        fs::remove_dir_all(&path)?;
        self.names.forget(&path);
        Ok(())
    }

    /// A device whose number fits into two bytes or does not, a pipe or a socket.
    fn make_node(&mut self) -> io::Result<()> {
        let path = self.names.new_path(&mut self.rng);
        let kind = [SFlag::S_IFCHR, SFlag::S_IFBLK, SFlag::S_IFIFO, SFlag::S_IFSOCK][self.rng.below(4) as usize];
        let (majors, minors) = if self.rng.percent(50) { (256, 256) } else { (4096, 1 << 20) };
        let device = makedev(self.rng.below(majors), self.rng.below(minors));
        let device = if matches!(kind, SFlag::S_IFCHR | SFlag::S_IFBLK) { device } else { 0 };
        mknod(&path, kind, Mode::from_bits_truncate(self.rng.below(0o1000) as _), device)?;
        self.names.add(path, Kind::Special);
        Ok(())
    }

    fn chmod(&mut self) -> io::Result<()> {
        match self.names.any(&mut self.rng) {
            Some((path, kind)) if kind != Some(Kind::Symlink) => {
                fs::set_permissions(path, Permissions::from_mode(self.rng.below(0o10000) as u32))
            }
            _ => Ok(()),
        }
    }

    fn chown(&mut self) -> io::Result<()> {
        let Some((path, _)) = self.names.any(&mut self.rng) else { return Ok(()) };
        lchown(path, Some(self.rng.below(65536) as u32), Some(self.rng.below(65536) as u32))
    }

    fn set_times(&mut self) -> io::Result<()> {
        let Some((path, _)) = self.names.any(&mut self.rng) else { return Ok(()) };
        let mut time = || TimeSpec::new(self.rng.below(1 << 32) as i64, self.rng.below(1_000_000_000) as i64);
        let (atime, mtime) = (time(), time());
        Ok(utimensat(AT_FDCWD, &path, &atime, &mtime, UtimensatFlags::NoFollowSymlink)?)
    }

    /// Sets an extended attribute, a new one or one that there is.
    fn set_xattr(&mut self) -> io::Result<()> {
        if !self.may_set_xattr() {
            return Ok(());
        }
        let Some((path, kind)) = self.names.any(&mut self.rng) else { return Ok(()) };
        // Only files and directories may have those of users.
        let prefixes = ["trusted", "security", "user"];
        let allowed = if matches!(kind, None | Some(Kind::File)) { 3 } else { 2 };
        let prefix = prefixes[self.rng.below(allowed) as usize];
        // All that one file can get stays below what ext4 takes (one block of 4096), so that it can be extracted there.
        let (name, len) = match self.rng.below(20) {
            0 => (format!("{prefix}.{}", "long".repeat(50)), self.rng.below(20)),
            1 if prefix == "trusted" => ("trusted.large".to_owned(), self.rng.between(500, 1500)),
            number => (format!("{prefix}.{}", ["a", "selinux", "mime_type"][number as usize % 3]), self.rng.below(60)),
        };
        let value = self.rng.content(len);
        Ok(lsetxattr(path, name, &value, XattrFlags::empty())?)
    }

    fn may_set_xattr(&mut self) -> bool {
        let may = self.xattrs < self.limits.xattrs;
        self.xattrs = self.xattrs.saturating_add(1);
        may
    }

    fn remove_xattr(&mut self) -> io::Result<()> {
        let Some((path, _)) = self.names.any(&mut self.rng) else { return Ok(()) };
        match self.rng.pick(&manifest::xattrs(&path)?) {
            Some((name, _)) => Ok(lremovexattr(path, name.as_slice())?),
            None => Ok(()),
        }
    }

    /// Sets an ACL for access, or for what is made in a directory.
    fn set_acl(&mut self) -> io::Result<()> {
        if !self.may_set_xattr() {
            return Ok(());
        }
        let Some((path, kind)) = self.names.any(&mut self.rng) else { return Ok(()) };
        let name = match kind {
            Some(Kind::Symlink) => return Ok(()),
            None if self.rng.percent(50) => "system.posix_acl_default",
            _ => "system.posix_acl_access",
        };
        let acl = self.acl();
        Ok(lsetxattr(path, name, &acl, XattrFlags::empty())?)
    }

    /// An ACL as system calls take it: version 2, then entries in the order of their tags and ids.
    fn acl(&mut self) -> Vec<u8> {
        let mut entries = vec![(USER_OBJ, NO_ID)];
        let (users, groups) = (self.rng.below(4) as u32, self.rng.below(3) as u32);
        entries.extend((0..users).map(|user| (USER, 1000 * user + 7)));
        entries.push((GROUP_OBJ, NO_ID));
        entries.extend((0..groups).map(|group| (GROUP, 70_000 * group + 9)));
        entries.extend([(MASK, NO_ID), (OTHER, NO_ID)]);
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for (tag, id) in entries {
            acl.extend_from_slice(&tag.to_le_bytes());
            acl.extend_from_slice(&(self.rng.below(8) as u16).to_le_bytes());
            acl.extend_from_slice(&id.to_le_bytes());
        }
        acl
    }

    /// A file that is unlinked while it is written.
    fn make_orphan(&mut self) -> io::Result<()> {
        let path = self.names.new_path(&mut self.rng);
        let mut file = File::create_new(&path)?;
        self.write(&mut file, 3000)?;
        fs::remove_file(&path)?;
        self.write(&mut file, 3000)?;
        self.orphans.push(file);
        Ok(())
    }

    /// A file that nothing is done to any more: the kernel can only move it.
    fn set_aside(&mut self) -> io::Result<()> {
        let folder = self.names.root.join(LEFT_ALONE);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => other?,
        }
        let path = folder.join(format!("aside{}", self.aside));
        if self.aside == self.limits.aside {
            return Ok(());
        }
        self.aside += 1;
        fs::write(path, self.bytes(700))
    }

    fn sync(&mut self) -> io::Result<()> {
        nix::unistd::sync();
        Ok(())
    }
}

/// With the flash nearly full the kernel has been seen to say ENOMEM, too, with plenty of memory left.
fn is_full(error: &io::Error) -> bool {
    [Errno::ENOSPC, Errno::ENOMEM].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}
