//! Which nodes of an eraseblock a firmware sees.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

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
    pub(super) inodes: Vec<Arc<Inode>>,
    torn_names: bool,
}

impl Scan {
    /// Whether a dirent with bad CRCs is believed.
    #[must_use]
    pub fn has_torn_names(&self) -> bool {
        self.torn_names
    }

    pub(super) fn listed(dirents: Vec<Dirent>, inodes: Vec<Arc<Inode>>) -> Self {
        Self { dirents, inodes, torn_names: false }
    }
}

impl Firmware {
    /// Reads one eraseblock; `before` is the one that was read before, or nothing.
    ///
    /// # Errors
    /// [`FirmwareError::Unreadable`] and [`FirmwareError::Incompatible`]: the mount fails.
    pub fn scan(self, part: &Part, block: &RawBlock<'_>, before: &[u8]) -> Result<Arc<Scan>, FirmwareError> {
        let bytes = self.parses(part, block, before)?;
        let block = Fields { bytes: &bytes, order: part.order };
        self.choose(part, block, || Arc::new(Sweep::of(block)))
    }

    /// The same for [each](Self::ALL): what they have in common is read once, and is the same [`Arc`].
    pub fn scan_by_each(
        part: &Part,
        block: &RawBlock<'_>,
        before: &[u8],
    ) -> [Result<Arc<Scan>, FirmwareError>; Self::ALL.len()] {
        let sweep = OnceCell::new();
        Self::ALL.map(|firmware| match firmware.parses(part, block, before)? {
            Cow::Borrowed(bytes) => {
                let block = Fields { bytes, order: part.order };
                firmware.choose(part, block, || Arc::clone(sweep.get_or_init(|| Arc::new(Sweep::of(block)))))
            }
            Cow::Owned(_) => firmware.scan(part, block, before),
        })
    }

    /// What it sees of what stands there.
    fn choose(
        self,
        part: &Part,
        block: Fields<'_>,
        sweep: impl FnOnce() -> Arc<Sweep>,
    ) -> Result<Arc<Scan>, FirmwareError> {
        if self.knows_summaries()
            && let Some(scan) = summary::listed(block)
        {
            return Ok(Arc::new(scan));
        }
        let head = self.blank_head(part).min(block.bytes.len());
        if block.part(0, head).is_some_and(is_blank) || self.takes_for_free(part, block) {
            return Ok(Arc::default());
        }
        let sweep = sweep();
        match sweep.incompatible {
            Some(nodetype) if self == Self::Barebox => Err(FirmwareError::Incompatible(nodetype)),
            _ if self == Self::OpenFirmware => Ok(Arc::clone(&sweep.believed)),
            _ => Ok(Arc::clone(&sweep.good)),
        }
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
}

/// All nodes of an eraseblock.
struct Sweep {
    /// Those whose CRCs hold.
    good: Arc<Scan>,
    /// And dirents whose CRCs do not; the same as `good` if there are none.
    believed: Arc<Scan>,
    /// The first type that not everybody mounts.
    incompatible: Option<u16>,
}

impl Sweep {
    fn of(block: Fields<'_>) -> Self {
        let mut found = Found::default();
        let mut at = 0;
        while at < block.bytes.len() {
            let Some(header) = Header::at(block, at) else {
                at = behind_blank(block.bytes, at + 4);
                continue;
            };
            if !header.obsolete {
                found.take(header, block, at);
            }
            at += header.len.next_multiple_of(4);
        }
        found.swept()
    }
}

/// The nodes met so far.
#[derive(Default)]
struct Found {
    /// Each with whether its CRCs hold.
    dirents: Vec<(Dirent, bool)>,
    inodes: Vec<Arc<Inode>>,
    incompatible: Option<u16>,
}

impl Found {
    fn take(&mut self, header: Header, block: Fields<'_>, at: usize) {
        let Some(bytes) = block.part(at, header.len) else { return };
        let fields = Fields { bytes, ..block };
        match header.nodetype {
            node::DIRENT => self.dirents.extend(Dirent::read(fields)),
            node::INODE => self.inodes.extend(Inode::read(fields).map(Arc::new)),
            node::CLEANMARKER | node::PADDING | node::SUMMARY | node::XATTR | node::XREF => {}
            unknown if unknown & INCOMPATIBLE == INCOMPATIBLE => {
                self.incompatible.get_or_insert(unknown);
            }
            _ => {}
        }
    }

    fn swept(self) -> Sweep {
        let dirents = |torn_ones: bool| {
            let chosen = self.dirents.iter().filter(move |(_, good)| *good || torn_ones);
            chosen.map(|(dirent, _)| dirent.clone()).collect()
        };
        let torn_names = self.dirents.iter().any(|(_, good)| !good);
        let believed =
            torn_names.then(|| Arc::new(Scan { dirents: dirents(true), inodes: self.inodes.clone(), torn_names }));
        let good = Arc::new(Scan::listed(dirents(false), self.inodes));
        Sweep { believed: believed.unwrap_or_else(|| Arc::clone(&good)), good, incompatible: self.incompatible }
    }
}

/// The next place, from `at` on in steps of 4, that is not blank.
fn behind_blank(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let (chunks, _) = rest.as_chunks::<64>();
    let chunks = chunks.iter().take_while(|chunk| **chunk == [0xff; 64]).count() * 64;
    let words = rest[chunks..].chunks(4).take_while(|word| is_blank(word)).count() * 4;
    at + chunks + words
}
