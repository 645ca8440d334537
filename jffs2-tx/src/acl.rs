//! POSIX ACLs: as JFFS2 stores them, and as Linux shows them in `system.posix_acl_access` and `_default`.
//!
//! Both are a version, then entries of a tag, permissions and an id (Linux fs/jffs2/acl.h and
//! include/uapi/linux/posix_acl_xattr.h). What Linux shows is version 2, little endian, and every entry has an id. What
//! JFFS2 stores is version 1, in the image's endianness, and only entries for a named user or group have one.

use alloc::vec::Vec;

use crate::wire::Endian;

const STORED_VERSION: u32 = 1;
const SHOWN_VERSION: u32 = 2;
/// In what Linux shows, the id of an entry that needs none.
const NO_ID: u32 = u32::MAX;
const VERSION_SIZE: usize = 4;
const SHORT_ENTRY: usize = 4;
const LONG_ENTRY: usize = 8;
/// So many entries name nobody (owner, group, mask, others); Linux counts on it when it reads.
const UNNAMED: usize = 4;

/// Whether entries with this tag name a user or a group; `None` for an unknown tag.
fn has_id(tag: u16) -> Option<bool> {
    match tag {
        // Owner, owning group, mask, others.
        0x01 | 0x04 | 0x10 | 0x20 => Some(false),
        // A user, a group.
        0x02 | 0x08 => Some(true),
        _ => None,
    }
}

/// What Linux shows for a stored ACL; `None` if Linux refuses it, or finds no entry in it.
#[must_use]
pub fn shown(endian: Endian, stored: &[u8]) -> Option<Vec<u8>> {
    let (version, mut rest) = stored.split_at_checked(VERSION_SIZE)?;
    if endian.u32(version, 0) != STORED_VERSION {
        return None;
    }
    let mut out = Vec::from(SHOWN_VERSION.to_le_bytes());
    while let Some((entry, behind)) = rest.split_at_checked(SHORT_ENTRY) {
        let (tag, permissions) = (endian.u16(entry, 0), endian.u16(entry, 2));
        let mut id = NO_ID;
        rest = behind;
        if has_id(tag)? {
            let (bytes, behind) = rest.split_at_checked(LONG_ENTRY - SHORT_ENTRY)?;
            id = endian.u32(bytes, 0);
            rest = behind;
        }
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    let entries = (out.len() - VERSION_SIZE) / LONG_ENTRY;
    (entries > 0 && rest.is_empty() && stored.len() == stored_size(entries)).then_some(out)
}

/// How an ACL that Linux shows is stored; `None` if it is none, or one that Linux would not read back.
#[must_use]
pub fn stored(endian: Endian, shown: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = shown.split_at_checked(VERSION_SIZE)?;
    let chunks = entries.chunks_exact(LONG_ENTRY);
    if Endian::Little.u32(version, 0) != SHOWN_VERSION || entries.is_empty() || !chunks.remainder().is_empty() {
        return None;
    }
    let mut out = Vec::new();
    endian.put_u32(&mut out, STORED_VERSION);
    for entry in chunks {
        let tag = Endian::Little.u16(entry, 0);
        endian.put_u16(&mut out, tag);
        endian.put_u16(&mut out, Endian::Little.u16(entry, 2));
        if has_id(tag)? {
            endian.put_u32(&mut out, Endian::Little.u32(entry, 4));
        }
    }
    (out.len() == stored_size(entries.len() / LONG_ENTRY)).then_some(out)
}

/// The size that Linux expects of a number of entries: all but four name somebody.
fn stored_size(entries: usize) -> usize {
    let unnamed = entries.min(UNNAMED);
    VERSION_SIZE + unnamed * SHORT_ENTRY + (entries - unnamed) * LONG_ENTRY
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// What `setfacl -m u:1000:rwx,g:70000:r-x` gives a file of mode 0644.
    const SHOWN: &[u8] = &[
        2, 0, 0, 0, //
        0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, //
        0x02, 0, 7, 0, 0xe8, 0x03, 0, 0, //
        0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, //
        0x08, 0, 5, 0, 0x70, 0x11, 0x01, 0, //
        0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, //
        0x20, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
    ];
    /// The same, little endian.
    const STORED: &[u8] = &[
        1, 0, 0, 0, 0x01, 0, 6, 0, 0x02, 0, 7, 0, 0xe8, 0x03, 0, 0, 0x04, 0, 4, 0, 0x08, 0, 5, 0, 0x70, 0x11, 0x01, 0,
        0x10, 0, 7, 0, 0x20, 0, 4, 0,
    ];

    #[test]
    fn stored_and_shown() {
        assert_eq!(shown(Endian::Little, STORED).as_deref(), Some(SHOWN));
        assert_eq!(stored(Endian::Little, SHOWN).as_deref(), Some(STORED));
        let big = stored(Endian::Big, SHOWN).expect("an ACL");
        assert_eq!(big[..12], [0, 0, 0, 1, 0, 1, 0, 6, 0, 2, 0, 7]);
        assert_eq!(shown(Endian::Big, &big).as_deref(), Some(SHOWN));
        let three = [&SHOWN[..12], &SHOWN[20..28], &SHOWN[44..]].concat();
        assert_eq!(shown(Endian::Big, &stored(Endian::Big, &three).expect("an ACL")), Some(three));
    }

    #[test]
    fn what_linux_refuses() {
        let with = |at: usize, byte: u8| {
            let mut bytes = STORED.to_vec();
            bytes[at] = byte;
            bytes
        };
        let none_named = [&STORED[..8], &STORED[16..20], &STORED[28..]].concat();
        assert_eq!(shown(Endian::Little, &none_named).map(|acl| acl.len()), Some(36), "four of them is right");
        let cases = [
            (vec![], "no version"),
            (vec![1, 0, 0, 0], "no entries"),
            (with(0, 2), "version"),
            (with(4, 3), "tag"),
            (STORED[..STORED.len() - 2].to_vec(), "half an entry"),
            (STORED[..14].to_vec(), "half an id"),
            (STORED[..16].to_vec(), "a named entry among fewer than five"),
            ([&none_named[..], &STORED[4..8]].concat(), "five that name nobody"),
        ];
        for (bytes, what) in cases {
            assert_eq!(shown(Endian::Little, &bytes), None, "{what}");
        }
        assert_eq!(stored(Endian::Little, &SHOWN[..20]), None, "a named entry among fewer than five");
        assert_eq!(stored(Endian::Little, &SHOWN[..SHOWN.len() - 1]), None, "half an entry");
        assert_eq!(stored(Endian::Little, &SHOWN[..4]), None, "no entries");
        assert_eq!(stored(Endian::Little, STORED), None, "version");
    }

    proptest! {
        #[test]
        fn any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), tags in proptest::collection::vec(0usize..6, 0..10)) {
            let known = [0x01, 0x04, 0x10, 0x20, 0x02, 0x08];
            for (entry, tag) in tags.iter().enumerate() {
                if let Some(place) = bytes.get_mut(4 + 8 * entry..6 + 8 * entry) {
                    place.copy_from_slice(&[known[*tag], 0]);
                }
            }
            if let Some(version) = bytes.get_mut(..4) {
                version.copy_from_slice(&[1, 0, 0, 0]);
            }
            if let Some(acl) = shown(Endian::Little, &bytes) {
                prop_assert_eq!(stored(Endian::Little, &acl), Some(bytes));
            }
        }
    }
}
