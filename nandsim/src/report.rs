//! What people are shown of a test: the log of an update's operations, how a failing state differs from the good ones,
//! JUnit XML, and a page for a browser with a picture of the flash.
//!
//! All of it is made of a [`Trace`](crate::Trace) and the chip that it was recorded from; the same input gives the same
//! bytes.

mod beyond;
mod junit;
mod log;
mod names;
mod node;
mod node_diff;
mod page;
mod picture;
mod save;
mod sights;
mod story;

pub use beyond::beyond_image;
pub use junit::{Case, Outcome, junit};
pub use log::{Log, Role, Step, Totals};
pub use names::Names;
pub use node::{Node, What};
pub use node_diff::{BlockDiff, Group, Mark, NodeDiff, NodeLine, Same, Shown};
pub use page::{Page, refused_page};
pub use picture::{Content, Picture, Row, Span};
pub use save::{FailingState, SaveError, save_failure};
pub use sights::{Sights, Track};
pub use story::{Scene, Story};
