//! Names, inodes and contents, from what was scanned.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::decode::NONE;
use super::extents::Extents;
use super::node::{Dirent, Inode};
use super::scan::Scan;
use super::{Firmware, FirmwareError};

pub(super) const ROOT: u32 = 1;
/// Most bytes of a file that are loaded: no kernel is larger, and images may be made to harm.
pub const MAX_FILE: u32 = 64 << 20;
/// Directories whose path is longer are listed and not entered.
const MAX_PATH: usize = 4096;
/// Longest name that U-Boot's listing has room for.
const U_BOOT_NAME: usize = 216;

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareEntry {
    /// Type.
    pub kind: FirmwareKind,
    /// Permissions with set-id and sticky bits; of a root that nothing is written about, 0755.
    pub mode: u32,
    /// User.
    pub uid: u16,
    /// Group.
    pub gid: u16,
    /// Modification time in the newest inode node, seconds since 1970. Linux takes a directory's from its names, too.
    pub mtime: u32,
    /// What is in it.
    pub content: FirmwareContent,
}

/// Type of what a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareKind {
    /// Directory.
    Directory,
    /// Regular file.
    File,
    /// Symbolic link.
    Symlink,
    /// Device, fifo or socket: the S_IFMT bits of its mode.
    Special(u32),
    /// No good node says what it is.
    Unknown,
}

/// What is in a file or symlink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirmwareContent {
    /// Neither a file nor a symlink.
    Nothing,
    /// A file's bytes.
    Bytes {
        /// How many.
        size: u32,
        /// Their SHA-256.
        sha256: [u8; 32],
    },
    /// Target of a symlink.
    Target(Vec<u8>),
    /// It cannot be read, or its name cannot be shown.
    Failed(FirmwareError),
}

/// What is in files, and the nodes that it is made of: one firmware's.
#[derive(Debug, Default)]
pub(crate) struct Contents(HashMap<u32, (Vec<Arc<Inode>>, FirmwareContent)>);

impl Contents {
    fn of(&mut self, ino: u32, nodes: &[Arc<Inode>], read: impl FnOnce() -> FirmwareContent) -> FirmwareContent {
        let same = |known: &[Arc<Inode>]| known.iter().map(Arc::as_ptr).eq(nodes.iter().map(Arc::as_ptr));
        match self.0.get(&ino) {
            Some((known, content)) if same(known) => content.clone(),
            _ => {
                let content = read();
                self.0.insert(ino, (nodes.to_vec(), content.clone()));
                content
            }
        }
    }
}

/// A file system as a firmware sees it.
#[derive(Debug)]
pub struct Files {
    pub(super) firmware: Firmware,
    /// Inode number of each live name, by directory.
    names: HashMap<u32, BTreeMap<Vec<u8>, u32>>,
    /// In the order of the flash.
    nodes: HashMap<u32, Vec<Arc<Inode>>>,
    /// Directory of the newest dirent that leads to an inode, whether that dirent counts or not.
    homes: HashMap<u32, (i64, u32)>,
}

