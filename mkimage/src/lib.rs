//! Builds JFFS2 images.
//!
//! [`build`] writes the image of a [`SourceTree`] one eraseblock at a time, so memory is bounded by the tree's names,
//! one eraseblock and about a MiB for each thread. The same tree and options give the same bytes on any host, with any
//! number of threads.
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
//! - Before all that stands what [`Options::first`] names: nothing but nodes of these files, in the order of the file.
//! - Versions of a directory count over its dirents and then its inode node: the highest has the last word on the
//!   directory's time. Those of a file count over its data nodes, ascending; each has the final size.
//! - Access and change times are the modification time, unless the tree says otherwise: the host's are not reproducible.
//! - Data: one node a page, compressed where that saves flash. At an eraseblock's end a page is split. A run of whole pages
//!   of zeros (the last may be the file's partial one) of at least [`HOLE_MIN`] bytes is one hole node.
//! - What an eraseblock leaves unused is 0xFF. A summary covers it, but is at most 64 KiB long.
//! - Extended attributes follow the inode that has them first: one node for each different one, one tie for each inode
//!   that has it.
//! - With [`Options::nand`] the spare bytes of each eraseblock's first page hold its cleanmarker where Linux puts it: from
//!   byte 8 on behind pages of 512 bytes, from byte 2 on behind larger ones. All other spare bytes are 0xFF.
//! - Device nodes have size 0, as Linux and mkfs.jffs2 write it.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use jffs2_tx::detect::LAYOUTS;
use jffs2_tx::flash::OobLayout;
use jffs2_tx::source::SourceTree;

mod compress;
mod file;
pub mod manifest;
mod nand;
mod options;
mod packer;
mod pages;
mod pipeline;
mod plan;
mod report;
pub mod room;
pub mod size;
pub mod source;
pub mod sumtool;
mod tree;
pub mod usage;
mod verify;
mod xattrs;

pub use compress::{Compress, Method, Pick};
pub use file::HOLE_MIN;
pub use options::{Options, Pad};
pub use pages::data_bytes;
pub use report::{Built, Compressors, Report, Stored};
pub use verify::{VerifyError, verify};

use compress::Encoder;
use nand::NandWriter;
use pages::{Batch, Compressed, Pages, read_files};
use pipeline::InOrder;
use plan::Plan;
use tree::TreeWriter;

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The eraseblock size is not one that JFFS2 is used with.
    #[error("eraseblock size {0} is not a power of two from 4 KiB to 16 MiB: take the flash's own")]
    Eraseblock(u32),
    /// The page size is not one that Linux has.
    #[error("page size {0} is not a power of two from 256 bytes to 64 KiB: take the target CPU's, usually 4KiB")]
    PageSize(u32),
    /// libdeflate has no such level.
    #[error("zlib level {0} is not 1 to 12")]
    ZlibLevel(u8),
    /// Nobody knows where such spare bytes are free.
    #[error("no NAND flash with {0} is known: take one of {known}", known = known_layouts())]
    Layout(OobLayout),
    /// Eraseblocks are too small for such pages.
    #[error("eraseblock size {eraseblock} is less than four pages of {layout}: take the flash's own")]
    LayoutEraseblock {
        /// Pages and their spare bytes.
        layout: OobLayout,
        /// Eraseblock size, bytes.
        eraseblock: u32,
    },
    /// A cleanmarker is a header at least, and leaves room for nodes.
    #[error("cleanmarkers of {0} bytes: take 12, or at most half an eraseblock if the flash writes more at once")]
    Cleanmarker(u32),
    /// The size to pad to is not one of a flash.
    #[error("{size} bytes are no size of a flash: not a whole number of eraseblocks of {eraseblock} bytes below 4 GiB")]
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
    /// A path that is to be first.
    #[error("{path} cannot be first in the image: {what}")]
    First {
        /// The path, as it was given.
        path: String,
        /// Why.
        what: &'static str,
    },
    /// An extended attribute is larger than an eraseblock.
    #[error("an extended attribute of {0} bytes does not fit into an eraseblock: take larger ones or leave it out")]
    Xattr(usize),
    /// A node from another image does not fit into an eraseblock of this one.
    #[error(
        "a node of {size} bytes does not fit into an eraseblock, which takes {room}: take larger ones, or smaller cleanmarkers"
    )]
    Node {
        /// Length of the node with its padding, bytes.
        size: usize,
        /// Most that fits, bytes.
        room: usize,
    },
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
    /// The host lets no thread start.
    #[error("cannot start a thread: ask for fewer")]
    Thread(#[source] io::Error),
    /// The image cannot be written.
    #[error("cannot write the image")]
    Write(#[source] io::Error),
}

fn known_layouts() -> String {
    LAYOUTS.map(|layout| layout.to_string()).join(", ")
}

/// Writes the image of `tree` to `out`.
///
/// # Errors
/// [`BuildError`], the first in the order of the image. What has been written by then is no image: throw it away.
pub fn build(tree: &SourceTree, options: &Options, out: &mut impl Write) -> Result<Report, BuildError> {
    Ok(build_with(tree, options, out, &mut |_| {})?.report)
}

/// The same, and tells `progress` now and then how many bytes of files it is through with, out of [`data_bytes`].
///
/// # Errors
/// As for [`build`].
pub fn build_with(
    tree: &SourceTree,
    options: &Options,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Built, BuildError> {
    options.check()?;
    let Some(layout) = options.nand else {
        return build_data(tree, options, out, progress);
    };
    let mut nand = NandWriter::new(out, layout, options);
    let mut built = build_data(tree, options, &mut nand, progress)?;
    built.report.bytes = nand.finish().map_err(BuildError::Write)?;
    Ok(built)
}

/// The image without spare bytes.
fn build_data(
    tree: &SourceTree,
    options: &Options,
    out: &mut impl Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Built, BuildError> {
    let plan = Plan::new(tree, options)?;
    let read = |hand_out: &mut dyn FnMut(Batch) -> bool| read_files(tree, &plan, options.page_size, hand_out);
    let compressor = || {
        let mut encoder = Encoder::new(&options.compress);
        move |batch: Batch| batch.compress(&mut encoder)
    };
    let write = |batches: InOrder<'_, Compressed>| {
        let mut writer = TreeWriter::new(tree, &plan, options, out, Pages::new(batches, progress));
        for &id in &plan.order {
            writer.write(id)?;
        }
        writer.finish(options.pad)
    };
    let threads = options.thread_count().min(pages::batches(tree));
    pipeline::run(threads, read, compressor, write).map_err(BuildError::Thread)?
}
