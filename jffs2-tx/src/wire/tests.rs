//! Round trips of every node type in both endiannesses, and what damage does to them.

use alloc::{vec, vec::Vec};
use proptest::prelude::*;

use super::*;

fn endians() -> impl Strategy<Value = Endian> {
    prop_oneof![Just(Endian::Little), Just(Endian::Big)]
}

proptest! {
    #[test]
    fn inode_round_trip(e in endians(), ino: u32, version: u32, uid: u16, size in 0u32..9000,
                        data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let node = Inode {
            ino, version, mode: 0o100_644, uid, gid: 7, isize: size, atime: 1, mtime: 2, ctime: 3, offset: size / 2,
            csize: data.len() as u32, dsize: 4096, compression: Compression::Zlib, data_crc: crc32(&data),
        };
        let mut out = Vec::new();
        node.emit(e, &mut out, &data);
        prop_assert_eq!(out.len(), Inode::flash_size(data.len()));
        prop_assert_eq!(Inode::parse(e, &out), Ok(node));
        prop_assert_eq!(node.data(&out), Some(&data[..]));
        prop_assert!(node.data_is_good(&out));
    }

    #[test]
    fn dirent_round_trip(e in endians(), pino: u32, version: u32, ino: u32,
                         name in proptest::collection::vec(1u8..=255, 1..=254)) {
        let node = Dirent { pino, version, ino, mctime: 9, kind: 8, name: &name };
        let mut out = Vec::new();
        node.emit(e, &mut out);
        prop_assert_eq!(out.len(), Dirent::flash_size(name.len()));
        prop_assert_eq!(Dirent::parse(e, &out), Ok(node));
    }

    /// No single damaged bit of a node's own bytes goes unnoticed.
    #[test]
    fn any_flipped_bit_is_seen(e in endians(), bit in 0usize..(44 * 8)) {
        let node = Dirent { pino: 1, version: 2, ino: 3, mctime: 4, kind: 8, name: b"name" };
        let mut out = Vec::new();
        node.emit(e, &mut out);
        out[bit / 8] ^= 1 << (bit % 8);
        let seen = Header::parse(e, &out).is_err()
            || Header::parse(e, &out).is_ok_and(|h| h.obsolete)
            || Dirent::parse(e, &out).is_err();
        prop_assert!(seen);
    }

    #[test]
    fn parsers_take_any_bytes(e in endians(), mut bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0usize..7) {
        let types = [nodetype::INODE, nodetype::DIRENT, nodetype::SUMMARY, nodetype::XATTR, nodetype::XREF,
                     nodetype::TX_MARKER, nodetype::CLEANMARKER];
        if bytes.len() >= HEADER_SIZE {
            let mut head = Vec::new();
            emit_header(e, &mut head, types[kind], bytes.len() as u32);
            bytes[..HEADER_SIZE].copy_from_slice(&head);
        }
        let _ = (Inode::parse(e, &bytes), Dirent::parse(e, &bytes), Summary::parse(e, &bytes), Marker::parse(e, &bytes));
        let _ = (Xattr::parse(e, &bytes), Xref::parse(e, &bytes), Summary::locate(e, &bytes));
    }
}

#[test]
fn xattr_and_xref_round_trip() {
    for e in [Endian::Little, Endian::Big] {
        let node = Xattr { xid: 5, version: 1, prefix: 2, name: b"selinux", value: b"system_u:object_r:bin_t\0" };
        let mut out = Vec::new();
        node.emit(e, &mut out);
        assert_eq!(Header::parse(e, &out).unwrap().totlen as usize, out.len());
        assert_eq!(Xattr::parse(e, &out), Ok(node));
        let tie = Xref { ino: 9, xid: 5, seqno: 4 };
        let mut out = Vec::new();
        tie.emit(e, &mut out);
        assert_eq!(Xref::parse(e, &out), Ok(tie));
    }
}

#[test]
fn summary_round_trip() {
    for e in [Endian::Little, Endian::Big] {
        let summary = Summary {
            cleanmarker: 12,
            padded: 0,
            entries: vec![
                SummaryEntry::Inode { ino: 4, version: 1, offset: 12, totlen: 90 },
                SummaryEntry::Dirent { totlen: 43, offset: 104, pino: 1, version: 2, ino: 4, kind: 8, name: b"abc" },
                SummaryEntry::Xattr { xid: 1, version: 1, offset: 148, totlen: 60 },
                SummaryEntry::Xref { offset: 208 },
            ],
        };
        let mut block = vec![0xff; 4096 - 200];
        summary.emit(e, &mut block, 200, 4096);
        assert_eq!(block.len(), 4096);
        let start = Summary::locate(e, &block).unwrap();
        assert_eq!(start, 4096 - 200);
        assert_eq!(Summary::parse(e, &block[start..]), Ok(summary));
        block[4000] ^= 1;
        assert_eq!(Summary::parse(e, &block[start..]), Err(WireError::NodeCrc));
    }
}

