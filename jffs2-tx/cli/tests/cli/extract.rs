//! extract: what comes out, and that nothing gets out.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::common::{Bench, Builder, Layout, NOR, Run, TIME, big, layouts, run, sample};
use jffs2_tx::inode_kind::FileKind::{Directory, File, Symlink};
use jffs2_tx::wire::Compression;

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

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
