//! Findings about the tree, by path.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use core::slice;

use super::{Code, Finding, HIGH_VERSION, MAX_PATH};
use crate::codec::CodecError;
use crate::error::ReadError;
use crate::flash::Flash;
use crate::index::{Index, NameRecord, ROOT};
use crate::inode_kind::FileKind;
use crate::tree::{Loss, LossReason, Tree};
use crate::wire::INODE_SIZE;

/// A damaged node with so many blank bytes at its end was probably never written completely.
const CUT: usize = 16;

type Result<T, F> = core::result::Result<T, ReadError<<F as Flash>::Error>>;

pub(super) fn check<F: Flash>(flash: &F, index: &Index, contents: bool) -> Result<Vec<Finding>, F> {
    let tree = Tree::new(flash, index);
    let mut checker =
        Checker { flash, contents, tree, index, found: Vec::new(), seen: BTreeSet::new(), above: BTreeSet::new() };
    checker.run()?;
    Ok(checker.found)
}

pub(super) struct Checker<'a, F> {
    pub(super) flash: &'a F,
    /// Data is decoded, too.
    contents: bool,
    pub(super) index: &'a Index,
    pub(super) found: Vec<Finding>,
    tree: Tree<'a, F>,
    /// Inodes that were checked.
    seen: BTreeSet<u32>,
    /// Directories on the way down.
    above: BTreeSet<u32>,
}

/// A directory while its names are checked.
struct Open<'a> {
    ino: u32,
    path_len: usize,
    names: slice::Iter<'a, NameRecord>,
}

impl<'a, F: Flash> Checker<'a, F> {
    fn run(&mut self) -> Result<(), F> {
        let mut path = Vec::new();
        self.check_inode(&path, ROOT)?;
        let mut open = Vec::from([self.enter(&path, ROOT)?]);
        while let Some(dir) = open.last_mut() {
            path.truncate(dir.path_len);
            let Some(name) = dir.names.find(|name| name.ino != 0) else {
                self.above.remove(&dir.ino);
                open.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(self.index.name(name));
            if self.check_name(&path, name)? {
                open.push(self.enter(&path, name.ino)?);
            }
        }
        Ok(())
    }

    fn enter(&mut self, path: &[u8], ino: u32) -> Result<Open<'a>, F> {
        self.above.insert(ino);
        self.check_lost_names(path, ino)?;
        Ok(Open { ino, path_len: path.len(), names: self.index.dirents(ino).iter() })
    }

    /// Checks a name and, the first time, what it leads to; whether that is a directory to go into.
    fn check_name(&mut self, path: &[u8], name: &NameRecord) -> Result<bool, F> {
        let bytes = self.index.name(name);
        if matches!(bytes, b"." | b"..") || bytes.contains(&b'/') {
            self.about_name(Code::ImpossibleName, path, name, "name cannot be: no path leads to it");
        }
        if !self.index.exists(name.ino) {
            self.dangling(path, name);
            return Ok(false);
        }
        let again = !self.seen.insert(name.ino) || name.ino == ROOT;
        let kind = if again { self.kind(name.ino)? } else { self.check_inode(path, name.ino)? };
        let is_dir = kind == Some(FileKind::Directory) || self.index.is_directory(name.ino);
        if kind.is_some_and(|kind| kind.dirent_type() != name.kind) {
            self.about_name(Code::TypeMismatch, path, name, "type in the name differs from the inode's");
        }
        if is_dir && self.above.contains(&name.ino) {
            self.about_name(Code::Loop, path, name, "directory is inside itself");
        } else if is_dir && again {
            self.about_name(Code::TwoNames, path, name, "directory with two names");
        }
        let too_deep = is_dir && path.len() > MAX_PATH;
        if too_deep {
            self.about_name(Code::LongPath, path, name, &format!("path is over {MAX_PATH} bytes: not followed"));
        }
        Ok(is_dir && !again && !too_deep)
    }

    fn dangling(&mut self, path: &[u8], name: &NameRecord) {
        let suspects = self.index.suspects(name.ino);
        let hint = suspects.last().map(|node| format!("; its node at {:#x} is damaged", node.at)).unwrap_or_default();
        self.about_name(Code::DanglingName, path, name, &format!("name leads to nothing: Linux drops it{hint}"));
    }

