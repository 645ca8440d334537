//! The binary, run on images that are built node by node.

mod bad_input;
mod check_log;
mod common;
mod containers;
mod damage;
mod dump_diff;
mod extract;
mod history;
mod manifest;
#[cfg(feature = "mount")]
mod mount;
mod read;
mod space;
mod tar;
mod tar_apply;
mod update;
mod xattrs;
