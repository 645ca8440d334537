//! Which attributes count, in both endiannesses, with and without summaries.

use alloc::{string::String, vec, vec::Vec};

use super::*;
use crate::flash::{FlashKind, Geometry, MemFlash};
use crate::index::Index;
use crate::scan::{Rules, XrefRecord, scan_block};
use crate::wire::{Dirent, Endian, Summary, SummaryEntry, Xref};

const EB: usize = 16 << 10;
/// What the nodes below are about: it exists by a name in it.
const INO: u32 = 7;

/// Nodes of one eraseblock.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    listed: Vec<SummaryEntry<'static>>,
}

impl Block {
    fn new(endian: Endian) -> Self {
        let mut block = Self::default();
        Dirent { pino: 1, version: 1, ino: INO, mctime: 1, kind: 4, name: b"dir" }.emit(endian, &mut block.bytes);
        Dirent { pino: INO, version: 1, ino: 0, mctime: 1, kind: 0, name: b"x" }.emit(endian, &mut block.bytes);
        block
    }

    /// Adds an attribute and returns where it starts.
    fn xattr(&mut self, endian: Endian, xid: u32, version: u32, (prefix, name): (u8, &str), value: &[u8]) -> usize {
        let at = self.bytes.len();
        Xattr { xid, version, prefix, name: name.as_bytes(), value }.emit(endian, &mut self.bytes);
        let totlen = (self.bytes.len() - at) as u32;
        self.listed.push(SummaryEntry::Xattr { xid, version, offset: at as u32, totlen });
        at
    }

    fn tie(&mut self, endian: Endian, ino: u32, xid: u32, seqno: u32) {
        self.listed.push(SummaryEntry::Xref { offset: self.bytes.len() as u32 });
        Xref { ino, xid, seqno }.emit(endian, &mut self.bytes);
    }

    /// The eraseblock, with a summary of `self.listed`.
    fn summed(mut self, endian: Endian) -> Vec<u8> {
        let len = Summary::flash_size(self.listed.iter().map(SummaryEntry::size).sum());
        self.bytes.resize(EB - len, 0xff);
        let summary = Summary { cleanmarker: 0, padded: 0, entries: self.listed };
        summary.emit(endian, &mut self.bytes, len, EB as u32);
        self.bytes
    }
}

fn geometry() -> Geometry {
    Geometry::new(FlashKind::Nor, 8 * EB as u64, EB as u32, 1).unwrap()
}

fn flash(blocks: Vec<Vec<u8>>) -> MemFlash {
    let padded = blocks.into_iter().flat_map(|mut block| {
        block.resize(EB, 0xff);
        block
    });
    MemFlash::with_data(geometry(), padded.collect())
}

/// `name=value` of each, and the offsets of those that are lost.
fn attributes(endian: Endian, blocks: Vec<Vec<u8>>, ino: u32) -> (Vec<String>, Vec<u32>) {
    let flash = flash(blocks);
    let index = Index::open(&flash, Rules { endian, summaries: true }).unwrap();
    let tree = Tree::new(&flash, &index);
    let show = |a: Attribute| String::from_utf8([&a.name[..], b"=", &a.value].concat()).unwrap();
    let shown = tree.xattrs(ino).unwrap().into_iter().map(show).collect();
    (shown, tree.lost_xattrs(ino).unwrap().iter().map(|lost| lost.at).collect())
}

fn both(check: impl Fn(Endian)) {
    [Endian::Little, Endian::Big].into_iter().for_each(check);
}

const MIME: (u8, &str) = (xprefix::USER, "mime");
const LABEL: (u8, &str) = (xprefix::SECURITY, "selinux");

#[test]
fn every_prefix_by_name() {
    both(|e| {
        let mut block = Block::new(e);
        for (xid, key) in [(1, MIME), (2, (xprefix::TRUSTED, "t")), (3, LABEL)] {
            block.xattr(e, xid, 1, key, b"v");
            block.tie(e, INO, xid, 2 * xid);
        }
        let expected = ["security.selinux=v", "trusted.t=v", "user.mime=v"];
        assert_eq!(attributes(e, vec![block.bytes], INO), (expected.map(String::from).into(), vec![]));
    });
}

