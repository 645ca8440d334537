//! Flashes to be collected.

use std::fmt::Write;

use jffs2_mkimage::{Options, build};
use jffs2_tx::flash::{Flash, FlashKind, FlashMut};
use jffs2_tx::scan::scan_block;
use jffs2_tx::tx::{Transaction, TxError, TxOptions};
use jffs2_tx::wire::{
    Cleanmarker, CommitPoint, Compression, Dirent, Endian, HEADER_SIZE, INODE_SIZE, Inode, Summary, SummaryEntry,
    Xattr, Xref, xprefix,
};
use jffs2_tx::{Device, FileKind, Index, Rules};
use nandsim::{Chip, Shape, parse_tree};

use crate::common::SEED;

const DIRS: u32 = 4;
const FILES: u32 = 12;
/// Of so many files in a directory one stays.
const KEPT: u32 = 4;

/// Directories full of files.
fn tree(file: u32) -> String {
    let mut text = String::from("/ dir 755 0 0 1500000000\n");
    for dir in 0..DIRS {
        let _ = writeln!(text, "/d{dir} dir 755 0 0 1500000001");
        for name in 0..FILES {
            let seed = dir * FILES + name + 1;
            let _ = writeln!(text, "/d{dir}/f{name:02} file 644 0 0 1500000002 noise:{seed}:{file}");
        }
        let _ = writeln!(text, "/d{dir}/link symlink 777 0 0 1500000003 f00");
    }
    text
}

fn image(shape: Shape, summaries: bool) -> Vec<u8> {
    let cleanmarkers = shape.kind == FlashKind::Nor && shape.write_size as usize <= HEADER_SIZE;
    let options = Options {
        endian: shape.endian,
        eraseblock: shape.eraseblock,
        cleanmarkers,
        summary: summaries,
        ..Options::default()
    };
    let mut image = Vec::new();
    build(&parse_tree(&tree(shape.eraseblock / 13)).unwrap(), &options, &mut image).unwrap();
    image
}

fn flashed(shape: Shape, image: &[u8], spare: u32) -> Chip {
    let blocks = (image.len() as u32).div_ceil(shape.eraseblock) + spare;
    let geometry = shape.geometry(u64::from(blocks * shape.eraseblock)).unwrap();
    shape.flashed(geometry, image, SEED).unwrap()
}

fn remove_most(
    chip: &mut Chip,
    endian: Endian,
    dir: u32,
    point: CommitPoint,
) -> Result<(), TxError<nandsim::ChipError>> {
    let options =
        TxOptions { commit_point: Some(point), txid: [dir as u8; 16], reserve: Some(0), ..TxOptions::default() };
    let mut tx = Transaction::begin(chip, endian, options)?;
    for name in (0..FILES).filter(|name| name % KEPT != 0) {
        tx.remove(format!("/d{dir}/f{name:02}").as_bytes())?;
    }
    tx.commit().map(drop)
}

/// An image, and most files of two of its directories removed.
pub(crate) fn aged(shape: Shape, summaries: bool) -> Chip {
    let mut chip = flashed(shape, &image(shape, summaries), 7);
    for dir in [0, 2] {
        remove_most(&mut chip, shape.endian, dir, CommitPoint::Dirent).unwrap();
    }
    chip
}

/// The same contents, in eraseblocks that had all been erased and marked clean before, as `flash_erase -j` does it.
pub(crate) fn with_oob_cleanmarkers(chip: &Chip) -> Chip {
    let geometry = *chip.geometry();
    let mut marked = Chip::new(geometry, SEED);
    for block in 0..geometry.blocks() {
        marked.write_oob_cleanmarker(block).unwrap();
        let (bytes, page) = (chip.block_data(block), geometry.write_size() as usize);
        let written = bytes.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| (last + 1).next_multiple_of(page));
        marked.program(geometry.offset_of(block), &bytes[..written]).unwrap();
    }
    marked
}

/// What [`aged`] gives, with one eraseblock free; the others are full of what lives.
pub(crate) fn nearly_full(shape: Shape) -> Chip {
    let mut chip = aged(shape, true);
    let index = Index::open(&chip, Rules { endian: shape.endian, summaries: true }).unwrap();
    let unused: Vec<u32> =
        (0..).zip(index.blocks()).filter(|(_, info)| info.live == 0).map(|(block, _)| block).collect();
    for block in &unused {
        chip.erase(*block).unwrap();
    }
    for block in unused.iter().copied().filter(|block| *block != unused[unused.len() / 2]) {
        let (ino, mut full) = (5000 + block, Block::new(shape));
        full.name(1, ino, format!("full{block}").as_bytes(), ino, Some(FileKind::File));
        let room = shape.eraseblock as usize - full.bytes.len() - 100;
        full.inode(ino, 1, FileKind::File, 0, &vec![7; room]);
        full.bytes.resize(shape.eraseblock as usize, 0xff);
        chip.program(block * shape.eraseblock, &full.bytes).unwrap();
    }
    chip
}

