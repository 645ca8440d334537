//! The tree of a flash as this project's reader sees it, in the form in which the kernel lists what it reads.

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::Flash;
use jffs2_tx::index::ROOT;
use jffs2_tx::tree::WalkEntry;
use jffs2_tx::{Endian, FileKind, Index, Rules, Tree};

use crate::listing::{self, Entry};
use crate::manifest;

/// The rules that the kernel of the tests reads by: Debian's has `CONFIG_JFFS2_SUMMARY`.
pub const RULES: Rules = Rules { endian: Endian::Little, summaries: true };

/// Every path of the tree that a flash holds, as a reader with these rules sees it.
pub fn list<F: Flash>(flash: &F, rules: Rules) -> Result<Vec<Entry>, ReadError<F::Error>> {
    let index = Index::open(flash, rules)?;
    let tree = Tree::new(flash, &index);
    tree.walk(ROOT).map(|step| entry(&tree, &step)).collect()
}

/// What a step of a walk leads to.
pub fn entry<F: Flash>(tree: &Tree<'_, F>, step: &WalkEntry) -> Result<Entry, ReadError<F::Error>> {
    let stat = tree.stat(step.ino)?;
    let mut entry = Entry {
        path: if step.path.is_empty() { b".".to_vec() } else { [b"./", &step.path[..]].concat() },
        mode: stat.kind.mode_bits() | stat.meta.mode,
        uid: stat.meta.uid.into(),
        gid: stat.meta.gid.into(),
        size: stat.size.into(),
        mtime: stat.meta.mtime.into(),
        nlink: stat.links.into(),
        rdev: stat.device.map_or((0, 0), |device| (device.major, device.minor)),
        sha256: None,
        target: Vec::new(),
    };
    match stat.kind {
        FileKind::File => entry.sha256 = Some(listing::content_digest(&tree.read(step.ino, u32::MAX)?)),
        FileKind::Symlink => entry.target = tree.read_link(step.ino)?,
        _ => {}
    }
    Ok(entry)
}

/// The lines of a [`manifest`], sorted by their text: extended attributes, too.
pub fn manifest<F: Flash>(flash: &F, rules: Rules) -> Result<Vec<String>, ReadError<F::Error>> {
    let index = Index::open(flash, rules)?;
    let tree = Tree::new(flash, &index);
    let line = |step: WalkEntry| {
        let xattrs: Vec<_> = tree.xattrs(step.ino)?.into_iter().map(|xattr| (xattr.name, xattr.value)).collect();
        Ok(manifest::line(&entry(&tree, &step)?, &xattrs))
    };
    let mut lines: Vec<String> = tree.walk(ROOT).map(line).collect::<Result<_, ReadError<F::Error>>>()?;
    lines.sort();
    Ok(lines)
}
