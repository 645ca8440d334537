//! The project's own binaries, as a user has them, and the real root file systems.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;

static BUILT: Once = Once::new();

/// The workspace's top folder.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// One of the project's binaries, built like this test.
///
/// # Panics
/// If it does not build: a test cannot go on without it.
#[must_use]
pub fn binary(name: &str) -> Command {
    let profile_dir = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.to_path_buf()));
    let profile_dir = profile_dir.expect("a test executable stands in target/PROFILE/deps");
    // All tests together have it built: again, and with the features of fewer crates, would take a minute.
    if std::env::var_os("JFFS2_TX_BUILT").is_none() {
        BUILT.call_once(|| build(&profile_dir));
    }
    Command::new(profile_dir.join(name))
}

fn build(profile_dir: &Path) {
    let release = profile_dir.file_name().is_some_and(|name| name == "release");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "jffs2-tx-cli", "-p", "jffs2-mkimage", "-p", "nandsim"]);
    cargo.args(release.then_some("--release")).current_dir(workspace());
    assert!(cargo.status().expect("cargo runs").success(), "the binaries do not build");
}

/// Runs a command that must succeed; its output.
///
/// # Panics
/// If it fails, with what it said.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a command that must succeed and prints one JSON object.
///
/// # Panics
/// If it fails, or prints anything else.
pub fn run_json(command: &mut Command) -> serde_json::Value {
    let output = run(command);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The older and the newer real root file system, made from Debian packages.
///
/// # Panics
/// If they are not there: `tests/data/fetch-roots` makes them, and `tests/run` calls it.
#[must_use]
pub fn roots() -> (PathBuf, PathBuf) {
    let dir =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from).join("roots");
    let (old, new) = (dir.join("old"), dir.join("new"));
    assert!(old.join("boot").is_dir() && new.join("boot").is_dir(), "run tests/data/fetch-roots first");
    (old, new)
}
