//! Support for the integration tests.

pub mod agreement;
pub mod kernel;
pub use kernel_guest::listing;
pub mod ours;
pub mod scene;
pub mod tools;
