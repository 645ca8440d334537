//! Copies of nodes in another tree.

use std::collections::{BTreeMap, HashMap};

use jffs2_tx::source::{NodeId, ROOT, SourceError, SourceKind, SourceNode, SourceTree};

/// Copies nodes of one tree into another one. What has two names that are copied is one node there, too.
#[derive(Debug)]
pub struct Copier<'s> {
    from: &'s SourceTree,
    /// What has been copied, and as what.
    ids: HashMap<NodeId, NodeId>,
}

impl<'s> Copier<'s> {
    /// For nodes of this tree.
    #[must_use]
    pub fn new(from: &'s SourceTree) -> Self {
        Self { from, ids: HashMap::new() }
    }

    /// A tree of all that is wanted: asked are the paths, without a slash in front, and what they lead to. What is in a
    /// directory that is not wanted is not wanted either.
    ///
    /// # Errors
    /// [`SourceError`] for what the format cannot hold; the tree has refused that before.
    pub fn all(&mut self, wanted: impl Fn(&[u8], NodeId) -> bool) -> Result<SourceTree, SourceError> {
        let mut tree = self.root()?;
        self.below(&mut tree, ROOT, ROOT, wanted)?;
        Ok(tree)
    }

    /// Copies what is wanted below `from` into the directory `into`. Paths are asked from `from` on.
    ///
    /// # Errors
    /// [`SourceError`], also for a name that is there already.
    pub fn below(
        &mut self,
        tree: &mut SourceTree,
        from: NodeId,
        into: NodeId,
        wanted: impl Fn(&[u8], NodeId) -> bool,
    ) -> Result<(), SourceError> {
        let mut todo = vec![(Vec::new(), from, into)];
        while let Some((above, id, parent)) = todo.pop() {
            for (name, child) in self.from.children(id) {
                let path = [&above, name].concat();
                if wanted(&path, child) {
                    let copy = self.node(tree, parent, name, child)?;
                    todo.push(([&path, &b"/"[..]].concat(), child, copy));
                }
            }
        }
        Ok(())
    }

    /// A tree whose root is what the root is here, but for what is in it.
    ///
    /// # Errors
    /// [`SourceError`] for what the format cannot hold; the tree has refused that before.
    pub fn root(&mut self) -> Result<SourceTree, SourceError> {
        let mut tree = SourceTree::new(self.from.node(ROOT).meta);
        self.extra(&mut tree, ROOT, ROOT)?;
        self.ids.insert(ROOT, ROOT);
        Ok(tree)
    }

    /// What a node has become, if it has been copied.
    #[must_use]
    pub fn copy_of(&self, id: NodeId) -> Option<NodeId> {
        self.ids.get(&id).copied()
    }

    /// Copies a node; of a directory not what is in it.
    ///
    /// # Errors
    /// [`SourceError`], also for a name that is there already.
    pub fn node(
        &mut self,
        to: &mut SourceTree,
        parent: NodeId,
        name: &[u8],
        id: NodeId,
    ) -> Result<NodeId, SourceError> {
        if let Some(&copy) = self.ids.get(&id) {
            to.link(parent, name, copy)?;
            return Ok(copy);
        }
        let SourceNode { meta, kind } = self.from.node(id);
        let kind = match kind {
            SourceKind::Directory(_) => SourceKind::Directory(BTreeMap::new()),
            other => other.clone(),
        };
        let copy = to.add(parent, name, SourceNode { meta: *meta, kind })?;
        self.extra(to, id, copy)?;
        self.ids.insert(id, copy);
        Ok(copy)
    }

    fn extra(&self, to: &mut SourceTree, id: NodeId, copy: NodeId) -> Result<(), SourceError> {
        self.from.extra(id).map_or(Ok(()), |extra| to.set_extra(copy, extra.clone()))
    }
}
