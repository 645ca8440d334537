//! What people are shown of a test: the log of an update's operations, how a failing state differs from the good ones,
//! JUnit XML, and a page for a browser with a picture of the flash.
//!
//! All of it is made of a [`Trace`](crate::Trace) and the chip that it was recorded from; the same input gives the same
//! bytes.

mod log;
mod names;
mod node;
mod sights;

pub use log::{Log, Role, Step, Totals};
pub use names::Names;
pub use node::{Node, What};
pub use sights::{Sights, Track};
