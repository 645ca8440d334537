//! Builds the guest's programs: its first process, and the project's command line.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::debian::output;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The first process, built by the cargo that runs us.
pub(super) fn build() -> Result<Vec<u8>, Error> {
    build_static("kernel-guest", "kernel-guest")
}

/// The command line, without what needs FUSE.
pub(super) fn build_command_line() -> Result<Vec<u8>, Error> {
    build_static("jffs2-tx-cli", "jffs2-tx")
}

fn build_static(package: &str, program: &str) -> Result<Vec<u8>, Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let target_folder = target_folder()?;
    let mut command = Command::new(cargo);
    command.args(["rustc", "--quiet", "-p", package, "--bin", program, "--no-default-features"]);
    command.args(["--release", "--target", TARGET, "--target-dir"]).arg(&target_folder).current_dir(workspace());
    command.args(["--", "-Ctarget-feature=+crt-static", "-Cstrip=symbols"]);
    output(&mut command, "cargo", "cargo")?;
    let program = target_folder.join(TARGET).join("release").join(program);
    fs::read(&program).map_err(Error::file(&program))
}

/// Where cargo puts what it builds, and we the kernels.
pub(super) fn target_folder() -> Result<PathBuf, Error> {
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(workspace().join(&folder)).map_err(Error::file(&folder))
}

fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}
