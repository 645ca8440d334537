//! The binary, run on images that are built node by node.

mod bad_input;
mod check_log;
mod common;
mod containers;
mod extract;
mod read;
mod update;
