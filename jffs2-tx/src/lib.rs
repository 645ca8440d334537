//! jffs2-tx.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod codec;
pub mod crc;
pub mod flash;
pub mod inode_kind;
#[cfg(feature = "std")]
pub mod source;
pub mod wire;
