//! Options as getopt_long takes them, for the programs that this one stands in for.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use lexopt::Arg::Long;

/// A long option's letter; a name may be cut to what no other begins with.
pub(crate) fn letter_of(options: &[(&str, char)], name: &str) -> Result<char, lexopt::Error> {
    if let Some((_, letter)) = options.iter().find(|(long, _)| *long == name) {
        return Ok(*letter);
    }
    let possible: Vec<_> = options.iter().filter(|(long, _)| long.starts_with(name)).collect();
    match possible[..] {
        [(_, letter)] => Ok(*letter),
        [] => Err(Long(name).unexpected()),
        _ => {
            let names: Vec<_> = possible.iter().map(|(long, _)| format!("--{long}")).collect();
            Err(format!("--{name} can be {}", names.join(" or ")).into())
        }
    }
}

/// Sets a path that may be given once.
pub(crate) fn once(path: &mut Option<PathBuf>, value: OsString, what: &str) -> Result<()> {
    match path.replace(value.into()) {
        None => Ok(()),
        Some(_) => bail!("more than one {what}: give one"),
    }
}
