//! Trees to build images of.

use jffs2_tx::inode_kind::Meta;
use jffs2_tx::source::{Content, ROOT, SourceKind, SourceNode, SourceTree};

pub(crate) const META: Meta = Meta { mode: 0o644, uid: 1, gid: 2, mtime: 1_700_000_000 };

pub(crate) fn file(bytes: Vec<u8>) -> SourceNode {
    let kind = SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes) };
    SourceNode { meta: META, kind }
}

/// Bytes that do not compress, the same in every run.
pub(crate) fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) fn tree_of(files: &[Vec<u8>]) -> SourceTree {
    let mut tree = SourceTree::new(META);
    for (i, bytes) in files.iter().enumerate() {
        tree.add(ROOT, format!("f{i}").as_bytes(), file(bytes.clone())).unwrap();
    }
    tree
}
