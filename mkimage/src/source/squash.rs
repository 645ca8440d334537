//! Owners and permissions as if the files were root's.

use jffs2_tx::source::{SourceKind, SourceTree};

/// Bits that go: set-user-ID, set-group-ID, and writing by group and others. The sticky bit stays, as in mkfs.jffs2.
const SQUASHED: u32 = 0o6022;

/// Gives everything to user and group 0.
pub fn owners(tree: &mut SourceTree) {
    for id in 0..tree.nodes().len() {
        let meta = &mut tree.node_mut(id).meta;
        (meta.uid, meta.gid) = (0, 0);
    }
}

/// Takes away set-ID bits and the right to write for group and others; symlinks keep their mode, which says nothing.
pub fn permissions(tree: &mut SourceTree) {
    for id in 0..tree.nodes().len() {
        let node = tree.node_mut(id);
        if !matches!(node.kind, SourceKind::Symlink(_)) {
            node.meta.mode &= !SQUASHED;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jffs2_tx::inode_kind::Meta;
    use jffs2_tx::source::{ROOT, SourceNode};

    #[test]
    fn owners_and_permissions() {
        let meta = Meta { mode: 0o7777, uid: 5, gid: 6, mtime: 7 };
        let mut tree = SourceTree::new(meta);
        let link = tree.add(ROOT, b"l", SourceNode { meta, kind: SourceKind::Symlink(b"x".to_vec()) }).unwrap();
        let fifo = tree.add(ROOT, b"p", SourceNode { meta, kind: SourceKind::Fifo }).unwrap();
        permissions(&mut tree);
        assert_eq!([ROOT, link, fifo].map(|id| tree.node(id).meta.mode), [0o1755, 0o7777, 0o1755]);
        assert!(tree.nodes().iter().all(|node| (node.meta.uid, node.meta.gid) == (5, 6)));
        owners(&mut tree);
        assert!(tree.nodes().iter().all(|node| (node.meta.uid, node.meta.gid, node.meta.mtime) == (0, 0, 7)));
    }
}