/// A summary commit: readers without summaries are behind.
pub(crate) fn divided(shape: Shape) -> Chip {
    let mut chip = flashed(shape, &image(shape, true), 9);
    for dir in [0, 2] {
        remove_most(&mut chip, shape.endian, dir, CommitPoint::Dirent).unwrap();
    }
    remove_most(&mut chip, shape.endian, 3, CommitPoint::Summary).unwrap();
    chip
}

/// Nodes made one by one.
struct Block {
    shape: Shape,
    bytes: Vec<u8>,
}

impl Block {
    fn new(shape: Shape) -> Self {
        let mut bytes = Vec::new();
        if shape.kind == FlashKind::Nor {
            Cleanmarker::emit(
                shape.endian,
                &mut bytes,
                if shape.write_size == 1 { 12 } else { shape.write_size.max(16) },
            );
        }
        Self { shape, bytes }
    }

    fn name(&mut self, pino: u32, version: u32, name: &[u8], ino: u32, kind: Option<FileKind>) -> usize {
        self.name_at(1000 + version, pino, version, name, ino, kind)
    }

    fn name_at(
        &mut self,
        mctime: u32,
        pino: u32,
        version: u32,
        name: &[u8],
        ino: u32,
        kind: Option<FileKind>,
    ) -> usize {
        let at = self.bytes.len();
        let kind = kind.map_or(0, FileKind::dirent_type);
        Dirent { pino, version, ino, mctime, kind, name }.emit(self.shape.endian, &mut self.bytes);
        at
    }

    fn inode(&mut self, ino: u32, version: u32, kind: FileKind, offset: u32, data: &[u8]) {
        let fields = Inode {
            ino,
            version,
            mode: kind.mode_bits() | 0o644,
            uid: 1,
            gid: 2,
            isize: offset + data.len() as u32,
            atime: 3,
            mtime: 4,
            ctime: 5,
            offset,
            csize: 0,
            dsize: data.len() as u32,
            compression: Compression::None,
            data_crc: 0,
        };
        fields.emit(self.shape.endian, &mut self.bytes, data);
    }

    fn attribute(&mut self, xid: u32, name: &[u8], value: &[u8]) {
        Xattr { xid, version: 1, prefix: xprefix::USER, name, value }.emit(self.shape.endian, &mut self.bytes);
    }

    /// An attribute whose value lies across the middle of the eraseblock, where erases are cut, with its header before it.
    fn attribute_in_the_middle(&mut self, xid: u32, name: &[u8], value: &[u8]) {
        let before = self.shape.eraseblock as usize / 2 - value.len() / 2;
        let filler = before - self.bytes.len() - INODE_SIZE;
        self.inode(499, 1, FileKind::File, 0, &vec![9; filler]);
        self.attribute(xid, name, value);
    }

    fn tie(&mut self, ino: u32, xid: u32, seqno: u32) {
        Xref { ino, xid, seqno }.emit(self.shape.endian, &mut self.bytes);
    }

    /// With files that nobody needs any more.
    fn filled(mut self) -> Vec<u8> {
        for ino in 500.. {
            if self.bytes.len() + 1500 > self.shape.eraseblock as usize {
                break;
            }
            self.inode(ino, 1, FileKind::File, 0, &[ino as u8; 700]);
        }
        self.bytes.resize(self.shape.eraseblock as usize, 0xff);
        self.bytes
    }
}

/// An eraseblock with a summary of what readers see in it.
fn summed(shape: Shape, mut block: Vec<u8>) -> Vec<u8> {
    let geometry = shape.geometry(u64::from(shape.eraseblock) * 8).unwrap();
    let bytes = block.clone();
    let found = scan_block(&geometry, Rules { endian: shape.endian, summaries: false }, 0, &bytes, false);
    let totlen = |at: u32| shape.endian.u32(&bytes, at as usize + 4);
    let mut entries: Vec<SummaryEntry<'_>> = Vec::new();
    entries.extend(found.dirents.iter().map(|node| SummaryEntry::Dirent {
        totlen: totlen(node.at),
        offset: node.at,
        pino: node.pino,
        version: node.version,
        ino: node.ino,
        kind: node.kind,
        name: found.name(node),
    }));
    entries.extend(found.inodes.iter().map(|node| SummaryEntry::Inode {
        ino: node.ino,
        version: node.version,
        offset: node.at,
        totlen: totlen(node.at),
    }));
    entries.extend(found.xattrs.iter().map(|node| SummaryEntry::Xattr {
        xid: node.xid,
        version: node.version,
        offset: node.at,
        totlen: totlen(node.at),
    }));
    entries.extend(found.xrefs.iter().map(|record| SummaryEntry::Xref { offset: record.at }));
    entries.sort_by_key(SummaryEntry::offset);
    let len = Summary::flash_size(entries.iter().map(SummaryEntry::size).sum());
    let cleanmarker = if shape.kind == FlashKind::Nor { geometry.cleanmarker_size() } else { 0 };
    block.truncate(block.len() - len);
    Summary { cleanmarker, padded: 0, entries }.emit(shape.endian, &mut block, len, shape.eraseblock);
    block
}

