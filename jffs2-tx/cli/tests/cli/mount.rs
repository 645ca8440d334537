//! mount: what ordinary tools see through FUSE is what `ls` and `cat` say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{Bench, Builder, Layout, NOR, big, run, sample};
use jffs2_tx::inode_kind::FileKind::{Directory, File, Socket};
use jffs2_tx::wire::{Compression, Endian, Xattr, Xref, xprefix};

/// EIO
const IO_ERROR: i32 = 5;

/// A mounted image.
struct Mounted {
    child: Child,
    dir: PathBuf,
}

impl Mounted {
    fn new(bench: &Bench, image: &Path) -> Self {
        assert!(Path::new("/dev/fuse").exists(), "/dev/fuse is missing: as root, run `modprobe fuse`");
        let dir = bench.path("mnt");
        fs::create_dir_all(&dir).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_jffs2-tx"))
            .arg("mount")
            .args([image, &dir])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let mounted = Self { child, dir };
        let said = format!("jffs2-tx: note: mounted on {}, until", mounted.dir.display());
        assert!(line.starts_with(&said), "mount needs root, or the Debian package fuse3: {line}");
        mounted
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.dir.join(std::ffi::OsStr::from_bytes(name))
    }

    /// Its exit code, once it has ended.
    fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn unmount(self) -> Option<i32> {
        let done = Command::new("fusermount3").arg("-u").arg(&self.dir).status();
        assert!(done.expect("the Debian package fuse3 is missing").success());
        self.wait()
    }
}

impl Drop for Mounted {
    /// A test that failed leaves no mount behind.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.dir).status();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a tool of the host.
fn tool(name: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    Command::new(name).args(arguments.iter().map(AsRef::as_ref)).output().unwrap()
}

/// What a walk through the mount shows, in the words of `ls -R --json`.
fn walk(dir: &Path) -> BTreeMap<String, serde_json::Value> {
    let mut rows = BTreeMap::new();
    let mut pending = vec![(String::new(), dir.to_path_buf())];
    while let Some((path, dir)) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let (name, below) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
            let name = name.as_bytes().utf8_chunks().map(|chunk| {
                let invalid: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
                chunk.valid().replace('\n', "\\x0a") + &invalid
            });
            let path = format!("{path}/{}", name.collect::<String>());
            let row = row(&path, &below);
            if row["type"] == "directory" {
                pending.push((path.clone(), below));
            }
            rows.insert(path, row);
        }
    }
    rows
}

fn row(path: &str, below: &Path) -> serde_json::Value {
    let stat = fs::symlink_metadata(below).unwrap();
    let kind = stat.file_type();
    let kind = match () {
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "symlink",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () => "file",
    };
    let mut row = serde_json::json!({
        "path": path, "ino": stat.ino(), "type": kind, "mode": format!("{:04o}", stat.mode() & 0o7777),
        "links": stat.nlink(), "uid": stat.uid(), "gid": stat.gid(), "size": stat.size(), "mtime": stat.mtime(),
    });
    if matches!(kind, "char" | "block") {
        let device = stat.rdev();
        row["major"] = ((device >> 8) & 0xfff).into();
        row["minor"] = ((device & 0xff) | ((device >> 12) & 0xf_ff00)).into();
    }
    if kind == "symlink" {
        row["target"] = fs::read_link(below).unwrap().to_str().unwrap().into();
    }
    row
}

#[test]
fn shows_what_ls_and_cat_show() {
    for endian in [Endian::Little, Endian::Big] {
        let bench = Bench::new();
        let image = bench.file("image", &sample(Layout { endian, ..NOR }));
        let mounted = Mounted::new(&bench, &image);
        let listed = run("ls", &image, &[&"-R", &"--json"]).json();
        let listed: BTreeMap<_, _> =
            listed.into_iter().map(|row| (row["path"].as_str().unwrap().to_owned(), row)).collect();
        assert_eq!(walk(&mounted.dir), listed);
        assert_eq!(fs::metadata(&mounted.dir).unwrap().nlink(), 4);
        for path in ["etc/passwd", "big"] {
            assert_eq!(fs::read(mounted.path(path.as_bytes())).unwrap(), run("cat", &image, &[&path]).out, "{path}");
        }
        let sparse = fs::File::open(mounted.path(b"sparse")).unwrap();
        let mut bytes = vec![0xee; (1 << 20) + 1];
        assert_eq!(sparse.read_at(&mut bytes, 1 << 20).unwrap(), 1 << 20);
        assert!(bytes.starts_with(b"end") && bytes[3..1 << 20].iter().all(|byte| *byte == 0));
        assert_eq!(sparse.read_at(&mut bytes[..10], 4096).unwrap(), 10);
        assert_eq!(bytes[..10], [0; 10]);
        assert_eq!(fs::read(mounted.path(b"na\xffme\n")).unwrap(), b"bytes");
        let file = fs::File::open(mounted.path(b"big")).unwrap();
        let mut piece = [0; 10_000];
        file.read_exact_at(&mut piece, 50_001).unwrap();
        assert_eq!(piece[..], big()[50_001..60_001]);
        assert_eq!(fs::symlink_metadata(mounted.path(b"gone")).unwrap_err().kind(), ErrorKind::NotFound);
        let written = fs::write(mounted.path(b"new"), b"").unwrap_err();
        assert_eq!(written.kind(), ErrorKind::ReadOnlyFilesystem);
        let size = tool("stat", &[&"-f", &"-c", &"%b %S %f %l", &mounted.dir]);
        assert_eq!(String::from_utf8_lossy(&size.stdout), "160 4096 0 254\n");
        drop((file, sparse));
        assert_eq!(mounted.unmount(), Some(0));
    }
}

