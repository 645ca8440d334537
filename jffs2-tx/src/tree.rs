//! The file system as its users see it: look up, list, read, walk.

use alloc::{collections::VecDeque, format, string::String, vec, vec::Vec};

use crate::error::ReadError;
use crate::flash::Flash;
use crate::index::{Extent, Index, NameRecord, ROOT, extents};
use crate::inode_kind::{Device, FileKind, Meta};
use crate::scan::InodeRecord;
use crate::wire::{INODE_SIZE, Inode, MAX_NAME};

mod file;
mod loss;
mod walk;

pub use file::File;
pub use loss::{Loss, LossReason};
pub use walk::{Walk, WalkEntry};

mod past;
mod xattrs;

pub use xattrs::{Attribute, LostAttribute};

/// A file system on a flash, as of one index.
#[derive(Debug)]
pub struct Tree<'a, F> {
    flash: &'a F,
    index: &'a Index,
}

impl<F> Clone for Tree<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Tree<'_, F> {}

/// What is known of an inode without its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Inode number.
    pub ino: u32,
    /// Type.
    pub kind: FileKind,
    /// Permissions, owner, modification time.
    pub meta: Meta,
    /// Access time, seconds since 1970.
    pub atime: u32,
    /// Change time, seconds since 1970.
    pub ctime: u32,
    /// Size of a file or of a symlink's target, bytes; 0 for anything else.
    pub size: u32,
    /// Links as Linux counts them: names of a file; 2 for a directory and 1 for each in it, 1 more for the root.
    pub links: u32,
    /// Device number of a device.
    pub device: Option<Device>,
}

type Result<T, F> = core::result::Result<T, ReadError<<F as Flash>::Error>>;

impl<'a, F: Flash> Tree<'a, F> {
    /// The file system that `index` was made of. `flash` must hold what it held then.
    #[must_use]
    pub fn new(flash: &'a F, index: &'a Index) -> Self {
        Self { flash, index }
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &'a Index {
        self.index
    }

    /// Inode number of a path. Slashes in front, behind and doubled are ignored, `.` too; symlinks are not followed.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], [`ReadError::NotADirectory`].
    pub fn lookup(&self, path: &[u8]) -> Result<u32, F> {
        let shown = || String::from_utf8_lossy(path).into_owned();
        let mut ino = ROOT;
        for name in components(path) {
            if !self.index.is_directory(ino) {
                return Err(ReadError::NotADirectory { path: shown() });
            }
            let found = self.index.find(ino, name).filter(|found| found.ino != 0 && self.index.exists(found.ino));
            let Some(found) = found else { return Err(ReadError::NotFound { path: shown() }) };
            ino = found.ino;
        }
        Ok(ino)
    }

    /// Names of a directory in byte order.
    pub fn read_dir(&self, ino: u32) -> impl Iterator<Item = (&'a [u8], &'a NameRecord)> {
        let index = self.index;
        index.names(ino).map(move |record| (index.name(record), record))
    }

    /// Type, metadata, size and links of an inode.
    ///
    /// # Errors
    /// [`ReadError::NoNode`] if no good node is left, [`ReadError::Damaged`] if the type is unknown or a special
    /// inode is not as Linux wants it, [`ReadError::Device`].
    pub fn stat(&self, ino: u32) -> Result<Stat, F> {
        let Some(latest) = self.index.latest(ino) else { return self.stat_without_node(ino) };
        let node = self.read_node(latest)?;
        let damaged = |what| ReadError::Damaged { ino, offset: latest.at, what };
        let kind = FileKind::from_mode(node.mode).ok_or(damaged("unknown type"))?;
        let mut stat = Stat {
            ino,
            kind,
            meta: Meta { mode: node.mode & 0o7777, uid: node.uid, gid: node.gid, mtime: node.mtime },
            atime: node.atime,
            ctime: node.ctime,
            size: 0,
            links: self.links(ino, kind),
            device: None,
        };
        match kind {
            FileKind::File => stat.size = self.index.inode(ino).size,
            FileKind::Directory => self.apply_dirent_time(latest, &mut stat),
            FileKind::Symlink => {
                self.check_special(latest)?;
                stat.size = if node.isize == 0 { node.dsize } else { node.isize };
            }
            FileKind::CharDevice | FileKind::BlockDevice => {
                self.check_special(latest)?;
                let data = self.stored(latest)?;
                stat.device =
                    Some(Device::decode(self.index.rules().endian, &data).ok_or(damaged("bad device number"))?);
            }
            FileKind::Fifo | FileKind::Socket => {}
        }
        Ok(stat)
    }

    /// Linux makes up metadata for a root, or a directory, that has names but no node.
    fn stat_without_node(&self, ino: u32) -> Result<Stat, F> {
        if ino != ROOT && self.index.dirents(ino).is_empty() {
            return Err(ReadError::NoNode { ino });
        }
        let links = self.links(ino, FileKind::Directory);
        let meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
        Ok(Stat { ino, kind: FileKind::Directory, meta, atime: 0, ctime: 0, size: 0, links, device: None })
    }

