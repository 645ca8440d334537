//! An image in the other byte order: every field of every node, right, torn or obsolete, in its place, whose CRCs hold
//! if and only if they held before. File data and names stay as they are.

use jffs2_tx::Endian;
use jffs2_tx::crc::crc32;
use jffs2_tx::scan::{Place, Places};
use jffs2_tx::wire::{ACCURATE, HEADER_SIZE, SUMMARY_MAGIC, SUMMARY_SIZE, nodetype};

/// What an image of eraseblocks of this size would be if a machine of the other byte order had written it.
///
/// # Panics
/// If a node's lengths make no sense though its CRCs hold: nothing that a kernel wrote.
#[must_use]
pub fn swapped(image: &[u8], eraseblock: usize, from: Endian) -> Vec<u8> {
    let mut out = image.to_vec();
    for (old, new) in image.chunks(eraseblock).zip(out.chunks_mut(eraseblock)) {
        for place in Places::new(from, old, 0) {
            if let Place::Node { at, header, bytes } = place {
                Node { from, old: bytes, new: &mut new[at..at + bytes.len()] }.swap(header.nodetype);
            }
        }
        swap_trailer(from, old, new);
    }
    out
}

/// One that has lost its summary may still have it.
fn swap_trailer(from: Endian, old: &[u8], new: &mut [u8]) {
    let at = old.len() - 8;
    if from.u32(old, at + 4) == SUMMARY_MAGIC && old[at..] == new[at..] {
        new[at..at + 4].reverse();
        new[at + 4..].reverse();
    }
}

/// A node as it is, and as it becomes.
struct Node<'a> {
    from: Endian,
    old: &'a [u8],
    new: &'a mut [u8],
}

impl Node<'_> {
    fn swap(&mut self, kind: u16) {
        self.fields(0, &[2, 2, 4, 4]);
        self.header_crc();
        match kind {
            nodetype::INODE => self.swap_inode(),
            nodetype::DIRENT => {
                self.fields(HEADER_SIZE, &[4, 4, 4, 4, 1, 1, 2, 4, 4]);
                self.crc(0..32, 32);
            }
            nodetype::XATTR => self.swap_xattr(),
            nodetype::XREF => {
                self.fields(HEADER_SIZE, &[4, 4, 4, 4]);
                self.crc(0..24, 24);
            }
            nodetype::SUMMARY => self.swap_summary(),
            _ => {}
        }
    }

    fn swap_inode(&mut self) {
        self.fields(HEADER_SIZE, &[4, 4, 4, 2, 2, 4, 4, 4, 4, 4, 4, 4, 1, 1, 2, 4, 4]);
        const DATA: usize = 68;
        let data = DATA..DATA + self.from.u32(self.old, 48) as usize;
        // A device's data is its number.
        let type_bits = self.from.u32(self.old, 20) & 0o170_000;
        if matches!(type_bits, 0o020_000 | 0o060_000) && data.end <= self.old.len() {
            self.fields(DATA, &[data.len()]);
            self.crc(data, 60);
        }
        self.crc(0..60, 64);
    }

    /// The values of ACLs are fields, too: a version, then {tag, permissions} and, for users and groups, an id.
    fn swap_xattr(&mut self) {
        self.fields(HEADER_SIZE, &[4, 4, 1, 1, 2, 4, 4]);
        const DATA: usize = 32;
        let (prefix, name_len, value_len) = (self.old[20], self.old[21], self.from.u16(self.old, 22));
        let value = DATA + usize::from(name_len) + 1;
        let end = value + usize::from(value_len);
        if matches!(prefix, 3 | 4) && end <= self.old.len() {
            self.fields(value, &[4]);
            let mut at = value + 4;
            while at < end {
                self.fields(at, &[2, 2]);
                let names_someone = matches!(self.from.u16(self.old, at), 2 | 8);
                at += 4;
                if names_someone {
                    self.fields(at, &[4]);
                    at += 4;
                }
            }
        }
        self.crc(DATA..end.min(self.old.len()), 24);
        self.crc(0..28, 28);
    }

    fn swap_summary(&mut self) {
        self.fields(HEADER_SIZE, &[4, 4, 4, 4, 4]);
        let mut at = SUMMARY_SIZE;
        for _ in 0..self.from.u32(self.old, 12) {
            let name = |at: usize| self.old.get(at + 22).map_or(0, |len| usize::from(*len));
            let (fields, name_len): (&[usize], usize) = match self.old.get(at..at + 2).map(|b| self.from.u16(b, 0)) {
                Some(nodetype::INODE | nodetype::XATTR) => (&[2, 4, 4, 4, 4], 0),
                Some(nodetype::DIRENT) => (&[2, 4, 4, 4, 4, 4], 2 + name(at)),
                Some(nodetype::XREF) => (&[2, 4], 0),
                _ => break,
            };
            self.fields(at, fields);
            at += fields.iter().sum::<usize>() + name_len;
        }
        let end = self.old.len();
        self.fields(end - 8, &[4, 4]);
        self.crc(SUMMARY_SIZE..end, 24);
        self.crc(0..24, 28);
    }

    /// Turns round the bytes of fields of these lengths, one behind the other.
    fn fields(&mut self, mut at: usize, lens: &[usize]) {
        for len in lens {
            self.new[at..at + len].copy_from_slice(&self.old[at..at + len]);
            self.new[at..at + len].reverse();
            at += len;
        }
    }

    /// Makes the CRC at `at` right for the new bytes of a range, or wrong by as much as it was.
    fn crc(&mut self, range: std::ops::Range<usize>, at: usize) {
        let wrong_by = crc32(&self.old[range.clone()]) ^ self.from.u32(self.old, at);
        self.put(at, crc32(&self.new[range]) ^ wrong_by);
    }

    /// The header's CRC is that of a node that is not obsolete.
    fn header_crc(&mut self) {
        let mut head = self.new[..8].to_vec();
        let mut kind = Vec::new();
        self.to().put_u16(&mut kind, self.to().u16(&head, 2) | ACCURATE);
        head[2..4].copy_from_slice(&kind);
        self.put(8, crc32(&head));
    }

    fn put(&mut self, at: usize, value: u32) {
        let mut bytes = Vec::new();
        self.to().put_u32(&mut bytes, value);
        self.new[at..at + 4].copy_from_slice(&bytes);
    }

    fn to(&self) -> Endian {
        match self.from {
            Endian::Little => Endian::Big,
            Endian::Big => Endian::Little,
        }
    }
}
