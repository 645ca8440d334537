//! What people are shown of a test.

#[path = "../common/mod.rs"]
mod common;

mod log;
mod node_diff;
