//! The binary, run on images that are built node by node.

mod bad_input;
mod check_log;
mod common;
mod damage;
mod dump_diff;
mod extract;
mod history;
#[cfg(feature = "mount")]
mod mount;
mod read;
mod update;