impl Firmware {
    /// The file system in eraseblocks given in the order of the flash.
    #[must_use]
    pub fn files<'s>(self, scans: impl Iterator<Item = &'s Scan> + Clone) -> Files {
        let mut nodes: HashMap<u32, Vec<Arc<Inode>>> = HashMap::new();
        for node in scans.clone().flat_map(|scan| &scan.inodes) {
            nodes.entry(node.ino).or_default().push(Arc::clone(node));
        }
        let mut homes = HashMap::new();
        let mut parents = HashSet::from([ROOT]);
        for dirent in scans.clone().flat_map(|scan| &scan.dirents) {
            parents.insert(dirent.parent);
            let home = (self.rank(dirent.version), dirent.parent);
            let known = homes.entry(dirent.ino).or_insert(home);
            if home.0 >= known.0 {
                *known = home;
            }
        }
        let mut names: HashMap<u32, BTreeMap<Vec<u8>, u32>> = HashMap::new();
        for dirent in self.winners(scans.flat_map(|scan| &scan.dirents)) {
            if dirent.ino != 0 && (nodes.contains_key(&dirent.ino) || parents.contains(&dirent.ino)) {
                names.entry(dirent.parent).or_default().insert(dirent.name.clone(), dirent.ino);
            }
        }
        Files { firmware: self, names, nodes, homes }
    }

    /// Why a path's last name breaks its listing.
    pub(crate) fn cannot_list(self, path: &[u8]) -> Option<FirmwareError> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        (self.is_u_boot() && name.len() > U_BOOT_NAME).then_some(FirmwareError::LongName(name.len()))
    }

    /// Of each name the dirent that counts.
    fn winners<'s>(self, dirents: impl Iterator<Item = &'s Dirent>) -> impl Iterator<Item = &'s Dirent> {
        let mut candidates: Vec<&Dirent> = Vec::new();
        for dirent in dirents.filter(|dirent| dirent.ino != 0 || self != Self::UBoot2015) {
            if self == Self::OpenFirmware {
                candidates.pop_if(|before| before.same_name(dirent));
            }
            candidates.push(dirent);
        }
        let mut winners: HashMap<(u32, &[u8]), &Dirent> = HashMap::new();
        for dirent in candidates {
            let winner = winners.entry((dirent.parent, &dirent.name)).or_insert(dirent);
            if self.supersedes((dirent.version, winner.version)) {
                *winner = dirent;
            }
        }
        winners.into_values()
    }

    /// Whether a node replaces one that stands before it.
    fn supersedes(self, (later, earlier): (u32, u32)) -> bool {
        match self {
            Self::OpenFirmware => self.rank(later) > self.rank(earlier),
            _ => self.rank(later) >= self.rank(earlier),
        }
    }
}

impl Files {
    pub(super) fn child(&self, dir: u32, name: &[u8]) -> Option<u32> {
        self.names.get(&dir)?.get(name).copied()
    }

    /// Directory that the newest dirent of an inode stands in.
    pub(super) fn home(&self, ino: u32) -> u32 {
        self.homes.get(&ino).map_or(ROOT, |home| home.1)
    }

    pub(super) fn kind(&self, ino: u32) -> FirmwareKind {
        match self.newest(ino).map(|node| node.mode & 0o170_000) {
            Some(0o040_000) => FirmwareKind::Directory,
            Some(0o100_000) => FirmwareKind::File,
            Some(0o120_000) => FirmwareKind::Symlink,
            Some(special) => FirmwareKind::Special(special),
            None if ino == ROOT || self.names.contains_key(&ino) => FirmwareKind::Directory,
            None => FirmwareKind::Unknown,
        }
    }

    /// The node whose metadata counts.
    fn newest(&self, ino: u32) -> Option<&Inode> {
        let counts = |node: &&Inode| node.data.is_some() || self.firmware.is_u_boot();
        self.nodes_of(ino)
            .iter()
            .map(Arc::as_ref)
            .filter(counts)
            .reduce(|newest, node| if self.firmware.supersedes((node.version, newest.version)) { node } else { newest })
    }

    /// In the order of the flash.
    fn nodes_of(&self, ino: u32) -> &[Arc<Inode>] {
        self.nodes.get(&ino).map_or(&[], Vec::as_slice)
    }

    /// Every name; the root's is empty, others have no slash in front.
    #[must_use]
    pub fn tree(&self) -> BTreeMap<Vec<u8>, FirmwareEntry> {
        self.tree_with(&mut Contents::default())
    }

