//! The hostile images, each with one idea.

use jffs2_tx::inode_kind::FileKind::{Directory, File, Symlink};
use jffs2_tx::wire::{Cleanmarker, CommitPoint, Compression, Dirent, Endian, Inode, Marker, MarkerKind, Xattr, Xref};

use crate::common::{Builder, Layout};

/// What is wicked about an image, and how it is made. One at a time: a child's memory is counted from when it was still
/// a copy of this process.
pub(crate) type Hostile = (&'static str, fn() -> Vec<u8>);

const LAYOUT: Layout = Layout { endian: Endian::Little, eraseblock: 65536, cleanmarkers: true, summaries: false };

/// Smaller ones first.
pub(crate) const ALL: &[Hostile] = &[
    ("directories in circles", circles),
    ("a file of 4 GiB in two nodes", huge_hole),
    ("lengths of 0xffffffff", longest_nodes),
    ("data that claims to be 4 GiB", claimed_bomb),
    ("names that lead elsewhere", names),
    ("symlinks as directories", symlinks),
    ("random bytes behind good headers", garbage),
    ("a marker of another transaction every 100 bytes", markers),
    ("one large attribute of 3,000 files, and 10,000 of one", attributes),
    ("64 MiB in 64 small nodes", real_bomb),
    ("50,000 names of one directory of 50,000 names", names_of_one_directory),
    ("a large node under thousands of small ones", sieve),
    ("a chain of 20,000 directories that are deleted", deleted_chain),
    ("100,000 names of one file of 20,000 nodes", names_of_one_file),
    ("a chain of 100,000 directories", chain),
    ("1,000,000 dirents of one name", versions_of_one_name),
];

/// Each claims to be the commit of a transaction whose payload is everything.
fn markers() -> Vec<u8> {
    let mut image = Bulk::new();
    image.inode(2, 0o100_644, b"here", |_| {});
    image.dirent(1, b"file", 2, 8);
    for n in 0..200_000_u32 {
        let mut node = Vec::new();
        let mut txid = [0; 16];
        txid[..4].copy_from_slice(&(n / 2).to_le_bytes());
        let block = (image.done.len() / LAYOUT.eraseblock) as u32;
        let kind = if n % 2 == 0 { MarkerKind::Begin } else { MarkerKind::Commit };
        let commit = kind == MarkerKind::Commit;
        let marker = Marker {
            kind,
            commit_point: commit.then_some(CommitPoint::Summary),
            sequence: u64::from(n / 2),
            txid,
            commit_block: if commit { block } else { u32::MAX },
            nodes: 0,
            bytes: if commit { 1 << 20 } else { 0 },
            time: 1,
            digest: [0; 32],
            label: String::new(),
        };
        marker.emit(LAYOUT.endian, &mut node);
        image.node(&node);
    }
    image.finish()
}

fn attributes() -> Vec<u8> {
    let mut image = Bulk::new();
    let add = |image: &mut Bulk, xid: u32, name: &[u8], value: &[u8]| {
        let mut node = Vec::new();
        Xattr { xid, version: 1, prefix: 1, name, value }.emit(LAYOUT.endian, &mut node);
        image.node(&node);
    };
    let tie = |image: &mut Bulk, ino: u32, xid: u32| {
        let mut node = Vec::new();
        Xref { ino, xid, seqno: 2 * xid }.emit(LAYOUT.endian, &mut node);
        image.node(&node);
    };
    add(&mut image, 1, b"large", &[b'v'; 60_000]);
    for ino in 2..3002 {
        image.inode(ino, 0o100_644, b"here", |_| {});
        image.dirent(1, format!("file{ino}").as_bytes(), ino, 8);
        tie(&mut image, ino, 1);
    }
    for xid in 2..10_002 {
        add(&mut image, xid, format!("name{}", xid / 2).as_bytes(), &xid.to_le_bytes());
        tie(&mut image, 2, xid);
    }
    image.finish()
}

/// Many nodes, quickly: no summary, no bookkeeping.
struct Bulk {
    done: Vec<u8>,
    version: u32,
}

impl Bulk {
    fn new() -> Self {
        let mut bulk = Self { done: Vec::new(), version: 0 };
        bulk.node(&[]);
        bulk
    }

    fn node(&mut self, node: &[u8]) {
        let used = self.done.len() % LAYOUT.eraseblock;
        if used + node.len() > LAYOUT.eraseblock {
            self.done.resize(self.done.len().next_multiple_of(LAYOUT.eraseblock), 0xff);
        }
        if self.done.len().is_multiple_of(LAYOUT.eraseblock) {
            Cleanmarker::emit(LAYOUT.endian, &mut self.done, 12);
        }
        self.done.extend_from_slice(node);
    }

    fn dirent(&mut self, pino: u32, name: &[u8], ino: u32, kind: u8) {
        self.version += 1;
        let mut node = Vec::new();
        Dirent { pino, version: self.version, ino, mctime: 1, kind, name }.emit(LAYOUT.endian, &mut node);
        self.node(&node);
    }

    fn inode(&mut self, ino: u32, mode: u32, stored: &[u8], change: impl FnOnce(&mut Inode)) {
        self.version += 1;
        let len = stored.len() as u32;
        let mut inode = Inode {
            ino,
            version: self.version,
            mode,
            uid: 0,
            gid: 0,
            isize: len,
            atime: 1,
            mtime: 1,
            ctime: 1,
            offset: 0,
            csize: 0,
            dsize: len,
            compression: Compression::None,
            data_crc: 0,
        };
        change(&mut inode);
        let mut node = Vec::new();
        inode.emit(LAYOUT.endian, &mut node, stored);
        self.node(&node);
    }

    fn chain(&mut self, len: u32) {
        for ino in 2..2 + len {
            self.dirent(ino - 1, b"d", ino, 4);
            self.inode(ino, 0o040_755, &[], |_| {});
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.done.resize(self.done.len().next_multiple_of(LAYOUT.eraseblock).max(8 * LAYOUT.eraseblock), 0xff);
        self.done
    }
}

fn circles() -> Vec<u8> {
    let mut image = Builder::new(LAYOUT);
    image.put(1, "a", 2, Directory, 0o755, &[]);
    image.put(2, "b", 3, Directory, 0o755, &[]);
    image.dirent(3, "up", 2, Directory);
    image.dirent(3, "self", 3, Directory);
    image.dirent(2, "root", 1, Directory);
    // Nothing leads here but each other.
    image.put(101, "x", 100, Directory, 0o755, &[]);
    image.put(100, "y", 101, Directory, 0o755, &[]);
    image.finish(8)
}

fn huge_hole() -> Vec<u8> {
    let mut image = Builder::new(LAYOUT);
    image.dirent(1, "huge", 2, File);
    image.inode(2, 0o100_644, b"a", |_| {});
    image.inode(2, 0o100_644, b"z", |node| (node.offset, node.isize) = (u32::MAX - 1, u32::MAX));
    image.dirent(1, "beyond", 3, File);
    image.inode(3, 0o100_644, b"zz", |node| (node.offset, node.isize) = (u32::MAX, u32::MAX));
    image.dirent(1, "all hole", 4, File);
    image.inode(4, 0o100_644, &[], |node| {
        (node.dsize, node.isize, node.compression) = (u32::MAX, u32::MAX, Compression::Zero);
    });
    image.finish(8)
}

fn longest_nodes() -> Vec<u8> {
    let mut image = Builder::new(LAYOUT);
    image.put(1, "file", 2, File, 0o644, b"here");
    for nodetype in [0xe001_u32, 0xe002, 0x2004, 0x2006, 0x2003, 0xe008, 0xe009, 0x2054, 0x2fff] {
        for totlen in [u32::MAX, u32::MAX - 3, 0x8000_0000, 0, 1, 11, 12, 65536, 65537] {
            let mut node = Vec::new();
            for field in [0x1985 | nodetype << 16, totlen] {
                node.extend_from_slice(&field.to_le_bytes());
            }
            let crc = jffs2_tx::crc::crc32(&node);
            node.extend_from_slice(&crc.to_le_bytes());
            node.resize(16, 0x55);
            image.raw(&node);
        }
    }
    image.put(1, "behind", 3, File, 0o644, b"too");
    image.finish(8)
}

fn claimed_bomb() -> Vec<u8> {
    let mut image = Builder::new(LAYOUT);
    for id in 0..=9 {
        let ino = 2 + u32::from(id);
        image.dirent(1, format!("by{id}"), ino, File);
        image.inode(ino, 0o100_644, &[0x78, 0x9c, 0x63, 0, 0, 1], |node| {
            (node.dsize, node.isize) = (u32::MAX, u32::MAX);
            node.compression = Compression::from_id(id);
        });
    }
    image.finish(8)
}

/// `len` bytes as a zlib stream of one byte repeated.
fn deflated(byte: u8, len: usize) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(&vec![byte; len], 9)
}

fn real_bomb() -> Vec<u8> {
    let mut image = Builder::new(LAYOUT);
    let stored = deflated(b'A', 1 << 20);
    image.dirent(1, "bomb", 2, File);
    for piece in 0..64 {
        image.inode(2, 0o100_644, &stored, |node| {
            (node.offset, node.isize, node.dsize) = (piece << 20, (piece + 1) << 20, 1 << 20);
            node.compression = Compression::Zlib;
        });
    }
    image.finish(8)
}

/// Read from start to end, the large node is needed between any two of the small ones.
fn sieve() -> Vec<u8> {
    let mut image = Bulk::new();
    let stored = deflated(b'A', 1 << 20);
    for ino in 2..6 {
        image.dirent(1, format!("sieve{ino}").as_bytes(), ino, 8);
        image.inode(ino, 0o100_644, &stored, |node| {
            (node.isize, node.dsize, node.compression) = (1 << 20, 1 << 20, Compression::Zlib);
        });
        for at in 0..20_000 {
            image.inode(ino, 0o100_644, b"b", |node| (node.offset, node.isize) = (at * 50, 1 << 20));
        }
    }
    image.finish()
}

fn names() -> Vec<u8> {
    let mut image = Builder::new(LAYOUT);
    let long = [b'n'; 254];
    let bad: [&[u8]; 9] = [b".", b"..", b"../out", b"/etc/passwd", b"a/b", b"a\0b", b"", b"\n", &long];
    for (at, name) in bad.into_iter().enumerate() {
        let ino = 10 + at as u32;
        image.inode(ino, 0o100_644, b"bad", |_| {});
        image.dirent(1, name, ino, File);
        image.dirent(1, format!("dir{at}"), 100 + ino, Directory);
        image.inode(100 + ino, 0o040_755, &[], |_| {});
        image.dirent(100 + ino, name, 1, Directory);
    }
    image.finish(8)
}

fn symlinks() -> Vec<u8> {
    let mut image = Builder::new(LAYOUT);
    image.put(1, "out", 2, Symlink, 0o777, b"/tmp");
    // Names in an inode that says that it is a symlink.
    image.put(2, "file", 3, File, 0o644, b"escaped");
    image.put(1, "up", 4, Symlink, 0o777, b"..");
    image.put(4, "errors2", 5, File, 0o644, b"escaped");
    // A file and a directory in one.
    image.put(1, "both", 6, File, 0o644, b"file");
    image.put(6, "inside", 7, File, 0o644, b"file");
    image.finish(8)
}

fn garbage() -> Vec<u8> {
    let mut image = Builder::new(LAYOUT);
    let mut random = 0x9e37_79b9_u32;
    for ino in 2..3000 {
        let mut node = Vec::new();
        for _ in 0..17 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            node.extend_from_slice(&(random >> (random >> 29)).to_le_bytes());
        }
        let mut header = Vec::new();
        for field in [[0xe001_1985_u32, 0xe002_1985, 0xe008_1985, 0xe009_1985, 0x2006_1985][ino as usize % 5], 68] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        header.extend_from_slice(&jffs2_tx::crc::crc32(&header).to_le_bytes());
        node[..12].copy_from_slice(&header);
        let crcs: &[(usize, usize)] = match ino % 5 {
            0 => &[(32, 32)],
            1 => &[(60, 64)],
            2 => &[(28, 28)],
            3 => &[(24, 24)],
            _ => &[(24, 28)],
        };
        for (len, at) in crcs {
            let crc = jffs2_tx::crc::crc32(&node[..*len]);
            node[*at..at + 4].copy_from_slice(&crc.to_le_bytes());
        }
        image.raw(&node);
    }
    image.put(1, "file", 2, File, 0o644, b"here");
    image.finish(8)
}

