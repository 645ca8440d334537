//! What can be done in a transaction, by path. Paths are bytes; slashes in front, behind and doubled are ignored,
//! `.` too; symlinks are not followed.

use alloc::{string::String, vec, vec::Vec};

use super::overlay::{Entry, NewInode, NewNode};
use super::{PathProblem, Result, Transaction, TxError};
use crate::codec::decode;
use crate::error::ReadError;
use crate::flash::FlashMut;
use crate::index::ROOT;
use crate::inode_kind::{Device, FileKind, Meta};
use crate::tree::{Stat, Tree, components};
use crate::wire::{INODE_SIZE, Inode, MAX_NAME};

/// Most bytes of a file in one node, and the boundary that no node crosses: the least page of any kernel.
pub(super) const DATA_PAGE: usize = 4096;
/// Runs of zeros from this length on become one node without data. Shorter ones are compressed: some firmware cannot
/// read nodes without data, and zlib makes little of zeros.
pub(super) const HOLE_MIN: u32 = 32 << 10;

/// A file that is being written; [`Transaction::close`] gives it its name.
#[derive(Debug)]
#[must_use = "a file has no name until it is closed"]
pub struct NewFile {
    ino: u32,
    meta: Meta,
    page: Vec<u8>,
    /// Start of `page` in the file.
    offset: u32,
    /// Start of a run of zero pages that is not written yet.
    zeros: Option<u32>,
}

impl NewFile {
    pub(super) fn ino(&self) -> u32 {
        self.ino
    }
}

