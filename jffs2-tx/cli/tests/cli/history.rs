//! ls --deleted, ls --all-versions, cat --version and --ino: what the flash still holds.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jffs2_tx::inode_kind::FileKind::{Directory, File, Symlink};
use jffs2_tx::wire::{ACCURATE, Endian, Inode};
use serde_json::{Value, json};

use crate::common::{Bench, Builder, Layout, NOR, TIME, layouts, run};

/// Layouts whose eraseblock size shows in a small image.
fn shapes() -> impl Iterator<Item = Layout> {
    layouts().into_iter().filter(|layout| layout.cleanmarkers || layout.summaries)
}

/// A file's node with version, offset and size as given.
fn node(image: &mut Builder, ino: u32, version: u32, offset: u32, isize: u32, data: &[u8]) {
    let set = |node: &mut Inode| (node.version, node.offset, node.isize) = (version, offset, isize);
    image.inode(ino, 0o100_644, data, set);
}

/// Everything that can happen to names and files.
fn aged(layout: Layout) -> Vec<u8> {
    let mut image = Builder::new(layout);
    image.inode(1, 0o040_755, &[], |_| {});
    image.put(1, "gone", 2, File, 0o644, b"deleted");
    image.dirent(1, "gone", 0, File);
    image.put(1, "name", 3, File, 0o600, b"first");
    image.put(1, "name", 4, File, 0o644, b"second");
    image.put(1, "temp", 5, File, 0o644, b"renamed over");
    image.put(1, "over", 6, File, 0o644, b"under");
    image.dirent(1, "over", 5, File);
    image.dirent(1, "temp", 0, File);
    image.put(1, "one", 7, File, 0o644, b"links");
    image.dirent(1, "two", 7, File);
    image.dirent(1, "two", 0, File);
    image.put(1, "dir", 8, Directory, 0o755, &[]);
    image.put(8, "below", 9, File, 0o644, b"in a directory");
    image.dirent(1, "dir", 0, Directory);
    image.dirent(1, "log", 10, File);
    node(&mut image, 10, 1, 0, 0, b"");
    node(&mut image, 10, 2, 0, 11, b"first entry");
    node(&mut image, 10, 3, 0, 0, b"");
    node(&mut image, 10, 4, 0, 6, b"second");
    node(&mut image, 10, 5, 6, 12, b" entry");
    // Most of it has been cleaned up.
    image.dirent(1, "part", 11, File);
    node(&mut image, 11, 3, 4, 8, b"half");
    image.dirent(1, "part", 0, File);
    image.dirent(1, "none", 12, File);
    image.dirent(1, "none", 0, File);
    image.inode(13, 0o100_644, b"no name", |_| {});
    image.finish(40)
}

fn rows(image: &Path, keys: &[&str], args: &[&str]) -> Vec<Value> {
    let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"--json"];
    all.extend(args.iter().map(|arg| arg as &dyn AsRef<OsStr>));
    let listed = run("ls", image, &all);
    assert_eq!((listed.code, listed.err.as_str()), (0, ""), "{args:?}");
    listed.json().iter().map(|row| keys.iter().map(|key| row[*key].clone()).collect()).collect()
}

