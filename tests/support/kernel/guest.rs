//! The guest's programs: its first process, and the project's command line.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::debian::output;
use super::scenario::COMMAND_LINE;
use crate::tools;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PACKAGE: &str = "kernel-guest";

/// The first process, static, built by the cargo that runs us.
pub(super) fn build() -> Result<Vec<u8>, Error> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let target_folder = target_folder()?;
    let mut command = Command::new(cargo);
    command.args(["rustc", "--quiet", "-p", PACKAGE, "--bin", PACKAGE, "--release", "--target", TARGET]);
    command.arg("--target-dir").arg(&target_folder).current_dir(workspace());
    command.args(["--", "-Ctarget-feature=+crt-static", "-Cstrip=symbols"]);
    output(&mut command, "cargo", "cargo")?;
    let program = target_folder.join(TARGET).join("release").join(PACKAGE);
    fs::read(&program).map_err(Error::file(&program))
}

/// The command line as this machine runs it: the program and the libraries that it needs, each with its path.
pub(super) fn command_line() -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let program = PathBuf::from(tools::binary("jffs2-tx").get_program());
    let libraries = output(Command::new("ldd").arg(&program), "ldd", "libc-bin")?;
    let libraries = String::from_utf8_lossy(&libraries);
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f...)`, or the loader's path at the start.
    let paths = libraries.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let read = |from: &Path, to: &Path| Ok((to.to_owned(), fs::read(from).map_err(Error::file(from))?));
    let own = read(&program, Path::new(COMMAND_LINE));
    std::iter::once(own).chain(paths.map(|path| read(Path::new(path), Path::new(path)))).collect()
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
