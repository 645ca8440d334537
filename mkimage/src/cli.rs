//! The command lines: ours, and those of the programs that it stands in for.

mod compress_args;
mod getopt;
pub(crate) mod mkfs;
pub(crate) mod native;
mod output;
mod progress;
mod report_args;
mod source_args;
pub(crate) mod sumtool;
