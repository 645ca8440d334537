//! Trees laid one over the other.

use std::collections::BTreeSet;

use jffs2_tx::source::{NodeId, ROOT, SourceError, SourceKind, SourceTree};

use super::copy::Copier;

/// A tree from one source.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What is in it.
    pub tree: SourceTree,
    /// Directories of which the source says no more than that they are there, such as those that a tar archive has no
    /// entry for: over another directory they leave it its owner, mode, time and attributes.
    pub implied: BTreeSet<NodeId>,
}

impl From<SourceTree> for Layer {
    fn from(tree: SourceTree) -> Self {
        Self { tree, implied: BTreeSet::new() }
    }
}

/// `over` laid over `base`. Directories with one path become one: it has what is in both, and what `over` says of the
/// directory itself. Anything else in `over` replaces what has its path in `base`, with all that is below. Names that are
/// hard links in one of the trees still are.
///
/// # Errors
/// [`SourceError`] for what the format cannot hold; trees have refused that before.
pub fn overlay(base: &SourceTree, over: &Layer) -> Result<SourceTree, SourceError> {
    let mut lower = Copier::new(base);
    let mut upper = Copier::new(&over.tree);
    let mut tree = if over.implied.contains(&ROOT) { lower.root()? } else { upper.root()? };
    let mut todo = vec![(ROOT, Some(ROOT), Some(ROOT))];
    while let Some((parent, below, above)) = todo.pop() {
        for name in names(base, below).chain(names(&over.tree, above)).collect::<BTreeSet<_>>() {
            let above = above.and_then(|id| over.tree.child(id, name));
            let below = below.and_then(|id| base.child(id, name));
            // Only directories share a path.
            let below = below.filter(|&below| {
                above.is_none_or(|above| is_directory(base, below) && is_directory(&over.tree, above))
            });
            let copy = match (below, above) {
                (Some(below), Some(above)) if over.implied.contains(&above) => {
                    lower.node(&mut tree, parent, name, below)?
                }
                (_, Some(above)) => upper.node(&mut tree, parent, name, above)?,
                (Some(below), None) => lower.node(&mut tree, parent, name, below)?,
                (None, None) => continue,
            };
            todo.push((copy, below, above));
        }
    }
    Ok(tree)
}

/// The names in a directory, if there is one.
fn names(tree: &SourceTree, id: Option<NodeId>) -> impl Iterator<Item = &[u8]> {
    id.into_iter().flat_map(|id| tree.children(id)).map(|(name, _)| name)
}

fn is_directory(tree: &SourceTree, id: NodeId) -> bool {
    matches!(tree.node(id).kind, SourceKind::Directory(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jffs2_tx::inode_kind::{FileKind, Meta};
    use jffs2_tx::source::{Content, Extra, SourceNode};
    use jffs2_tx::tree::Attribute;

    /// A tree of words: `a/` is a directory, `a` a file, `a=b` a hard link to `b`; all of this time.
    fn tree(mtime: u32, words: &str) -> SourceTree {
        let meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime };
        let mut tree = SourceTree::new(meta);
        for word in words.split_whitespace() {
            let (path, to) = word.split_once('=').unwrap_or((word, ""));
            let is_directory = path.ends_with('/');
            let (parent, name) =
                path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path.trim_end_matches('/')));
            let parent = tree.find(parent.as_bytes()).unwrap();
            let file = SourceKind::File { size: 4, content: Content::Bytes(mtime.to_le_bytes().to_vec()) };
            let kind = if is_directory { SourceKind::Directory(Default::default()) } else { file };
            if to.is_empty() {
                let id = tree.add(parent, name.as_bytes(), SourceNode { meta, kind }).unwrap();
                let xattrs = vec![Attribute { name: b"user.of".to_vec(), value: vec![mtime as u8] }];
                tree.set_extra(id, Extra { times: None, xattrs }).unwrap();
            } else {
                tree.link(parent, name.as_bytes(), tree.find(to.as_bytes()).unwrap()).unwrap();
            }
        }
        tree
    }

    /// Paths with their times; hard links with the first path. All that the nodes hold must be of that time.
    fn words(tree: &SourceTree) -> String {
        let mut out = vec![format!("/:{}", tree.node(ROOT).meta.mtime)];
        let mut first = std::collections::HashMap::new();
        let mut todo = vec![(ROOT, String::new())];
        while let Some((id, path)) = todo.pop() {
            for (name, child) in tree.children(id) {
                let path = format!("{path}{}", String::from_utf8_lossy(name));
                let node = tree.node(child);
                assert_eq!(u32::from(tree.extra(child).unwrap().xattrs[0].value[0]), node.meta.mtime);
                if let SourceKind::File { content: Content::Bytes(bytes), .. } = &node.kind {
                    assert_eq!(bytes[..], node.meta.mtime.to_le_bytes());
                }
                let to = first.entry(child).or_insert_with(|| path.clone());
                let same = if *to == path { String::new() } else { format!("={to}") };
                let slash = if node.kind.file_kind() == FileKind::Directory { "/" } else { "" };
                out.push(format!("{path}{slash}{same}:{}", node.meta.mtime));
                todo.push((child, path + "/"));
            }
        }
        assert_eq!(tree.nodes().len() - 1, first.len(), "nodes without a name");
        out.sort();
        out.join(" ")
    }

    fn laid(base: &str, over: &str) -> String {
        words(&overlay(&tree(1, base), &tree(2, over).into()).unwrap())
    }

    #[test]
    fn later_wins() {
        assert_eq!(laid("a b", "b c"), "/:2 a:1 b:2 c:2");
        assert_eq!(laid("d/ d/a d/e/ d/e/x", "d/ d/b d/e/ d/e/y"), "/:2 d/:2 d/a:1 d/b:2 d/e/:2 d/e/x:1 d/e/y:2");
        assert_eq!(laid("d/ d/a d/e/ d/e/x", "d"), "/:2 d:2");
        assert_eq!(laid("d", "d/ d/a"), "/:2 d/:2 d/a:2");
        assert_eq!(laid("", "d/ d/a"), "/:2 d/:2 d/a:2");
        assert_eq!(laid("d/ d/a", ""), "/:2 d/:1 d/a:1");
        let gone = overlay(&tree(1, "d/ d/a"), &tree(2, "d").into()).unwrap();
        assert_eq!(
            words(&overlay(&gone, &tree(3, "d/ d/b").into()).unwrap()),
            "/:3 d/:3 d/b:3",
            "not what d/ had first"
        );
    }

    #[test]
    fn hard_links_stay_within_a_tree() {
        assert_eq!(laid("a b=a d/ d/c=a", "x y=x"), "/:2 a:1 b=a:1 d/:1 d/c=a:1 x:2 y=x:2");
        assert_eq!(laid("a b=a c=a", "b"), "/:2 a:1 b:2 c=a:1");
        assert_eq!(laid("a b", "a b=a"), "/:2 a:2 b=a:2");
        assert_eq!(laid("a b=a", "a b"), "/:2 a:2 b:2");
    }

    #[test]
    fn implied_directories_leave_the_others_as_they_are() {
        let over = tree(2, "d/ d/b n/ n/c f/ f/x");
        let implied = ["", "d", "n", "f"].map(|path| over.find(path.as_bytes()).unwrap());
        let over = Layer { implied: implied.into(), tree: over };
        assert_eq!(words(&overlay(&tree(1, "d/ d/a f"), &over).unwrap()), "/:1 d/:1 d/a:1 d/b:2 f/:2 f/x:2 n/:2 n/c:2");
    }
}
