//! What the format or the flash cannot hold is refused before anything is written, with one line that says why.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use jffs2_tx_tests::tools::{binary, run, run_json};
use nix::unistd::geteuid;

const NOBODY: u32 = 65534;

/// An image of a small tree, and a directory for the new one.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        // Another user runs the command in one test.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("permissions");
        let bench = Self { dir };
        for name in ["old", "new"] {
            fs::create_dir(bench.path(name)).expect("directory");
            fs::write(bench.path(name).join("file"), name).expect("file");
        }
        run(binary("jffs2-mkimage")
            .arg("-r")
            .arg(bench.path("old"))
            .arg("-o")
            .arg(bench.image())
            .args(["-e", "16KiB", "-l", "-p", "512KiB"]));
        fs::set_permissions(bench.image(), fs::Permissions::from_mode(0o666)).expect("permissions");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn image(&self) -> PathBuf {
        self.path("root.img")
    }

    fn apply(&self, user: Option<u32>) -> Output {
        let mut command = binary("jffs2-tx");
        command.arg("apply").arg(self.image()).arg("--root").arg(self.path("new")).args(["-e", "64KiB"]);
        if let Some(user) = user {
            command.uid(user);
        }
        command.output().expect("command runs")
    }

    /// The update is refused with this exit code and one line that has these words; not a byte of the image changes.
    fn refused(&self, user: Option<u32>, code: i32, words: &[&str]) {
        let before = fs::read(self.image()).expect("image");
        let output = self.apply(user);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
        assert!(before == fs::read(self.image()).expect("image"), "the image has changed");
    }
}

#[test]
fn long_name() {
    let bench = Bench::new();
    let name = "n".repeat(255);
    fs::write(bench.path("new").join(&name), "x").expect("file");
    bench.refused(None, 3, &[&name, "254"]);
}

#[test]
fn long_symlink() {
    let bench = Bench::new();
    symlink("t".repeat(255), bench.path("new").join("link")).expect("symlink");
    bench.refused(None, 3, &["link", "254"]);
}

#[test]
fn large_file() {
    let bench = Bench::new();
    let file = File::create(bench.path("new").join("huge")).expect("file");
    file.set_len(1 << 32).expect("sparse file");
    bench.refused(None, 3, &["huge", "4294967295"]);
}

#[test]
fn large_owner() {
    assert!(geteuid().is_root(), "run the tests as root: they give files away");
    let bench = Bench::new();
    let file = bench.path("new").join("file");
    chown(&file, Some(70_000), None).expect("owner");
    bench.refused(None, 3, &["file", "65535"]);
    chown(&file, Some(0), Some(70_000)).expect("group");
    bench.refused(None, 3, &["file", "65535"]);
}

#[test]
fn unreadable_file() {
    let bench = Bench::new();
    let file = bench.path("new").join("secret");
    fs::write(&file, "x").expect("file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).expect("permissions");
    bench.refused(geteuid().is_root().then_some(NOBODY), 3, &["secret", "ermission denied"]);
}

/// Refused with the number of eraseblocks it takes and that are free; the tree is the old one, and nothing is left.
#[test]
fn full_flash() {
    let bench = Bench::new();
    let noise: Vec<u8> = (0..2_000_000u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    fs::write(bench.path("new").join("huge"), &noise).expect("file");
    let info = || run_json(binary("jffs2-tx").arg("info").arg("--json").arg(bench.image()));
    let free = |info: &serde_json::Value| info["blocks_free"].as_u64().expect("a number");
    let before = free(&info());
    let output = bench.apply(None);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(4), 1), "{said}");
    assert!(said.contains("needs ") && said.contains(&format!("{before} are free")), "{said}");
    assert_eq!(free(&info()), before);
    let content = run(binary("jffs2-tx").arg("cat").arg(bench.image()).arg("/file")).stdout;
    assert_eq!(content, b"old");
    assert_eq!(
        run_json(binary("jffs2-tx").args(["recover", "--json", "-e", "64KiB"]).arg(bench.image()))["erased_hidden"],
        0
    );
    fs::remove_file(bench.path("new").join("huge")).expect("removed");
    assert!(bench.apply(None).status.success(), "a change that fits goes through");
}

/// Two updates at once: the second is told so.
#[test]
fn busy_image() {
    let bench = Bench::new();
    let held = File::options().write(true).open(bench.image()).expect("image");
    held.lock().expect("lock");
    bench.refused(None, 5, &["in use"]);
}

#[test]
fn read_only_image() {
    let bench = Bench::new();
    fs::set_permissions(bench.image(), fs::Permissions::from_mode(0o444)).expect("permissions");
    bench.refused(geteuid().is_root().then_some(NOBODY), 3, &["root.img", "ermission denied"]);
}

#[test]
fn names_in_any_bytes_are_no_reason() {
    let bench = Bench::new();
    fs::write(bench.path("new").join(Path::new(std::ffi::OsStr::from_bytes(b"latin1-\xe9 \n\\"))), "x").expect("file");
    assert!(bench.apply(None).status.success());
}
