//! `jffs2-mkimage`: the command line of the image builder.
#![forbid(unsafe_code)]

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::native::main()
}
