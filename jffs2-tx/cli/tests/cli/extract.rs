//! extract: what comes out, and that nothing gets out.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::common::{Bench, Builder, Layout, NOR, Run, TIME, big, is_root, layouts, run, sample};
use jffs2_tx::inode_kind::FileKind::{Directory, File, Symlink};
use jffs2_tx::wire::Compression;

#[test]
fn recreates_the_tree() {
    let bench = Bench::new();
    for layout in layouts() {
        let image = bench.file("image", &sample(layout));
        let root = bench.path("root");
        let done = run("extract", &image, &[&root]);
        assert_eq!(done.code, 0, "{}", done.err);
        // Only root may create devices, and not everywhere.
        let left_out = done.err.starts_with("jffs2-tx: note: left out: ") && done.err.lines().count() == 1;
        assert!(done.err.is_empty() || left_out, "{}", done.err);
        assert_tree(&root);
        fs::remove_dir_all(&root).unwrap();
    }
}

fn assert_tree(root: &Path) {
    let stat = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    let weird = Path::new(std::ffi::OsStr::from_bytes(b"na\xffme\n")).to_path_buf();
    assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"root:x:0:0\n");
    assert_eq!(stat("etc/passwd").ino(), stat("etc/passwd-").ino());
    assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("etc/passwd"));
    assert_eq!(fs::read(root.join("big")).unwrap(), big());
    assert_eq!(fs::read(root.join(&weird)).unwrap(), b"bytes");
    assert!(stat("pipe").file_type().is_fifo());
    assert!(stat("socket").file_type().is_socket());
    let sparse = stat("sparse");
    assert_eq!(sparse.len(), 2 << 20);
    assert!(sparse.blocks() * 512 < 1 << 20, "holes take space");
    for (name, mode) in [("etc", 0o1775), ("etc/passwd", 0o644), ("big", 0o400), ("pipe", 0o666), (".", 0o755)] {
        assert_eq!(stat(name).mode() & 0o7777, mode, "{name}");
        assert_eq!(stat(name).mtime(), i64::from(TIME), "{name}");
    }
    assert_eq!(stat("link").mtime(), i64::from(TIME));
    if is_root() {
        assert_eq!(fs::symlink_metadata(root.join(&weird)).unwrap().mode() & 0o7777, 0o4755);
    }
    // In a container even root may not create devices.
    if root.join("console").exists() {
        assert!(stat("console").file_type().is_char_device());
        assert_eq!(stat("console").rdev(), 5 << 8 | 1);
    }
    assert!(!root.join("gone").exists());
}

#[test]
fn takes_an_empty_directory_only() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let root = bench.path("root");
    fs::create_dir(&root).unwrap();
    assert_eq!(run("extract", &image, &[&root]).code, 0);
    let again = run("extract", &image, &[&root]);
    let said = format!("jffs2-tx: error: {}: directory is not empty\n", root.display());
    assert_eq!((again.code, again.err), (2, said));
    assert_eq!(run("extract", &image, &[&image]).code, 3);
    assert_eq!(run("extract", &image, &[&bench.path("no/such")]).code, 3);
}

