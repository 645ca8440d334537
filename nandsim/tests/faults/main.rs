//! Faults beyond tier 1: what survives them, what notices them, and what does not.

#[path = "../common/mod.rs"]
mod common;
mod looks;
mod unstable;
