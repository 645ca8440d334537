//! The summary at an eraseblock's end.

use std::sync::Arc;

use super::node::{self, Dirent, Header, Inode};
use super::scan::Scan;
use super::wire::Fields;

const MAGIC: u32 = 0x0285_1885;
const SIZE: usize = 32;
/// Offset and magic.
const TRAILER: usize = 8;

/// What a valid summary lists; `None` if there is none that can be believed and understood.
pub(super) fn listed(block: Fields<'_>) -> Option<Scan> {
    let trailer = block.bytes.len().checked_sub(TRAILER)?;
    if block.word(trailer + 4)? != MAGIC {
        return None;
    }
    let at = usize::try_from(block.word(trailer)?).ok()?;
    let header = Header::at(block, at).filter(|header| header.nodetype == node::SUMMARY && !header.obsolete)?;
    let summary = Fields { bytes: block.part(at, header.len)?, ..block };
    let entries = summary.bytes.get(SIZE..)?;
    let good = at.checked_add(header.len)? == block.bytes.len()
        && summary.vouches(28, summary.part(0, 24)?)
        && summary.vouches(24, entries);
    if good { Entries { block, list: Fields { bytes: entries, ..block } }.read(summary.word(12)?) } else { None }
}

struct Entries<'a> {
    block: Fields<'a>,
    list: Fields<'a>,
}

impl Entries<'_> {
    fn read(&self, count: u32) -> Option<Scan> {
        let (mut dirents, mut inodes) = (Vec::new(), Vec::new());
        let mut at: usize = 0;
        for _ in 0..count {
            at = at.checked_add(self.entry(at, &mut dirents, &mut inodes)?)?;
        }
        Some(Scan::listed(dirents, inodes))
    }

    /// Length of the entry.
    fn entry(&self, at: usize, dirents: &mut Vec<Dirent>, inodes: &mut Vec<Arc<Inode>>) -> Option<usize> {
        let entry = Fields { bytes: self.list.bytes.get(at..)?, ..self.list };
        match entry.half(0)? {
            node::INODE => {
                inodes.extend(self.inode(entry.word(10)?).map(Arc::new));
                entry.part(0, 18).map(<[u8]>::len)
            }
            node::DIRENT => {
                let len = usize::from(entry.byte(22)?);
                let name = entry.part(24, len)?;
                dirents.extend(Dirent::new(entry.word(10)?, entry.word(14)?, entry.word(18)?, name));
                Some(24 + len)
            }
            node::XATTR => entry.part(0, 18).map(<[u8]>::len),
            node::XREF => entry.part(0, 6).map(<[u8]>::len),
            _ => None,
        }
    }

    /// The node itself: the summary does not say how large the file is.
    fn inode(&self, at: u32) -> Option<Inode> {
        let at = usize::try_from(at).ok()?;
        let header = Header::at(self.block, at).filter(|header| header.nodetype == node::INODE && !header.obsolete)?;
        Inode::read(Fields { bytes: self.block.part(at, header.len)?, ..self.block })
    }
}
