//! --tar: the image of an archive is that of the directory which it was made of.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use jffs2_mkimage::Options;
use tar::{EntryType, Header};
use walk::{Listing, read_back};

#[allow(dead_code, reason = "shared with the tests of images")]
mod walk;

/// A directory with what archives have their trouble with.
fn setup() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc/empty")).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0\n").unwrap();
    fs::hard_link(root.join("etc/passwd"), root.join("a second name")).unwrap();
    fs::write(root.join("none"), "").unwrap();
    fs::set_permissions(root.join("none"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o711)).unwrap();
    symlink("etc/passwd", root.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    // Holes, in numbers that need more than one header of GNU's format.
    let holes = File::create(root.join("holes")).unwrap();
    holes.set_len(3 << 20).unwrap();
    for at in 0..30 {
        holes.write_all_at(b"data", at * (96 << 10) + 5).unwrap();
    }
    dir
}

fn tar(dir: &Path, options: &str) {
    let mut command = Command::new("tar");
    command.current_dir(dir).args(options.split_whitespace()).args(["-cf", "tar", "-C", "root", "."]);
    assert!(command.status().unwrap().success(), "{options}");
}

fn mkimage(dir: &Path, args: &str, stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jffs2-mkimage"));
    command.current_dir(dir).args(args.split_whitespace()).args(["-o", "img", "-l"]).env_remove("SOURCE_DATE_EPOCH");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have found enough.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn built(dir: &Path, args: &str, stdin: &[u8]) -> Vec<u8> {
    let output = mkimage(dir, args, stdin);
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    fs::read(dir.join("img")).unwrap()
}

#[test]
fn every_format_is_the_directory() {
    let dir = setup();
    // With long names, too, where the format has them.
    for (long, options) in [
        (false, "--format=ustar"),
        (true, "--format=gnu"),
        (true, "--format=gnu --sparse"),
        (true, "--format=pax"),
        (true, "--format=pax --sparse --sparse-version=1.0"),
        (true, "--format=oldgnu --sparse"),
    ] {
        let name = dir.path().join("root").join("n".repeat(254));
        if long {
            fs::write(&name, "long").unwrap();
            let _ = symlink("t".repeat(254), dir.path().join("root/far"));
        }
        tar(dir.path(), options);
        let direct = built(dir.path(), "-r root", b"");
        assert!(built(dir.path(), "--tar tar", b"") == direct, "{options}");
        let archive = fs::read(dir.path().join("tar")).unwrap();
        assert!(built(dir.path(), "--tar -", &archive) == direct, "{options} through a pipe");
        assert_eq!(archive.len() < 1 << 20, options.contains("sparse"), "{options}");
    }
}

#[test]
fn layers_of_archives() {
    let dir = setup();
    fs::set_permissions(dir.path().join("root/etc"), fs::Permissions::from_mode(0o2711)).unwrap();
    let listed = |args: &str, stdin: &[u8]| read_back(&built(dir.path(), args, stdin), &Options::default());
    let more = Made::default().file("etc/passwd", b"new").file("new/a", b"a").end();
    let listing = listed("-r root --tar -", &more);
    let mode = |listing: &Listing, path: &str| listing[path.as_bytes()].mode & 0o7777;
    // Of /, /etc and /new the archive says nothing.
    assert_eq!([mode(&listing, ""), mode(&listing, "/etc"), mode(&listing, "/new")], [0o711, 0o2711, 0o755]);
    assert_eq!((listing[&b"/new"[..]].uid, listing[&b"/new"[..]].mtime), (0, 0));
    assert_eq!(listing[&b"/etc/passwd"[..]].content, b"new");
    assert_eq!(listing[&b"/a second name"[..]].content, b"root:x:0:0\n");
    let more = Made::default().add(header("./", EntryType::Directory, 0), b"").end();
    assert_eq!(mode(&listed("-r root --tar -", &more), ""), 0o644);
    let more = Made::default().file("none/x", b"").end();
    assert_eq!(listed("-r root --tar -", &more)[&b"/none"[..]].mode, 0o040_755, "replaced, not merged");
}

#[test]
fn of_entries_with_one_path_the_last_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut link = header("second", EntryType::Link, 0);
    link.set_link_name("./first").unwrap();
    let mut back = header("first", EntryType::Link, 0);
    back.set_link_name("second").unwrap();
    let bytes = Made::default()
        .file("d/x/f", b"1")
        .add(header("d/", EntryType::Directory, 0), b"")
        .file("first", b"old")
        .add(link, b"")
        .file("/first/.", b"new")
        .add(header("gone", EntryType::Directory, 0), b"")
        .file("gone", b"file")
        .end();
    let listing = read_back(&built(dir.path(), "--tar -", &bytes), &Options::default());
    let paths: Vec<_> = listing.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(paths, ["", "/d", "/d/x", "/d/x/f", "/first", "/gone", "/second"]);
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(&bytes).unwrap();
    archive.rewind().unwrap();
    let nodes = jffs2_mkimage::source::tar::read(archive, None).unwrap().tree.nodes().len();
    assert_eq!(nodes, paths.len(), "nothing is left of what was replaced: progress and sizes count all nodes");
    let content = |path: &str| listing[path.as_bytes()].content.clone();
    assert_eq!(
        (content("/first"), content("/second"), content("/gone")),
        (b"new".into(), b"old".into(), b"file".into())
    );
    assert_eq!((listing[&b"/d"[..]].mode, listing[&b"/d/x"[..]].mode), (0o040_644, 0o040_755));
    let again = Made::default().file("second", b"one").add(back.clone(), b"").add(back, b"").end();
    let listing = read_back(&built(dir.path(), "--tar -", &again), &Options::default());
    assert_eq!(listing[&b"/second"[..]].same_as, b"/first");
}