/// An image with these tricks in it, extracted next to a directory that must stay empty.
fn extract(tricks: impl FnOnce(&mut Builder, &[u8])) -> (Bench, Run) {
    let bench = Bench::new();
    let outside = bench.path("outside");
    fs::create_dir(&outside).unwrap();
    let mut builder = Builder::new(Layout { ..NOR });
    tricks(&mut builder, outside.as_os_str().as_bytes());
    // The rest must come out whatever stands before it.
    builder.put(1, "zz", 99, File, 0o644, b"last");
    let image = bench.file("image", &builder.finish(6));
    let done = run("extract", &image, &[&bench.path("root")]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was written outside");
    assert_eq!(fs::read(bench.path("root/zz")).unwrap(), b"last", "{}", done.err);
    let mut names: Vec<_> = fs::read_dir(bench.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["image", "outside", "root"]);
    (bench, done)
}

#[test]
fn refuses_names_that_lead_elsewhere() {
    let names: [&[u8]; 6] = [b"..", b".", b"/", b"../up", b"/tmp/jffs2-tx-absolute", b"sub/../../up"];
    let (_bench, done) = extract(|image, _| {
        for (ino, name) in (10..).zip(names) {
            image.put(1, name, ino, File, 0o644, b"evil");
        }
        image.put(1, "dir", 30, Directory, 0o755, &[]);
        image.put(30, "..", 31, File, 0o644, b"evil");
    });
    assert_eq!(done.code, 1);
    assert_eq!(done.err.matches("name refused").count(), 7, "{}", done.err);
    assert!(!Path::new("/tmp/jffs2-tx-absolute").exists());
}

#[test]
fn follows_no_symlink_of_the_image() {
    // A directory whose dirent says symlink, a symlink whose dirent says directory, with names below both.
    let (bench, done) = extract(|image, outside| {
        image.inode(10, 0o120_777, outside, |_| {});
        image.dirent(1, "a", 10, Directory);
        image.put(10, "evil", 11, File, 0o644, b"evil");
        image.put(10, "sub", 12, Directory, 0o755, &[]);
        image.put(12, "evil", 13, File, 0o644, b"evil");
        image.put(1, "b", 20, Directory, 0o755, &[]);
        image.put(20, "up", 21, Symlink, 0o777, b"../../outside");
        image.put(20, "hard", 21, Symlink, 0o777, b"../../outside");
    });
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(fs::symlink_metadata(bench.path("root/a")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(bench.path("root/b/hard")).unwrap().is_symlink());
}

#[test]
fn enters_no_directory_twice() {
    let (bench, done) = extract(|image, _| {
        image.put(1, "a", 10, Directory, 0o755, &[]);
        image.put(10, "loop", 10, Directory, 0o755, &[]);
        image.dirent(10, "root", 1, Directory);
        image.dirent(1, "b", 10, Directory);
    });
    assert_eq!((done.code, done.err.matches("two names").count()), (1, 3), "{}", done.err);
    assert_eq!(fs::read_dir(bench.path("root/a")).unwrap().count(), 0);
}

#[test]
fn extracts_what_is_left_of_a_damaged_file() {
    let (bench, done) = extract(|image, _| {
        image.dirent(1, "half", 10, File);
        image.inode(10, 0o100_644, &[7; 4096], |_| {});
        image.inode(10, 0o100_644, &[7; 100], |node| {
            (node.offset, node.isize, node.dsize) = (4096, 8192, 4096);
            node.compression = Compression::Zlib;
        });
        image.inode(11, 0o120_777, b"to\0here", |_| {});
        image.dirent(1, "nul", 11, Symlink);
        image.dirent(1, "nothing", 12, File);
    });
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("/half: bytes 4096 to 8192 lost: compressed data is damaged, node at ")
            && done.err.contains("/nul: "),
        "{}",
        done.err
    );
    let half = fs::read(bench.path("root/half")).unwrap();
    assert_eq!((half.len(), &half[..4096], &half[4096..]), (8192, &[7; 4096][..], &[0; 4096][..]));
}

#[test]
fn a_path_as_long_as_may_be() {
    // 16 names of 254 bytes and one of 16 make 4096 with their slashes: more than one system call takes.
    let (bench, done) = extract(|image, _| {
        let name = "n".repeat(254);
        let mut parent = 1;
        for ino in 10..26 {
            image.put(parent, &name, ino, Directory, 0o755, &[]);
            parent = ino;
        }
        image.put(parent, "n".repeat(16), 30, Directory, 0o750, &[]);
        image.put(30, "deepest", 31, File, 0o644, b"deep");
        image.dirent(1, "same", 31, File);
        image.put(parent, "n".repeat(17), 40, Directory, 0o755, &[]);
        image.put(40, "too deep", 41, File, 0o644, b"no");
    });
    assert_eq!((done.code, done.err.matches("path is too long").count(), done.err.lines().count()), (1, 1, 1));
    assert_eq!(fs::read(bench.path("root/same")).unwrap(), b"deep");
    let mut find = std::process::Command::new("find");
    let found = find.arg(bench.path("root")).args(["-name", "deepest", "-links", "2"]).output().unwrap();
    assert_eq!(found.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn hard_links_are_no_way_out() {
    let (bench, done) = extract(|image, outside| {
        image.put(1, "a", 10, Symlink, 0o777, outside);
        // Another name of the symlink, in a directory that is made before, and below the symlink itself.
        image.put(1, "d", 11, Directory, 0o755, &[]);
        image.dirent(11, "a", 10, File);
        image.put(10, "evil", 12, File, 0o644, b"evil");
        image.dirent(11, "evil", 12, File);
        // A directory under a file's name, and the root.
        image.dirent(11, "dir", 11, File);
        image.dirent(1, "root", 1, File);
    });
    assert_eq!((done.code, done.err.matches("two names").count()), (1, 2), "{}", done.err);
    assert!(fs::symlink_metadata(bench.path("root/d/a")).unwrap().is_symlink());
    assert_eq!(fs::read(bench.path("root/d/evil")).unwrap(), b"evil");
}

#[test]
fn what_the_host_refuses_does_not_end_it() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let root = bench.path("root");
    // Files end at 32 KiB.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    let output = std::process::Command::new("bash")
        .args(["-c", script, "bash", env!("CARGO_BIN_EXE_jffs2-tx"), "extract"])
        .args([&image, &root])
        .arg("--json")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let error = "not possible here: File too large (os error 27)";
    let expected = format!("jffs2-tx: error: /big: {error}\njffs2-tx: error: /sparse: {error}\n");
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(fs::read(root.join("etc/passwd-")).unwrap(), b"root:x:0:0\n");
    let lines: Vec<serde_json::Value> =
        std::str::from_utf8(&output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], serde_json::json!({"path": "/big", "reason": error}));
    assert_eq!((lines.len(), &lines[2]["troubles"], &lines[2]["hard_links"]), (3, &2.into(), &1.into()));
}

#[test]
fn counts_and_losses_as_json() {
    let bench = Bench::new();
    let mut image = Builder::new(NOR);
    image.dirent(1, "half", 10, File);
    image.inode(10, 0o100_644, &[7; 4096], |_| {});
    image.inode(10, 0o100_644, &[7; 100], |node| {
        (node.offset, node.isize, node.dsize) = (4096, 8192, 4096);
        node.compression = Compression::Zlib;
    });
    image.inode(10, 0o100_644, &[8; 10], |node| (node.offset, node.isize) = (9000, 9010));
    image.dirent(1, "..", 10, File);
    let image = bench.file("image", &image.finish(6));
    let done = run("extract", &image, &[&bench.path("root"), &"--json"]);
    assert_eq!(done.code, 1);
    let lines = done.json();
    let (at, reason) = (lines[0]["at"].as_u64().unwrap(), "compressed data is damaged");
    let half = serde_json::json!({
        "path": "/half", "start": 4096, "end": 8192, "at": at, "code": "undecodable", "reason": reason
    });
    let gap = serde_json::json!({
        "path": "/half", "start": 8192, "end": 9000, "code": "missing", "reason": "no node is left for it: zeros are read"
    });
    assert_eq!(lines[..2], [half, gap]);
    assert!(done.err.contains(&format!("/half: bytes 4096 to 8192 lost: {reason}, node at {at:#x}\n")));
    let summary = serde_json::json!({
        "directories": 1, "files": 1, "symlinks": 0, "devices": 0, "fifos": 0, "hard_links": 0, "bytes": 4106,
        "left_out": {"owners": 0, "set_ids": 0, "devices": 0, "sockets": 0, "xattrs": {}}, "troubles": 3
    });
    assert_eq!(lines[2..], [summary]);
    // What is lost is a hole, and in the manifest.
    let manifest = run("extract", &image, &[&"--manifest", &"-"]).json();
    assert_eq!(manifest[2]["lost"], serde_json::json!([[4096, 8192], [8192, 9000]]));
}

#[test]
fn only_what_was_asked_for() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let root = bench.path("root");
    let done = run("extract", &image, &[&root, &"--only", &"/etc/passwd-", &"--only", &"big/"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!((names(&root), names(&root.join("etc"))), (vec!["big".into(), "etc".into()], vec!["passwd-".into()]));
    assert_eq!(fs::read(root.join("etc/passwd-")).unwrap(), b"root:x:0:0\n");
    assert_eq!(run("extract", &image, &[&bench.path("new"), &"--only", &"/no"]).code, 3);
    assert!(!bench.path("new").exists());
}

#[test]
fn one_thing_to_stdout() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    for args in
        [["--tar", "-", "--json"].as_slice(), &["--tar", "-", "--manifest", "-"], &["--manifest", "-", "--json"], &[]]
    {
        let args: Vec<&dyn AsRef<std::ffi::OsStr>> = args.iter().map(|arg| arg as _).collect();
        let done = run("extract", &image, &args);
        assert_eq!((done.code, done.out.len()), (2, 0), "{}", done.err);
    }
}
