//! A tree's paths.

use jffs2_tx::source::{NodeId, ROOT, SourceTree};

/// Each node with the first of its paths, without a slash in front: directories before what is in them, names in byte order.
pub(super) fn walk(tree: &SourceTree) -> impl Iterator<Item = (Vec<u8>, NodeId)> {
    let mut seen = vec![false; tree.nodes().len()];
    let mut todo = vec![(Vec::new(), ROOT)];
    std::iter::from_fn(move || {
        let (path, id) = loop {
            let (path, id) = todo.pop()?;
            if !std::mem::replace(&mut seen[id], true) {
                break (path, id);
            }
        };
        let first = todo.len();
        let join = |name: &[u8]| if path.is_empty() { name.to_vec() } else { [&path, &b"/"[..], name].concat() };
        todo.extend(tree.children(id).map(|(name, child)| (join(name), child)));
        todo[first..].reverse();
        Some((path, id))
    })
}
