//! Dirents and inode nodes.

use super::wire::Fields;

const MAGIC: u16 = 0x1985;
const ACCURATE: u16 = 0x2000;
pub(super) const HEADER_SIZE: usize = 12;
const DIRENT_SIZE: usize = 40;
const INODE_SIZE: usize = 68;

pub(super) const DIRENT: u16 = 0xe001;
pub(super) const INODE: u16 = 0xe002;
pub(super) const CLEANMARKER: u16 = 0x2003;
pub(super) const PADDING: u16 = 0x2004;
pub(super) const SUMMARY: u16 = 0x2006;
pub(super) const XATTR: u16 = 0xe008;
pub(super) const XREF: u16 = 0xe009;

/// A header whose CRC holds, of a node that stays within its eraseblock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// With ACCURATE set.
    pub(super) nodetype: u16,
    pub(super) obsolete: bool,
    pub(super) len: usize,
}

impl Header {
    pub(super) fn at(block: Fields<'_>, at: usize) -> Option<Self> {
        let fields = Fields { bytes: block.part(at, HEADER_SIZE)?, ..block };
        if fields.half(0)? != MAGIC {
            return None;
        }
        let written = fields.half(2)?;
        let nodetype = written | ACCURATE;
        // The CRC is of the header as it was before the bit was cleared: one bit, in either byte of the type.
        let mut covered = *fields.bytes.first_chunk::<8>()?;
        let high = if fields.order == super::ByteOrder::Little { 3 } else { 2 };
        covered[high] |= (ACCURATE >> 8) as u8;
        let len = usize::try_from(fields.word(4)?).ok()?;
        let fits = len >= HEADER_SIZE && block.part(at, len).is_some();
        (fits && fields.vouches(8, &covered)).then_some(Self { nodetype, obsolete: written != nodetype, len })
    }
}

/// A name, or that it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Dirent {
    pub(super) parent: u32,
    pub(super) version: u32,
    /// 0 deletes the name.
    pub(super) ino: u32,
    pub(super) name: Vec<u8>,
}

impl Dirent {
    /// From the bytes of a whole node, with whether its CRCs hold.
    pub(super) fn read(node: Fields<'_>) -> Option<(Self, bool)> {
        let name = node.part(DIRENT_SIZE, usize::from(node.byte(28)?))?;
        let good = node.vouches(32, node.part(0, 32)?) && node.vouches(36, name);
        Some((Self::new(node.word(12)?, node.word(16)?, node.word(20)?, name)?, good))
    }

    /// Unless the name cannot be one.
    pub(super) fn new(parent: u32, version: u32, ino: u32, name: &[u8]) -> Option<Self> {
        let possible = !name.is_empty() && !name.contains(&0);
        possible.then(|| Self { parent, version, ino, name: name.to_vec() })
    }

    pub(super) fn same_name(&self, other: &Self) -> bool {
        (self.parent, &self.name) == (other.parent, &other.name)
    }
}

/// Metadata of an inode, and a range of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    pub(super) ino: u32,
    pub(super) version: u32,
    pub(super) mode: u32,
    pub(super) uid: u16,
    pub(super) gid: u16,
    /// Size of the whole file.
    pub(super) size: u32,
    pub(super) mtime: u32,
    pub(super) offset: u32,
    /// Bytes that the data decodes to.
    pub(super) decoded: u32,
    pub(super) compressor: u8,
    /// As stored; `None` if its CRC is wrong.
    pub(super) data: Option<Vec<u8>>,
}

impl Inode {
    /// From the bytes of a whole node.
    pub(super) fn read(node: Fields<'_>) -> Option<Self> {
        if !node.vouches(64, node.part(0, 60)?) {
            return None;
        }
        let stored = node.part(INODE_SIZE, usize::try_from(node.word(48)?).ok()?)?;
        if (INODE_SIZE + stored.len()).next_multiple_of(4) != node.bytes.len().next_multiple_of(4) {
            return None;
        }
        let (size, offset) = (node.word(28)?, node.word(44)?);
        if offset > size {
            return None;
        }
        Some(Self {
            ino: node.word(12)?,
            version: node.word(16)?,
            mode: node.word(20)?,
            uid: node.half(24)?,
            gid: node.half(26)?,
            size,
            mtime: node.word(36)?,
            offset,
            decoded: node.word(52)?,
            compressor: node.byte(56)?,
            data: node.vouches(60, stored).then(|| stored.to_vec()),
        })
    }
}
