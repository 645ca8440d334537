//! Images built node by node, and the binary run on them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jffs2_tx::inode_kind::{Device, FileKind};
use jffs2_tx::wire::{Cleanmarker, Compression, Dirent, Endian, Inode, Summary, SummaryEntry, Xattr, Xref};
use tempfile::TempDir;

/// Time of everything in the images: 2009-02-13T23:31:30Z.
pub(crate) const TIME: u32 = 1_234_567_890;

/// What an image is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) endian: Endian,
    pub(crate) eraseblock: usize,
    pub(crate) cleanmarkers: bool,
    pub(crate) summaries: bool,
}

pub(crate) const NOR: Layout =
    Layout { endian: Endian::Little, eraseblock: 16384, cleanmarkers: true, summaries: false };

/// Every kind of image that the commands must take alike.
pub(crate) fn layouts() -> Vec<Layout> {
    let mut all = Vec::new();
    for endian in [Endian::Little, Endian::Big] {
        for (eraseblock, cleanmarkers, summaries) in
            [(16384, true, false), (8192, false, false), (16384, true, true), (32768, false, true)]
        {
            all.push(Layout { endian, eraseblock, cleanmarkers, summaries });
        }
    }
    all
}

/// An image while it is built.
pub(crate) struct Builder {
    pub(crate) layout: Layout,
    done: Vec<u8>,
    block: Vec<u8>,
    /// Inode number if it is an inode node, offset and length of the nodes in `block`.
    listed: Vec<(Vec<u8>, usize)>,
    version: u32,
}

impl Builder {
    pub(crate) fn new(layout: Layout) -> Self {
        let mut builder = Self { layout, done: Vec::new(), block: Vec::new(), listed: Vec::new(), version: 0 };
        builder.start_block();
        builder
    }

    /// Appends a node as it is; to the next eraseblock if it does not fit.
    pub(crate) fn raw(&mut self, node: &[u8]) {
        let names: usize = self.listed.iter().map(|(node, _)| node.len().min(300)).sum();
        let summary = if self.layout.summaries { Summary::flash_size(names + 300) } else { 0 };
        if self.block.len() + node.len() + summary > self.layout.eraseblock {
            self.end_block();
        }
        self.listed.push((node.to_vec(), self.block.len()));
        self.block.extend_from_slice(node);
    }

    pub(crate) fn dirent(&mut self, pino: u32, name: impl AsRef<[u8]>, ino: u32, kind: FileKind) {
        self.version += 1;
        let mut node = Vec::new();
        let name = name.as_ref();
        let kind = if ino == 0 { 0 } else { kind.dirent_type() };
        Dirent { pino, version: self.version, ino, mctime: TIME, kind, name }.emit(self.layout.endian, &mut node);
        self.raw(&node);
    }

    /// An inode node with `stored` as its data, changed by `change` before it is written.
    pub(crate) fn inode(&mut self, ino: u32, mode: u32, stored: &[u8], change: impl FnOnce(&mut Inode)) {
        self.version += 1;
        let len = stored.len() as u32;
        let mut inode = Inode {
            ino,
            version: self.version,
            mode,
            uid: 0,
            gid: 0,
            isize: len,
            atime: TIME,
            mtime: TIME,
            ctime: TIME,
            offset: 0,
            csize: 0,
            dsize: len,
            compression: Compression::None,
            data_crc: 0,
        };
        change(&mut inode);
        let mut node = Vec::new();
        inode.emit(self.layout.endian, &mut node, stored);
        self.raw(&node);
    }

    /// A name and the one node that it leads to.
    pub(crate) fn put(
        &mut self,
        pino: u32,
        name: impl AsRef<[u8]>,
        ino: u32,
        kind: FileKind,
        perm: u32,
        stored: &[u8],
    ) {
        self.inode(ino, kind.mode_bits() | perm, stored, |_| {});
        self.dirent(pino, name, ino, kind);
    }

    /// Fills the eraseblock and starts the next one.
    pub(crate) fn end_block(&mut self) {
        let eraseblock = self.layout.eraseblock;
        if self.layout.summaries {
            let nodes = std::mem::take(&mut self.listed);
            let entries = nodes.iter().filter_map(|(node, at)| entry(self.layout.endian, node, *at)).collect();
            let cleanmarker = if self.layout.cleanmarkers { 12 } else { 0 };
            let summary = Summary { cleanmarker, padded: 0, entries };
            let len = eraseblock - self.block.len();
            summary.emit(self.layout.endian, &mut self.block, len, eraseblock as u32);
        }
        self.block.resize(eraseblock, 0xff);
        self.done.append(&mut self.block);
        self.listed.clear();
        self.start_block();
    }

