//! extract --tar: GNU tar makes the same tree of it as extract does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use jffs2_mkimage::Options;
use jffs2_tx::inode_kind::FileKind::{Directory, File, Symlink};
use jffs2_tx::wire::Compression;

use crate::common::{Bench, Builder, NOR, is_root, run, sample};
use crate::manifest::{image_of, tree};

/// What stands below a directory of the host, by path.
fn walk(root: &Path) -> BTreeMap<Vec<u8>, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    let mut inodes = BTreeMap::new();
    while let Some(path) = todo.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let mut facts =
            vec![format!("{:o} {}:{} @{} {:x}", stat.mode(), stat.uid(), stat.gid(), stat.mtime(), stat.rdev())];
        let mut xattrs: Vec<_> = xattr::list(&path).unwrap().collect();
        xattrs.sort();
        facts.extend(xattrs.iter().map(|name| format!("{name:?}={:?}", xattr::get(&path, name).unwrap())));
        if stat.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if stat.is_symlink() {
            facts.push(format!("{:?}", fs::read_link(&path).unwrap()));
        } else if stat.is_file() && (is_root() || stat.mode() & 0o400 != 0) {
            let bytes = fs::read(&path).unwrap();
            let written = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0);
            facts.push(format!("{} bytes, crc of those that are not 0: {:x}", stat.len(), sum(written)));
        }
        inodes.entry(stat.ino()).or_insert_with(Vec::new).push(name.clone());
        found.insert(name, facts);
    }
    for names in inodes.into_values().filter(|names| names.len() > 1) {
        let mut names = names;
        names.sort();
        names.iter().for_each(|name| found.get_mut(name).unwrap().push(format!("links {names:?}")));
    }
    found
}

/// Of bytes and their places.
fn sum<'a>(bytes: impl Iterator<Item = (usize, &'a u8)>) -> u32 {
    let bytes: Vec<u8> = bytes.flat_map(|(at, byte)| [&at.to_le_bytes()[..], &[*byte]].concat()).collect();
    jffs2_tx::crc::crc32(&bytes)
}

/// GNU tar's work on the archive.
fn untar(archive: &Path, root: &Path) {
    fs::create_dir(root).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "-xpf"]).arg(archive).arg("-C").arg(root);
    // As extract does, where one may not create them.
    if !is_root() || !can_make_devices(root) {
        tar.args(["--exclude=./console", "--exclude=./disk"]);
    }
    let output = tar.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn can_make_devices(root: &Path) -> bool {
    let node = root.with_extension("node");
    let made = Command::new("mknod").arg(&node).args(["c", "1", "3"]).output().unwrap();
    let _ = fs::remove_file(node);
    made.status.success()
}

fn assert_same_tree(bench: &Bench, image: &Path) {
    let (root, other, archive) = (bench.path("root"), bench.path("other"), bench.path("a.tar"));
    let by_dir = run("extract", image, &[&root]);
    let by_tar = run("extract", image, &[&"--tar", &archive]);
    assert_eq!((by_dir.code, by_tar.code), (0, 0), "{}{}", by_dir.err, by_tar.err);
    untar(&archive, &other);
    let (mut dir, tar) = (walk(&root), walk(&other));
    // There is no way to say socket in a tar archive.
    dir.retain(|path, _| {
        let stat = fs::symlink_metadata(root.join(std::ffi::OsStr::from_bytes(path))).unwrap();
        !stat.file_type().is_socket()
    });
    assert!(dir.len() > 5);
    assert_eq!(dir.keys().collect::<Vec<_>>(), tar.keys().collect::<Vec<_>>());
    for (path, facts) in &dir {
        assert_eq!(facts, &tar[path], "{}", path.escape_ascii());
    }
}

