//! Random changes by a transaction, and what they must lead to.

use anyhow::{Context, Result};
use jffs2_tx::flash::mtd::MtdFlash;
use jffs2_tx::{Device, FileKind, Meta, Transaction};
use kernel_guest::listing::{self, Entry, REGULAR, SYMLINK, TYPE_MASK};

use super::model::{Model, is_below};
use crate::age::Rng;

/// Changes in a transaction, the first file not counted.
const CHANGES: (u64, u64) = (1, 12);
/// Names that there may be; with more of them something goes.
const MAX_NAMES: usize = 70;
/// Longest file, bytes.
const MAX_FILE: u64 = 16 << 10;

/// What is to be done.
#[derive(Clone, Copy)]
pub(super) enum Wish {
    /// A new file and all kinds of things.
    Several,
    /// One thing of whatever kind.
    One,
    /// What gives space back.
    Removals,
}

/// A transaction and the tree that it leads to.
pub(super) struct Changes<'a, 'f> {
    tx: &'a mut Transaction<'f, MtdFlash>,
    model: &'a mut Model,
    rng: &'a mut Rng,
    round: u32,
}

type Change = fn(&mut Changes<'_, '_>) -> Result<()>;

/// What is done, each with how often among the others.
const KINDS: [(u32, Change); 14] = [
    (6, |it| it.create()),
    (6, |it| it.write()),
    (2, |it| it.replace()),
    (6, |it| it.remove()),
    (1, |it| it.remove_directory()),
    (4, |it| it.rename()),
    (2, |it| it.rename_over()),
    (1, |it| it.rename_directory()),
    (3, |it| it.link()),
    (2, |it| it.symlink()),
    (3, |it| it.make_node()),
    (2, |it| it.make_directory()),
    (4, |it| it.set_owner_and_mode()),
    (3, |it| it.set_time()),
];

impl<'a, 'f> Changes<'a, 'f> {
    pub(super) fn new(
        tx: &'a mut Transaction<'f, MtdFlash>,
        model: &'a mut Model,
        rng: &'a mut Rng,
        round: u32,
    ) -> Self {
        Self { tx, model, rng, round }
    }

    pub(super) fn make(&mut self, wish: Wish) -> Result<()> {
        match wish {
            Wish::Several => self.several(),
            Wish::One => self.change(),
            Wish::Removals => (0..4).try_for_each(|_| self.remove()).context("remove"),
        }
    }

    fn several(&mut self) -> Result<()> {
        self.create().context("the first file")?;
        for _ in 0..self.rng.between(CHANGES.0, CHANGES.1) {
            if self.model.len() > MAX_NAMES {
                self.remove().context("make room")?;
            }
            self.change()?;
        }
        Ok(())
    }

    fn change(&mut self) -> Result<()> {
        let mut number = self.rng.below(KINDS.iter().map(|(weight, _)| u64::from(*weight)).sum());
        for (index, (weight, change)) in KINDS.iter().enumerate() {
            match number.checked_sub((*weight).into()) {
                Some(rest) => number = rest,
                None => return change(self).with_context(|| format!("change {index}")),
            }
        }
        Ok(())
    }

    fn pick(&mut self, wanted: impl Fn(&Entry) -> bool) -> Option<Vec<u8>> {
        self.rng.pick(&self.model.paths(wanted)).cloned()
    }

    fn file(&mut self) -> Option<Vec<u8>> {
        self.pick(|entry| entry.mode & TYPE_MASK == REGULAR)
    }

    fn no_directory(&mut self) -> Option<Vec<u8>> {
        self.pick(|entry| !entry.is_directory())
    }

    /// A directory that is not the root.
    fn directory(&mut self) -> Option<Vec<u8>> {
        let directories = self.model.paths(Entry::is_directory);
        let below: Vec<_> = directories.into_iter().filter(|path| path != b".").collect();
        self.rng.pick(&below).cloned()
    }

    /// A path at which nothing is, as the kernel makes no such names.
    fn new_path(&mut self) -> Vec<u8> {
        let directory = self.pick(Entry::is_directory).unwrap_or_else(|| b".".to_vec());
        let mut path =
            [&directory[..], format!("/tx{}-{:08x}", self.round, self.rng.next() as u32).as_bytes()].concat();
        if self.rng.percent(5) {
            path.resize(path.len() + self.rng.below(230) as usize, b'x');
        }
        path
    }

    fn meta(&mut self) -> Meta {
        let [mode, uid, gid, mtime] = [0o10000, 1 << 16, 1 << 16, 1 << 32].map(|end| self.rng.below(end));
        Meta { mode: mode as u32, uid: uid as u16, gid: gid as u16, mtime: mtime as u32 }
    }

    fn content(&mut self) -> Vec<u8> {
        let most = if self.rng.percent(50) { 1000 } else { MAX_FILE };
        let len = self.rng.below(most);
        self.rng.content(len)
    }

    fn create(&mut self) -> Result<()> {
        let path = self.new_path();
        self.put_file(path)
    }

    /// A new file with the name of another one.
    fn replace(&mut self) -> Result<()> {
        let Some(path) = self.no_directory() else { return Ok(()) };
        self.put_file(path)
    }