    /// The whole image, of so many eraseblocks at least; those that are left are blank or hold a cleanmarker.
    pub(crate) fn finish(mut self, blocks: usize) -> Vec<u8> {
        self.end_block();
        while self.done.len() < blocks * self.layout.eraseblock {
            self.block.resize(self.layout.eraseblock, 0xff);
            self.done.append(&mut self.block);
            self.start_block();
        }
        self.done
    }

    fn start_block(&mut self) {
        if self.layout.cleanmarkers {
            Cleanmarker::emit(self.layout.endian, &mut self.block, 12);
        }
    }
}

fn entry(endian: Endian, node: &[u8], at: usize) -> Option<SummaryEntry<'_>> {
    let (offset, totlen) = (at as u32, endian.u32(node, 4));
    if let Ok(inode) = Inode::parse(endian, node) {
        return Some(SummaryEntry::Inode { ino: inode.ino, version: inode.version, offset, totlen });
    }
    if let Ok(Xattr { xid, version, .. }) = Xattr::parse(endian, node) {
        return Some(SummaryEntry::Xattr { xid, version, offset, totlen });
    }
    if Xref::parse(endian, node).is_ok() {
        return Some(SummaryEntry::Xref { offset });
    }
    let dirent = Dirent::parse(endian, node).ok()?;
    let Dirent { pino, version, ino, kind, name, .. } = dirent;
    Some(SummaryEntry::Dirent { totlen, offset, pino, version, ino, kind, name })
}

/// Bytes of `/big` in [`sample`].
pub(crate) fn big() -> Vec<u8> {
    (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// One of everything.
pub(crate) fn sample(layout: Layout) -> Vec<u8> {
    use FileKind::{BlockDevice, CharDevice, Directory, Fifo, File, Socket, Symlink};
    let mut image = Builder::new(layout);
    image.inode(1, 0o040_755, &[], |_| {});
    image.put(1, "etc", 2, Directory, 0o1775, &[]);
    image.put(2, "passwd", 3, File, 0o644, b"root:x:0:0\n");
    image.dirent(2, "passwd-", 3, File);
    image.put(1, "link", 4, Symlink, 0o777, b"etc/passwd");
    image.put(1, "console", 5, CharDevice, 0o600, &Device { major: 5, minor: 1 }.encode(layout.endian));
    image.put(1, "disk", 6, BlockDevice, 0o660, &Device { major: 300, minor: 74565 }.encode(layout.endian));
    image.put(1, "pipe", 7, Fifo, 0o666, &[]);
    image.put(1, "socket", 8, Socket, 0o755, &[]);
    image.put(1, b"na\xffme\n", 9, File, 0o4755, b"bytes");
    // A hole between two pieces, and one at the end.
    image.dirent(1, "sparse", 10, File);
    image.inode(10, 0o100_600, b"start", |_| {});
    image.inode(10, 0o100_600, &[], |node| {
        (node.offset, node.isize) = (5, 1 << 20);
        (node.dsize, node.compression) = ((1 << 20) - 5, Compression::Zero);
    });
    image.inode(10, 0o100_600, b"end", |node| (node.offset, node.isize) = (1 << 20, (1 << 20) + 3));
    image.inode(10, 0o100_600, &[], |node| {
        (node.offset, node.isize) = ((1 << 20) + 3, 2 << 20);
        (node.dsize, node.compression) = ((1 << 20) - 3, Compression::Zero);
    });
    image.dirent(1, "big", 11, File);
    for (at, piece) in big().chunks(4096).enumerate() {
        let offset = at as u32 * 4096;
        image.inode(11, 0o100_400, piece, |node| (node.offset, node.isize) = (offset, offset + node.dsize));
    }
    image.put(1, "gone", 12, File, 0o644, b"deleted");
    image.dirent(1, "gone", 0, File);
    image.finish(40)
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A directory for a test's files.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file; its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// What a run of the binary gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// Stdout, one JSON object a line.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs the binary: a command, an image, and what comes after.
pub(crate) fn run(command: &str, image: &Path, rest: &[&dyn AsRef<OsStr>]) -> Run {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_jffs2-tx"))
        .arg(command)
        .arg(image)
        .args(rest.iter().map(AsRef::as_ref))
        .output()
        .unwrap();
    let err = String::from_utf8(stderr).unwrap();
    assert!(!err.contains("panicked"), "{command} {}: {err}", image.display());
    Run { code: status.code().expect("killed by a signal"), out: stdout, err }
}
