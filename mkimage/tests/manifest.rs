//! --manifest: metadata from the manifest, contents from the directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use jffs2_mkimage::{BuildError, Options, Pad, build};
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::inode_kind::Meta;
use jffs2_tx::source::{Content, Extra, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::tree::Attribute;
use jffs2_tx::wire::Endian;
use jffs2_tx::{Index, Rules, Tree};

const HEADER: &str = r#"{"manifest":1,"endian":"big","eraseblock":16384,"flash":"nor","page_size":1,"size":65536,"cleanmarkers":false,"summaries":true}"#;
const ROOT_LINE: &str = r#"{"path":"/","type":"directory","mode":"0755","uid":1,"gid":2,"mtime":3}"#;
const FILE: &str = r#"{"path":"/f","type":"file","mode":"0640","uid":5,"gid":6,"mtime":7,"sha256":"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"}"#;

fn setup() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("root")).unwrap();
    fs::write(dir.path().join("root/f"), "hello\n").unwrap();
    dir
}

fn mkimage(dir: &Path, lines: &[&str], args: &str) -> Output {
    fs::write(dir.join("m"), lines.join("\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jffs2-mkimage"));
    command.current_dir(dir).args(["--manifest", "m", "-o", "img"]).args(args.split_whitespace());
    command.env_remove("SOURCE_DATE_EPOCH").output().unwrap()
}

fn built(dir: &Path, lines: &[&str], args: &str) -> (Vec<u8>, String) {
    let output = mkimage(dir, lines, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (fs::read(dir.join("img")).unwrap(), said)
}

fn flash(mut image: Vec<u8>, eraseblock: u32) -> MemFlash {
    image.resize(1 << 20, 0xff);
    MemFlash::with_data(Geometry::new(FlashKind::Nor, 1 << 20, eraseblock, 1).unwrap(), image)
}

#[test]
fn the_header_gives_defaults() {
    let dir = setup();
    let (image, said) = built(dir.path(), &[HEADER, ROOT_LINE, FILE], "-r root");
    assert_eq!(said, "");
    assert_eq!((&image[..4], image.len()), (&[0x19, 0x85, 0xe0, 0x01][..], 16384));
    let flash = flash(image, 16384);
    let index = Index::open(&flash, Rules { endian: Endian::Big, summaries: true }).unwrap();
    assert!(index.blocks()[0].visible > 0);
    let tree = Tree::new(&flash, &index);
    let stat = tree.stat(tree.lookup(b"/f").unwrap()).unwrap();
    assert_eq!(stat.meta, Meta { mode: 0o640, uid: 5, gid: 6, mtime: 7 });
    assert_eq!(tree.stat(1).unwrap().meta, Meta { mode: 0o755, uid: 1, gid: 2, mtime: 3 });
    let (image, _) = built(dir.path(), &[HEADER, ROOT_LINE, FILE], "-r root -l -e 8K -p");
    assert_eq!((&image[..4], image.len()), (&[0x85, 0x19, 0x01, 0xe0][..], 8192));
}

#[test]
fn contents_are_those_of_the_directory() {
    let dir = setup();
    let lines = [HEADER, ROOT_LINE, FILE];
    built(dir.path(), &lines, "-r root --verify-contents");
    fs::write(dir.path().join("root/f"), "changed and longer").unwrap();
    fs::write(dir.path().join("root/more"), "").unwrap();
    fs::create_dir(dir.path().join("root/x")).unwrap();
    fs::write(dir.path().join("root/x/y"), "").unwrap();
    let (image, said) = built(dir.path(), &lines, "-r root -l");
    assert_eq!(said, "jffs2-mkimage: note: /more and 1 more: not in the manifest, left out\n");
    let flash = flash(image, 16384);
    let index = Index::open(&flash, Rules { endian: Endian::Little, summaries: true }).unwrap();
    let tree = Tree::new(&flash, &index);
    assert_eq!(tree.read(tree.lookup(b"/f").unwrap(), 100).unwrap(), b"changed and longer");
    assert_eq!(tree.walk(1).count(), 2);
    let output = mkimage(dir.path(), &lines, "-r root --verify-contents");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("jffs2-mkimage: error: m: line 3: root/f: not the content that the manifest has"),
        "{said}"
    );
}

