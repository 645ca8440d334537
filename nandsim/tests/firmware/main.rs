//! Boot firmware agrees with the library, but where it is known not to.

mod hostile;
mod rules;
mod samples;

#[path = "../common/mod.rs"]
mod common;