/// Whether attributes can be moved on such a flash: without, their eraseblocks would only stand in the way.
fn moves_attributes(shape: Shape) -> bool {
    shape.kind == FlashKind::Nor && shape.write_size <= 4
}

/// Deletions beside what they delete and apart from it, special inodes, a root and directories without a node, which exist by names
/// that say nothing else, copies with equal versions, names of one directory that differ in their time, a node that is marked
/// obsolete, attributes that two inodes share. Free eraseblocks lie on both sides.
pub(crate) fn hard(shape: Shape, summaries: bool) -> Chip {
    let endian = shape.endian;
    let mut first = Block::new(shape);
    first.name(1, 1, b"dir", 7, Some(FileKind::Directory));
    first.name(7, 1, b"gone", 0, None);
    first.name(1, 2, b"file", 8, Some(FileKind::File));
    first.inode(8, 1, FileKind::File, 0, &[1; 200]);
    first.name(1, 11, b"hollow", 21, Some(FileKind::Directory));
    first.name_at(0, 21, 1, b"gone", 0, None);
    first.name(1, 12, b"broken", 22, Some(FileKind::Directory));
    first.name(22, 1, b"lost", 99, Some(FileKind::File));
    let mut second = Block::new(shape);
    second.name(1, 3, b"old", 9, Some(FileKind::File));
    second.name(1, 4, b"old", 0, None);
    second.inode(9, 1, FileKind::File, 0, b"old");
    second.name(1, 5, b"link", 10, Some(FileKind::Symlink));
    second.inode(10, 1, FileKind::Symlink, 0, b"file");
    let mut third = Block::new(shape);
    third.name(1, 6, b"dev", 11, Some(FileKind::CharDevice));
    third.inode(11, 1, FileKind::CharDevice, 0, &Device { major: 5, minor: 1 }.encode(endian));
    third.name(1, 8, b"older", 0, None);
    third.name(1, 10, b"last", 12, Some(FileKind::File));
    // Unlike the root it has a node of its own.
    third.name(1, 13, b"drafts", 20, Some(FileKind::Directory));
    third.inode(20, 1, FileKind::Directory, 0, &[]);
    third.name(20, 3, b"draft", 0, None);
    third.name(20, 4, b"final", 12, Some(FileKind::File));
    let mut fourth = Block::new(shape);
    fourth.name(1, 7, b"older", 12, Some(FileKind::File));
    fourth.name(20, 2, b"draft", 12, Some(FileKind::File));
    fourth.inode(12, 1, FileKind::File, 0, b"twelve");
    fourth.inode(8, 2, FileKind::File, 200, &[2; 200]);
    // As Linux's collector leaves it.
    fourth.inode(8, 1, FileKind::File, 0, &[1; 200]);
    let mut ghost = None;
    if shape.write_size == 1 {
        ghost = Some(fourth.name(1, 9, b"ghost", 12, Some(FileKind::File)));
    }
    if moves_attributes(shape) {
        second.attribute(1, b"mime", b"text/plain");
        second.tie(8, 1, 2);
        third.tie(8, 2, 4);
        fourth.tie(10, 2, 6);
        fourth.attribute(3, b"dropped", b"x");
        fourth.tie(8, 3, 8);
        third.tie(8, 3, 9);
        third.attribute_in_the_middle(2, b"label", &[b'v'; 300]);
    }
    let mut fourth = fourth.filled();
    if let Some(at) = ghost {
        let type_high = if endian == Endian::Little { at + 3 } else { at + 2 };
        fourth[type_high] &= !0x20;
    }
    let blocks = [first.filled(), second.filled(), third.filled(), fourth];
    let blocks = blocks.map(|block| if summaries { summed(shape, block) } else { block });
    let blank = vec![0xff; shape.eraseblock as usize];
    let image = [blank, blocks.concat()].concat();
    flashed(shape, &image, 3)
}
