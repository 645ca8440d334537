//! Builds JFFS2 images.
//!
//! [`build`] writes the image of a [`SourceTree`] one eraseblock at a time, so memory is bounded by the tree's names
//! and one eraseblock. The same tree and options give the same bytes on any host.
//!
//! ```
//! use jffs2_mkimage::{Options, build};
//! use jffs2_tx::inode_kind::Meta;
//! use jffs2_tx::source::{Content, ROOT, SourceKind, SourceNode, SourceTree};
//!
//! let meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
//! let mut tree = SourceTree::new(meta);
//! let content = Content::Bytes(b"hello\n".to_vec());
//! tree.add(ROOT, b"greeting", SourceNode { meta, kind: SourceKind::File { size: 6, content } })?;
//! let mut image = Vec::new();
//! let report = build(&tree, &Options::default(), &mut image)?;
//! assert_eq!((report.bytes, report.inodes), (image.len() as u64, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What an image looks like
//! - Inode numbers: the root is 1, all others count up from 2 in the order that the dirents come in.
//! - Depth first, names in byte order. A directory's dirents, then its inode node, stand before what is in it. With
//!   [`Options::sort`] the same, but without the files' data; those follow, in the same order.
//! - Versions of a directory count over its dirents and then its inode node: the highest has the last word on the
//!   directory's time. Those of a file count over its data nodes, ascending; each has the final size.
//! - Access and change times are the modification time, unless the tree says otherwise: the host's are not reproducible.
//! - Data: one node a page, zlib where that is smaller. At an eraseblock's end a page is split. A run of whole pages
//!   of zeros (the last may be the file's partial one) of at least [`HOLE_MIN`] bytes is one hole node.
//! - What an eraseblock leaves unused is 0xFF. A summary covers it, but is at most 64 KiB long.
//! - Extended attributes follow the inode that has them first: one node for each different one, one tie for each inode
//!   that has it.
//! - Device nodes have size 0, as Linux and mkfs.jffs2 write it.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use jffs2_tx::source::SourceTree;
use serde::Serialize;

mod deflate;
mod file;
pub mod manifest;
mod options;
mod packer;
mod plan;
pub mod size;
pub mod source;
mod tree;
mod xattrs;

pub use file::HOLE_MIN;
pub use options::{Options, Pad};

use packer::Packer;
use plan::Plan;
use tree::TreeWriter;

/// What was built. Serializes to an object with these fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Size of the image with its padding, bytes.
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
}

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The eraseblock size is not one that JFFS2 is used with.
    #[error("eraseblock size {0} is not a power of two from 4 KiB to 16 MiB: take the flash's own")]
    Eraseblock(u32),
    /// The page size is not one that Linux has.
    #[error("page size {0} is not a power of two from 512 bytes to 64 KiB: take the target CPU's, usually 4KiB")]
    PageSize(u32),
    /// The size to pad to is not one of a flash.
    #[error("cannot pad to {size} bytes: not a whole number of eraseblocks of {eraseblock} bytes below 4 GiB")]
    PadSize {
        /// Size asked for, bytes.
        size: u64,
        /// Eraseblock size, bytes.
        eraseblock: u32,
    },
    /// The image is larger than the size to pad to.
    #[error("the image takes {bytes} bytes, more than the {size} to pad to: remove files or take a larger flash")]
    TooLarge {
        /// Size of the image, bytes.
        bytes: u64,
        /// Size asked for, bytes.
        size: u64,
    },
    /// Offsets on the flash have 32 bits.
    #[error("the image reaches 4 GiB, the most that JFFS2 can address: remove files")]
    FourGib,
    /// An extended attribute is larger than an eraseblock.
    #[error("an extended attribute of {0} bytes does not fit into an eraseblock: take larger ones or leave it out")]
    Xattr(usize),
    /// A file's content cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: String,
        /// The host's reason.
        source: io::Error,
    },
    /// A file is longer or shorter than when the tree was made.
    #[error("{path}: the file changed size while it was read: build again when nothing writes to it")]
    Changed {
        /// Which file.
        path: String,
    },
    /// The image cannot be written.
    #[error("cannot write the image")]
    Write(#[source] io::Error),
}

/// Writes the image of `tree` to `out`.
///
/// # Errors
/// [`BuildError`]. What has been written by then is no image: throw it away.
pub fn build(tree: &SourceTree, options: &Options, out: &mut impl Write) -> Result<Report, BuildError> {
    options.check()?;
    let plan = Plan::new(tree, options.sort);
    let mut writer = TreeWriter::new(tree, &plan, options.page_size, Packer::new(out, options));
    for &id in &plan.order {
        writer.write(id)?;
    }
    writer.finish(options.pad)
}