    fn put_file(&mut self, path: Vec<u8>) -> Result<()> {
        let (meta, data) = (self.meta(), self.content());
        self.tx.create_file(&path, meta, &data)?;
        self.model.put(with_content(entry(path, FileKind::File, meta), &data));
        Ok(())
    }

    /// New contents: by all names of the file.
    fn write(&mut self) -> Result<()> {
        let Some(path) = self.file() else { return Ok(()) };
        let (data, mtime) = (self.content(), self.meta().mtime);
        self.tx.write_file(&path, &data, mtime)?;
        if let Some(file) = self.model.get_mut(&path) {
            *file = with_content(Entry { mtime: mtime.into(), ..file.clone() }, &data);
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        let Some(path) = self.no_directory() else { return Ok(()) };
        self.tx.remove(&path)?;
        self.model.remove(&path);
        Ok(())
    }

    fn remove_directory(&mut self) -> Result<()> {
        let Some(path) = self.directory() else { return Ok(()) };
        self.tx.remove_all(&path)?;
        self.model.remove(&path);
        Ok(())
    }

    fn rename(&mut self) -> Result<()> {
        let Some(from) = self.no_directory() else { return Ok(()) };
        let to = self.new_path();
        self.move_to(&from, &to)
    }

    fn rename_over(&mut self) -> Result<()> {
        let (Some(from), Some(to)) = (self.no_directory(), self.no_directory()) else { return Ok(()) };
        self.move_to(&from, &to)
    }

    fn rename_directory(&mut self) -> Result<()> {
        let Some(from) = self.directory() else { return Ok(()) };
        let to = self.new_path();
        if is_below(&to, &from) { Ok(()) } else { self.move_to(&from, &to) }
    }

    fn move_to(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        self.tx.rename(from, to)?;
        self.model.rename(from, to);
        Ok(())
    }

    fn link(&mut self) -> Result<()> {
        let Some(existing) = self.no_directory() else { return Ok(()) };
        let path = self.new_path();
        self.tx.link(&existing, &path)?;
        self.model.link(&existing, &path);
        Ok(())
    }

    fn symlink(&mut self) -> Result<()> {
        let (path, meta) = (self.new_path(), Meta { mode: 0o777, ..self.meta() });
        let target = vec![b't'; self.rng.between(1, 200) as usize];
        self.tx.symlink(&path, meta, &target)?;
        let link = entry(path, FileKind::Symlink, meta);
        self.model.put(Entry { size: target.len() as u64, target, ..link });
        Ok(())
    }

    fn make_node(&mut self) -> Result<()> {
        let (path, meta) = (self.new_path(), self.meta());
        if self.rng.percent(30) {
            self.tx.mkfifo(&path, meta)?;
            self.model.put(entry(path, FileKind::Fifo, meta));
            return Ok(());
        }
        let (majors, minors) = if self.rng.percent(50) { (256, 256) } else { (4096, 1 << 20) };
        let (major, minor) = (self.rng.below(majors) as u32, self.rng.below(minors) as u32);
        let block = self.rng.percent(50);
        self.tx.mknod(&path, meta, block, Device { major, minor })?;
        let kind = if block { FileKind::BlockDevice } else { FileKind::CharDevice };
        self.model.put(Entry { rdev: (major, minor), ..entry(path, kind, meta) });
        Ok(())
    }

    fn make_directory(&mut self) -> Result<()> {
        let (path, meta) = (self.new_path(), self.meta());
        self.tx.mkdir(&path, meta)?;
        self.model.put(entry(path, FileKind::Directory, meta));
        Ok(())
    }

    fn set_owner_and_mode(&mut self) -> Result<()> {
        let Some(path) = self.pick(|entry| entry.mode & TYPE_MASK != SYMLINK) else { return Ok(()) };
        let Meta { mode, uid, gid, .. } = self.meta();
        self.tx.chmod(&path, mode)?;
        self.tx.chown(&path, uid, gid)?;
        if let Some(entry) = self.model.get_mut(&path) {
            entry.mode = entry.mode & TYPE_MASK | mode;
            (entry.uid, entry.gid) = (uid.into(), gid.into());
        }
        Ok(())
    }

    fn set_time(&mut self) -> Result<()> {
        let Some(path) = self.pick(|_| true) else { return Ok(()) };
        let mtime = self.meta().mtime;
        self.tx.utimes(&path, mtime)?;
        if let Some(entry) = self.model.get_mut(&path) {
            entry.mtime = mtime.into();
        }
        Ok(())
    }
}

fn entry(path: Vec<u8>, kind: FileKind, meta: Meta) -> Entry {
    Entry {
        path,
        mode: kind.mode_bits() | meta.mode,
        uid: meta.uid.into(),
        gid: meta.gid.into(),
        size: 0,
        mtime: meta.mtime.into(),
        nlink: 1,
        rdev: (0, 0),
        sha256: None,
        target: Vec::new(),
    }
}

fn with_content(entry: Entry, data: &[u8]) -> Entry {
    Entry { size: data.len() as u64, sha256: Some(listing::content_digest(data)), ..entry }
}