impl<F: FlashMut> Transaction<'_, F> {
    /// Begins a regular file that has no name yet.
    ///
    /// # Errors
    /// [`TxError::Exhausted`].
    pub fn create(&mut self, meta: Meta) -> Result<NewFile, F> {
        let ino = self.add_inode(FileKind::File, meta, Vec::new())?;
        Ok(NewFile { ino, meta, page: Vec::with_capacity(DATA_PAGE), offset: 0, zeros: None })
    }

    /// Appends to a new file. The data goes to the flash page by page, invisible.
    ///
    /// # Errors
    /// [`TxError::Write`]; the transaction can only be aborted then. [`PathProblem::TooLarge`].
    pub fn append(&mut self, file: &mut NewFile, mut data: &[u8]) -> Result<(), F> {
        while !data.is_empty() {
            let take = data.len().min(DATA_PAGE - file.page.len());
            file.page.extend_from_slice(&data[..take]);
            data = &data[take..];
            if file.page.len() == DATA_PAGE {
                self.write_page(file)?;
            }
        }
        Ok(())
    }

    /// Finishes a new file and gives it the name `path`, in place of whatever file had it.
    ///
    /// # Errors
    /// [`TxError::Path`] if there is no such directory, or a directory has the name; [`TxError::Write`].
    pub fn close(&mut self, path: &[u8], mut file: NewFile) -> Result<(), F> {
        let place = self.place(path)?;
        self.finish(&mut file)?;
        let entry = Entry { ino: file.ino, kind: FileKind::File };
        self.put(path, place, entry, true)
    }

    /// A file with these contents, in place of whatever file had the name. Other names of that file keep what they
    /// had.
    ///
    /// # Errors
    /// As [`Transaction::append`] and [`Transaction::close`].
    pub fn create_file(&mut self, path: &[u8], meta: Meta, data: &[u8]) -> Result<(), F> {
        self.place(path)?;
        let mut file = self.create(meta)?;
        self.append(&mut file, data)?;
        self.close(path, file)
    }

    /// New contents for a file; all its names follow.
    ///
    /// # Errors
    /// [`TxError::Path`] if there is no such file; [`TxError::Write`].
    pub fn write_file(&mut self, path: &[u8], data: &[u8], mtime: u32) -> Result<(), F> {
        let stat = self.stat(path)?;
        if stat.kind != FileKind::File {
            return Err(problem(path, PathProblem::IsADirectory));
        }
        let mut file = self.create(Meta { mtime, ..stat.meta })?;
        self.append(&mut file, data)?;
        self.finish(&mut file)?;
        for (dir, name) in self.names_of(stat.ino) {
            self.overlay.set(&self.index, dir, &name, Some(Entry { ino: file.ino, kind: FileKind::File }));
        }
        Ok(())
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`TxError::Path`], [`TxError::Exhausted`].
    pub fn mkdir(&mut self, path: &[u8], meta: Meta) -> Result<(), F> {
        self.make(path, FileKind::Directory, meta, Vec::new())
    }

    /// Makes a symlink; its permissions are what they always are.
    ///
    /// # Errors
    /// [`TxError::Path`], [`TxError::Exhausted`].
    pub fn symlink(&mut self, path: &[u8], meta: Meta, target: &[u8]) -> Result<(), F> {
        if target.is_empty() || target.len() > MAX_NAME || target.contains(&0) {
            return Err(problem(path, PathProblem::Target));
        }
        self.make(path, FileKind::Symlink, Meta { mode: 0o777, ..meta }, target.to_vec())
    }

    /// Makes a device node.
    ///
    /// # Errors
    /// [`TxError::Path`], [`TxError::Exhausted`].
    pub fn mknod(&mut self, path: &[u8], meta: Meta, block: bool, device: Device) -> Result<(), F> {
        if !device.is_valid() {
            return Err(problem(path, PathProblem::Device));
        }
        let kind = if block { FileKind::BlockDevice } else { FileKind::CharDevice };
        let data = device.encode(self.endian());
        self.make(path, kind, meta, data)
    }

    /// Makes a named pipe.
    ///
    /// # Errors
    /// [`TxError::Path`], [`TxError::Exhausted`].
    pub fn mkfifo(&mut self, path: &[u8], meta: Meta) -> Result<(), F> {
        self.make(path, FileKind::Fifo, meta, Vec::new())
    }

    /// A second name for a file.
    ///
    /// # Errors
    /// [`TxError::Path`]: directories have one name.
    pub fn link(&mut self, existing: &[u8], path: &[u8]) -> Result<(), F> {
        let entry = self.resolve(existing)?;
        if entry.kind == FileKind::Directory {
            return Err(problem(existing, PathProblem::IsADirectory));
        }
        let place = self.place(path)?;
        self.put(path, place, entry, false)
    }

    /// Renames, in place of a file or an empty directory of the new name, as rename(2) does.
    ///
    /// # Errors
    /// [`TxError::Path`].
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), F> {
        let entry = self.resolve(from)?;
        let (from_dir, from_name) = self.place(from)?;
        let (to_dir, to_name) = self.place(to)?;
        if entry.kind == FileKind::Directory && self.is_within(to_dir, entry.ino) {
            return Err(problem(to, PathProblem::IntoItself));
        }
        if let Some(there) = self.overlay.entry(&self.index, to_dir, &to_name) {
            if there == entry {
                return Ok(());
            }
            match (entry.kind == FileKind::Directory, there.kind == FileKind::Directory) {
                (true, false) => return Err(problem(to, PathProblem::NotADirectory)),
                (false, true) => return Err(problem(to, PathProblem::IsADirectory)),
                (true, true) if !self.overlay.entries(&self.index, there.ino).is_empty() => {
                    return Err(problem(to, PathProblem::NotEmpty));
                }
                _ => {}
            }
        }
        self.overlay.set(&self.index, from_dir, &from_name, None);
        self.overlay.set(&self.index, to_dir, &to_name, Some(entry));
        Ok(())
    }

    /// Removes a name; a directory must be empty.
    ///
    /// # Errors
    /// [`TxError::Path`].
    pub fn remove(&mut self, path: &[u8]) -> Result<(), F> {
        let entry = self.resolve(path)?;
        self.place(path)?;
        if entry.kind == FileKind::Directory && !self.overlay.entries(&self.index, entry.ino).is_empty() {
            return Err(problem(path, PathProblem::NotEmpty));
        }
        self.remove_all(path)
    }

    /// Removes a name with all that is below it.
    ///
    /// # Errors
    /// [`TxError::Path`].
    pub fn remove_all(&mut self, path: &[u8]) -> Result<(), F> {
        self.resolve(path)?;
        let (dir, name) = self.place(path)?;
        self.overlay.set(&self.index, dir, &name, None);
        Ok(())
    }

    /// Sets permissions, owner and time, of a symlink itself too (whose permissions stay). All names of the inode see
    /// it.
    ///
    /// # Errors
    /// [`TxError::Path`].
    pub fn set_meta(&mut self, path: &[u8], meta: Meta) -> Result<(), F> {
        if meta.mode > 0o7777 {
            return Err(problem(path, PathProblem::Mode));
        }
        let entry = self.resolve(path)?;
        self.set_inode_meta(entry, meta)
    }

    /// Permissions, 0 to 0o7777.
    ///
    /// # Errors
    /// [`TxError::Path`].
    pub fn chmod(&mut self, path: &[u8], mode: u32) -> Result<(), F> {
        let meta = self.stat(path)?.meta;
        self.set_meta(path, Meta { mode, ..meta })
    }

    /// Owner and group.
    ///
    /// # Errors
    /// [`TxError::Path`].
    pub fn chown(&mut self, path: &[u8], uid: u16, gid: u16) -> Result<(), F> {
        let meta = self.stat(path)?.meta;
        self.set_meta(path, Meta { uid, gid, ..meta })
    }

    /// Modification time, seconds since 1970.
    ///
    /// # Errors
    /// [`TxError::Path`].
    pub fn utimes(&mut self, path: &[u8], mtime: u32) -> Result<(), F> {
        let meta = self.stat(path)?.meta;
        self.set_meta(path, Meta { mtime, ..meta })
    }

    /// Names of a directory in byte order, as this transaction leaves it.
    ///
    /// # Errors
    /// [`TxError::Path`].
    pub fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Entry)>, F> {
        let entry = self.resolve(path)?;
        if entry.kind != FileKind::Directory {
            return Err(problem(path, PathProblem::NotADirectory));
        }
        Ok(self.overlay.entries(&self.index, entry.ino).into_iter().collect())
    }

    /// Type, metadata and size, as this transaction leaves them.
    ///
    /// # Errors
    /// [`TxError::Path`], [`TxError::Read`].
    pub fn stat(&self, path: &[u8]) -> Result<Stat, F> {
        let entry = self.resolve(path)?;
        let mut stat = self.stat_inode(entry)?;
        if entry.kind != FileKind::Directory {
            stat.links = self.names_of(entry.ino).len() as u32;
        } else {
            let below = self.overlay.entries(&self.index, entry.ino);
            let dirs = below.values().filter(|entry| entry.kind == FileKind::Directory).count() as u32;
            stat.links = 2 + u32::from(entry.ino == ROOT) + dirs;
        }
        Ok(stat)
    }

    /// All of a file, as this transaction leaves it.
    ///
    /// # Errors
    /// [`TxError::Path`], [`TxError::Read`].
    pub fn read_file(&self, path: &[u8]) -> Result<Vec<u8>, F> {
        let entry = self.resolve(path)?;
        match self.overlay.new.get(&entry.ino) {
            Some(inode) if inode.kind == FileKind::File => self.read_new(entry.ino, inode),
            Some(_) => Err(ReadError::WrongKind { ino: entry.ino, wanted: "regular file" }.into()),
            None => Ok(self.old_tree().read(entry.ino, u32::MAX)?),
        }
    }

    /// Target of a symlink, as this transaction leaves it.
    ///
    /// # Errors
    /// [`TxError::Path`], [`TxError::Read`].
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, F> {
        let entry = self.resolve(path)?;
        match self.overlay.new.get(&entry.ino) {
            Some(inode) if inode.kind == FileKind::Symlink => Ok(inode.data.clone()),
            Some(_) => Err(ReadError::WrongKind { ino: entry.ino, wanted: "symlink" }.into()),
            None => Ok(self.old_tree().read_link(entry.ino)?),
        }
    }

    pub(super) fn old_tree(&self) -> Tree<'_, F> {
        Tree::new(&*self.flash, &self.index)
    }

    fn read_new(&self, ino: u32, inode: &NewInode) -> Result<Vec<u8>, F> {
        let mut all = Vec::with_capacity(inode.size as usize);
        for node in &inode.nodes {
            let mut bytes = vec![0; INODE_SIZE + node.csize as usize];
            self.writer.read(&*self.flash, node.address, &mut bytes)?;
            let damaged = |what| ReadError::Damaged { ino, offset: node.address.offset, what };
            let parsed = Inode::parse(self.endian(), &bytes).map_err(|_| damaged("new node does not read back"))?;
            decode(parsed.compression, &bytes[INODE_SIZE..], parsed.dsize, &mut all)
                .map_err(|error| ReadError::Codec { ino, offset: node.address.offset, error })?;
        }
        Ok(all)
    }

    pub(super) fn stat_inode(&self, entry: Entry) -> Result<Stat, F> {
        let Some(inode) = self.overlay.new.get(&entry.ino) else {
            let mut stat = self.old_tree().stat(entry.ino)?;
            stat.meta = self.overlay.metas.get(&entry.ino).copied().unwrap_or(stat.meta);
            return Ok(stat);
        };
        let size = if inode.kind == FileKind::Symlink { inode.data.len() as u32 } else { inode.size };
        let is_device = matches!(inode.kind, FileKind::CharDevice | FileKind::BlockDevice);
        let device = if is_device { Device::decode(self.endian(), &inode.data) } else { None };
        let (meta, mtime) = (inode.meta, inode.meta.mtime);
        Ok(Stat { ino: entry.ino, kind: inode.kind, meta, atime: mtime, ctime: mtime, size, links: 1, device })
    }

    pub(super) fn set_inode_meta(&mut self, entry: Entry, meta: Meta) -> Result<(), F> {
        let mode = if entry.kind == FileKind::Symlink { 0o777 } else { meta.mode };
        let meta = Meta { mode, ..meta };
        if let Some(inode) = self.overlay.new.get_mut(&entry.ino) {
            inode.meta = meta;
            return Ok(());
        }
        let old = self.old_tree().stat(entry.ino)?.meta;
        self.overlay.metas.remove(&entry.ino);
        self.overlay.time_only.remove(&entry.ino);
        if old != meta {
            self.overlay.metas.insert(entry.ino, meta);
        }
        if old != meta && (Meta { mtime: meta.mtime, ..old }) == meta {
            self.overlay.time_only.insert(entry.ino);
        }
        Ok(())
    }

    pub(super) fn add_inode(&mut self, kind: FileKind, meta: Meta, data: Vec<u8>) -> Result<u32, F> {
        if meta.mode > 0o7777 {
            return Err(problem(b"", PathProblem::Mode));
        }
        let ino = self.overlay.allocate().ok_or(TxError::Exhausted { what: "inode numbers" })?;
        let inode = NewInode { kind, meta, data, size: 0, nodes: Vec::new(), version: 0, written: None };
        self.overlay.new.insert(ino, inode);
        Ok(ino)
    }

    /// Writes what is left of a file.
    pub(super) fn finish(&mut self, file: &mut NewFile) -> Result<(), F> {
        if !file.page.is_empty() {
            self.write_page(file)?;
        }
        self.write_zeros(file)
    }

    fn write_page(&mut self, file: &mut NewFile) -> Result<(), F> {
        let end = file.offset.checked_add(file.page.len() as u32).ok_or(problem(b"", PathProblem::TooLarge))?;
        if file.page.iter().all(|byte| *byte == 0) {
            file.zeros.get_or_insert(file.offset);
        } else {
            self.write_zeros(file)?;
            self.write_data(file.ino, file.meta, file.offset, &file.page)?;
        }
        file.offset = end;
        file.page.clear();
        Ok(())
    }

    /// Writes a run of zeros that ends where the file has got to.
    fn write_zeros(&mut self, file: &mut NewFile) -> Result<(), F> {
        let Some(start) = file.zeros.take() else { return Ok(()) };
        if file.offset - start >= HOLE_MIN {
            return self.write_hole(file.ino, file.meta, start, file.offset);
        }
        let mut at = start;
        while at < file.offset {
            let len = (file.offset - at).min(DATA_PAGE as u32);
            self.write_data(file.ino, file.meta, at, &[0; DATA_PAGE][..len as usize])?;
            at += len;
        }
        Ok(())
    }

    fn make(&mut self, path: &[u8], kind: FileKind, meta: Meta, data: Vec<u8>) -> Result<(), F> {
        if meta.mode > 0o7777 {
            return Err(problem(path, PathProblem::Mode));
        }
        let place = self.place(path)?;
        if self.overlay.entry(&self.index, place.0, &place.1).is_some() {
            return Err(problem(path, PathProblem::Exists));
        }
        let ino = self.add_inode(kind, meta, data)?;
        self.put(path, place, Entry { ino, kind }, false)
    }

    /// Sets a name; `replace` allows it to take that of a file.
    fn put(&mut self, path: &[u8], (dir, name): (u32, Vec<u8>), entry: Entry, replace: bool) -> Result<(), F> {
        match self.overlay.entry(&self.index, dir, &name) {
            Some(there) if there.kind == FileKind::Directory => return Err(problem(path, PathProblem::IsADirectory)),
            Some(_) if !replace => return Err(problem(path, PathProblem::Exists)),
            _ => {}
        }
        self.overlay.set(&self.index, dir, &name, Some(entry));
        Ok(())
    }

    /// What a path leads to.
    fn resolve(&self, path: &[u8]) -> Result<Entry, F> {
        let mut at = Entry { ino: ROOT, kind: FileKind::Directory };
        for name in components(path) {
            if at.kind != FileKind::Directory {
                return Err(problem(path, PathProblem::NotADirectory));
            }
            at = self.overlay.entry(&self.index, at.ino, name).ok_or(problem(path, PathProblem::NotFound))?;
        }
        Ok(at)
    }

    /// The directory and the last name of a path.
    fn place(&self, path: &[u8]) -> Result<(u32, Vec<u8>), F> {
        let names: Vec<&[u8]> = components(path).collect();
        let Some((last, above)) = names.split_last() else { return Err(problem(path, PathProblem::Root)) };
        if last.len() > MAX_NAME || last.contains(&0) || *last == b".." {
            return Err(problem(path, PathProblem::Name));
        }
        let dir = self.resolve(&above.join(&b'/'))?;
        if dir.kind != FileKind::Directory {
            return Err(problem(path, PathProblem::NotADirectory));
        }
        Ok((dir.ino, last.to_vec()))
    }

    fn is_within(&self, dir: u32, above: u32) -> bool {
        let dirs = self.overlay.directories(&self.index);
        let mut at = Some(dir);
        while let Some(ino) = at {
            if ino == above {
                return true;
            }
            at = dirs.iter().find(|dir| dir.ino == ino).and_then(|dir| dir.parent.as_ref()).map(|parent| parent.0);
        }
        false
    }

    /// Every name of an inode.
    fn names_of(&self, ino: u32) -> Vec<(u32, Vec<u8>)> {
        let mut names = Vec::new();
        for dir in self.overlay.directories(&self.index) {
            let here = dir.entries.into_iter().filter(|(_, entry)| entry.ino == ino);
            names.extend(here.map(|(name, _)| (dir.ino, name)));
        }
        names
    }

    pub(super) fn note_node(&mut self, ino: u32, node: NewNode, meta: Meta) {
        if let Some(inode) = self.overlay.new.get_mut(&ino) {
            inode.version += 1;
            inode.size = inode.size.max(node.offset + node.dsize);
            inode.written = Some(meta);
            inode.nodes.push(node);
        }
    }
}

pub(super) fn problem<E>(path: &[u8], problem: PathProblem) -> TxError<E> {
    TxError::Path { path: String::from_utf8_lossy(path).into_owned(), problem }
}
