//! The command line: what it writes, and how it fails.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use jffs2_mkimage::source::host_xattrs::{self, Which};
use jffs2_mkimage::{Compress, Options, Pad, build};
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::source::{Extra, ROOT, SourceTree};
use jffs2_tx::wire::Endian;
use jffs2_tx::{Index, Rules, Tree};
use walk::read_back;

#[allow(dead_code, reason = "shared with the tests of images")]
mod walk;

/// A directory with one file, and a place for images.
fn setup() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("root")).unwrap();
    fs::write(dir.path().join("root/hello"), "hello\n").unwrap();
    dir
}

fn mkimage(dir: &Path, args: &str) -> Output {
    command(dir, args).output().unwrap()
}

fn command(dir: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jffs2-mkimage"));
    command.current_dir(dir).args(args.split_whitespace()).env_remove("SOURCE_DATE_EPOCH");
    command
}

fn error_of(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(output.stdout.is_empty());
    if code == 1 {
        assert!(text.starts_with("jffs2-mkimage: error: ") && text.lines().count() == 1, "{text}");
    }
    text
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn builds_with_the_options_of_mkfs() {
    let dir = setup();
    let built = |args: &str| {
        let output = mkimage(dir.path(), args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty() && output.stdout.is_empty());
        fs::read(dir.path().join("img")).unwrap()
    };
    let plain = built("-r root -o img -l");
    let listing = read_back(&plain, &Options::default());
    assert_eq!(listing[&b"/hello"[..]].content, b"hello\n");
    assert_eq!(built("-d root --output img --little-endian --eraseblock 0x10000 --pagesize 4096"), plain);
    assert_eq!(built("-r root -oimg -l -e64"), plain);
    assert_eq!(built("-r root -o img -b")[..4], [0x19, 0x85, 0x20, 0x03]);
    assert_eq!(built("-r root -o img -l -n")[2..4], [0x01, 0xe0], "no cleanmarker");
    assert_eq!(built("-r root -o img -p -l -e 128").len(), 131_072);
    assert_eq!(built("-r root -o img --pad --summary").len(), 65_536);
    for eight in ["-p 8MiB", "-p8M", "--pad=8192K", "--pad 0x800000"] {
        assert_eq!(built(&format!("-r root -o img {eight} --sort")).len(), 8 << 20);
    }
    assert_eq!(names(dir.path()), ["img", "root"]);
}

#[test]
fn options_reach_the_library() {
    let dir = setup();
    let root = dir.path().join("root");
    fs::create_dir(root.join("z")).unwrap();
    let text: String = (0..9000).map(|line| format!("line {line}\n")).collect();
    fs::write(root.join("text"), text).unwrap();
    let tree = SourceTree::from_dir(&root).unwrap();
    let plain = Options::default();
    let rows = [
        ("", plain.clone()),
        ("-s 1024", Options { page_size: 1024, ..plain.clone() }),
        ("-e 8KiB", Options { eraseblock: 8192, ..plain.clone() }),
        ("-n", Options { cleanmarkers: false, ..plain.clone() }),
        ("--sort", Options { sort: true, ..plain.clone() }),
        ("--summary", Options { summary: true, ..plain.clone() }),
        ("--pad", Options { pad: Pad::Eraseblock, ..plain.clone() }),
        ("--first z", Options { first: vec![b"z".to_vec()], ..plain.clone() }),
        ("--compress best", Options { compress: Compress::best(), ..plain }),
    ];
    let mut images = BTreeSet::new();
    for (args, options) in &rows {
        let output = mkimage(dir.path(), &format!("-r root -o img -l {args}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut image = Vec::new();
        build(&tree, options, &mut image).unwrap();
        assert!(fs::read(dir.path().join("img")).unwrap() == image, "{args}");
        images.insert(image);
    }
    assert_eq!(images.len(), rows.len(), "each option makes a difference");
}

#[test]
fn an_image_is_a_file_like_others() {
    let dir = setup();
    assert!(mkimage(dir.path(), "-r root -o img").status.success());
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode();
    assert_eq!(mode("img"), mode("root/hello"), "as the umask has it");
}

#[test]
fn a_full_standard_output_is_an_error() {
    let dir = setup();
    // Bytes behind the last line break are written last of all. Hardly any of these images has a line break.
    fs::write(dir.path().join("root/hello"), "hello").unwrap();
    for epoch in ["1", "2", "3", "4", "5"] {
        for args in ["-r root -o -", "-r root -o - --verify"] {
            let full = fs::File::options().write(true).open("/dev/full").unwrap();
            let output = command(dir.path(), args).env("SOURCE_DATE_EPOCH", epoch).stdout(full).output().unwrap();
            let error = error_of(&output, 1);
            assert!(error.contains("No space left on device"), "{error}");
        }
    }
}

#[test]
fn standard_output_and_the_report() {
    let dir = setup();
    let direct = mkimage(dir.path(), "-r root -o - -v");
    let json = mkimage(dir.path(), "-r root -o img --json");
    assert_eq!(direct.stdout, fs::read(dir.path().join("img")).unwrap());
    assert!(String::from_utf8(direct.stderr).unwrap().contains("2 inodes"));
    let text = String::from_utf8(json.stdout).unwrap();
    assert_eq!((text.lines().count(), json.stderr.len()), (1, 0));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let bytes = direct.stdout.len();
    let none = serde_json::json!({ "nodes": 0, "bytes": 0, "stored": 0 });
    let expected = serde_json::json!({
        "bytes": bytes, "eraseblocks": 1, "nodes": 3, "inodes": 2, "data_bytes": 6, "hole_bytes": 0, "stored_bytes": 6,
        "compressors": {
            "none": { "nodes": 1, "bytes": 6, "stored": 6 }, "zlib": none, "lzo": none, "rtime": none, "lzma": none
        }
    });
    assert_eq!(report, expected);
}

#[test]
fn reports_space_and_keeps_room_for_updates() {
    let dir = setup();
    let output = mkimage(dir.path(), "-r root -o img --report r.json --pad=1MiB --free 15 --json --verify");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("15 of 16 eraseblocks are free, 4 of them for the kernel; a transaction may take 10,"),
        "{told}"
    );
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["room"]["free"], &line["room"]["transaction_eraseblocks"]), (&15.into(), &10.into()));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(dir.path().join("r.json")).unwrap()).unwrap();
    for (key, value) in line.as_object().unwrap() {
        assert_eq!(report.get(key), Some(value), "{key}");
    }
    let used = |path: &str, flash: u64| serde_json::json!({"path": path, "bytes": 6, "flash_bytes": flash});
    assert_eq!(report["largest_files"], serde_json::json!([used("/hello", 76)]));
    assert_eq!(report["directories"], serde_json::json!([used("/", 76 + 48 + 68)]));
    assert!(["sources", "build", "verify"].iter().all(|phase| report["seconds"][phase].is_f64()), "{report}");

    fs::remove_file(dir.path().join("img")).unwrap();
    let text = error_of(&mkimage(dir.path(), "-r root -o img --flash-size 1MiB --free 16"), 1);
    assert!(text.contains("leaves 15 of 16 eraseblocks free, --free wants 16"), "{text}");
    assert_eq!(names(dir.path()), ["r.json", "root"]);
}