#[test]
fn shows_extended_attributes() {
    let attributes: [(u8, &[u8], &str, &[u8]); 4] = [
        (xprefix::USER, b"kind", "user.kind", b"text"),
        (xprefix::USER, b"empty", "user.empty", b""),
        (xprefix::SECURITY, b"selinux", "security.selinux", b"system_u:object_r:bin_t\0"),
        (xprefix::USER, b"long", "user.long", &[7; 3000]),
    ];
    // rw-r--r--: version 1 and tags with permissions on flash, version 2 and numbers of nobody to be shown.
    let acl = (xprefix::ACL_ACCESS, &b""[..], "", &b"\x01\0\0\0\x01\0\x06\0\x04\0\x04\0\x20\0\x04\0"[..]);
    let shown = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x04\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
    let mut image = Builder::new(NOR);
    image.put(1, "file", 10, File, 0o644, b"");
    image.put(1, "plain", 11, File, 0o644, b"");
    for (xid, (prefix, name, _, value)) in (1..).zip(attributes.into_iter().chain([acl])) {
        let mut node = Vec::new();
        Xattr { xid, version: 1, prefix, name, value }.emit(NOR.endian, &mut node);
        image.raw(&node);
        node.clear();
        Xref { ino: 10, xid, seqno: 2 }.emit(NOR.endian, &mut node);
        image.raw(&node);
    }
    let bench = Bench::new();
    let mounted = Mounted::new(&bench, &bench.file("image", &image.finish(6)));
    let file = mounted.path(b"file");
    let mut names: Vec<_> = xattr::list(&file).unwrap().collect();
    names.sort();
    assert_eq!(names, ["security.selinux", "system.posix_acl_access", "user.empty", "user.kind", "user.long"]);
    for (_, _, name, value) in attributes {
        assert_eq!(xattr::get(&file, name).unwrap().as_deref(), Some(value), "{name}");
    }
    assert_eq!(xattr::get(&file, "system.posix_acl_access").unwrap().as_deref(), Some(&shown[..]));
    assert_eq!(xattr::get(&file, "user.none").unwrap(), None);
    assert_eq!(xattr::list(mounted.path(b"plain")).unwrap().count(), 0);
    assert_eq!(mounted.unmount(), Some(0));
}

