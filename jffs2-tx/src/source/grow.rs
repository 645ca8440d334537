//! Adding to a tree, within the format's limits.

use std::string::String;
use std::vec::Vec;

use super::refusal::{check_name, check_node, check_xattrs, printable};
use super::{Extra, NodeId, ROOT, Refusal, SourceError, SourceKind, SourceNode, SourceTree};

impl SourceTree {
    /// Adds a node under `name` in the directory `parent`. A directory is added empty.
    ///
    /// # Errors
    /// [`SourceError`] with the path in the tree if the format cannot hold the name or the node, if the name is
    /// taken, or if `parent` is no directory. The tree is then unchanged.
    ///
    /// # Panics
    /// If `parent` is of another tree.
    pub fn add(&mut self, parent: NodeId, name: &[u8], node: SourceNode) -> Result<NodeId, SourceError> {
        self.try_add(parent, name, node).map_err(|reason| reason.at(&self.child_path(parent, name)))
    }

    /// Gives the node `id`, which is no directory, another name: a hard link.
    ///
    /// # Errors
    /// [`SourceError`] as for [`SourceTree::add`], and for a directory.
    ///
    /// # Panics
    /// If an id is of another tree.
    pub fn link(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), SourceError> {
        self.try_link(parent, name, id).map_err(|reason| reason.at(&self.child_path(parent, name)))
    }

    /// Gives the node its extra; extended attributes in any order.
    ///
    /// # Errors
    /// [`SourceError`] with the path in the tree for an extended attribute that the format cannot hold, or that is given
    /// twice. The tree is then unchanged.
    pub fn set_extra(&mut self, id: NodeId, mut extra: Extra) -> Result<(), SourceError> {
        extra.xattrs.sort_by(|a, b| a.name.cmp(&b.name));
        check_xattrs(&extra.xattrs).map_err(|reason| reason.at(&self.path_bytes(id)))?;
        if extra == Extra::default() {
            self.extras.remove(&id);
        } else {
            self.extras.insert(id, extra);
        }
        Ok(())
    }

    /// Takes a name away, and gives back what it led to. That is still a node, with all that is below, and may have other
    /// names.
    ///
    /// # Panics
    /// If `parent` is of another tree.
    pub fn unlink(&mut self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match &mut self.nodes[parent].kind {
            SourceKind::Directory(names) => names.remove(name),
            _ => None,
        }
    }

    /// Lowers every time over `latest` (seconds since 1970) to it.
    pub fn clamp_mtimes(&mut self, latest: u32) {
        for node in &mut self.nodes {
            node.meta.mtime = node.meta.mtime.min(latest);
        }
        for (atime, ctime) in self.extras.values_mut().filter_map(|extra| extra.times.as_mut()) {
            (*atime, *ctime) = ((*atime).min(latest), (*ctime).min(latest));
        }
    }

    /// One of the node's paths in the tree, for messages: control characters are escaped.
    #[must_use]
    pub fn path_of(&self, id: NodeId) -> String {
        printable(&self.path_bytes(id))
    }