#[test]
fn the_highest_version_of_an_attribute_and_the_later_of_equal_ones() {
    both(|e| {
        let (mut first, mut second) = (Block::new(e), Block::new(e));
        first.xattr(e, 1, 3, MIME, b"new");
        first.tie(e, INO, 1, 2);
        second.xattr(e, 1, 2, MIME, b"old");
        first.xattr(e, 2, 5, LABEL, b"earlier");
        second.tie(e, INO, 2, 4);
        second.xattr(e, 2, 5, LABEL, b"later");
        let shown = attributes(e, vec![first.bytes, second.bytes], INO).0;
        assert_eq!(shown, ["security.selinux=later", "user.mime=new"]);
    });
}

#[test]
fn the_highest_sequence_number_of_a_tie_deletes_or_not() {
    both(|e| {
        let mut block = Block::new(e);
        block.xattr(e, 1, 1, MIME, b"deleted");
        block.tie(e, INO, 1, 9);
        block.tie(e, INO, 1, 2);
        block.xattr(e, 2, 1, LABEL, b"tied again");
        block.tie(e, INO, 2, 5);
        block.tie(e, INO, 2, 12);
        assert_eq!(attributes(e, vec![block.bytes], INO).0, ["security.selinux=tied again"]);
    });
}

#[test]
fn of_one_name_the_highest_sequence_number_counts() {
    both(|e| {
        let mut block = Block::new(e);
        // Against the order of xids and of offsets.
        for (xid, seqno, value) in [(3, 8, "last"), (1, 2, "first"), (9, 4, "second")] {
            block.xattr(e, xid, 1, MIME, value.as_bytes());
            block.tie(e, INO, xid, seqno);
        }
        assert_eq!(attributes(e, vec![block.bytes], INO).0, ["user.mime=last"]);
    });
}

#[test]
fn ties_to_nothing() {
    both(|e| {
        let mut block = Block::new(e);
        block.xattr(e, 1, 1, MIME, b"v");
        block.tie(e, INO, 2, 2);
        block.tie(e, INO + 1, 1, 4);
        assert_eq!(attributes(e, vec![block.bytes.clone()], INO), (vec![], vec![]), "no such attribute");
        let flash = flash(vec![block.bytes]);
        let index = Index::open(&flash, Rules { endian: e, summaries: true }).unwrap();
        assert_eq!(index.max_ino(), INO + 1, "a new inode with this number would inherit");
        assert_eq!(index.blocks()[0].live, 5, "two dirents and three nodes of attributes");
    });
}

#[test]
fn shared_by_inodes() {
    both(|e| {
        let mut block = Block::new(e);
        block.xattr(e, 1, 1, LABEL, b"bin_t");
        block.tie(e, INO, 1, 2);
        block.tie(e, 1, 1, 4);
        for ino in [1, INO] {
            assert_eq!(attributes(e, vec![block.bytes.clone()], ino).0, ["security.selinux=bin_t"]);
        }
    });
}

/// As Linux: the damaged node hides older ones of its number, but not other attributes of its name.
#[test]
fn damage_to_a_value() {
    both(|e| {
        let mut block = Block::new(e);
        block.xattr(e, 1, 1, MIME, b"older value");
        block.tie(e, INO, 1, 2);
        block.xattr(e, 2, 1, MIME, b"damaged, version 1");
        let at = block.xattr(e, 2, 2, MIME, b"damaged");
        block.tie(e, INO, 2, 4);
        block.bytes[at + 38] ^= 1;
        let found = attributes(e, vec![block.bytes.clone()], INO);
        assert_eq!(found, (vec!["user.mime=older value".into()], vec![at as u32]));
        block.bytes.resize(EB, 0xff);
        let found = scan_block(&geometry(), Rules { endian: e, summaries: true }, 0, &block.bytes, false);
        assert_eq!(found.damage.iter().map(|damage| damage.at as usize).collect::<Vec<_>>(), [at]);
    });
}

