//! What an image can be built from, and what can be done to that before it is built.

pub mod copy;
pub mod devtable;
pub mod exclude;
pub mod host_xattrs;
pub mod overlay;
pub mod squash;
pub mod swing;
pub mod tar;

mod walk;