#[test]
fn the_same_tree() {
    let bench = Bench::new();
    let image = bench.file("image", &image_of(&tree(), &Options::default()));
    assert_same_tree(&bench, &image);
    let said = run("extract", &image, &[&"--tar", &bench.path("again.tar"), &"-e", &"64k"]);
    // Devices and owners need no root.
    assert_eq!(said.err, "jffs2-tx: note: left out: 1 sockets\n");
}

#[test]
fn of_a_kernels_image_and_the_same_bytes_each_time() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    assert_same_tree(&bench, &image);
    let first = fs::read(bench.path("a.tar")).unwrap();
    let again = run("extract", &image, &[&"--tar", &"-"]);
    assert_eq!(again.code, 0);
    assert!(again.out == first);
    assert!(first.len() < 300_000, "2 MiB of holes are not stored: {}", first.len());
}

#[test]
fn long_names_and_holes() {
    let bench = Bench::new();
    let mut image = Builder::new(NOR);
    let (long, deep) = ("l".repeat(254), "d".repeat(99));
    image.put(1, &deep, 10, Directory, 0o755, &[]);
    image.put(10, &long, 11, File, 0o644, b"long");
    image.put(10, "x", 12, File, 0o644, b"x");
    image.dirent(10, format!("{long:.253}"), 11, File);
    image.put(1, &long[..100], 13, Symlink, 0o777, &long.as_bytes()[..100]);
    image.put(1, &long[..101], 14, Symlink, 0o777, &long.as_bytes()[..101]);
    image.put(1, [&[0xff; 120][..], b"\n"].concat(), 15, File, 0o600, b"odd");
    // All hole; a hole in front of data; data in front of a hole of just the size that is not stored, and one byte less.
    for (ino, name, data, hole) in [
        (20, "hole", 0..0, 0..1 << 20),
        (21, "end", 1 << 20..(1 << 20) + 5, 0..1 << 20),
        (22, "stored", 0..5, 5..66_047),
        (23, "start", 0..5, 5..66_048),
    ] {
        let size = u32::max(data.end, hole.end);
        image.dirent(1, name, ino, File);
        image.inode(ino, 0o100_644, &[], |node| {
            (node.offset, node.dsize, node.isize) = (hole.start, hole.end - hole.start, size);
            node.compression = Compression::Zero;
        });
        if !data.is_empty() {
            image.inode(ino, 0o100_644, b"bytes", |node| (node.offset, node.isize) = (data.start, size));
        }
    }
    let image = bench.file("image", &image.finish(6));
    assert_same_tree(&bench, &image);
    let stored = fs::metadata(bench.path("a.tar")).unwrap().len();
    assert!((65_536..100_000).contains(&stored), "{stored}");
}

#[test]
fn what_cannot_be_read_is_zeros() {
    let bench = Bench::new();
    let mut image = Builder::new(NOR);
    image.dirent(1, "half", 10, File);
    image.inode(10, 0o100_644, &[7; 4096], |_| {});
    image.inode(10, 0o100_644, &[7; 100], |node| {
        (node.offset, node.isize, node.dsize) = (4096, 8192, 4096);
        node.compression = Compression::Zlib;
    });
    image.dirent(1, "copy", 10, File);
    image.inode(11, 0o120_777, b"to\0here", |_| {});
    image.dirent(1, "nul", 11, Symlink);
    image.dirent(1, "nul too", 11, Symlink);
    image.put(1, "zz", 12, File, 0o644, b"last");
    let image = bench.file("image", &image.finish(6));
    let done = run("extract", &image, &[&"--tar", &bench.path("a.tar")]);
    assert_eq!((done.code, done.err.lines().count()), (1, 2), "{}", done.err);
    untar(&bench.path("a.tar"), &bench.path("root"));
    let half = fs::read(bench.path("root/half")).unwrap();
    assert_eq!((half.len(), &half[..4096], &half[4096..]), (8192, &[7; 4096][..], &[0; 4096][..]));
    assert_eq!(fs::read(bench.path("root/zz")).unwrap(), b"last");
    assert!(!bench.path("root/nul too").exists());
}