#[test]
fn what_is_deleted_is_listed_apart_and_nowhere_else() {
    let bench = Bench::new();
    for layout in shapes() {
        let image = bench.file("image", &aged(layout));
        let live = run("ls", &image, &[&"-R"]);
        assert_eq!(live.text(), "/:\nlog\nname\none\nover\n", "{layout:?}");
        let keys = ["path", "ino", "type", "standing", "recoverable", "size", "now"];
        let wanted = [
            json!(["/dir", 8, "directory", "deleted", "whole", null, null]),
            json!(["/gone", 2, "file", "deleted", "whole", 7, null]),
            json!(["/name", 3, "file", "replaced", "whole", 5, null]),
            json!(["/none", 12, "file", "deleted", "no", null, null]),
            json!(["/over", 6, "file", "replaced", "whole", 5, null]),
            json!(["/part", 11, "file", "deleted", "partly", 8, null]),
            json!(["/temp", 5, "file", "deleted", "whole", 12, "/over"]),
            json!(["/two", 7, "file", "deleted", "whole", 5, "/one"]),
            json!(["/dir/below", 9, "file", "with-directory", "whole", 14, null]),
            json!(["<13>", 13, "file", "orphan", "whole", 7, null]),
        ];
        assert_eq!(rows(&image, &keys, &["--deleted"]), wanted, "{layout:?}");
        assert_eq!(rows(&image, &["path"], &["--deleted", "dir"]), [json!(["/dir"]), json!(["/dir/below"])]);
        let gone = &run("ls", &image, &[&"--deleted", &"--json", &"gone"]).json()[0];
        let wanted = json!({
            "path": "/gone", "ino": 2, "type": "file", "standing": "deleted", "recoverable": "whole", "when": TIME,
            "size": 7, "mtime": TIME,
        });
        assert_eq!(gone, &wanted);
        let text = run("ls", &image, &[&"--deleted", &"two"]);
        let line = "deleted        whole  2009-02-13T23:31:30Z       7          5 /two (now /one)\n";
        assert_eq!(text.text(), line);
        let out = bench.path("out");
        assert_eq!(run("extract", &image, &[&out]).code, 0);
        let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log", "name", "one", "over"]);
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn every_version_of_a_file() {
    let bench = Bench::new();
    for layout in shapes() {
        let image = bench.file("image", &aged(layout));
        let keys = ["path", "ino", "first_version", "last_version", "nodes", "standing", "size"];
        let log = [
            json!(["/log", 10, 1, 1, 1, "superseded", 0]),
            json!(["/log", 10, 2, 2, 1, "superseded", 11]),
            json!(["/log", 10, 3, 3, 1, "superseded", 0]),
            json!(["/log", 10, 4, 4, 1, "superseded", 6]),
            json!(["/log", 10, 5, 5, 1, "current", 12]),
        ];
        assert_eq!(rows(&image, &keys, &["--all-versions", "log"]), log, "{layout:?}");
        let all = rows(&image, &["path"], &["--all-versions"]);
        assert_eq!(all.len(), log.len() + 3, "{all:?}");
        let lost = rows(&image, &keys, &["--all-versions", "part"]);
        assert_eq!(lost, [json!(["/part", 11, 3, 3, 1, "deleted", 8])]);
        let missing = run("ls", &image, &[&"--all-versions", &"never"]);
        assert_eq!((missing.code, missing.err.lines().count()), (3, 1), "{missing:?}");
    }
}

#[test]
fn neighbours_that_say_the_same_are_one_line() {
    let bench = Bench::new();
    let mut image = Builder::new(NOR);
    image.dirent(1, "file", 2, File);
    for version in 1..=4 {
        node(&mut image, 2, version, 0, 5, b"bytes");
    }
    node(&mut image, 2, 7, 0, 3, b"");
    let image = bench.file("image", &image.finish(20));
    let wanted = "\
v1-v4        superseded  0644          5 2009-02-13T23:31:30Z 0x0000011c       2 /file
v7           current     0644          3 2009-02-13T23:31:30Z 0x00000168       2 /file
";
    assert_eq!(run("ls", &image, &[&"--all-versions", &"file"]).text(), wanted);
}

#[test]
fn a_file_as_it_was() {
    let bench = Bench::new();
    for layout in shapes() {
        let image = bench.file("image", &aged(layout));
        for (version, wanted) in
            [(1, ""), (2, "first entry"), (3, ""), (4, "second"), (5, "second entry"), (9, "second entry")]
        {
            let read = run("cat", &image, &[&"log", &"--version", &version.to_string()]);
            assert_eq!((read.code, read.text(), read.err.as_str()), (0, wanted, ""), "{layout:?} {version}");
        }
        for (ino, wanted) in [("2", "deleted"), ("13", "no name"), ("10", "second entry"), ("6", "under")] {
            let read = run("cat", &image, &[&"--ino", &ino]);
            assert_eq!((read.code, read.text(), read.err.as_str()), (0, wanted, ""));
        }
        assert_eq!(run("cat", &image, &[&"--ino=10", &"--version=2"]).text(), "first entry");
        assert_eq!(run("cat", &image, &[&"dir/below", &"--version=99"]).text(), "in a directory");
        let part = run("cat", &image, &[&"part", &"--version=3"]);
        assert_eq!((part.code, part.text()), (1, "\0\0\0\0half"));
        assert_eq!(part.err, "jffs2-tx: error: part: bytes 0-4: no node is left for it: zeros are read\n");
    }
}

#[test]
fn what_cannot_be_shown_as_it_was_is_said() {
    let bench = Bench::new();
    let mut image = Builder::new(NOR);
    image.put(1, "often", 2, File, 0o644, b"1");
    image.put(1, "often", 3, File, 0o644, b"2");
    image.dirent(1, "often", 0, File);
    image.dirent(1, "file", 4, File);
    node(&mut image, 4, 1, 0, 8, b"11112222");
    node(&mut image, 4, 5, 0, 8, b"5");
    node(&mut image, 4, 7, 0, 8, b"7");
    let image = bench.file("image", &image.finish(20));
    // Arguments, exit code, stdout, stderr.
    type Case<'a> = (&'a [&'a dyn AsRef<OsStr>], i32, &'a str, &'a str);
    let cases: [Case<'_>; 9] = [
        (&[&"file"], 0, "71112222", ""),
        (&[&"file", &"--version=7"], 0, "71112222", ""),
        // Versions 2 to 4 may have changed the rest.
        (
            &[&"file", &"--version=5"],
            1,
            "51112222",
            "file: versions are missing: some bytes may be older than this version",
        ),
        (&[&"file", &"--version=0"], 3, "", "file: no node of it is left up to that version"),
        (&[&"often", &"--version=99"], 3, "", "often: several files had this name: choose with --ino 2, 3"),
        (&[&"often"], 3, "", "often: no such file or directory"),
        (&[&"never", &"--version=1"], 3, "", "never: no such file or directory"),
        (&[&"--ino=77"], 3, "", "inode 77: no node of it is on the flash"),
        (&[], 2, "", "the following required arguments were not provided: <PATH> (see --help)"),
    ];
    for (args, code, out, err) in cases {
        let read = run("cat", &image, args);
        let err = if err.is_empty() { String::new() } else { format!("jffs2-tx: error: {err}\n") };
        assert_eq!((read.code, read.text(), read.err.clone()), (code, out, err));
    }
}

/// The kernel may give a number away again once all nodes of the inode are marked obsolete.
#[test]
fn an_earlier_inode_of_a_number() {
    let bench = Bench::new();
    for endian in [Endian::Little, Endian::Big] {
        let layout = Layout { endian, ..NOR };
        let mut image = Builder::new(layout);
        image.dirent(1, "old", 2, File);
        node(&mut image, 2, 1, 0, 9, b"old bytes");
        image.dirent(1, "old", 0, File);
        image.dirent(1, "new", 2, File);
        node(&mut image, 2, 1, 0, 9, b"new bytes");
        let mut bytes = image.finish(20);
        // The dirent of /old at 12 and its inode node at 56: the bit is in the type's high byte.
        let high = if endian == Endian::Big { 2 } else { 3 };
        for at in [12, 56] {
            bytes[at + high] &= !ACCURATE.to_be_bytes()[0];
        }
        let image = bench.file("image", &bytes);
        let keys = ["path", "ino", "former", "recoverable", "now"];
        assert_eq!(rows(&image, &keys, &["--deleted"]), [json!(["/old", 2, true, "whole", null])]);
        assert_eq!(run("cat", &image, &[&"--ino=2"]).text(), "new bytes");
        assert_eq!(run("cat", &image, &[&"--ino=2", &"--former"]).text(), "old bytes");
        assert_eq!(run("cat", &image, &[&"old", &"--version=1"]).text(), "old bytes");
        assert_eq!(run("cat", &image, &[&"new"]).text(), "new bytes");
    }
}

/// The image after an update whose commit point was never programmed.
fn cut(bench: &Bench, layout: Layout, point: &str) -> PathBuf {
    let root = bench.path("root");
    let _ = fs::remove_dir_all(&root);
    let mut old = Builder::new(layout);
    old.inode(1, 0o040_755, &[], |_| {});
    old.put(1, "etc", 2, Directory, 0o755, &[]);
    old.put(2, "kept", 3, File, 0o644, b"old");
    old.put(2, "old", 4, File, 0o644, b"to be deleted");
    let image = bench.file("image", &old.finish(100));
    assert_eq!(run("extract", &image, &[&root]).code, 0);
    assert_eq!(run("apply", &image, &[&"--root", &root, &"--label=1.0"]).code, 0);
    fs::write(root.join("etc/new"), "new file").unwrap();
    fs::write(root.join("etc/kept"), "changed").unwrap();
    fs::remove_file(root.join("etc/old")).unwrap();
    if point != "dirent" {
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let done = run("apply", &image, &[&"--root", &root, &"--label=2.0", &"--commit-point", &point]);
    assert_eq!(done.code, 0, "{done:?}");

    let log = run("log", &image, &[&"--json"]).json();
    let block = log.last().unwrap()["commit_block"].as_u64().unwrap() as usize;
    let mut bytes = fs::read(&image).unwrap();
    let here = &mut bytes[block * layout.eraseblock..][..layout.eraseblock];
    match point {
        "head" => here[..256].fill(0xff),
        "summary" => here[layout.eraseblock - 8..].fill(0xff),
        // Behind the marker and its label.
        _ => here[104..].fill(0xff),
    }
    bench.file("cut", &bytes)
}

#[test]
fn what_was_not_committed_is_shown_apart() {
    let bench = Bench::new();
    for layout in shapes() {
        for point in ["head", "summary", "dirent"] {
            // NAND wants its pages in order: no head there.
            if point == "head" && !layout.cleanmarkers {
                continue;
            }
            let image = cut(&bench, layout, point);
            assert_eq!(run("ls", &image, &[&"etc"]).text(), "kept\nold\n", "{layout:?} {point}");
            assert_eq!(run("cat", &image, &[&"etc/kept"]).out, b"old");
            // The new directory of a dirent commit has no name yet.
            let etc = if point == "dirent" { "<7>" } else { "/etc" };
            let mut wanted = vec![
                json!([format!("{etc}/kept"), 5, "would-appear", "whole", 7, "2.0"]),
                json!([format!("{etc}/new"), 6, "would-appear", "whole", 8, "2.0"]),
            ];
            if point == "dirent" {
                wanted.push(json!(["<7>", 7, "would-appear", "whole", null, "2.0"]));
            } else {
                wanted.push(json!(["/etc/old", 4, "would-vanish", "whole", 13, "2.0"]));
                wanted.push(json!(["/", 1, "would-change", "whole", null, "2.0"]));
            }
            let keys = ["path", "ino", "standing", "recoverable", "size", "label"];
            assert_eq!(rows(&image, &keys, &["--deleted"]), wanted, "{layout:?} {point}");
            let log = run("log", &image, &[&"--json"]).json().pop().unwrap();
            let listed = run("ls", &image, &[&"--deleted", &"--json"]).json();
            assert!(listed.iter().all(|row| row["txid"] == log["txid"] && row["sequence"] == log["sequence"]));
            let headline = format!("uncommitted: 1 {} ", log["txid"].as_str().unwrap());
            assert!(run("ls", &image, &[&"--deleted"]).text().starts_with(&headline));
            let versions = rows(&image, &["first_version", "standing"], &["--all-versions", "etc/kept"]);
            assert_eq!(versions, [json!([4, "current"])]);
        }
    }
}

/// Paths of all that is below a directory, with the bytes of files.
fn tree(dir: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let shown = entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_string();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => pending.push(entry.path()),
                kind if kind.is_symlink() => {
                    all.push((shown, format!("-> {}", fs::read_link(entry.path()).unwrap().display())))
                }
                _ => all.push((shown, String::from_utf8(fs::read(entry.path()).unwrap()).unwrap())),
            }
        }
    }
    all.sort();
    all
}

fn pairs<const N: usize>(wanted: [(&str, &str); N]) -> Vec<(String, String)> {
    wanted.map(|(path, bytes)| (path.into(), bytes.into())).into()
}

#[test]
fn what_is_deleted_is_extracted_apart() {
    let bench = Bench::new();
    for layout in shapes() {
        let image = bench.file("image", &aged(layout));
        let out = bench.path("out");
        let done = run("extract", &image, &[&"--deleted", &out]);
        let wanted = pairs([
            ("deleted/dir/below~9", "in a directory"),
            ("deleted/gone~2", "deleted"),
            ("deleted/name~3", "first"),
            ("deleted/over~6", "under"),
            ("deleted/part~11", "\0\0\0\0half"),
            ("orphans/13", "no name"),
        ]);
        assert_eq!(tree(&out), wanted, "{layout:?}");
        let err = "jffs2-tx: error: /deleted/part~11: bytes 0 to 4 lost: no node is left for it: zeros are read";
        assert_eq!((done.code, done.err.lines().next()), (1, Some(err)), "{}", done.err);
        assert!(done.err.contains("1 names are known of which nothing is left"), "{}", done.err);
        assert_eq!(fs::metadata(out.join("deleted/name~3")).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(out.join("deleted/gone~2")).unwrap().mtime(), i64::from(TIME));
        fs::remove_dir_all(&out).unwrap();
    }
}

#[test]
fn what_was_not_committed_is_extracted_apart() {
    let bench = Bench::new();
    for point in ["head", "dirent"] {
        let image = cut(&bench, NOR, point);
        let out = bench.path("out");
        let done = run("extract", &image, &[&"--deleted", &out, &"--json"]);
        let log = run("log", &image, &[&"--json"]).json().pop().unwrap();
        let base = format!("uncommitted/{}", log["txid"].as_str().unwrap());
        let etc = if point == "dirent" { "<7>" } else { "etc" };
        let (kept, new) = (format!("{base}/{etc}/kept"), format!("{base}/{etc}/new"));
        assert_eq!(tree(&out), pairs([(&kept, "changed"), (&new, "new file")]), "{done:?}");
        assert_eq!((done.code, &done.json()[0]["files"]), (0, &json!(2)), "{done:?}");
        fs::remove_dir_all(&out).unwrap();
    }
}

/// Names and paths of the past are as hostile as those of today.
#[test]
fn nothing_that_is_deleted_leaves_the_directory() {
    let bench = Bench::new();
    let mut image = Builder::new(NOR);
    let mut ino = 2;
    for name in ["..", ".", "a/b", "/abs", "../up"] {
        image.put(1, name, ino, Directory, 0o755, &[]);
        image.put(ino, "below", ino + 1, File, 0o644, b"below");
        image.put(1, name, ino + 2, File, 0o644, b"itself");
        image.dirent(1, name, 0, File);
        ino += 3;
    }
    // What was a symlink is no way for what was a directory of that name.
    image.put(1, "link", 30, Symlink, 0o777, b"/tmp");
    image.put(1, "link", 31, Directory, 0o755, &[]);
    image.put(31, "file", 32, File, 0o644, b"file");
    image.dirent(1, "link", 0, File);
    // A circle, a name that leaves no room for the number, and a name that has the number of another.
    image.put(41, "x", 40, Directory, 0o755, &[]);
    image.put(40, "y", 41, Directory, 0o755, &[]);
    image.put(41, "round", 42, File, 0o644, b"round");
    image.put(1, "n".repeat(254), 50, File, 0o644, b"long");
    image.dirent(1, "n".repeat(254), 0, File);
    image.put(1, "a", 60, File, 0o644, b"60");
    image.dirent(1, "a", 0, File);
    image.put(1, "a~60", 61, Directory, 0o755, &[]);
    image.put(61, "in", 62, File, 0o644, b"62");
    image.dirent(1, "a~60", 0, File);
    let image = bench.file("image", &image.finish(20));
    let out = bench.path("out");
    let done = run("extract", &image, &[&"--deleted", &out]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert_eq!(done.err.matches("name refused").count(), 10, "{}", done.err);
    let all = tree(&out);
    let has = |path: &str, bytes: &str| all.iter().any(|found| found.0 == path && found.1 == bytes);
    assert!(has("deleted/link~30", "-> /tmp") && has("deleted/link/file~32", "file"), "{all:?}");
    assert!(has(&format!("deleted/{}~50", "n".repeat(252)), "long"), "{all:?}");
    assert!(has("deleted/a~60", "60") && has("deleted/a~60~/in~62", "62"), "{all:?}");
    assert!(has("deleted/<40>/y/round~42", "round"), "{all:?}");
    assert_eq!(all.len(), 6, "{all:?}");
    let beside: Vec<_> = fs::read_dir(bench.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
}
