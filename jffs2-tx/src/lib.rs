//! jffs2-tx.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod codec;
pub mod crc;
pub mod error;
pub mod flash;
pub mod index;
pub mod inode_kind;
pub mod scan;
#[cfg(feature = "std")]
pub mod source;
pub mod tree;
pub mod wire;