fn chain() -> Vec<u8> {
    let mut image = Bulk::new();
    image.chain(100_000);
    image.finish()
}

/// The path of each is looked for on its own.
fn deleted_chain() -> Vec<u8> {
    let mut image = Bulk::new();
    image.chain(20_000);
    image.dirent(1, b"d", 0, 0);
    image.finish()
}

fn names_of_one_file() -> Vec<u8> {
    let mut image = Bulk::new();
    for at in 0..20_000 {
        image.inode(2, 0o100_644, b"b", |node| (node.offset, node.isize) = (at * 2, at * 2 + 1));
    }
    for name in 0..100_000 {
        image.dirent(1, format!("n{name}").as_bytes(), 2, 8);
    }
    image.finish()
}

fn names_of_one_directory() -> Vec<u8> {
    let mut image = Bulk::new();
    image.inode(2, 0o040_755, &[], |_| {});
    for name in 0..50_000 {
        image.dirent(1, format!("n{name}").as_bytes(), 2, 4);
        image.dirent(2, format!("m{name}").as_bytes(), 2, 4);
    }
    image.finish()
}

fn versions_of_one_name() -> Vec<u8> {
    let mut image = Bulk::new();
    image.inode(2, 0o100_644, b"here", |_| {});
    for _ in 0..1_000_000 {
        image.dirent(1, b"same", 2, 8);
    }
    image.finish()
}