    fn kind(&self, ino: u32) -> Result<Option<FileKind>, F> {
        match self.tree.stat(ino) {
            Ok(stat) => Ok(Some(stat.kind)),
            Err(error @ ReadError::Device { .. }) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Checks an inode and reads its data; its type, if it can be told.
    fn check_inode(&mut self, path: &[u8], ino: u32) -> Result<Option<FileKind>, F> {
        let stat = match self.tree.stat(ino) {
            Ok(stat) => stat,
            Err(error) => {
                self.failed(path, ino, error)?;
                return Ok(None);
            }
        };
        let before = self.found.len();
        match stat.kind {
            FileKind::File => self.check_data(path, ino)?,
            FileKind::Symlink => {
                if let Err(error) = self.tree.read_link(ino) {
                    self.failed(path, ino, error)?;
                }
            }
            _ => {}
        }
        self.check_metadata(path, ino, before);
        self.check_xattrs(path, ino)?;
        let version = self.index.max_version(ino);
        if version >= HIGH_VERSION {
            let text = format!("version {version} comes near the end of what transactions count to");
            self.found.push(Finding::new(Code::HighVersion, text).about(path, ino));
        }
        Ok(Some(stat.kind))
    }

    fn check_data(&mut self, path: &[u8], ino: u32) -> Result<(), F> {
        let mut file = match self.tree.open(ino) {
            Ok(file) => file,
            Err(error) => return self.failed(path, ino, error),
        };
        let bad = self.index.nodes(ino).iter().filter(|node| !node.good).map(|node| (node.at, node.csize));
        let bad: BTreeMap<u32, u32> = bad.collect();
        for Loss { start, end, at, reason } in if self.contents { file.all_losses()? } else { file.losses() } {
            let (code, text) = match reason {
                LossReason::Codec(CodecError::Unsupported(id)) => {
                    (Code::Unsupported, format!("not checked: compressor {id} is not supported here"))
                }
                reason => {
                    let node = at.and_then(|at| bad.get_key_value(&at));
                    let cut = node.map_or(Ok(false), |(at, csize)| self.looks_cut(*at, *csize))?;
                    let cut = if cut { ", as after a write that was cut" } else { "" };
                    (Code::LostData, format!("bytes {start} to {end}: {reason}{cut}"))
                }
            };
            let finding = Finding::new(code, text).about(path, ino);
            self.found.push(Finding { offset: at, range: Some((start, end)), ..finding });
        }
        Ok(())
    }

    /// Whether the end of a node with so many bytes of data is blank.
    fn looks_cut(&self, at: u32, csize: u32) -> Result<bool, F> {
        if (csize as usize) < CUT {
            return Ok(false);
        }
        let (mut end, offset) = ([0; CUT], at + INODE_SIZE as u32 + csize - CUT as u32);
        self.flash.read(offset, &mut end).map_err(|error| ReadError::Device { offset, error })?;
        Ok(end == [0xff; CUT])
    }

    /// Whether the newest node has the metadata; a damaged one that is listed for its data, since `before`, is enough.
    fn check_metadata(&mut self, path: &[u8], ino: u32, before: usize) {
        let Some(good) = self.index.latest(ino).map(|node| node.version) else {
            self.check_made_up(path, ino);
            return;
        };
        let bad = self.index.nodes(ino).iter().rev().find(|node| !node.good).map(|node| (node.version, node.at));
        let lost = bad.into_iter().chain(super::damage::newest_data(self.index, ino)).max();
        let Some((version, at)) = lost.filter(|(version, _)| *version > good) else { return };
        if self.found[before..].iter().all(|finding| finding.offset != Some(at)) {
            let text = format!("newest node, version {version}, is damaged: mode, owner, times and size are older");
            self.found.push(Finding::new(Code::LostMetadata, text).about(path, ino).at(at));
        }
    }

    /// A directory without a node: Linux makes up metadata. It is lost if a damaged node says that it was there.
    fn check_made_up(&mut self, path: &[u8], ino: u32) {
        let bad = self.index.nodes(ino).last().map(|node| node.at);
        if let Some(at) = bad.or(super::damage::newest_data(self.index, ino).map(|(_, at)| at)) {
            let text = "directory without a readable node: Linux makes up mode, owner and times";
            self.found.push(Finding::new(Code::LostMetadata, text.into()).about(path, ino).at(at));
        }
    }

    fn check_xattrs(&mut self, path: &[u8], ino: u32) -> Result<(), F> {
        if self.index.xattrs(ino).next().is_none() {
            return Ok(());
        }
        match self.tree.lost_xattrs(ino) {
            Ok(lost) => self.found.extend(
                lost.iter().map(|lost| Finding::new(Code::LostXattr, lost.what.into()).about(path, ino).at(lost.at)),
            ),
            Err(error) => self.failed(path, ino, error)?,
        }
        Ok(())
    }

    /// Notes what cannot be read. Only the device's errors end the check.
    fn failed(&mut self, path: &[u8], ino: u32, error: ReadError<F::Error>) -> Result<(), F> {
        let (code, offset) = match &error {
            ReadError::Device { .. } => return Err(error),
            ReadError::NoNode { .. } => {
                let bad = self.index.nodes(ino).last().map(|node| node.at);
                (Code::NoNode, bad.or(self.index.suspects(ino).last().map(|node| node.at)))
            }
            ReadError::Damaged { offset, .. } | ReadError::Codec { offset, .. } => (Code::BadInode, Some(*offset)),
            _ => (Code::BadInode, None),
        };
        self.found.push(Finding { offset, ..Finding::new(code, format!("{error}")).about(path, ino) });
        Ok(())
    }

    fn about_name(&mut self, code: Code, path: &[u8], name: &NameRecord, text: &str) {
        self.found.push(Finding::new(code, text.into()).about(path, name.ino).at(name.at));
    }
}
