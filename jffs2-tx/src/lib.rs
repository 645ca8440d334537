//! Read JFFS2 file systems on raw flash, and change them in transactions that stock kernels and bootloaders honour.
//!
//! ```
//! use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
//! use jffs2_tx::{Device, Endian, Index, Meta, Rules, Transaction, Tree, TxOptions};
//!
//! // 1 MiB of NOR with 64 KiB eraseblocks. ImageFlash does the same for a file.
//! let mut flash = MemFlash::new(Geometry::new(FlashKind::Nor, 1 << 20, 64 << 10, 1)?);
//! let meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 1_700_000_000 };
//!
//! let mut tx = Transaction::begin(&mut flash, Endian::Little, TxOptions::default())?;
//! tx.mkdir(b"/dev", meta)?;
//! tx.mknod(b"/dev/null", meta, false, Device { major: 1, minor: 3 })?;
//! tx.create_file(b"/version", Meta { mode: 0o644, ..meta }, b"2.0\n")?;
//! tx.commit()?; // Power fails before this returns: all of it is there at the next mount, or nothing.
//!
//! let index = Index::open(&flash, Rules { endian: Endian::Little, summaries: true })?;
//! let tree = Tree::new(&flash, &index);
//! assert_eq!(tree.read(tree.lookup(b"/version")?, 1024)?, b"2.0\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Layers, each usable without those above it: [`flash`] (devices, and what they promise when the power fails),
//! [`wire`] (nodes), [`scan`] (eraseblocks to nodes, by stock readers' rules), [`index`] (newest version wins),
//! [`tree`] (look up, list, read), `log` (append, verified) and `tx` (transactions; feature `write`). What stands on
//! the flash is in `FORMAT.md`, and why in `DESIGN.md`, beside this crate.
//!
//! Features: `std` (default; image files, trees from directories), `write` (default; transactions), `lzma` (default;
//! OpenWrt's compressor), `manifest` (what a tree is, as JSON lines; needs `std`), `mtd` (Linux's MTD devices; needs
//! `std`) and `libdeflate` (zlib decoded by a library in C, some three times as fast; needs `std`). Without `std` the crate needs `alloc` only.
#![no_std]
#![cfg_attr(not(feature = "mtd"), forbid(unsafe_code))]
#![cfg_attr(feature = "mtd", deny(unsafe_code), warn(clippy::undocumented_unsafe_blocks))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod acl;
pub mod check;
pub mod codec;
pub mod crc;
#[cfg(feature = "std")]
pub mod detect;
pub mod dump;
pub mod error;
#[cfg(feature = "std")]
pub mod find;
pub mod flash;
pub mod history;
pub mod index;
pub mod inode_kind;
#[cfg(feature = "write")]
pub mod log;
#[cfg(feature = "manifest")]
pub mod manifest;
pub mod scan;
#[cfg(feature = "std")]
pub mod source;
pub mod status;
pub mod tree;
#[cfg(feature = "write")]
pub mod tx;
pub mod wire;

/// The examples in the project's README, compiled.
#[cfg(all(doctest, feature = "std", feature = "write"))]
#[doc = include_str!("../../README.md")]
pub struct ReadmeExamples;

pub use error::ReadError;
pub use index::Index;
pub use inode_kind::{Device, FileKind, Meta};
pub use scan::Rules;
pub use tree::Tree;
#[cfg(feature = "write")]
pub use tx::{Transaction, TxError, TxOptions};
pub use wire::Endian;
