//! The library and four kinds of boot firmware see the same tree in every state, and load the same kernel.

#[path = "../common/mod.rs"]
mod common;

mod campaign;
mod planted;
