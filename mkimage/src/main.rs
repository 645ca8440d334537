//! `jffs2-mkimage`: the command line of the image builder.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    match Path::new(&program).file_name().and_then(|name| name.to_str()) {
        Some("mkfs.jffs2") => cli::mkfs::run(args),
        Some("sumtool") => cli::sumtool::run(args),
        _ => cli::native::main(),
    }
}
