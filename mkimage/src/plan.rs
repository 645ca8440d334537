//! The order that inodes are written in, and their numbers.

use jffs2_tx::manifest::escape;
use jffs2_tx::source::{NodeId, ROOT, SourceKind, SourceTree};

use crate::{BuildError, Options};

/// JFFS2's inode number of the root directory.
const ROOT_INO: u32 = 1;

#[derive(Debug)]
pub(crate) struct Plan {
    /// Every inode once.
    pub(crate) order: Vec<NodeId>,
    /// Inode numbers by node.
    ino: Vec<u32>,
}

impl Plan {
    /// Depth first, names in byte order, the root first; if `sort`, everything else before regular files. But before all
    /// that what is to be first.
    pub(crate) fn new(tree: &SourceTree, options: &Options) -> Result<Self, BuildError> {
        let mut plan = Self::depth_first(tree);
        if options.sort {
            plan.order.sort_by_key(|&id| matches!(tree.node(id).kind, SourceKind::File { .. }));
        }
        let mut rank = vec![usize::MAX; tree.nodes().len()];
        for (at, path) in options.first.iter().enumerate() {
            let wrong = |what| BuildError::First { path: escape(path), what };
            let id = tree.find(path).ok_or_else(|| wrong("it is not in the tree"))?;
            if matches!(tree.node(id).kind, SourceKind::Symlink(_)) {
                return Err(wrong("a symlink: give the path that it leads to"));
            }
            below(tree, id).for_each(|id| rank[id] = rank[id].min(at));
        }
        plan.order.sort_by_key(|&id| rank[id]);
        Ok(plan)
    }

    fn depth_first(tree: &SourceTree) -> Self {
        let mut plan = Self { order: Vec::new(), ino: vec![0; tree.nodes().len()] };
        plan.ino[ROOT] = ROOT_INO;
        let mut next_ino = ROOT_INO + 1;
        let mut todo = vec![ROOT];
        while let Some(id) = todo.pop() {
            plan.order.push(id);
            let first_child = todo.len();
            for (_, child) in tree.children(id) {
                // A hard link: its number, and its place, are those of its first name.
                if plan.ino[child] == 0 {
                    plan.ino[child] = next_ino;
                    next_ino += 1;
                    todo.push(child);
                }
            }
            todo[first_child..].reverse();
        }
        plan
    }

    pub(crate) fn ino(&self, id: NodeId) -> u32 {
        self.ino[id]
    }
}

/// A node and all that is in it.
fn below(tree: &SourceTree, id: NodeId) -> impl Iterator<Item = NodeId> {
    let mut todo = vec![id];
    std::iter::from_fn(move || {
        let id = todo.pop()?;
        todo.extend(tree.children(id).map(|(_, child)| child));
        Some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jffs2_tx::inode_kind::Meta;
    use jffs2_tx::source::{Content, SourceNode};

    fn planned(tree: &SourceTree, sort: bool, first: &[&str]) -> Result<Plan, BuildError> {
        let first = first.iter().map(|path| path.as_bytes().to_vec()).collect();
        Plan::new(tree, &Options { sort, first, ..Options::default() })
    }

    #[test]
    fn depth_first_or_metadata_first_or_as_asked() {
        let meta = Meta { mode: 0, uid: 0, gid: 0, mtime: 0 };
        let node = |kind| SourceNode { meta, kind };
        let file = || node(SourceKind::File { size: 0, content: Content::Bytes(vec![]) });
        let mut tree = SourceTree::new(meta);
        let z = tree.add(ROOT, b"z", node(SourceKind::Fifo)).unwrap();
        let d = tree.add(ROOT, b"d", node(SourceKind::Directory(Default::default()))).unwrap();
        let x = tree.add(d, b"x", file()).unwrap();
        let y = tree.add(ROOT, b"y", file()).unwrap();
        tree.link(d, b"same as y", y).unwrap();
        let plan = planned(&tree, false, &[]).unwrap();
        assert_eq!(plan.order, [ROOT, d, x, y, z]);
        assert_eq!([ROOT, d, y, z, x].map(|id| plan.ino(id)), [1, 2, 3, 4, 5]);
        let order = |sort, first: &[&str]| planned(&tree, sort, first).unwrap().order;
        assert_eq!(order(true, &[]), [ROOT, d, z, x, y]);
        assert_eq!(order(false, &["/y", "d/x"]), [y, x, ROOT, d, z]);
        assert_eq!(order(false, &["d/x", "d"]), [x, d, y, ROOT, z]);
        assert_eq!(order(true, &["z", "d/"]), [z, d, x, y, ROOT]);
        assert_eq!(order(false, &["d/same as y", "/"]), [y, ROOT, d, x, z]);
        assert_eq!(planned(&tree, false, &["y"]).unwrap().ino(y), plan.ino(y));
        tree.add(ROOT, b"s", node(SourceKind::Symlink(b"y".to_vec()))).unwrap();
        for (path, text) in [("x", "it is not in"), ("z/x", "it is not in"), ("s", "a symlink")] {
            let error = planned(&tree, false, &["y", path]).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(path), "{error}");
        }
    }
}
