//! The command lines: ours, and those of the programs that it stands in for.

pub(crate) mod native;
mod output;
mod source_args;
pub(crate) mod sumtool;
