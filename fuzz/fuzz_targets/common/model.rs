//! The tree as a map of paths.

use std::collections::{BTreeMap, HashMap};

use jffs2_tx::flash::Flash;
use jffs2_tx::index::ROOT;
use jffs2_tx::source::{Content, SourceKind, SourceNode, SourceTree};
use jffs2_tx::{Device, Endian, FileKind, Index, Meta, Rules, Tree};

use super::input::{META, Op, device, target};

/// Paths without a slash in front; the root's is empty. Names of one file lead to the same node.
#[derive(Clone, Debug)]
pub struct Model {
    names: BTreeMap<Vec<u8>, usize>,
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    kind: FileKind,
    meta: Meta,
    /// Contents or target.
    data: Vec<u8>,
    device: Option<Device>,
}

impl Model {
    /// An empty flash.
    pub fn new() -> Self {
        let root = Node::new(FileKind::Directory, Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 });
        Self { names: BTreeMap::from([(Vec::new(), 0)]), nodes: vec![root] }
    }

    /// What the operations make of an empty one.
    pub fn of(ops: &[Op]) -> Self {
        let mut model = Self::new();
        for op in ops.iter().take(24).filter(|op| !matches!(op, Op::Replace(_))) {
            model.apply(op);
        }
        model
    }

    /// Does the operation; `false` if it makes no sense, and then nothing has changed.
    pub fn apply(&mut self, op: &Op) -> bool {
        self.try_apply(op).is_some()
    }

    fn try_apply(&mut self, op: &Op) -> Option<()> {
        match op {
            Op::Create(path, data) => {
                let path = path.bytes();
                self.in_directory(&path)?;
                let is_directory = self.at(&path).is_some_and(Node::is_directory);
                let node = Node { data: data.bytes(), ..Node::new(FileKind::File, META) };
                (!is_directory).then(|| self.put(path, node))
            }
            Op::Write(path, data, mtime) => {
                let node = self.at_mut(&path.bytes()).filter(|node| node.kind == FileKind::File)?;
                (node.data, node.meta.mtime) = (data.bytes(), *mtime);
                Some(())
            }
            Op::Mkdir(path, mode) => {
                let meta = Meta { mode: u32::from(*mode & 0o7777), ..META };
                self.add(path.bytes(), Node::new(FileKind::Directory, meta))
            }
            Op::Symlink(path, number) => {
                let node = Node::new(FileKind::Symlink, Meta { mode: 0o777, ..META });
                self.add(path.bytes(), Node { data: target(*number), ..node })
            }
            Op::Device(path, block, number) => {
                let kind = if *block { FileKind::BlockDevice } else { FileKind::CharDevice };
                self.add(path.bytes(), Node { device: Some(device(*number)), ..Node::new(kind, META) })
            }
            Op::Fifo(path) => self.add(path.bytes(), Node::new(FileKind::Fifo, META)),
            Op::Link(existing, path) => {
                let id = *self.names.get(&existing.bytes())?;
                let path = path.bytes();
                self.in_directory(&path)?;
                let can = !self.nodes[id].is_directory() && self.at(&path).is_none();
                can.then(|| _ = self.names.insert(path, id))
            }
            Op::Rename(from, to) => self.rename(&from.bytes(), &to.bytes()),
            Op::Remove(path) => {
                let path = path.bytes();
                (self.below(&path).count() == 0).then_some(())?;
                self.remove(&path)
            }
            Op::RemoveAll(path) => self.remove(&path.bytes()),
            Op::Chmod(path, mode) => {
                let node = self.at_mut(&path.bytes())?;
                if node.kind != FileKind::Symlink {
                    node.meta.mode = u32::from(*mode & 0o7777);
                }
                Some(())
            }
            Op::Chown(path, uid, gid) => {
                let node = self.at_mut(&path.bytes())?;
                (node.meta.uid, node.meta.gid) = (*uid, *gid);
                Some(())
            }
            Op::Utimes(path, mtime) => {
                self.at_mut(&path.bytes())?.meta.mtime = *mtime;
                Some(())
            }
            Op::Replace(ops) => {
                *self = Self::of(ops);
                Some(())
            }
        }
    }

    fn at(&self, path: &[u8]) -> Option<&Node> {
        self.names.get(path).map(|id| &self.nodes[*id])
    }

    fn at_mut(&mut self, path: &[u8]) -> Option<&mut Node> {
        let id = *self.names.get(path)?;
        Some(&mut self.nodes[id])
    }

    /// Whether a name can be in a directory that is there: the root has none.
    fn in_directory(&self, path: &[u8]) -> Option<()> {
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        (!path.is_empty() && self.at(&path[..end])?.is_directory()).then_some(())
    }

    fn add(&mut self, path: Vec<u8>, node: Node) -> Option<()> {
        self.in_directory(&path)?;
        self.at(&path).is_none().then(|| self.put(path, node))
    }

    fn put(&mut self, path: Vec<u8>, node: Node) {
        self.nodes.push(node);
        self.names.insert(path, self.nodes.len() - 1);
    }

    /// Names below a directory.
    fn below<'m>(&'m self, path: &'m [u8]) -> impl Iterator<Item = &'m Vec<u8>> + 'm {
        self.names.keys().filter(move |other| is_below(other, path))
    }

    fn remove(&mut self, path: &[u8]) -> Option<()> {
        self.in_directory(path)?;
        self.names.remove(path)?;
        self.names.retain(|other, _| !is_below(other, path));
        Some(())
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> Option<()> {
        let id = *self.names.get(from)?;
        self.in_directory(from)?;
        self.in_directory(to)?;
        let is_directory = self.nodes[id].is_directory();
        if is_directory && is_below(to, from) {
            return None;
        }
        if let Some(there) = self.names.get(to) {
            if *there == id {
                return Some(());
            }
            if self.nodes[*there].is_directory() != is_directory || self.below(to).count() > 0 {
                return None;
            }
        }
        let moved = |path: &[u8]| (path == from || is_below(path, from)).then(|| [to, &path[from.len()..]].concat());
        self.names.remove(to);
        self.names =
            std::mem::take(&mut self.names).into_iter().map(|(path, id)| (moved(&path).unwrap_or(path), id)).collect();
        Some(())
    }

    /// As a tree to be made.
    pub fn source(&self) -> SourceTree {
        let mut tree = SourceTree::new(self.nodes[0].meta);
        let (mut ids, mut made) = (HashMap::from([(Vec::new(), 0)]), HashMap::new());
        for (path, node) in self.names.iter().skip(1) {
            let slash = path.iter().rposition(|byte| *byte == b'/');
            let (parent, name) = (&path[..slash.unwrap_or(0)], &path[slash.map_or(0, |at| at + 1)..]);
            let parent = ids[parent];
            let id = match made.get(node) {
                Some(id) => tree.link(parent, name, *id).map(|()| *id),
                None => tree.add(parent, name, self.nodes[*node].source()),
            };
            let id = id.expect("the model is a tree");
            made.insert(*node, id);
            ids.insert(path.clone(), id);
        }
        tree
    }

    /// Each path with what it leads to, and the first path that leads there.
    fn listing(&self) -> Vec<(&Vec<u8>, &Node, &Vec<u8>)> {
        let mut first = HashMap::new();
        let names = self.names.iter();
        names.map(|(path, id)| (path, &self.nodes[*id], *first.entry(*id).or_insert(path))).collect()
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        self.listing() == other.listing()
    }
}

