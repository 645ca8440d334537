//! What was built.

use jffs2_tx::wire::Compression;
use serde::Serialize;

/// What was built. Serializes to an object with these fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Size of the image with its padding and spare bytes.
    pub bytes: u64,
    /// Eraseblocks that hold nodes; the last may be partly filled.
    pub eraseblocks: u32,
    /// Inode and dirent nodes, extended attributes and their ties to inodes.
    pub nodes: u64,
    /// Inodes, the root included.
    pub inodes: u32,
    /// Bytes in files, before compression, holes included. A hard link counts once.
    pub data_bytes: u64,
    /// Bytes in files that became holes.
    pub hole_bytes: u64,
    /// Bytes in files, as stored.
    pub stored_bytes: u64,
    /// The same by compressor, holes left out.
    pub compressors: Compressors,
}

/// What was built, and where in the tree the space went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The image.
    pub report: Report,
    /// Bytes of flash that the nodes of each inode of the tree take, by its [`NodeId`](jffs2_tx::source::NodeId): its data and
    /// metadata, a directory's names, extended attributes that no inode before it has.
    pub flash_bytes: Vec<u64>,
}

/// Files' data by how it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compressors {
    /// As it is.
    pub none: Stored,
    /// By zlib.
    pub zlib: Stored,
    /// By LZO.
    pub lzo: Stored,
    /// By rtime.
    pub rtime: Stored,
    /// By LZMA.
    pub lzma: Stored,
}

/// Files' data that is stored in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// Nodes.
    pub nodes: u64,
    /// Bytes in files.
    pub bytes: u64,
    /// Bytes as stored.
    pub stored: u64,
}

impl Report {
    /// Counts a node of a file.
    pub(crate) fn count(&mut self, bytes: u32, compression: Compression, stored: usize) {
        let (bytes, stored) = (u64::from(bytes), stored as u64);
        self.data_bytes += bytes;
        self.stored_bytes += stored;
        let by = match compression {
            Compression::Zlib => &mut self.compressors.zlib,
            Compression::Lzo => &mut self.compressors.lzo,
            Compression::Rtime => &mut self.compressors.rtime,
            Compression::Lzma => &mut self.compressors.lzma,
            Compression::Zero => {
                self.hole_bytes += bytes;
                return;
            }
            _ => &mut self.compressors.none,
        };
        by.nodes += 1;
        by.bytes += bytes;
        by.stored += stored;
    }
}
