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
#[cfg(feature = "write")]
pub mod log;
pub mod scan;
#[cfg(feature = "std")]
pub mod source;
pub mod tree;
#[cfg(feature = "write")]
pub mod tx;
pub mod wire;