#[test]
fn nothing_but_files_needs_no_directory() {
    let dir = setup();
    let lines = [
        HEADER,
        ROOT_LINE,
        r#"{"path":"/c","type":"char","mode":"0600","uid":0,"gid":0,"mtime":7,"major":5,"minor":1,"later":true}"#,
        r#"{"path":"/l","type":"symlink","mode":"0777","uid":0,"gid":0,"mtime":7,"target":"a\\xff"}"#,
    ];
    let (image, _) = built(dir.path(), &lines, "-l");
    let flash = flash(image, 16384);
    let index = Index::open(&flash, Rules { endian: Endian::Little, summaries: false }).unwrap();
    let tree = Tree::new(&flash, &index);
    assert_eq!(tree.read_link(tree.lookup(b"/l").unwrap()).unwrap(), b"a\xff");
}

#[test]
fn errors_say_which_line() {
    let dir = setup();
    symlink("/etc", dir.path().join("root/s")).unwrap();
    symlink("f", dir.path().join("root/sf")).unwrap();
    let line =
        |path: &str, rest: &str| format!(r#"{{"path":"{path}","mode":"0644","uid":0,"gid":0,"mtime":7,{rest}}}"#);
    let fails = |lines: &[&str], text: &str| {
        let output = mkimage(dir.path(), lines, "-r root");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.starts_with(&format!("jffs2-mkimage: error: m: {text}")), "{text}: {said}");
        assert!(!dir.path().join("img").exists());
    };
    fails(&[], "line 1: the manifest ends before its header");
    fails(&[HEADER], "line 2: the manifest ends before the root");
    fails(&["x"], "line 1: expected value");
    fails(&[&HEADER.replace(":1,", ":2,")], "line 1: manifest version 2, this program knows 1");
    fails(&[HEADER, FILE], "line 2: /f: the root directory comes first");
    fails(&[HEADER, ROOT_LINE, ROOT_LINE], "line 3: /: a path starts");
    fails(&[HEADER, ROOT_LINE, FILE, FILE], "line 4: /f: the directory has this name already");
    fails(&[HEADER, ROOT_LINE, "{}"], "line 3: missing field `path`");
    for (path, rest, text) in [
        ("/none", r#""type":"file""#, "root/none: No such file"),
        ("/sf", r#""type":"file""#, "root/sf: not a regular file"),
        ("/x/f", r#""type":"file""#, "/x/f: its directory does not come before it"),
        ("f", r#""type":"file""#, "f: a path starts with a slash"),
        (r"/f\\", r#""type":"file""#, r"/f\: a path starts with a slash"),
        ("/..", r#""type":"file""#, "root/..: not a plain name"),
        ("/..", r#""type":"fifo""#, "/..: not a name"),
        ("/d", r#""type":"char""#, "/d: no `major`"),
        ("/d", r#""type":"char","major":5000,"minor":1"#, "/d: device number 5000:1"),
        ("/d", r#""type":"symlink""#, "/d: no `target`"),
        ("/d", r#""type":"link""#, "/d: no `to`"),
        ("/d", r#""type":"link","to":"/e""#, "/d: `to` is no path"),
        ("/d", r#""type":"link","to":"/""#, "/d: a path starts"),
        ("/d", r#""type":"odd""#, "unknown variant"),
        ("/d", r#""type":"fifo","xattrs":{"user.a":"0"}"#, "/d: an extended attribute is not in hexadecimal"),
        ("/d", r#""type":"fifo","xattrs":{"odd.a":"00"}"#, "/d: JFFS2 cannot hold the extended attribute odd.a"),
        ("/d", r#""type":"fifo","xattrs":{"system.posix_acl_access":"00"}"#, "/d: JFFS2 cannot hold"),
    ] {
        fails(&[HEADER, ROOT_LINE, &line(path, rest)], &format!("line 3: {text}"));
    }
    for field in ["mode", "uid", "gid", "mtime"] {
        let without = FILE.replace(&format!("\"{field}\""), "\"other\"");
        fails(&[HEADER, ROOT_LINE, &without], &format!("line 3: /f: no `{field}`"));
    }
    // Out of the directory by a symlink that the manifest takes for a directory.
    let directory = line("/s", r#""type":"directory""#);
    fails(
        &[HEADER, ROOT_LINE, &directory, &line("/s/passwd", r#""type":"file""#)],
        "line 4: root/s/passwd: not a directory",
    );
    let no_dir = mkimage(dir.path(), &[HEADER, ROOT_LINE, FILE], "");
    assert!(String::from_utf8(no_dir.stderr).unwrap().contains("line 3: /f: there is no directory"));
}

fn attribute(name: &str, value: &[u8]) -> Attribute {
    Attribute { name: name.into(), value: value.into() }
}

#[test]
fn equal_attributes_are_stored_once_and_listed_in_summaries() {
    let meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 5 };
    let mut tree = SourceTree::new(meta);
    let large = attribute("user.large", &[7; 3000]);
    for at in 0..100_u32 {
        let content = Content::Bytes(vec![]);
        let id =
            tree.add(ROOT, at.to_string().as_bytes(), SourceNode { meta, kind: SourceKind::File { size: 0, content } });
        let own = attribute("user.own", &at.to_le_bytes());
        let extra = Extra { times: Some((1, 2)), xattrs: vec![own, large.clone()] };
        tree.set_extra(id.unwrap(), extra).unwrap();
    }
    let options = Options { eraseblock: 8192, summary: true, pad: Pad::Eraseblock, ..Options::default() };
    let mut image = Vec::new();
    let report = build(&tree, &options, &mut image).unwrap();
    // Names, inodes with the root's, one own and one shared attribute, two ties each.
    assert_eq!(report.nodes, 100 + 101 + 101 + 200);
    let flash = flash(image, 8192);
    for summaries in [true, false] {
        let index = Index::open(&flash, Rules { endian: Endian::Little, summaries }).unwrap();
        assert!(index.blocks().iter().all(|block| !block.unlisted && !block.summary_only));
        let read = Tree::new(&flash, &index);
        for at in 0..100_u32 {
            let ino = read.lookup(at.to_string().as_bytes()).unwrap();
            assert_eq!(read.xattrs(ino).unwrap(), [large.clone(), attribute("user.own", &at.to_le_bytes())]);
            let stat = read.stat(ino).unwrap();
            assert_eq!((stat.atime, stat.meta.mtime, stat.ctime), (1, 5, 2));
        }
    }
}

#[test]
fn acls_are_stored_as_linux_stores_them() {
    let shown = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";
    let little: &[u8] = b"\x01\0\0\0\x01\0\x07\0\x04\0\x05\0\x20\0\x05\0";
    let big: &[u8] = b"\0\0\0\x01\0\x01\0\x07\0\x04\0\x05\0\x20\0\x05";
    for (endian, stored) in [(Endian::Little, little), (Endian::Big, big)] {
        for name in ["system.posix_acl_access", "system.posix_acl_default"] {
            let mut tree = SourceTree::new(Meta { mode: 0o755, uid: 0, gid: 0, mtime: 5 });
            tree.set_extra(ROOT, Extra { times: None, xattrs: vec![attribute(name, shown)] }).unwrap();
            let mut image = Vec::new();
            build(&tree, &Options { endian, ..Options::default() }, &mut image).unwrap();
            assert!(image.windows(stored.len()).any(|bytes| bytes == stored), "{name}, {endian:?}");
        }
    }
}

#[test]
fn attributes_that_do_not_fit() {
    let meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 5 };
    let mut tree = SourceTree::new(meta);
    let refused =
        |tree: &mut SourceTree, xattrs| tree.set_extra(ROOT, Extra { times: None, xattrs }).unwrap_err().to_string();
    let twice = vec![attribute("user.a", b"1"), attribute("user.b", b"1"), attribute("user.a", b"2")];
    assert_eq!(refused(&mut tree, twice), "/: JFFS2 cannot hold the extended attribute user.a");
    for name in ["user.", "user", "other.a", &format!("user.{}", "n".repeat(256))] {
        assert_eq!(
            refused(&mut tree, vec![attribute(name, b"")]),
            format!("/: JFFS2 cannot hold the extended attribute {name}")
        );
    }
    assert!(refused(&mut tree, vec![attribute("user.a", &[0; 65_536])]).contains("user.a"));
    assert!(tree.extra(ROOT).is_none());
    tree.set_extra(ROOT, Extra { times: None, xattrs: vec![attribute("user.a", &[0; 65_535])] }).unwrap();
    let error = build(&tree, &Options::default(), &mut Vec::new());
    assert!(matches!(error, Err(BuildError::Xattr(65_535))));
    assert!(build(&tree, &Options { eraseblock: 128 << 10, ..Options::default() }, &mut Vec::new()).is_ok());
}
