//! Copies of nodes in another tree.

use std::collections::{BTreeMap, HashMap};

use jffs2_tx::source::{NodeId, ROOT, SourceError, SourceKind, SourceNode, SourceTree};

/// Copies nodes of one tree into another one. What has two names that are copied is one node there, too.
pub(super) struct Copier<'s> {
    pub(super) from: &'s SourceTree,
    /// What has been copied, and as what.
    ids: HashMap<NodeId, NodeId>,
}

impl<'s> Copier<'s> {
    pub(super) fn new(from: &'s SourceTree) -> Self {
        Self { from, ids: HashMap::new() }
    }

    /// A tree whose root is what the root is here, but for what is in it.
    pub(super) fn root(&self) -> Result<SourceTree, SourceError> {
        let mut tree = SourceTree::new(self.from.node(ROOT).meta);
        self.extra(&mut tree, ROOT, ROOT)?;
        Ok(tree)
    }

    /// Copies a node; of a directory not what is in it.
    pub(super) fn node(
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
