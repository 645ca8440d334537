//! The command `jffs2-tx`; what it does is in the library beside it, so that fuzzing and tests reach it, too.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    jffs2_tx_cli::main(std::env::args_os())
}
