//! Which nodes of an eraseblock a firmware sees.

use super::node::{self, Dirent, Header, Inode};
use super::read::{Part, RawBlock};
use super::wire::{Fields, is_blank};
use super::{Firmware, FirmwareError, summary};

/// A cleanmarker with nothing but blank bytes up to here is believed to vouch for all of the eraseblock.
const FREE_HEAD: usize = 32;
/// Top bits of types that whoever does not know them must not mount.
const INCOMPATIBLE: u16 = 0xc000;

/// What a firmware sees in an eraseblock. A tree depends on nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scan {
    pub(super) dirents: Vec<Dirent>,
    pub(super) inodes: Vec<Inode>,
}

impl Firmware {
    /// Reads one eraseblock; `before` is the one that was read before, or nothing.
    ///
    /// # Errors
    /// [`FirmwareError::Unreadable`] and [`FirmwareError::Incompatible`]: the mount fails.
    pub fn scan(self, part: &Part, block: &RawBlock<'_>, before: &[u8]) -> Result<Scan, FirmwareError> {
        let bytes = self.parses(part, block, before)?;
        let block = Fields { bytes: &bytes, order: part.order };
        if self.knows_summaries()
            && let Some(scan) = summary::listed(block)
        {
            return Ok(scan);
        }
        let head = self.blank_head(part).min(bytes.len());
        if block.part(0, head).is_some_and(is_blank) || self.takes_for_free(part, block) {
            return Ok(Scan::default());
        }
        self.scan_all(block)
    }

    fn takes_for_free(self, part: &Part, block: Fields<'_>) -> bool {
        let marker_len = if part.page <= node::HEADER_SIZE { node::HEADER_SIZE } else { part.page.max(16) };
        let marker = Header { nodetype: node::CLEANMARKER, obsolete: false, len: marker_len };
        let behind = || block.part(node::HEADER_SIZE, FREE_HEAD - node::HEADER_SIZE);
        !part.nand
            && self != Self::OpenFirmware
            && Header::at(block, 0) == Some(marker)
            && behind().is_some_and(is_blank)
    }

    fn scan_all(self, block: Fields<'_>) -> Result<Scan, FirmwareError> {
        let mut scan = Scan::default();
        let mut at = 0;
        while at < block.bytes.len() {
            let Some(header) = Header::at(block, at) else {
                at += 4;
                continue;
            };
            if !header.obsolete {
                self.take(&mut scan, header, block, at)?;
            }
            at += header.len.next_multiple_of(4);
        }
        Ok(scan)
    }

    fn take(self, scan: &mut Scan, header: Header, block: Fields<'_>, at: usize) -> Result<(), FirmwareError> {
        let Some(bytes) = block.part(at, header.len) else { return Ok(()) };
        let fields = Fields { bytes, ..block };
        match header.nodetype {
            node::DIRENT => scan.dirents.extend(Dirent::read(self, fields)),
            node::INODE => scan.inodes.extend(Inode::read(fields)),
            node::CLEANMARKER | node::PADDING | node::SUMMARY | node::XATTR | node::XREF => {}
            unknown if self == Self::Barebox && unknown & INCOMPATIBLE == INCOMPATIBLE => {
                return Err(FirmwareError::Incompatible(unknown));
            }
            _ => {}
        }
        Ok(())
    }
}
