//! What people are shown of a test.

#[path = "../common/mod.rs"]
mod common;

mod junit;
mod log;
mod node_diff;
mod page;
