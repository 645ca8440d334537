//! Trees of which every update commits by one dirent: all of the content is in one directory, below the root.

use std::collections::BTreeMap;

use jffs2_tx::inode_kind::Meta;
use jffs2_tx::source::{Extra, NodeId, ROOT, SourceError, SourceKind, SourceNode, SourceTree};

use super::copy::Copier;
use super::walk::walk;

/// What stands outside the directory does not change from one update to the next: its times do not, either.
const OUTSIDE: u32 = 0;

/// Moves what is in the root into the directory `/name`.
///
/// - The root gets a relative symlink to each name: `bin -> NAME/bin`. Absolute paths lead where they led.
/// - Mount points stay: directories in the root with no more in them than directories. In `/name` there are relative symlinks
///   to them, `proc -> ../proc`, so that relative symlinks such as `/etc/mtab -> ../proc/mounts` lead where they led.
/// - Everything outside `/name` has time 0 (1970), so that an update finds it as it is, and changes nothing but `/name`. The
///   root keeps its mode, owner and attributes; `/name` has the same, and the root's time.
///
/// An update that adds or removes a name in the root, or changes a mount point, changes the root, too, and so may take more
/// than one dirent.
///
/// # Errors
/// [`SourceError`] if the root has the name, if it is no name, or if with it a symlink's target is over 254 bytes long.
pub fn swing(tree: &SourceTree, name: &[u8]) -> Result<SourceTree, SourceError> {
    let mut copier = Copier::new(tree);
    let mut out = copier.root()?;
    let kind = SourceKind::Directory(BTreeMap::new());
    let inside = out.add(ROOT, name, SourceNode { meta: tree.node(ROOT).meta, kind })?;
    if let Some(extra) = tree.extra(ROOT) {
        out.set_extra(inside, extra.clone())?;
    }
    for (child_name, child) in tree.children(ROOT) {
        let is_mount_point = holds_directories_only(tree, child);
        let (parent, other, above) = if is_mount_point { (ROOT, inside, &b".."[..]) } else { (inside, ROOT, name) };
        let copy = copier.node(&mut out, parent, child_name, child)?;
        copier.below(&mut out, child, copy, |_, _| true)?;
        out.add(other, child_name, symlink([above, child_name].join(&b'/')))?;
    }
    settle(&mut out, name)?;
    Ok(out)
}

/// Whether it is a directory, and so is all that is below.
fn holds_directories_only(tree: &SourceTree, id: NodeId) -> bool {
    let mut todo = vec![id];
    while let Some(id) = todo.pop() {
        if !matches!(tree.node(id).kind, SourceKind::Directory(_)) {
            return false;
        }
        todo.extend(tree.children(id).map(|(_, child)| child));
    }
    true
}

fn symlink(target: Vec<u8>) -> SourceNode {
    let meta = Meta { mode: 0o777, uid: 0, gid: 0, mtime: OUTSIDE };
    SourceNode { meta, kind: SourceKind::Symlink(target) }
}

/// Gives everything outside the directory one time.
fn settle(tree: &mut SourceTree, name: &[u8]) -> Result<(), SourceError> {
    let is_outside = |path: &[u8]| path.split(|byte| *byte == b'/').next() != Some(name);
    let outside: Vec<_> = walk(tree).filter(|(path, _)| is_outside(path)).map(|(_, id)| id).collect();
    for id in outside {
        tree.node_mut(id).meta.mtime = OUTSIDE;
        if let Some(extra) = tree.extra(id).cloned() {
            tree.set_extra(id, Extra { times: None, ..extra })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
