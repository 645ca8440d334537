//! What FUSE asks for, answered from the tree. Inode numbers are those of the image; its root is FUSE's, 1.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use jffs2_tx::error::ReadError;
use jffs2_tx::index::{Index, NameRecord};
use jffs2_tx::inode_kind::{Device, FileKind};
use jffs2_tx::tree::{self, Attribute, Loss, Stat, Tree};
use jffs2_tx::wire::MAX_NAME;

use crate::image::Image;
use crate::target::{Target, TargetError};

/// How long the kernel may remember answers: nothing changes.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Linux's page: the unit in which sizes of file systems are given.
const PAGE: u32 = 4096;
/// Inode number in listings where it is not known, as libfuse has it.
const UNKNOWN: u64 = 0xffff_ffff;

/// An image that FUSE looks into.
pub(super) struct View {
    image: &'static Image,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    open: HashMap<u64, Open>,
    next: u64,
}

/// An open file, with the nodes that were decoded last.
struct Open {
    file: tree::File<'static, Target>,
    /// Ascending.
    lost: Vec<Loss>,
}

impl Open {
    /// Linux gives older bytes or zeros for what is lost; nobody here would know that they are not the file's.
    fn read(&mut self, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let Some(offset) = u32::try_from(offset).ok().filter(|offset| *offset < self.file.size()) else {
            return Ok(Vec::new());
        };
        let mut buf = vec![0; size.min(self.file.size() - offset) as usize];
        let next = self.lost.partition_point(|loss| loss.end <= offset);
        if self.lost.get(next).is_some_and(|loss| ((loss.start.saturating_sub(offset)) as usize) < buf.len()) {
            return Err(Errno::EIO);
        }
        self.file.read_at(offset, &mut buf).map_err(errno)?;
        Ok(buf)
    }
}

impl View {
    pub(super) fn new(image: &'static Image) -> Self {
        Self { image, files: Mutex::default() }
    }

    fn tree(&self) -> Tree<'static, Target> {
        self.image.tree()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attr(&self, ino: u32) -> Result<FileAttr, Errno> {
        self.tree().stat(ino).map(|stat| attr(&stat)).map_err(errno)
    }

    fn xattrs(&self, ino: INodeNo) -> Result<Vec<Attribute>, Errno> {
        self.tree().xattrs(number(ino)?).map_err(errno)
    }

    fn open_file(&self, ino: INodeNo) -> Result<FileHandle, Errno> {
        let file = self.tree().open(number(ino)?).map_err(errno)?;
        let lost = file.losses();
        let mut files = self.files();
        let handle = files.next;
        files.next += 1;
        files.open.insert(handle, Open { file, lost });
        Ok(FileHandle(handle))
    }
}

impl Filesystem for View {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let index = &self.image.index;
        let found = number(parent).and_then(|parent| {
            let record = index.find(parent, name.as_bytes()).filter(|record| leads_somewhere(index, record));
            self.attr(record.ok_or(Errno::ENOENT)?.ino)
        });
        match found {
            Ok(attr) => reply.entry(&REMEMBERED, &attr, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match number(ino).and_then(|ino| self.attr(ino)) {
            Ok(attr) => reply.attr(&REMEMBERED, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match number(ino).and_then(|ino| self.tree().read_link(ino).map_err(errno)) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_file(ino) {
            Ok(handle) => reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut files = self.files();
        match files.open.get_mut(&handle.0).ok_or(Errno::EBADF).and_then(|open| open.read(offset, size)) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files().open.remove(&handle.0);
        reply.ok();
    }

    /// Offsets are places among the dirents, so that each call finds its place at once, however many there are.
    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let index = &self.image.index;
        let dirents = number(ino).map_or(&[][..], |ino| index.dirents(ino));
        for at in usize::try_from(offset).unwrap_or(usize::MAX)..dirents.len() + 2 {
            let (ino, kind, name) = match (at, at.checked_sub(2).map(|at| &dirents[at])) {
                (_, Some(record)) if !leads_somewhere(index, record) || !can_be_shown(index.name(record)) => continue,
                (_, Some(record)) => (record.ino.into(), dirent_type(record), index.name(record)),
                (0, None) => (ino.0, FileType::Directory, &b"."[..]),
                (_, None) => (UNKNOWN, FileType::Directory, &b".."[..]),
            };
            if reply.add(INodeNo(ino), at as u64 + 1, kind, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let found = self.xattrs(ino).and_then(|all| {
            let found = all.into_iter().find(|attribute| attribute.name == name.as_bytes());
            found.map(|attribute| attribute.value).ok_or(Errno::NO_XATTR)
        });
        give(found, size, reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.xattrs(ino).map(|all| all.into_iter().flat_map(|a| [a.name, vec![0]].concat()).collect());
        give(names, size, reply);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let index = &self.image.index;
        let blocks = index.geometry().size() / PAGE;
        let files = index.reachable().count() as u64;
        reply.statfs(blocks.into(), 0, 0, files, 0, PAGE, MAX_NAME as u32, PAGE);
    }
}

/// Answers with `bytes`; with their number if there is no room for any.
fn give(bytes: Result<Vec<u8>, Errno>, room: u32, reply: ReplyXattr) {
    match bytes {
        Ok(bytes) if room == 0 => reply.size(bytes.len() as u32),
        Ok(bytes) if bytes.len() > room as usize => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
        Err(errno) => reply.error(errno),
    }
}

fn number(ino: INodeNo) -> Result<u32, Errno> {
    u32::try_from(ino.0).map_err(|_| Errno::ENOENT)
}

fn leads_somewhere(index: &Index, record: &NameRecord) -> bool {
    record.ino != 0 && index.exists(record.ino)
}

/// FUSE gives up on all of a directory if there is another name in it.
fn can_be_shown(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// As the kernel: whatever is wrong with an inode is an I/O error.
fn errno(_: ReadError<TargetError>) -> Errno {
    Errno::EIO
}

fn attr(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.ino.into()),
        size: stat.size.into(),
        blocks: u64::from(stat.size).div_ceil(512),
        atime: time(stat.atime),
        mtime: time(stat.meta.mtime),
        ctime: time(stat.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(stat.kind),
        perm: stat.meta.mode as u16,
        nlink: stat.links,
        uid: stat.meta.uid.into(),
        gid: stat.meta.gid.into(),
        rdev: stat.device.map_or(0, device_number),
        blksize: PAGE,
        flags: 0,
    }
}

fn time(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.into())
}

/// As Linux passes it to user space in 32 bits.
fn device_number(device: Device) -> u32 {
    (device.minor & 0xff) | device.major << 8 | (device.minor & 0xf_ff00) << 12
}

fn dirent_type(record: &NameRecord) -> FileType {
    FileKind::from_dirent_type(record.kind).map_or(FileType::RegularFile, file_type)
}

fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
    }
}
