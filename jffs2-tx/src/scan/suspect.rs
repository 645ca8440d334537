//! Damaged nodes: no reader counts them, but what they still say of themselves tells what is lost.

use alloc::vec::Vec;

use super::pad4;
use crate::crc::{crc32, flipped_bit};
use crate::wire::{DIRENT_SIZE, Endian, Header, INODE_SIZE, nodetype};

/// A damaged node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Flash offset of the node.
    pub at: u32,
    /// Inode number; of a dirent that of its directory.
    pub ino: u32,
    /// Version. The highest there is if the field may be what is damaged: who knows what the node has replaced.
    pub version: u32,
    /// What is lost with it.
    pub held: Held,
    /// The fields here are right, a single flipped bit undone. If not, they are hints.
    pub exact: bool,
}

/// What a damaged node held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A range of its inode's data, in bytes; its metadata too.
    Data {
        /// Start in the file.
        start: u32,
        /// End in the file.
        end: u32,
        /// File size as of the node, bytes.
        isize: u32,
    },
    /// A name in its directory.
    Name {
        /// Inode number that the name led to, 0 for a deletion.
        target: u32,
        /// Length of the name.
        len: u8,
    },
}

impl Suspect {
    /// What the bytes at flash offset `at`, up to the eraseblock's end, say: an inode node or a dirent whose header is
    /// good or has one flipped bit, and that is damaged. `None` for anything else.
    #[must_use]
    pub fn of(endian: Endian, at: u32, bytes: &[u8]) -> Option<Self> {
        let intact = Header::parse(endian, bytes);
        if intact.is_ok_and(|header| header.obsolete) {
            return None;
        }
        let mut fields = [0xff; INODE_SIZE];
        let len = bytes.len().min(INODE_SIZE);
        fields[..len].copy_from_slice(&bytes[..len]);
        let whole = repair(endian, &mut fields, 8, 8);
        let header = Header::parse(endian, &fields).ok()?;
        let (size, crc_at, sum_len) = match header.nodetype {
            nodetype::INODE => (INODE_SIZE, 64, 60),
            nodetype::DIRENT => (DIRENT_SIZE, 32, 32),
            _ => return None,
        };
        let fits = (size..=bytes.len()).contains(&(header.totlen as usize)) && pad4(header.totlen) as usize > size - 4;
        let written_so =
            header.nodetype == nodetype::INODE && crc32(bytes.get(..sum_len)?) == u32_in(endian, bytes, crc_at)?;
        if !fits || written_so {
            return None;
        }
        // A header and nothing but zeros agree with a CRC of zero; no inode has number 0.
        let exact = repair(endian, &mut fields, sum_len, crc_at) && endian.u32(&fields, 12) != 0;
        // Hardly anything but a node has a header with a flipped bit and good fields behind it.
        if !whole || !exact && intact.is_err() {
            return None;
        }
        let u32_at = |at: usize| endian.u32(&fields, at);
        let held = if header.nodetype == nodetype::INODE {
            let start = u32_at(44);
            Held::Data { start, end: start.saturating_add(u32_at(52)), isize: u32_at(28) }
        } else {
            Held::Name { target: u32_at(20), len: fields[28] }
        };
        // Where the write was cut the rest is blank: what came first is as it was written.
        let cut = u32_at(crc_at) == u32::MAX;
        let version = if exact || cut { u32_at(16) } else { u32::MAX };
        Some(Self { at, ino: u32_at(12), version, held, exact })
    }
}

/// The name in a damaged dirent of `len` bytes of name, a single flipped bit undone; `None` if it cannot be told.
#[must_use]
pub fn damaged_name(endian: Endian, node: &[u8], len: u8) -> Option<Vec<u8>> {
    let mut name = node.get(DIRENT_SIZE..)?.get(..usize::from(len))?.to_vec();
    let stored = u32_in(endian, node, 36)?;
    if let Some((byte, mask)) = flipped_bit(&name, stored) {
        name[byte] ^= mask;
        return Some(name);
    }
    ((crc32(&name) ^ stored).count_ones() <= 1).then_some(name)
}

fn u32_in(endian: Endian, bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|bytes| endian.u32(bytes, 0))
}

/// Makes the first `len` bytes agree with the CRC at `crc_at`, if one bit will do; whether they do then.
fn repair(endian: Endian, fields: &mut [u8; INODE_SIZE], len: usize, crc_at: usize) -> bool {
    let (stored, sum) = (endian.u32(fields, crc_at), crc32(&fields[..len]));
    if let Some((byte, mask)) = flipped_bit(&fields[..len], stored) {
        fields[byte] ^= mask;
        return true;
    }
    // The bit may be in the CRC itself.
    let whole = (stored ^ sum).count_ones() <= 1;
    if whole {
        endian.set_u32(fields, crc_at, sum);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Compression, Dirent, Inode};

    fn inode(endian: Endian) -> Vec<u8> {
        let mut node = Vec::new();
        let fields = Inode {
            ino: 7,
            version: 9,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            isize: 8192,
            atime: 1,
            mtime: 1,
            ctime: 1,
            offset: 4096,
            csize: 0,
            dsize: 100,
            compression: Compression::None,
            data_crc: 0,
        };
        fields.emit(endian, &mut node, &[5; 100]);
        node
    }

    #[test]
    fn a_flipped_bit_anywhere_in_the_fields_is_undone() {
        for endian in [Endian::Little, Endian::Big] {
            let held = Held::Data { start: 4096, end: 4196, isize: 8192 };
            let wanted = Some(Suspect { at: 12, ino: 7, version: 9, held, exact: true });
            for bit in (0..60 * 8).chain(64 * 8..INODE_SIZE * 8) {
                let mut node = inode(endian);
                node[bit / 8] ^= 1 << (bit % 8);
                // The one bit that readers take for a mark.
                let obsolete = Header::parse(endian, &node).is_ok_and(|header| header.obsolete);
                assert_eq!(Suspect::of(endian, 12, &node), wanted.filter(|_| !obsolete), "bit {bit}");
            }
            let mut node = Vec::new();
            Dirent { pino: 3, version: 4, ino: 5, mctime: 6, kind: 8, name: b"name" }.emit(endian, &mut node);
            for byte in 0..DIRENT_SIZE {
                let mut flipped = node.clone();
                flipped[byte] ^= 0x80;
                let held = Held::Name { target: 5, len: 4 };
                let wanted = Some(Suspect { at: 0, ino: 3, version: 4, held, exact: true });
                assert_eq!(Suspect::of(endian, 0, &flipped), wanted, "byte {byte}");
            }
        }
    }

    #[test]
    fn what_takes_more_than_a_bit_is_a_hint_or_nothing() {
        let mut node = inode(Endian::Little);
        node[16] ^= 3;
        let found = Suspect::of(Endian::Little, 0, &node).unwrap();
        assert_eq!((found.ino, found.version, found.exact), (7, u32::MAX, false));
        node[4] ^= 1;
        assert_eq!(Suspect::of(Endian::Little, 0, &node), None, "header and body");
        let mut cut = inode(Endian::Little);
        cut[40..].fill(0xff);
        assert_eq!(Suspect::of(Endian::Little, 0, &cut).map(|cut| (cut.version, cut.exact)), Some((9, false)));
        assert_eq!(Suspect::of(Endian::Little, 0, &[0x85, 0x19]), None);
    }
}
