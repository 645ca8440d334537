//! The order that inodes are written in, and their numbers.

use jffs2_tx::source::{NodeId, ROOT, SourceKind, SourceTree};

/// JFFS2's inode number of the root directory.
const ROOT_INO: u32 = 1;

#[derive(Debug)]
pub(crate) struct Plan {
    /// Every inode once, the root first.
    pub(crate) order: Vec<NodeId>,
    /// Inode numbers by node.
    ino: Vec<u32>,
}

impl Plan {
    /// Depth first, names in byte order; if `sort`, everything else before regular files.
    pub(crate) fn new(tree: &SourceTree, sort: bool) -> Self {
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
        if sort {
            plan.order.sort_by_key(|&id| matches!(tree.node(id).kind, SourceKind::File { .. }));
        }
        plan
    }

    pub(crate) fn ino(&self, id: NodeId) -> u32 {
        self.ino[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jffs2_tx::inode_kind::Meta;
    use jffs2_tx::source::{Content, SourceNode};

    #[test]
    fn depth_first_or_metadata_first() {
        let meta = Meta { mode: 0, uid: 0, gid: 0, mtime: 0 };
        let node = |kind| SourceNode { meta, kind };
        let file = || node(SourceKind::File { size: 0, content: Content::Bytes(vec![]) });
        let mut tree = SourceTree::new(meta);
        let z = tree.add(ROOT, b"z", node(SourceKind::Fifo)).unwrap();
        let d = tree.add(ROOT, b"d", node(SourceKind::Directory(Default::default()))).unwrap();
        let x = tree.add(d, b"x", file()).unwrap();
        let y = tree.add(ROOT, b"y", file()).unwrap();
        tree.link(d, b"same as y", y).unwrap();
        let plan = Plan::new(&tree, false);
        assert_eq!(plan.order, [ROOT, d, x, y, z]);
        assert_eq!([ROOT, d, y, z, x].map(|id| plan.ino(id)), [1, 2, 3, 4, 5]);
        assert_eq!(Plan::new(&tree, true).order, [ROOT, d, z, x, y]);
    }
}