#[test]
fn owners_that_are_squashed_need_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let mut in_header = header("header", EntryType::Regular, 0);
    in_header.set_uid(70_000);
    in_header.set_gid(80_000);
    let tar = Made::default().add(in_header, b"").pax(&[("uid", b"1099511627776")]).file("record", b"").end();
    assert!(!mkimage(dir.path(), "--tar - -P", &tar).status.success());
    for squash in ["-U", "-q"] {
        let listing = read_back(&built(dir.path(), &format!("--tar - {squash}"), &tar), &Options::default());
        let owners = ["/header", "/record"].map(|path| &listing[path.as_bytes()]).map(|entry| (entry.uid, entry.gid));
        assert_eq!(owners, [(0, 0); 2]);
    }
}

#[test]
fn errors_name_the_member_or_the_offset() {
    let dir = tempfile::tempdir().unwrap();
    let changed = |kind: EntryType, change: fn(&mut Header)| {
        let mut header = header("it", kind, 0);
        change(&mut header);
        Made::default().file("first", b"1").add(header, b"").end()
    };
    let with = |records: &[(&str, &[u8])]| Made::default().pax(records).file("it", b"").end();
    let whole = Made::default().file("a", &[b'x'; 5000]).end();
    for (bytes, said) in [
        (vec![], "not a tar archive"),
        (b"\x1f\x8b\x08\x00".to_vec(), "compressed by gzip: pipe it in, `zcat FILE | jffs2-mkimage --tar - ...`"),
        (vec![0; 10_240], "the archive has no entries"),
        (whole[..1000].to_vec(), "cut short?, at byte 1000 of the archive"),
        (whole[..512 + 5120].to_vec(), "ends without its end mark: cut short?, at byte 5632"),
        (changed(EntryType::Regular, |header| header.set_uid(65_536)), "it: uid 65536 is over 65535"),
        (with(&[("path", b"a/../b")]), "a/..: not a name"),
        (with(&[("path", &b"d/".repeat(2049))]), "the path is 4098 bytes long"),
        (with(&[("size", b"4294967296")]), "it: the file is 4294967296 bytes long"),
        (
            with(&[("SCHILY.acl.access", b"user::r--,user:joe:r--,group::r--,mask::r--,other::r--")]),
            "it: SCHILY.acl.access: the ACL names someone without a number",
        ),
        (with(&[("SCHILY.xattr.odd.a", b"x")]), "it: JFFS2 cannot hold the extended attribute odd.a"),
        (with(&[("path", b".")]), "/: not a directory"),
        (changed(EntryType::Symlink, |_| {}), "it: the symlink's target is 0 bytes long"),
        (changed(EntryType::Link, |header| header.set_link_name("x").unwrap()), "it: hard link to x, but no file"),
        (changed(EntryType::Char, |header| header.set_device_major(4096).unwrap()), "it: device number 4096:0"),
        (Made::default().file("a", b"").file("a/b", b"").end(), "a/b: not a directory"),
        (Made::default().file("a/b", b"").file("a", b"").end(), "a: came before as a directory"),
    ] {
        let output = mkimage(dir.path(), "--tar -", &bytes);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{said}: {text}");
        assert!(text.starts_with("jffs2-mkimage: error: standard input: ") && text.contains(said), "{said}: {text}");
    }
    let output = mkimage(dir.path(), "--tar none", b"");
    assert!(String::from_utf8_lossy(&output.stderr).contains("none: No such file"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no half image");
}

#[derive(Default)]
struct Made(Vec<u8>);

fn header(path: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(7);
    header
}

impl Made {
    fn add(&mut self, mut header: Header, data: &[u8]) -> &mut Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(&mut self, path: &str, data: &[u8]) -> &mut Self {
        self.add(header(path, EntryType::Regular, data.len() as u64), data)
    }

    fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        let record = |(key, value): &(&str, &[u8])| {
            let rest = key.len() + value.len() + 3;
            let len = (rest + 1..).find(|len| len.to_string().len() + rest == *len).unwrap();
            [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
        };
        let data: Vec<u8> = records.iter().flat_map(record).collect();
        self.add(header("pax", EntryType::XHeader, data.len() as u64), &data)
    }

    fn end(&self) -> Vec<u8> {
        [&self.0[..], &[0; 1024]].concat()
    }
}