    pub(super) fn try_add(&mut self, parent: NodeId, name: &[u8], node: SourceNode) -> Result<NodeId, Refusal> {
        check_node(&node)?;
        let id = self.nodes.len();
        self.insert_name(parent, name, id)?;
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn try_link(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), Refusal> {
        if matches!(self.nodes[id].kind, SourceKind::Directory(_)) {
            return Err(Refusal::Directory);
        }
        self.insert_name(parent, name, id)
    }

    fn insert_name(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), Refusal> {
        check_name(name)?;
        let SourceKind::Directory(names) = &mut self.nodes[parent].kind else {
            return Err(Refusal::NotADirectory);
        };
        if names.contains_key(name) {
            return Err(Refusal::NameTaken);
        }
        names.insert(name.to_vec(), id);
        Ok(())
    }

    fn child_path(&self, parent: NodeId, name: &[u8]) -> Vec<u8> {
        let mut path = self.path_bytes(parent);
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    // Nodes do not know their parents: only messages need the way up, so it is searched for from the root.
    fn path_bytes(&self, id: NodeId) -> Vec<u8> {
        let mut todo = Vec::from([(ROOT, Vec::new())]);
        while let Some((at, path)) = todo.pop() {
            if at == id {
                return if at == ROOT { b"/".to_vec() } else { path };
            }
            todo.extend(self.children(at).map(|(name, child)| (child, [&path, &b"/"[..], name].concat())));
        }
        b"?".to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inode_kind::{Device, Meta};
    use crate::source::Content;
    use std::collections::BTreeMap;
    use std::string::ToString;
    use std::vec;

    const META: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 5 };

    fn node(kind: SourceKind) -> SourceNode {
        SourceNode { meta: META, kind }
    }

    fn directory() -> SourceNode {
        node(SourceKind::Directory(BTreeMap::new()))
    }

    #[test]
    fn adds_links_and_finds_paths() {
        let mut tree = SourceTree::new(META);
        let a = tree.add(ROOT, b"a", directory()).unwrap();
        let b = tree.add(a, b"b\n", node(SourceKind::Fifo)).unwrap();
        tree.link(ROOT, b"z", b).unwrap();
        assert_eq!(tree.children(ROOT).collect::<Vec<_>>(), [(&b"a"[..], a), (b"z", b)]);
        assert_eq!((tree.path_of(ROOT).as_str(), tree.path_of(a).as_str()), ("/", "/a"));
        let only = tree.add(a, b"c\n", node(SourceKind::Fifo)).unwrap();
        assert_eq!(tree.path_of(only), "/a/c\\n");
        for (path, id) in [("", ROOT), ("//", ROOT), ("a/", a), ("/a//b\n", b), ("z", b)] {
            assert_eq!(tree.find(path.as_bytes()), Some(id), "{path}");
        }
        assert_eq!(["b", "/a/.", "/z/b\n"].map(|path| tree.find(path.as_bytes())), [None; 3]);
        assert_eq!((tree.unlink(a, b"c\n"), tree.unlink(a, b"c\n"), tree.unlink(b, b"x")), (Some(only), None, None));
        assert_eq!((tree.find(b"a/c\n"), tree.path_of(only).as_str()), (None, "?"));
        tree.clamp_mtimes(3);
        assert!(tree.nodes().iter().all(|n| n.meta.mtime == 3));
    }

    #[test]
    fn refuses_what_the_format_cannot_hold() {
        let mut tree = SourceTree::new(META);
        let dir = tree.add(ROOT, b"dir", directory()).unwrap();
        let fifo = tree.add(dir, b"fifo", node(SourceKind::Fifo)).unwrap();
        let long = [b'n'; 255];
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", b"fifo", &long] {
            assert!(tree.add(dir, name, node(SourceKind::Fifo)).is_err(), "{name:?}");
            assert!(tree.link(dir, name, fifo).is_err(), "{name:?}");
        }
        let far = Device { major: 4096, minor: 0 };
        for kind in [
            SourceKind::Symlink(vec![]),
            SourceKind::Symlink(vec![b'x'; 255]),
            SourceKind::Symlink(b"a\0".to_vec()),
            SourceKind::CharDevice(far),
            SourceKind::BlockDevice(far),
            SourceKind::File { size: 2, content: Content::Bytes(vec![1]) },
            SourceKind::Directory(BTreeMap::from([(b"x".to_vec(), fifo)])),
        ] {
            assert!(tree.add(dir, b"new", node(kind)).is_err());
        }
        let odd = SourceNode { meta: Meta { mode: 0o10_000, ..META }, kind: SourceKind::Fifo };
        assert!(tree.add(dir, b"new", odd).is_err());
        assert_eq!(tree.link(dir, b"new", dir).unwrap_err().path, "/dir/new");
        let error = tree.add(fifo, b"new", directory()).unwrap_err();
        assert_eq!(error.to_string(), "/dir/fifo/new: not a directory");
        assert_eq!((tree.nodes().len(), tree.children(dir).count()), (3, 1), "unchanged after all that");
        assert!(tree.add(dir, &long[..254], node(SourceKind::Symlink(vec![b'x'; 254]))).is_ok());
    }
}