#[test]
fn no_marker_has_a_longer_label_than_can_be_written() {
    for e in [Endian::Little, Endian::Big] {
        let mut bytes = Vec::new();
        let start = emit_header(e, &mut bytes, nodetype::TX_MARKER, (MARKER_SIZE + MAX_LABEL + 1) as u32);
        bytes.resize(MARKER_SIZE + MAX_LABEL + 1, b'x');
        bytes[start + 12..start + 16].copy_from_slice(&[1, 2, 2, MAX_LABEL as u8 + 1]);
        let checked = [&bytes[..96], &bytes[MARKER_SIZE..]].concat();
        e.set_u32(&mut bytes, 96, crc32(&checked));
        assert_eq!(Marker::parse(e, &bytes), Err(WireError::Value));
    }
}

#[test]
fn marker_round_trip_and_head() {
    let marker = Marker {
        kind: MarkerKind::Commit,
        commit_point: Some(CommitPoint::Head),
        sequence: 77,
        txid: [3; 16],
        commit_block: 12,
        nodes: 1000,
        bytes: 5_000_000_000,
        time: 1_700_000_000,
        digest: [0xab; 32],
        label: "a label that is longer than a head copy can häve".into(),
    };
    for e in [Endian::Little, Endian::Big] {
        let mut out = Vec::new();
        marker.emit(e, &mut out);
        assert_eq!(out.len(), marker.flash_size());
        assert_eq!(Marker::parse(e, &out).as_ref(), Ok(&marker));
        let head = marker.head(e);
        for offset in HEAD_COPY_OFFSETS {
            let copy = Marker::parse(e, &head[offset as usize..]).unwrap();
            assert!(copy.label.len() <= MAX_HEAD_LABEL && marker.label.starts_with(&copy.label));
            assert_eq!(Marker { label: marker.label.clone(), ..copy }, marker);
        }
    }
}

#[test]
fn xattr_names() {
    for (full, number, rest) in [
        (&b"user.mime"[..], xprefix::USER, &b"mime"[..]),
        (b"security.capability", xprefix::SECURITY, b"capability"),
        (b"trusted.a.b", xprefix::TRUSTED, b"a.b"),
        (b"system.posix_acl_access", xprefix::ACL_ACCESS, b""),
        (b"system.posix_acl_default", xprefix::ACL_DEFAULT, b""),
    ] {
        assert_eq!(split_xattr_name(full), Some((number, rest)));
        assert_eq!(join_xattr_name(number, rest).as_deref(), Some(full));
    }
    let long = [b"user.".as_slice(), &[b'x'; 256]].concat();
    for none in [&b"user."[..], b"user", b"system.nfs4_acl", b"system.posix_acl_accessx", b"user.a\0b", b"", &long] {
        assert_eq!(split_xattr_name(none), None, "{none:?}");
    }
    assert!(split_xattr_name(&long[..260]).is_some());
}

#[test]
fn xattr_lengths_must_agree() {
    for e in [Endian::Little, Endian::Big] {
        let mut out = Vec::new();
        Xattr { xid: 5, version: 1, prefix: 1, name: b"a", value: b"1234" }.emit(e, &mut out);
        let data = out.split_off(HEADER_SIZE);
        for (totlen, right) in [(40, true), (38, false), (44, false)] {
            let mut node = Vec::new();
            emit_header(e, &mut node, nodetype::XATTR, totlen);
            node.extend_from_slice(&data);
            node.resize(48, 0xff);
            assert_eq!(Xattr::parse(e, &node).is_ok(), right, "{totlen}");
            assert_eq!(Xattr::identity(e, &node).is_ok(), right, "{totlen}");
        }
        let mut xref = Vec::new();
        emit_header(e, &mut xref, nodetype::XREF, 32);
        let mut right = Vec::new();
        Xref { ino: 9, xid: 5, seqno: 4 }.emit(e, &mut right);
        xref.extend_from_slice(&right[HEADER_SIZE..24]);
        let crc = crc32(&xref);
        e.put_u32(&mut xref, crc);
        xref.extend_from_slice(&[0xff; 4]);
        assert_eq!(Xref::parse(e, &xref), Err(WireError::Length));
    }
}
