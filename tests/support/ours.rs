//! The tree of a flash as this project's reader sees it, in the form in which the kernel lists what it reads.

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::Flash;
use jffs2_tx::index::ROOT;
use jffs2_tx::tree::WalkEntry;
use jffs2_tx::{Endian, FileKind, Index, Rules, Tree};

use crate::listing::{self, Entry};

/// The rules that the kernel of the tests reads by: Debian's has `CONFIG_JFFS2_SUMMARY`.
pub const RULES: Rules = Rules { endian: Endian::Little, summaries: true };

/// A tree as lines of a [`listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The digest of the listing.
    pub digest: String,
    /// Its lines.
    pub lines: Vec<String>,
}

impl Seen {
    /// The tree that a flash holds.
    pub fn on<F: Flash>(flash: &F) -> Result<Self, ReadError<F::Error>> {
        let entries = list(flash, RULES)?;
        Ok(Self { digest: listing::digest(&entries), lines: listing::lines(&entries) })
    }

    /// The lines that only this tree has, behind a minus, and those that only the other one has, behind a plus.
    pub fn difference(&self, other: &[String]) -> String {
        let minus = self.lines.iter().filter(|line| !other.contains(line)).map(|line| format!("- {line}\n"));
        let plus = other.iter().filter(|line| !self.lines.contains(line)).map(|line| format!("+ {line}\n"));
        minus.chain(plus).collect()
    }
}

/// Every path of the tree that a flash holds, as a reader with these rules sees it.
pub fn list<F: Flash>(flash: &F, rules: Rules) -> Result<Vec<Entry>, ReadError<F::Error>> {
    let index = Index::open(flash, rules)?;
    let tree = Tree::new(flash, &index);
    tree.walk(ROOT).map(|step| entry(&tree, &step)).collect()
}

/// What a step of a walk leads to.
pub(crate) fn entry<F: Flash>(tree: &Tree<'_, F>, step: &WalkEntry) -> Result<Entry, ReadError<F::Error>> {
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
