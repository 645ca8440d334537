//! The changes between two trees, one by one, so that some can be left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jffs2_mkimage::source::copy::Copier;
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::source::{NodeId, ROOT, SourceError, SourceKind, SourceTree};

use crate::snapshot::{Snapshot, SnapshotEntry};

/// A change, by the path that it is about; empty for the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path, without a slash in front.
    pub path: Vec<u8>,
    /// What becomes of it.
    pub kind: ChangeKind,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new, and all below it.
    Added,
    /// It goes, and all below it.
    Removed,
    /// It leads to something else, or its metadata changes; names below a directory are changes of their own.
    Changed,
}

/// The changes that make `new` of `old`, in the order of a walk.
///
/// # Errors
/// The host's, if a file cannot be read.
pub fn changes(old: &SourceTree, new: &SourceTree) -> io::Result<Vec<Change>> {
    Ok(merge(old, new, &mut |_| true)?.0)
}

/// `old` with only some of the changes, by their numbers in [`changes`].
///
/// # Errors
/// The host's, if a file cannot be read.
pub fn with_changes(old: &SourceTree, new: &SourceTree, wanted: &BTreeSet<usize>) -> io::Result<SourceTree> {
    Ok(merge(old, new, &mut |number| wanted.contains(&number))?.1)
}

type Wanted<'w> = &'w mut dyn FnMut(usize) -> bool;

fn merge(old: &SourceTree, new: &SourceTree, wanted: Wanted<'_>) -> io::Result<(Vec<Change>, SourceTree)> {
    let mut merge = Merge {
        old: Side::new(old)?,
        new: Side::new(new)?,
        changes: Vec::new(),
        wanted,
        out: SourceTree::new(old.node(ROOT).meta),
    };
    if merge.is_changed(b"") && merge.change(b"", ChangeKind::Changed) {
        merge.out.node_mut(ROOT).meta = new.node(ROOT).meta;
    }
    merge.directory(ROOT, b"", Some(ROOT), Some(ROOT)).map_err(io::Error::other)?;
    Ok((merge.changes, merge.out))
}

struct Side<'t> {
    tree: &'t SourceTree,
    entries: BTreeMap<Vec<u8>, SnapshotEntry>,
    copier: Copier<'t>,
}

impl<'t> Side<'t> {
    fn new(tree: &'t SourceTree) -> io::Result<Self> {
        let entries = Snapshot::of_source(tree)?;
        let entries = entries.entries().map(|(path, entry)| (path.to_vec(), entry.clone())).collect();
        Ok(Self { tree, entries, copier: Copier::new(tree) })
    }

    fn copy_all(&mut self, out: &mut SourceTree, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), SourceError> {
        let copy = self.copier.node(out, parent, name, id)?;
        self.copier.below(out, id, copy, |_, _| true)
    }
}

struct Merge<'t, 'w> {
    old: Side<'t>,
    new: Side<'t>,
    changes: Vec<Change>,
    wanted: Wanted<'w>,
    out: SourceTree,
}

impl Merge<'_, '_> {
    /// Notes a change; whether it is wanted.
    fn change(&mut self, path: &[u8], kind: ChangeKind) -> bool {
        self.changes.push(Change { path: path.to_vec(), kind });
        (self.wanted)(self.changes.len() - 1)
    }

    /// A directory that only has other names in it has not changed.
    fn is_changed(&self, path: &[u8]) -> bool {
        let entry = |side: &Side<'_>| {
            let mut entry = side.entries.get(path)?.clone();
            if entry.kind == FileKind::Directory {
                entry.links = 0;
            }
            Some(entry)
        };
        entry(&self.old) != entry(&self.new)
    }

    fn directory(
        &mut self,
        out: NodeId,
        path: &[u8],
        old: Option<NodeId>,
        new: Option<NodeId>,
    ) -> Result<(), SourceError> {
        let names = |side: &Side<'_>, id: Option<NodeId>| -> BTreeMap<Vec<u8>, NodeId> {
            let children = id.into_iter().flat_map(|id| side.tree.children(id));
            children.map(|(name, id)| (name.to_vec(), id)).collect()
        };
        let (old, new) = (names(&self.old, old), names(&self.new, new));
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
            let path = if path.is_empty() { name.clone() } else { [path, b"/", name].concat() };
            self.name(out, &path, name, old.get(name).copied(), new.get(name).copied())?;
        }
        Ok(())
    }

    fn name(
        &mut self,
        out: NodeId,
        path: &[u8],
        name: &[u8],
        old: Option<NodeId>,
        new: Option<NodeId>,
    ) -> Result<(), SourceError> {
        match (old, new) {
            (None, Some(new)) if self.change(path, ChangeKind::Added) => {
                self.new.copy_all(&mut self.out, out, name, new)
            }
            (Some(old), None) if !self.change(path, ChangeKind::Removed) => {
                self.old.copy_all(&mut self.out, out, name, old)
            }
            (Some(old), Some(new)) => {
                let is_directory = |side: &Side<'_>, id| matches!(side.tree.node(id).kind, SourceKind::Directory(_));
                let both = is_directory(&self.old, old) && is_directory(&self.new, new);
                let take_new = self.is_changed(path) && self.change(path, ChangeKind::Changed);
                let (side, id) = if take_new { (&mut self.new, new) } else { (&mut self.old, old) };
                if !both {
                    return side.copy_all(&mut self.out, out, name, id);
                }
                let copy = side.copier.node(&mut self.out, out, name, id)?;
                self.directory(copy, path, Some(old), Some(new))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, sample, sample_random};

    #[test]
    fn all_changes_make_the_new_tree_and_none_the_old() {
        for Sample { old, new } in (0..20).map(sample_random).chain([sample()]) {
            let all = changes(&old, &new).unwrap();
            assert!(!all.is_empty());
            let snapshot = |tree: &SourceTree| Snapshot::of_source(tree).unwrap();
            let none = with_changes(&old, &new, &BTreeSet::new()).unwrap();
            assert_eq!(snapshot(&none).differences(&snapshot(&old), 5), [""; 0]);
            let every = with_changes(&old, &new, &(0..all.len()).collect()).unwrap();
            assert_eq!(snapshot(&every).differences(&snapshot(&new), 5), [""; 0]);
            let one = with_changes(&old, &new, &BTreeSet::from([all.len() - 1])).unwrap();
            assert!(!snapshot(&one).differences(&snapshot(&old), 5).is_empty());
        }
    }
}
