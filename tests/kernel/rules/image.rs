//! Flash images made by hand, node by node.

use jffs2_tx::wire::{Cleanmarker, Compression, Dirent, Endian, Inode, Summary, SummaryEntry};

pub(crate) const BLOCK_SIZE: usize = 64 << 10;
pub(crate) const BLOCKS: usize = 8;
pub(crate) const REG: u8 = 8;
pub(crate) const DIR: u8 = 4;
pub(crate) const LNK: u8 = 10;
pub(crate) const CHR: u8 = 2;
const ENDIAN: Endian = Endian::Little;

/// A regular file's node to begin with.
pub(crate) const FILE: Inode = Inode {
    ino: 0,
    version: 1,
    mode: 0o100_644,
    uid: 3,
    gid: 4,
    isize: 0,
    atime: 1,
    mtime: 1000,
    ctime: 1,
    offset: 0,
    csize: 0,
    dsize: 0,
    compression: Compression::None,
    data_crc: 0,
};

/// The same for a directory, a symlink and a device.
pub(crate) const DIRECTORY: Inode = Inode { mode: 0o040_755, ..FILE };
pub(crate) const SYMLINK: Inode = Inode { mode: 0o120_777, ..FILE };
pub(crate) const DEVICE: Inode = Inode { mode: 0o020_600, ..FILE };

/// An image of NOR flash; what is not written is erased.
pub(crate) struct Image {
    pub(crate) blocks: Vec<Block>,
}

impl Image {
    /// A root directory with one file in it, in the first eraseblock; the others are blank.
    pub(crate) fn new() -> Self {
        let mut image = Self { blocks: vec![Block::default(); BLOCKS] };
        image.blocks[0]
            .cleanmarker()
            .inode(Inode { ino: 1, ..DIRECTORY }, b"")
            .name(1, 2, "base", 2, REG)
            .file(2, b"base");
        image
    }

    pub(crate) fn block(&mut self, index: usize) -> &mut Block {
        &mut self.blocks[index]
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (block, end) in self.blocks.iter().zip((BLOCK_SIZE..).step_by(BLOCK_SIZE)) {
            bytes.extend_from_slice(&block.0);
            bytes.resize(end, 0xff);
        }
        bytes
    }
}

/// An eraseblock's bytes from its start.
#[derive(Clone, Default)]
pub(crate) struct Block(pub(crate) Vec<u8>);

impl Block {
    pub(crate) fn cleanmarker(&mut self) -> &mut Self {
        Cleanmarker::emit(ENDIAN, &mut self.0, 12);
        self
    }

    /// Goes on at an offset.
    pub(crate) fn at(&mut self, offset: usize) -> &mut Self {
        assert!(self.0.len() <= offset, "already beyond {offset}");
        self.0.resize(offset, 0xff);
        self
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn inode(&mut self, inode: Inode, data: &[u8]) -> &mut Self {
        inode.emit(ENDIAN, &mut self.0, data);
        self
    }

    pub(crate) fn dirent(&mut self, dirent: &Dirent<'_>) -> &mut Self {
        dirent.emit(ENDIAN, &mut self.0);
        self
    }

    /// A name that leaves its directory's time alone.
    pub(crate) fn name(&mut self, pino: u32, version: u32, name: &str, ino: u32, kind: u8) -> &mut Self {
        self.dirent(&Dirent { pino, version, ino, mctime: 0, kind, name: name.as_bytes() })
    }

    /// A name with a time.
    pub(crate) fn timed(&mut self, version: u32, name: &str, ino: u32, mctime: u32) -> &mut Self {
        self.dirent(&Dirent { pino: 1, version, ino, mctime, kind: REG, name: name.as_bytes() })
    }

    /// All of a small file.
    pub(crate) fn file(&mut self, ino: u32, data: &[u8]) -> &mut Self {
        self.data(ino, 1, 0, data.len() as u32, data)
    }

    /// A piece of a file.
    pub(crate) fn data(&mut self, ino: u32, version: u32, offset: u32, isize: u32, data: &[u8]) -> &mut Self {
        self.inode(Inode { ino, version, offset, isize, dsize: data.len() as u32, ..FILE }, data)
    }

    /// A file in the root, name and all: to see whether what stands here is seen.
    pub(crate) fn witness(&mut self, name: &str, ino: u32) -> &mut Self {
        self.name(1, 100 + ino, name, ino, REG).file(ino, name.as_bytes())
    }

    /// Spoils the byte that so many others follow.
    pub(crate) fn spoil(&mut self, back: usize) -> &mut Self {
        let at = self.0.len() - 1 - back;
        self.0[at] ^= 0x01;
        self
    }

    /// Ends the eraseblock in a summary.
    pub(crate) fn summary(&mut self, cleanmarker: u32, entries: Vec<SummaryEntry<'_>>) -> &mut Self {
        let len = BLOCK_SIZE - self.0.len();
        Summary { cleanmarker, padded: 0, entries }.emit(ENDIAN, &mut self.0, len, BLOCK_SIZE as u32);
        self
    }
}
