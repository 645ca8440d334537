//! The tree of a flash as this project's reader sees it, in the form in which the kernel lists what it reads.

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::Flash;
use jffs2_tx::index::ROOT;
use jffs2_tx::tree::WalkEntry;
use jffs2_tx::{Endian, FileKind, Index, Rules, Tree};

use crate::listing::{self, Entry};

/// The rules that the kernel of the tests reads by: Debian's has `CONFIG_JFFS2_SUMMARY`.
pub const RULES: Rules = Rules { endian: Endian::Little, summaries: true };

/// Lists the tree that a flash holds.
pub fn list<F: Flash>(flash: &F) -> Result<Vec<Entry>, ReadError<F::Error>> {
    let index = Index::open(flash, RULES)?;
    let tree = Tree::new(flash, &index);
    tree.walk(ROOT).map(|step| entry(&tree, &step)).collect()
}

fn entry<F: Flash>(tree: &Tree<'_, F>, step: &WalkEntry) -> Result<Entry, ReadError<F::Error>> {
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