    /// Linux: the time in the newest dirent counts if that is newer than the newest inode node.
    fn apply_dirent_time(&self, latest: &InodeRecord, stat: &mut Stat) {
        if let Some(newest) = self.index.newest_time(stat.ino).filter(|name| name.version > latest.version) {
            stat.meta.mtime = newest.mctime;
            stat.ctime = newest.mctime;
        }
    }

    fn links(&self, ino: u32, kind: FileKind) -> u32 {
        if kind != FileKind::Directory {
            return self.index.links(ino);
        }
        2 + u32::from(ino == ROOT) + self.index.inode(ino).directories
    }

    /// Linux refuses a symlink or device whose data is not in exactly one node.
    fn check_special(&self, latest: &InodeRecord) -> Result<(), F> {
        if !self.index.inode(latest.ino).one_node {
            return Err(ReadError::Damaged { ino: latest.ino, offset: latest.at, what: "data is not in one node" });
        }
        Ok(())
    }

    /// Target of a symlink.
    ///
    /// # Errors
    /// [`ReadError::WrongKind`] for anything else; otherwise as [`Tree::stat`].
    pub fn read_link(&self, ino: u32) -> Result<Vec<u8>, F> {
        let wrong = ReadError::WrongKind { ino, wanted: "symlink" };
        if self.stat(ino)?.kind != FileKind::Symlink {
            return Err(wrong);
        }
        let latest = self.index.latest(ino).ok_or(ReadError::NoNode { ino })?;
        if latest.csize as usize > MAX_NAME {
            return Err(ReadError::Damaged { ino, offset: latest.at, what: "symlink target over 254 bytes" });
        }
        self.stored(latest)
    }

    /// A regular file, to read from.
    ///
    /// # Errors
    /// [`ReadError::WrongKind`] for anything else; otherwise as [`Tree::stat`].
    pub fn open(&self, ino: u32) -> Result<File<'a, F>, F> {
        let stat = self.stat(ino)?;
        if stat.kind != FileKind::File {
            return Err(ReadError::WrongKind { ino, wanted: "regular file" });
        }
        Ok(self.open_again(ino, extents(self.index.nodes(ino))))
    }

    /// A regular file that has been open before; [`File::into_extents`] gave what is known of it.
    pub(crate) fn open_again(&self, ino: u32, (size, extents): (u32, Vec<Extent>)) -> File<'a, F> {
        let (nodes, suspects) = (self.index.nodes(ino), self.index.suspects(ino));
        File { tree: *self, nodes, suspects, size, extents, decoded: VecDeque::new() }
    }

    /// All of a regular file, at most `limit` bytes.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if it is larger; otherwise as [`Tree::open`].
    pub fn read(&self, ino: u32, limit: u32) -> Result<Vec<u8>, F> {
        let mut file = self.open(ino)?;
        if file.size() > limit {
            let offset = self.index.latest(ino).map_or(0, |node| node.at);
            return Err(ReadError::Damaged { ino, offset, what: "file is larger than the limit" });
        }
        let mut all = vec![0; file.size() as usize];
        file.read_at(0, &mut all)?;
        Ok(all)
    }

    /// Every path below `from`, itself first, directories before what is in them, names in byte order. A directory
    /// that a second name leads to, or whose path is over [`MAX_PATH`](crate::check::MAX_PATH) bytes, is listed there,
    /// but not entered: no tree is walked for ever.
    #[must_use]
    pub fn walk(&self, from: u32) -> Walk<'a> {
        Walk::new(self.index, from)
    }

    fn read_node(&self, record: &InodeRecord) -> Result<Inode, F> {
        Ok(self.read_whole(record)?.0)
    }

    fn read_whole(&self, record: &InodeRecord) -> Result<(Inode, Vec<u8>), F> {
        let mut bytes = vec![0; INODE_SIZE + record.csize as usize];
        self.flash.read(record.at, &mut bytes).map_err(|error| ReadError::Device { offset: record.at, error })?;
        let node = Inode::parse(self.index.rules().endian, &bytes).map_err(|_| changed(record))?;
        Ok((node, bytes))
    }

    /// The data of a node as it is stored.
    fn stored(&self, record: &InodeRecord) -> Result<Vec<u8>, F> {
        let (node, mut bytes) = self.read_whole(record)?;
        // Read again, check again: bits of a worn or torn page can read differently each time.
        if !node.data_is_good(&bytes) {
            return Err(changed(record));
        }
        bytes.drain(..INODE_SIZE);
        Ok(bytes)
    }
}

fn changed<E>(record: &InodeRecord) -> ReadError<E> {
    ReadError::Damaged { ino: record.ino, offset: record.at, what: "node reads differently than before" }
}

/// Names of a path, without empty ones and `.`.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

/// A path for a message: printable, unambiguous.
#[must_use]
pub fn show_path(path: &[u8]) -> String {
    if path.is_empty() { String::from("/") } else { format!("{}", path.escape_ascii()) }
}