#[test]
fn verifies_what_it_can_read_back() {
    let dir = setup();
    let output = mkimage(dir.path(), "-r root -o img --verify");
    assert!(output.status.success(), "{output:?}");
    let piped = mkimage(dir.path(), "-r root -o - --verify");
    assert_eq!(piped.stdout, fs::read(dir.path().join("img")).unwrap());
    let text = error_of(&mkimage(dir.path(), "-r root -o /dev/null --verify"), 1);
    assert!(text.contains("/dev/null: --verify reads files back"), "{text}");
}

#[test]
fn compressors_and_threads() {
    let dir = setup();
    let text = "lines of text that are much like each other\n".repeat(2000);
    fs::write(dir.path().join("root/text"), &text).unwrap();
    let built = |args: &str| {
        let output = mkimage(dir.path(), &format!("-r root -o img -l --json {args}"));
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{args}");
        let image = fs::read(dir.path().join("img")).unwrap();
        assert_eq!(read_back(&image, &Options::default())[&b"/text"[..]].content, text.as_bytes(), "{args}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (image, report["compressors"].clone())
    };
    let default = built("").0;
    for (how, name) in [("fast", "zlib"), ("default", "zlib"), ("best", "zlib"), ("zlib", "zlib"), ("none", "none")] {
        assert!(built(&format!("--compress {how}")).1[name]["bytes"].as_u64() > Some(80_000), "{how}");
    }
    for how in ["lzo", "rtime", "lzma"] {
        assert!(built(&format!("--compress={how}")).1[how]["bytes"].as_u64() > Some(80_000), "{how}");
    }
    for args in ["--compress default", "--compress zlib", "--threads 1", "--threads 7"] {
        assert!(built(args).0 == default, "{args}");
    }
}

#[test]
fn usage_errors() {
    let dir = setup();
    for args in [
        "",
        "-r root",
        "-o img",
        "-r root -o img -l -b",
        "-r root -o img -e x",
        "-r root -o img -e 5G",
        "-r root -o img -s -1",
        "-r root -o img extra",
        "-r root -o - --json",
        "-r root -o img --compress zopfli",
        "-r root -o img --threads 0",
        "-r root -o img --free 3",
        "-r root -o img --free 3 --pad",
    ] {
        let text = error_of(&mkimage(dir.path(), args), 2);
        assert!(text.starts_with("error: "), "{text}");
    }
    assert_eq!(names(dir.path()), ["root"]);
}

#[test]
fn errors_name_the_path_and_leave_no_image() {
    let dir = setup();
    let fails = |args: &str, text: &str| {
        let error = error_of(&mkimage(dir.path(), args), 1);
        assert!(error.contains(text), "{error}");
    };
    fails("-r none -o img", "none: No such file");
    fails("-r root/hello -o img", "root/hello: not a directory");
    fails("-r root -o none/img", "error: none/img: No such file or directory (os error 2)\n");
    fails("-r root -o /dev/full", "error: /dev/full: cannot write the image: No space left");
    fails("--tar root -o img", "error: root: a directory, no archive: give it to --root");
    fails("-r root -o img --exclude [", "'**/[': unclosed character class; missing ']'\n");
    fails("-r root -o root", "root: ");
    fails("-r root -o img -e 96K", "eraseblock size 98304");
    fails("-r root -o img -s 1M", "page size 1048576");
    fails("-r root -o img -p 100000", "100000 bytes are no size of a flash");
    fails("-r root -o img -p 0", "0 bytes are no size of a flash");
    for i in 0..1000 {
        fs::write(dir.path().join(format!("root/{i}")), "").unwrap();
    }
    fails("-r root -o img -p 64K", "more than the 65536 to pad to");
    let name = "n".repeat(255);
    fs::write(dir.path().join("root").join(&name), "").unwrap();
    fails("-r root -o img", &format!("root/{name}: the name is 255 bytes long"));
    let sumtool = command(dir.path(), "-i root -o img").arg0("sumtool").output().unwrap();
    assert_eq!(sumtool.stderr, b"sumtool: error!: root: is a directory\n");
    assert_eq!(names(dir.path()), ["root"]);
}

#[test]
fn a_failed_build_keeps_the_old_image() {
    let dir = setup();
    fs::write(dir.path().join("img"), "old").unwrap();
    error_of(&mkimage(dir.path(), "-r root -o img -e 96K"), 1);
    assert_eq!(fs::read(dir.path().join("img")).unwrap(), b"old");
    // A symlink keeps its place: what it leads to is replaced.
    std::os::unix::fs::symlink("img", dir.path().join("link")).unwrap();
    assert!(mkimage(dir.path(), "-r root -o link").status.success());
    assert!(fs::symlink_metadata(dir.path().join("link")).unwrap().is_symlink());
    assert_ne!(fs::read(dir.path().join("img")).unwrap(), b"old");
    // A device is written to.
    assert!(mkimage(dir.path(), "-r root -o /dev/null").status.success());
}

#[test]
fn nothing_stays_of_a_build_that_is_killed() {
    let dir = setup();
    fs::create_dir(dir.path().join("out")).unwrap();
    let mut random = File::open("/dev/urandom").unwrap().take(32 << 20);
    io::copy(&mut random, &mut File::create(dir.path().join("root/big")).unwrap()).unwrap();
    let mut child = command(dir.path(), "-r root -o out/img --compress best --threads 1").spawn().unwrap();
    let open_files = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let out = fs::canonicalize(dir.path().join("out")).unwrap();
    let writes = || {
        let open = fs::read_dir(&open_files).unwrap();
        let mut places = open.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
        places.any(|place| place.starts_with(&out))
    };
    while !writes() {
        assert!(child.try_wait().unwrap().is_none(), "killed before it was done");
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(names(&out), [""; 0]);
}

#[test]
fn what_stays_out_and_owners_that_go_need_not_fit() {
    let dir = setup();
    let path = |name: &str| dir.path().join("root").join(name);
    fs::create_dir(path("lost+found")).unwrap();
    fs::write(path("lost+found").join("n".repeat(255)), "").unwrap();
    error_of(&mkimage(dir.path(), "-r root -o img"), 1);
    assert!(mkimage(dir.path(), "-r root -o img --exclude lost+found/").status.success());
    fs::remove_dir_all(path("lost+found")).unwrap();
    // Only root may give files away.
    if std::os::unix::fs::chown(path("hello"), Some(70_000), Some(80_000)).is_ok() {
        error_of(&mkimage(dir.path(), "-r root -o img"), 1);
        for squash in ["-U", "-q"] {
            assert!(mkimage(dir.path(), &format!("-r root -o img {squash}")).status.success());
            let listing = read_back(&fs::read(dir.path().join("img")).unwrap(), &Options::default());
            let hello = &listing[&b"/hello"[..]];
            assert_eq!((hello.uid, hello.gid), (0, 0));
        }
    }
}

#[test]
fn source_date_epoch_lowers_times() {
    let dir = setup();
    let times = |epoch: &str| -> Vec<u32> {
        assert!(command(dir.path(), "-r root -o img -l").env("SOURCE_DATE_EPOCH", epoch).status().unwrap().success());
        let image = fs::read(dir.path().join("img")).unwrap();
        read_back(&image, &Options::default()).values().map(|entry| entry.mtime).collect()
    };
    let hello = fs::File::options().write(true).open(dir.path().join("root/hello")).unwrap();
    hello.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(900)).unwrap();
    assert_eq!(times("1000"), [1000, 900]);
    assert_eq!(times("99999999999")[1], 900);
    for wrong in ["", "-1", "now"] {
        let output = command(dir.path(), "-r root -o img").env("SOURCE_DATE_EPOCH", wrong).output().unwrap();
        assert!(error_of(&output, 1).contains("SOURCE_DATE_EPOCH"));
    }
}

#[test]
fn sources_are_laid_one_over_the_other() {
    let dir = setup();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("over/d")).unwrap();
    fs::write(at("over/hello"), "later\n").unwrap();
    fs::set_permissions(at("over/hello"), fs::Permissions::from_mode(0o4777)).unwrap();
    fs::write(at("root/only"), "").unwrap();
    fs::write(at("t1"), "/hello f 600 1 2\n/only f 640 3 4\n").unwrap();
    fs::write(at("t2"), "/d/p p 6622 5 6\n").unwrap();
    let listed = |args: &str| {
        let output = mkimage(dir.path(), &format!("{args} -o img -l"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        read_back(&fs::read(at("img")).unwrap(), &Options::default())
    };
    let listing = listed("-r root -D t1 -r over -D t2 -P");
    let of = |path: &str| {
        let entry = &listing[path.as_bytes()];
        (entry.mode, entry.uid, entry.gid, entry.content.as_slice())
    };
    let (uid, gid) = (fs::metadata(at("over")).unwrap().uid() as u16, fs::metadata(at("over")).unwrap().gid() as u16);
    assert_eq!(of("/hello"), (0o100_755, uid, gid, &b"later\n"[..]), "the table changed what was replaced");
    assert_eq!(of("/only"), (0o100_640, 3, 4, &b""[..]));
    assert_eq!(of("/d/p"), (0o016_622, 5, 6, &b""[..]), "tables are not squashed");
    assert_eq!(listing[&b"/d/p"[..]].mtime, listing[&b"/d"[..]].mtime);
    let squashed = listed("-r over -q -D t2");
    assert_eq!((squashed[&b"/hello"[..]].uid, squashed[&b"/hello"[..]].mode), (0, 0o100_755));
    fs::write(at("t3"), "/console c 600 0 0 5 1\n").unwrap();
    let table_alone = listed("-D t3");
    assert_eq!(table_alone.len(), 2);
}

#[test]
fn excluded_and_first() {
    let dir = setup();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("root/boot/doc")).unwrap();
    for (path, len) in [("boot/kernel", 200_000), ("boot/doc/x", 5), ("boot/z.dtb", 5000), ("a", 9000)] {
        let bytes: Vec<u8> = (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(at("root").join(path), bytes).unwrap();
    }
    fs::write(at("patterns"), "# none\n\nhel*\n").unwrap();
    let built = |args: &str| {
        let output = mkimage(dir.path(), &format!("-r root -o img -l --verify {args}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let image = fs::read(at("img")).unwrap();
        let paths = read_back(&image, &Options::default()).into_keys();
        let names: Vec<_> = paths.map(|path| String::from_utf8(path).unwrap()).collect();
        (image, names.join(" "))
    };
    let (image, paths) = built("--exclude /boot/doc --exclude-from patterns --first boot/z.dtb /boot");
    assert_eq!(paths, " /a /boot /boot/kernel /boot/z.dtb");
    // Numbers: /a 2, /boot 3, /boot/kernel 4, /boot/z.dtb 5.
    let mut order: Vec<u32> = Vec::new();
    for node in walk::nodes(&image, &Options::default()) {
        let ino = match node {
            walk::Node::Dirent(dirent) => dirent.pino,
            walk::Node::Inode(inode, _) => inode.ino,
        };
        if order.last() != Some(&ino) {
            order.push(ino);
        }
    }
    assert_eq!(order, [5, 3, 4, 1, 2]);
    for (args, text) in [
        ("--first none", "none cannot be first in the image: it is not in the tree"),
        ("--exclude [", "--exclude: error parsing glob '**/['"),
        ("--exclude /", "--exclude: pattern `/`: no name in it"),
        ("--exclude-from none", "none: No such file"),
        ("--swing boot", "--swing: /boot: the directory has this name already"),
        ("--swing a/b", "--swing: /a/b: not a name"),
    ] {
        let error = error_of(&mkimage(dir.path(), &format!("-r root -o other {args}")), 1);
        assert!(error.contains(text), "{error}");
    }
    assert!(!at("other").exists());
}

#[test]
fn attributes_of_the_host_are_taken_over() {
    // Where tests are built: /tmp may have no attributes.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("real/d")).unwrap();
    fs::write(at("real/d/f"), "").unwrap();
    fs::hard_link(at("real/d/f"), at("real/z")).unwrap();
    std::os::unix::fs::symlink("real", at("root")).unwrap();
    let acl = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";
    xattr::set(at("real"), "user.root", b"r").unwrap();
    xattr::set(at("real/d"), "system.posix_acl_default", acl).unwrap();
    xattr::set(at("real/d/f"), "user.b", b"").unwrap();
    xattr::set(at("real/d/f"), "user.a", &[7; 2000]).unwrap();
    let has_labels = xattr::set(at("real/d/f"), "security.jffs2", b"label").is_ok();
    let read = |args: &str| {
        let output = mkimage(dir.path(), &format!("{args} -o img -l --pad 512K"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let geometry = Geometry::new(FlashKind::Nor, 512 << 10, 64 << 10, 1).unwrap();
        let flash = MemFlash::with_data(geometry, fs::read(at("img")).unwrap());
        let index = Index::open(&flash, Rules { endian: Endian::Little, summaries: true }).unwrap();
        let tree = Tree::new(&flash, &index);
        let names = |path: &str| {
            let ino = if path.is_empty() { 1 } else { tree.lookup(path.as_bytes()).unwrap() };
            let names = tree.xattrs(ino).unwrap().into_iter().map(|xattr| String::from_utf8(xattr.name).unwrap());
            names.collect::<Vec<_>>().join(" ")
        };
        (["", "d", "d/f", "z"].map(names), fs::read(at("img")).unwrap())
    };
    let label = if has_labels { "security.jffs2" } else { "" };
    let all = format!("{label} user.a user.b").trim().to_owned();
    let (found, image) = read("-r root --with-xattr");
    assert_eq!(found, ["user.root".into(), "system.posix_acl_default".into(), all.clone(), all]);
    assert_eq!(read("-r root").0, [""; 4]);
    assert_eq!(read("-r root --with-selinux").0, ["", "", label, label]);
    assert_eq!(read("-r root --with-posix-acl").0, ["", "system.posix_acl_default", "", ""]);
    let tar = "--format=pax --xattrs --xattrs-include=* --acls --numeric-owner -cf tar -C real .";
    assert!(Command::new("tar").current_dir(dir.path()).args(tar.split(' ')).status().unwrap().success());
    assert!(read("--tar tar").1 == image, "an archive says the same");

    let mut tree = SourceTree::from_dir(&at("real")).unwrap();
    tree.set_extra(ROOT, Extra { times: Some((1, 2)), xattrs: vec![] }).unwrap();
    host_xattrs::read(&mut tree, &at("real"), Which { all: true, ..Which::default() }).unwrap();
    let root = tree.extra(ROOT).unwrap();
    assert_eq!((root.times, root.xattrs.len()), (Some((1, 2)), 1), "times stay");
}

#[test]
fn a_bind_mount_without_end_is_an_error() {
    let dir = setup();
    fs::create_dir_all(dir.path().join("root/a/b")).unwrap();
    let script = format!("mount --bind root root/a/b && exec {} -r root -o img", env!("CARGO_BIN_EXE_jffs2-mkimage"));
    let mut command = Command::new("unshare");
    let output = command.current_dir(dir.path()).args(["-r", "-m", "sh", "-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    // Not everyone may mount.
    if !text.contains("unshare") && !text.contains("mount:") {
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
        assert!(text.contains("root/a/b: the same directory as root, which it is in"), "{text}");
    }
    assert_eq!(names(dir.path()), ["root"]);
}

#[test]
fn sources_that_cannot_be_read_leave_no_image() {
    let dir = setup();
    let at = |path: &str| dir.path().join(path);
    let _socket = std::os::unix::net::UnixListener::bind(at("root/socket")).unwrap();
    assert!(mkimage(dir.path(), "-r root -o img --verify").status.success(), "JFFS2 holds sockets");
    fs::remove_file(at("img")).unwrap();
    fs::write(at("table"), "# fine\n/dev d 755 0 0\n/dev/null c 666 0 0 1\n/hello f 600 70000 0\n").unwrap();
    let error = error_of(&mkimage(dir.path(), "-r root -D table -o img"), 1);
    assert!(error.contains("table: line 4: /hello: uid 70000 is over 65535"), "{error}");
    fs::write(at("secret"), "").unwrap();
    fs::set_permissions(at("secret"), fs::Permissions::from_mode(0o0)).unwrap();
    // Root may read everything.
    if fs::File::open(at("secret")).is_err() {
        fs::rename(at("secret"), at("root/secret")).unwrap();
        assert!(error_of(&mkimage(dir.path(), "-r root -o img"), 1).contains("root/secret: Permission denied"));
        fs::remove_file(at("root/secret")).unwrap();
    }
    let error = error_of(&mkimage(dir.path(), "-r root -D none -o img"), 1);
    assert!(error.contains("none: No such file"), "{error}");
    assert!(!at("img").exists());
}
