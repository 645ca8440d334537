//! Support for the integration tests.

pub mod kernel;
pub use kernel_guest::listing;
pub mod ours;
pub mod tools;
