//! Support for the integration tests.

pub mod aged;
pub mod agent;
pub mod agreement;
pub mod kernel;
pub use kernel_guest::{listing, manifest};
pub mod ours;
pub mod play;
pub mod random_tree;
pub mod roots;
pub mod scene;
pub mod swap;
pub mod tools;
