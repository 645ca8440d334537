//! Trees and changes that follow from a seed.

use std::collections::BTreeMap;

use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::source::{Content, NodeId, ROOT, SourceKind, SourceNode, SourceTree};

use super::Sample;
use crate::rng::Rng;

/// Names that a tree is begun with.
const NAMES: u64 = 40;
/// Most changes of an update.
const CHANGES: u64 = 20;

/// A small tree, and up to 20 random changes to it: names added, removed, moved, linked, written anew, of another type,
/// owner or mode, at any depth. The same for the same seed.
#[must_use]
pub fn sample_random(seed: u64) -> Sample {
    let mut rng = Rng::keyed(&[seed, u64::from_le_bytes(*b"sample  ")]);
    let mut names = Names::new(&mut rng);
    for _ in 0..1 + rng.below(NAMES) {
        names.add(&mut rng);
    }
    let old = names.tree();
    // An update that changes nothing is none.
    names.write_anew(b"changed", &mut rng);
    for _ in 0..rng.below(CHANGES) {
        names.change(&mut rng);
    }
    Sample { old, new: names.tree() }
}

/// What names lead to; names that share a number are links to one inode.
struct Names {
    root: Meta,
    all: BTreeMap<Vec<u8>, usize>,
    inodes: Vec<SourceNode>,
}

impl Names {
    fn new(rng: &mut Rng) -> Self {
        Self { root: meta(rng), all: BTreeMap::new(), inodes: Vec::new() }
    }

    fn tree(&self) -> SourceTree {
        let mut tree = SourceTree::new(self.root);
        let mut ids: BTreeMap<&[u8], NodeId> = BTreeMap::from([(&b""[..], ROOT)]);
        let mut made = BTreeMap::new();
        for (path, inode) in &self.all {
            let (parent, name) = split(path);
            let parent = ids[parent];
            // Paths and names are short, and parents are there: nothing is refused.
            let id = match made.get(inode) {
                Some(&id) => tree.link(parent, name, id).map(|()| id),
                None => tree.add(parent, name, self.node(*inode)),
            };
            let id = id.unwrap_or_else(|error| unreachable!("{error}"));
            made.insert(inode, id);
            ids.insert(path, id);
        }
        tree
    }

    /// The mode of a symlink is always the same.
    fn node(&self, inode: usize) -> SourceNode {
        let SourceNode { mut meta, kind } = self.inodes[inode].clone();
        if matches!(kind, SourceKind::Symlink(_)) {
            meta.mode = 0o777;
        }
        SourceNode { meta, kind }
    }

    fn change(&mut self, rng: &mut Rng) {
        let path = self.any(rng);
        match rng.below(7) {
            0 => self.add(rng),
            1 => self.remove(&path),
            2 => self.rename(&path, rng),
            3 => self.link(&path, rng),
            4 if path.is_empty() => self.root = meta(rng),
            4 => {
                let inode = self.all[&path];
                self.inodes[inode].meta = meta(rng);
            }
            _ if self.is_directory(&path) => self.add(rng),
            _ => self.write_anew(&path, rng),
        }
    }

    /// Any path; empty for the root.
    fn any(&self, rng: &mut Rng) -> Vec<u8> {
        let nth = rng.below(self.all.len() as u64 + 1) as usize;
        self.all.keys().nth(nth).cloned().unwrap_or_default()
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.all.get(path).is_none_or(|&inode| matches!(self.inodes[inode].kind, SourceKind::Directory(_)))
    }

    /// A name in some directory that is not there yet.
    fn fresh(&self, rng: &mut Rng) -> Vec<u8> {
        let near = self.any(rng);
        let parent = if self.is_directory(&near) { &near[..] } else { split(&near).0 };
        let mut path = parent.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(b"n".repeat(1 + rng.below(20) as usize));
        path.extend(format!("{}", rng.below(1 << 40)).bytes());
        path
    }

    fn add(&mut self, rng: &mut Rng) {
        let path = self.fresh(rng);
        let kind = kind(rng);
        self.put(&path, kind, rng);
    }

    fn write_anew(&mut self, path: &[u8], rng: &mut Rng) {
        let kind = file(rng);
        self.put(path, kind, rng);
    }

    fn put(&mut self, path: &[u8], kind: SourceKind, rng: &mut Rng) {
        self.all.insert(path.to_vec(), self.inodes.len());
        self.inodes.push(SourceNode { meta: meta(rng), kind });
    }

    fn link(&mut self, path: &[u8], rng: &mut Rng) {
        if !self.is_directory(path) {
            let to = self.fresh(rng);
            self.all.insert(to, self.all[path]);
        }
    }

    fn remove(&mut self, path: &[u8]) {
        if !path.is_empty() {
            self.all.retain(|other, _| !is_at_or_below(other, path));
        }
    }

    fn rename(&mut self, path: &[u8], rng: &mut Rng) {
        let to = self.fresh(rng);
        if path.is_empty() || is_at_or_below(&to, path) {
            return;
        }
        let is_moved = |(other, _): &(&Vec<u8>, &usize)| is_at_or_below(other, path);
        let moved: Vec<_> = self.all.iter().filter(is_moved).map(|(from, inode)| (from.clone(), *inode)).collect();
        self.remove(path);
        self.all.extend(moved.into_iter().map(|(from, inode)| ([&to, &from[path.len()..]].concat(), inode)));
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

fn is_at_or_below(path: &[u8], top: &[u8]) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn kind(rng: &mut Rng) -> SourceKind {
    match rng.below(10) {
        0..3 => SourceKind::Directory(BTreeMap::new()),
        3 => SourceKind::Symlink(b"to/".repeat(1 + rng.below(60) as usize)),
        4 => SourceKind::CharDevice(Device { major: rng.below(300) as u32, minor: rng.below(300) as u32 }),
        5 => SourceKind::Fifo,
        _ => file(rng),
    }
}

fn file(rng: &mut Rng) -> SourceKind {
    let size = [0, 1, 100, 4095, 4096, 4097, 9000][rng.below(7) as usize];
    let mut bytes = vec![b'a'; size];
    if rng.below(3) == 0 {
        rng.fill(&mut bytes);
    } else if let Some(byte) = bytes.first_mut() {
        *byte = rng.next_u8();
    }
    SourceKind::File { size: size as u32, content: Content::Bytes(bytes) }
}

fn meta(rng: &mut Rng) -> Meta {
    let id = |rng: &mut Rng| rng.below(1 << 16) as u16;
    Meta { mode: rng.below(0o10000) as u32, uid: id(rng), gid: id(rng), mtime: rng.below(1 << 31) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;

    #[test]
    fn seeds_give_trees() {
        let mut changed = 0;
        for seed in 0..50 {
            let Sample { old, new } = sample_random(seed);
            let (old, new) = (Snapshot::of_source(&old).unwrap(), Snapshot::of_source(&new).unwrap());
            assert_eq!(Snapshot::of_source(&sample_random(seed).new).unwrap(), new);
            changed += new.differences(&old, 100).len();
        }
        assert!(changed > 400, "{changed}");
    }
}
