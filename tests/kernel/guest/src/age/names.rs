//! The names that there are, as far as the work goes, and new ones.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::rng::Rng;

/// Longest name that jffs2 takes, bytes.
const MAX_NAME: u64 = 254;
/// How many directories may lie inside each other; their names may be long, and paths must stay under 4096 bytes.
const MAX_DEPTH: usize = 4;
/// A directory that no work is done in: what it holds has been written once.
pub(crate) const LEFT_ALONE: &str = "static";

/// What is to know of a name.
#[derive(Clone)]
pub(crate) struct Name {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Symlink,
    Special,
}

/// All names.
pub(crate) struct Names {
    pub(crate) root: PathBuf,
    /// The root is the first.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) others: Vec<Name>,
    serial: u32,
}

impl Names {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), directories: Vec::new(), others: Vec::new(), serial: 0 }
    }

    /// Reads the names from the file system.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        self.directories = vec![self.root.clone()];
        self.others.clear();
        let mut next = 0;
        while let Some(directory) = self.directories.get(next).cloned() {
            let mut items = fs::read_dir(&directory)?.collect::<io::Result<Vec<_>>>()?;
            items.sort_by_key(fs::DirEntry::file_name);
            for item in items.iter().filter(|item| item.file_name() != LEFT_ALONE) {
                let kind = item.file_type()?;
                if kind.is_dir() {
                    self.directories.push(item.path());
                } else {
                    let special = kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket();
                    let kind = if kind.is_symlink() {
                        Kind::Symlink
                    } else {
                        [Kind::File, Kind::Special][usize::from(special)]
                    };
                    self.others.push(Name { path: item.path(), kind });
                }
            }
            next += 1;
        }
        Ok(())
    }

    /// A path at which nothing is, in one of the directories.
    pub(crate) fn new_path(&mut self, rng: &mut Rng) -> PathBuf {
        let directory = rng.pick(&self.directories).unwrap_or(&self.root).clone();
        directory.join(self.new_name(rng))
    }

    /// Mostly a short name, some of strange bytes, some as long as can be.
    fn new_name(&mut self, rng: &mut Rng) -> OsString {
        self.serial += 1;
        let mut name = format!("{:x}-{}", self.serial, ["f", "data", "lib.so"][rng.below(3) as usize]).into_bytes();
        match rng.below(20) {
            0 => {
                let len = rng.between(100, MAX_NAME + 1) as usize;
                name.resize(len, b'n');
            }
            1 => name.extend_from_slice(b" \xff|\\\n\"\xc3\xa9"),
            _ => {}
        }
        OsString::from_vec(name)
    }

    /// A path for a new directory, unless it would lie too deep.
    pub(crate) fn new_directory(&mut self, rng: &mut Rng) -> Option<PathBuf> {
        let path = self.new_path(rng);
        (path.components().count() <= self.root.components().count() + MAX_DEPTH).then_some(path)
    }

    /// Any name, the root's too.
    pub(crate) fn any(&self, rng: &mut Rng) -> Option<(PathBuf, Option<Kind>)> {
        if rng.percent(25) {
            return rng.pick(&self.directories).map(|path| (path.clone(), None));
        }
        rng.pick(&self.others).map(|name| (name.path.clone(), Some(name.kind)))
    }

    /// Any name of this kind.
    pub(crate) fn of_kind(&self, rng: &mut Rng, kind: Kind) -> Option<PathBuf> {
        let found: Vec<&Name> = self.others.iter().filter(|name| name.kind == kind).collect();
        rng.pick(&found).map(|name| name.path.clone())
    }

    /// A directory other than the root.
    pub(crate) fn below_root(&self, rng: &mut Rng) -> Option<PathBuf> {
        rng.pick(self.directories.get(1..)?).cloned()
    }

    pub(crate) fn add(&mut self, path: PathBuf, kind: Kind) {
        self.others.push(Name { path, kind });
    }

    /// Forgets a name and, if it is a directory's, all below.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.directories.retain(|known| !known.starts_with(path));
        self.others.retain(|known| !known.path.starts_with(path));
    }

    /// What was at `from` and below is now at `to`.
    pub(crate) fn moved(&mut self, from: &Path, to: &Path) {
        let others = self.others.iter_mut().map(|name| &mut name.path);
        for path in self.directories.iter_mut().chain(others) {
            if let Ok(below) = path.strip_prefix(from) {
                *path = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            }
        }
    }
}