    /// The same. What is in files that consist of the nodes of last time is not read again.
    pub(crate) fn tree_with(&self, contents: &mut Contents) -> BTreeMap<Vec<u8>, FirmwareEntry> {
        let mut tree = BTreeMap::new();
        let mut entered = HashSet::new();
        let mut todo = vec![(Vec::new(), ROOT)];
        while let Some((path, ino)) = todo.pop() {
            let entry = self.entry(ino, contents);
            if entry.kind == FirmwareKind::Directory && path.len() <= MAX_PATH && entered.insert(ino) {
                for (name, child) in self.names.get(&ino).into_iter().flatten().rev() {
                    let path = if path.is_empty() { name.clone() } else { [&path, &b"/"[..], name].concat() };
                    todo.push((path, *child));
                }
            }
            let entry = self.listed(entry, &path);
            tree.insert(path, entry);
        }
        tree
    }

    fn entry(&self, ino: u32, contents: &mut Contents) -> FirmwareEntry {
        let kind = self.kind(ino);
        let content = contents.of(ino, self.nodes_of(ino), || self.content(ino, kind));
        match self.newest(ino) {
            Some(node) => FirmwareEntry {
                kind,
                mode: node.mode & 0o7777,
                uid: node.uid,
                gid: node.gid,
                mtime: node.mtime,
                content,
            },
            None => FirmwareEntry { kind, mode: 0o755, uid: 0, gid: 0, mtime: 0, content },
        }
    }

    fn content(&self, ino: u32, kind: FirmwareKind) -> FirmwareContent {
        let content = match kind {
            FirmwareKind::File => self.bytes(ino, MAX_FILE).map(|bytes| FirmwareContent::Bytes {
                size: bytes.len() as u32,
                sha256: Sha256::digest(&bytes).into(),
            }),
            FirmwareKind::Symlink => self.target(ino).map(FirmwareContent::Target),
            FirmwareKind::Unknown => Err(FirmwareError::Damaged),
            FirmwareKind::Directory | FirmwareKind::Special(_) => Ok(FirmwareContent::Nothing),
        };
        content.unwrap_or_else(FirmwareContent::Failed)
    }

    fn listed(&self, entry: FirmwareEntry, path: &[u8]) -> FirmwareEntry {
        match self.firmware.cannot_list(path) {
            Some(error) => FirmwareEntry { content: FirmwareContent::Failed(error), ..entry },
            None => entry,
        }
    }

    pub(super) fn target(&self, ino: u32) -> Result<Vec<u8>, FirmwareError> {
        self.bytes(ino, MAX_PATH as u32)
    }

    /// Bytes of a file or symlink, if they are not more than `most`.
    pub(super) fn bytes(&self, ino: u32, most: u32) -> Result<Vec<u8>, FirmwareError> {
        let mut size = self.newest(ino).ok_or(FirmwareError::Damaged)?.size;
        let extents = self.extents(self.nodes_of(ino));
        if self.firmware == Firmware::Barebox {
            size = size.min(extents.end());
        }
        if size > most {
            return Err(FirmwareError::TooLarge(size));
        }
        let mut bytes = vec![0; size as usize];
        for (range, node) in extents.iter().filter(|(range, _)| range.start < size) {
            let Some(data) = self.firmware.decoded(node)? else { continue };
            let from = data.get((range.start - node.offset) as usize..).unwrap_or_default();
            let to = &mut bytes[range.start as usize..range.end.min(size) as usize];
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
        Ok(bytes)
    }

    /// Which node each byte comes from.
    fn extents<'n>(&self, nodes: &'n [Arc<Inode>]) -> Extents<&'n Inode> {
        let mut good: Vec<&Inode> = nodes.iter().map(Arc::as_ref).filter(|node| node.data.is_some()).collect();
        if self.firmware == Firmware::OpenFirmware {
            // Of equal versions the first is to be on top.
            good.reverse();
        }
        if !self.firmware.is_u_boot() {
            good.sort_by_key(|node| self.firmware.rank(node.version));
        }
        let mut extents = Extents::new();
        for node in good {
            // What a node without compression holds is what it stores.
            let len =
                if node.compressor == NONE { node.data.as_ref().map_or(0, Vec::len) as u32 } else { node.decoded };
            extents.lay(node.offset..node.offset.saturating_add(len), node);
        }
        extents
    }
}