#[test]
fn a_signal_unmounts_even_if_somebody_is_inside() {
    let bench = Bench::new();
    let mounted = Mounted::new(&bench, &bench.file("image", &sample(NOR)));
    let (dir, pid) = (mounted.dir.clone(), mounted.child.id().to_string());
    let file = fs::File::open(mounted.path(b"big")).unwrap();
    assert!(tool("kill", &[&"-TERM", &pid]).status.success());
    // Still to be read, but by nobody else.
    for _ in 0..1000 {
        if fs::read_dir(&dir).unwrap().next().is_none() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(fs::read_dir(&dir).unwrap().next().is_none(), "still mounted");
    let mut piece = [0; 5];
    file.read_exact_at(&mut piece, 7).unwrap();
    assert_eq!(piece[..], big()[7..12]);
    drop(file);
    assert_eq!(mounted.wait(), Some(0));
}

#[test]
fn only_what_is_damaged_cannot_be_read() {
    let mut image = Builder::new(NOR);
    image.dirent(1, "file", 10, File);
    // No node says that page 6 is zeros: one is gone.
    for page in (0..8).filter(|page| *page != 6) {
        image.inode(10, 0o100_644, &[page; 4096], |node| {
            (node.offset, node.isize) = (u32::from(page) * 4096, (u32::from(page) + 1) * 4096);
            if page == 3 {
                node.compression = Compression::Zlib;
            }
        });
    }
    image.dirent(1, "nothing", 11, File);
    image.inode(11, 0o100_644, b"x", |node| node.compression = Compression::Other(99));
    image.inode(12, 0o170_644, b"", |_| {});
    image.dirent(1, "odd", 12, File);
    image.put(1, "right", 13, File, 0o644, b"right");
    let mut image = image.finish(6);
    // Its data CRC fails then: Linux gives zeros.
    let page = image.windows(4096).position(|bytes| *bytes == [5; 4096]).unwrap();
    image[page + 4000] = 0;
    let bench = Bench::new();
    let mounted = Mounted::new(&bench, &bench.file("image", &image));
    let mut names: Vec<_> = fs::read_dir(&mounted.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["file", "nothing", "odd", "right"]);
    let file = fs::File::open(mounted.path(b"file")).unwrap();
    let mut damaged = Vec::new();
    for page in 0..8_u8 {
        let mut bytes = [0xee; 4096];
        match file.read_exact_at(&mut bytes, u64::from(page) * 4096) {
            Ok(()) => assert_eq!(bytes, [page; 4096]),
            Err(error) => damaged.push((page, error.raw_os_error())),
        }
    }
    assert_eq!(damaged, [(3, Some(IO_ERROR)), (5, Some(IO_ERROR)), (6, Some(IO_ERROR))]);
    assert_eq!(fs::read(mounted.path(b"nothing")).unwrap_err().raw_os_error(), Some(IO_ERROR));
    assert_eq!(fs::metadata(mounted.path(b"odd")).unwrap_err().raw_os_error(), Some(IO_ERROR));
    assert_eq!(fs::read(mounted.path(b"right")).unwrap(), b"right");
    drop(file);
    assert_eq!(mounted.unmount(), Some(0));
}

#[test]
fn hostile_trees_are_shown_as_far_as_linux_can() {
    let mut image = Builder::new(NOR);
    image.put(1, "a", 10, Directory, 0o755, b"");
    image.put(10, "loop", 10, Directory, 0o755, b"");
    image.dirent(10, "root", 1, Directory);
    image.dirent(1, "b", 10, Directory);
    image.put(1, "dir", 20, Directory, 0o755, b"");
    for (ino, name) in (30..).zip([&b"."[..], b"..", b"a/b", b"", b"nul\0", &[b'n'; 255]]) {
        image.put(20, name, ino, File, 0o644, b"odd");
    }
    // More names than one answer holds, among deleted ones.
    for ino in 1000..3000 {
        image.put(20, format!("name {ino}"), ino, Socket, 0o644, b"");
        if ino % 7 == 0 {
            image.dirent(20, format!("name {ino} gone"), 0, Socket);
        }
    }
    let bench = Bench::new();
    let mounted = Mounted::new(&bench, &bench.file("image", &image.finish(6)));
    for path in ["a/root", "a/loop", "b/loop/loop", "b", "a/root/a"] {
        let path = mounted.path(path.as_bytes());
        // The kernel may refuse a directory that is its own parent, but says so.
        let said = fs::read_dir(&path).map(|entries| entries.filter(Result::is_ok).count());
        assert!(matches!(&said, Ok(2)) || said.is_err(), "{}: {said:?}", path.display());
    }
    // find(1) notices loops by inode numbers: it must come to an end.
    tool("find", &[&mounted.dir]);
    let names: Vec<_> = fs::read_dir(mounted.path(b"dir")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2001);
    assert_eq!(fs::read(mounted.path(&[b"dir/".as_slice(), &[b'n'; 255]].concat())).unwrap(), b"odd");
    assert_eq!(mounted.unmount(), Some(0));
}

#[test]
fn says_what_is_in_the_way() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let mounted = Mounted::new(&bench, &image);
    let update = run("apply", &image, &[&"--root", &bench.dir.path()]);
    assert_eq!(update.err, format!("jffs2-tx: error: {}: in use by another update\n", image.display()));
    assert_eq!(update.code, 5);
    assert_eq!(mounted.unmount(), Some(0));
    let refused = |dir: &Path, code: i32, said: &str| {
        let tried = run("mount", &image, &[&dir]);
        let wanted = format!("jffs2-tx: error: {}: {said}\n", dir.display());
        assert_eq!((tried.code, tried.err, tried.out), (code, wanted, Vec::new()));
    };
    refused(bench.dir.path(), 2, "directory is not empty");
    refused(&bench.path("missing"), 3, "No such file or directory (os error 2)");
    refused(&image, 3, "Not a directory (os error 20)");
    let noise = bench.file("noise", b"no file system");
    let tried = run("mount", &noise, &[&bench.path("mnt")]);
    let said = format!("jffs2-tx: error: {}: not a JFFS2 image (no valid node found)\n", noise.display());
    assert_eq!((tried.code, tried.err), (7, said));
}