/// A node whose own CRC is wrong does not exist, so that an older version counts.
#[test]
fn damage_to_a_node() {
    both(|e| {
        for field in [12, 21, 28] {
            let mut block = Block::new(e);
            block.xattr(e, 1, 1, MIME, b"one");
            block.tie(e, INO, 1, 2);
            let at = block.xattr(e, 1, 2, MIME, b"two");
            block.bytes[at + field] ^= 1;
            assert_eq!(attributes(e, vec![block.bytes], INO), (vec!["user.mime=one".into()], vec![]));
        }
    });
}

#[test]
fn what_nobody_could_ask_for_is_lost() {
    both(|e| {
        let keys = [(6, "x"), (0, "x"), (1, ""), (1, "a\0b"), (3, "x"), (3, "")];
        for key in keys {
            let mut block = Block::new(e);
            let at = block.xattr(e, 1, 1, key, b"no ACL");
            block.tie(e, INO, 1, 2);
            assert_eq!(attributes(e, vec![block.bytes], INO), (vec![], vec![at as u32]), "{key:?}");
        }
    });
}

#[test]
fn acls_are_shown_as_linux_shows_them() {
    both(|e| {
        let shown = [[2, 0, 0, 0].as_slice(), &[1, 0, 7, 0, 255, 255, 255, 255], &[4, 0, 5, 0, 255, 255, 255, 255]];
        let acl = shown.concat();
        let stored = acl::stored(e, &acl).unwrap();
        let mut block = Block::new(e);
        for (xid, prefix) in [(1, xprefix::ACL_ACCESS), (2, xprefix::ACL_DEFAULT)] {
            block.xattr(e, xid, 1, (prefix, ""), &stored);
            block.tie(e, INO, xid, 2 * xid);
        }
        let flash = flash(vec![block.bytes]);
        let index = Index::open(&flash, Rules { endian: e, summaries: true }).unwrap();
        let names = [b"system.posix_acl_access".to_vec(), b"system.posix_acl_default".to_vec()];
        let expected = names.map(|name| Attribute { name, value: acl.clone() });
        assert_eq!(Tree::new(&flash, &index).xattrs(INO).unwrap(), expected);
    });
}

#[test]
fn only_what_the_summary_lists_exists() {
    both(|e| {
        let mut block = Block::new(e);
        block.xattr(e, 1, 1, MIME, b"listed");
        block.tie(e, INO, 1, 2);
        let listed = block.listed.len();
        block.xattr(e, 1, 2, MIME, b"not listed");
        block.tie(e, INO, 1, 5);
        block.xattr(e, 2, 1, LABEL, b"not listed");
        block.tie(e, INO, 2, 6);
        block.listed.truncate(listed);
        let bytes = block.summed(e);
        let dirents = Block::new(e).bytes;
        assert_eq!(attributes(e, vec![bytes.clone(), dirents.clone()], INO).0, ["user.mime=listed"]);
        let flash = flash(vec![bytes, dirents]);
        let index = Index::open(&flash, Rules { endian: e, summaries: true }).unwrap();
        assert_eq!((index.blocks()[0].visible, index.blocks()[0].unlisted), (2, true));
        let without = Index::open(&flash, Rules { endian: e, summaries: false }).unwrap();
        let shown = Tree::new(&flash, &without).xattrs(INO).unwrap();
        assert_eq!(shown.iter().map(|a| &a.name[..]).collect::<Vec<_>>(), [b"security.selinux"], "1 is deleted");
    });
}

#[test]
fn no_attributes_no_memory() {
    let with = |tie: bool| {
        let mut block = Block::new(Endian::Little);
        if tie {
            block.xattr(Endian::Little, 1, 1, MIME, b"v");
            block.tie(Endian::Little, INO, 1, 2);
        }
        Index::open(&flash(vec![block.bytes]), Rules { endian: Endian::Little, summaries: true }).unwrap().memory()
    };
    let cost = size_of::<XattrRecord>() + size_of::<XrefRecord>() + 2 * size_of::<u32>();
    assert_eq!(with(true), with(false) + cost);
}
