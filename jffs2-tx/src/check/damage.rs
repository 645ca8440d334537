//! What a damaged place on the flash was.

use crate::index::Index;
use crate::scan::Held;

/// Version and flash offset of the newest damaged inode node of an inode, data CRCs aside. Of those whose version may be
/// damaged, the last.
pub(super) fn newest_data(index: &Index, ino: u32) -> Option<(u32, u32)> {
    let data = index.suspects(ino).iter().filter(|node| matches!(node.held, Held::Data { .. }));
    data.map(|node| (node.version, node.at)).max()
}