impl Node {
    fn new(kind: FileKind, meta: Meta) -> Self {
        Self { kind, meta, data: Vec::new(), device: None }
    }

    fn is_directory(&self) -> bool {
        self.kind == FileKind::Directory
    }

    fn source(&self) -> SourceNode {
        let device = self.device.unwrap_or(Device { major: 0, minor: 0 });
        let kind = match self.kind {
            FileKind::Directory => SourceKind::Directory(BTreeMap::new()),
            FileKind::File => {
                SourceKind::File { size: self.data.len() as u32, content: Content::Bytes(self.data.clone()) }
            }
            FileKind::Symlink => SourceKind::Symlink(self.data.clone()),
            FileKind::CharDevice => SourceKind::CharDevice(device),
            FileKind::BlockDevice => SourceKind::BlockDevice(device),
            FileKind::Fifo => SourceKind::Fifo,
            FileKind::Socket => SourceKind::Socket,
        };
        SourceNode { meta: self.meta, kind }
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.len() > directory.len()
        && path.starts_with(directory)
        && (directory.is_empty() || path.get(directory.len()) == Some(&b'/'))
}

/// What a reader sees.
pub fn read<F: Flash>(flash: &F, endian: Endian, summaries: bool) -> Result<Model, String> {
    let index = Index::open(flash, Rules { endian, summaries }).map_err(|e| format!("mount: {e}"))?;
    let tree = Tree::new(flash, &index);
    let (mut names, mut nodes, mut ids) = (BTreeMap::new(), Vec::new(), HashMap::new());
    for step in tree.walk(ROOT) {
        let node = || {
            let stat = tree.stat(step.ino)?;
            let data = match stat.kind {
                FileKind::File => tree.read(step.ino, u32::MAX)?,
                FileKind::Symlink => tree.read_link(step.ino)?,
                _ => Vec::new(),
            };
            Ok(Node { kind: stat.kind, meta: stat.meta, data, device: stat.device })
        };
        let id = match ids.get(&step.ino) {
            Some(id) => *id,
            None => {
                let node = node().map_err(|e: jffs2_tx::ReadError<F::Error>| {
                    format!("{}: {e}", String::from_utf8_lossy(&step.path))
                })?;
                nodes.push(node);
                ids.insert(step.ino, nodes.len() - 1);
                nodes.len() - 1
            }
        };
        names.insert(step.path, id);
    }
    Ok(Model { names, nodes })
}
