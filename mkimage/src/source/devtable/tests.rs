use super::*;
use jffs2_tx::source::{Content, ROOT};

const META: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 100 };

/// `/f` is `/same`, too; `/dir`, of time 50, is empty.
fn tree() -> SourceTree {
    let mut tree = SourceTree::new(META);
    let node = |mtime, kind| SourceNode { meta: Meta { mtime, ..META }, kind };
    let file = SourceKind::File { size: 1, content: Content::Bytes(b"x".to_vec()) };
    let file = tree.add(ROOT, b"f", node(7, file)).unwrap();
    tree.link(ROOT, b"same", file).unwrap();
    tree.add(ROOT, b"dir", node(50, SourceKind::Directory(BTreeMap::new()))).unwrap();
    tree.add(ROOT, b"link", node(9, SourceKind::Symlink(b"f".to_vec()))).unwrap();
    tree
}

fn applied(table: &str) -> SourceTree {
    let mut tree = tree();
    assert_eq!(apply(&mut tree, table.as_bytes(), OnNoParent::Refuse).unwrap(), []);
    tree
}

/// Mode, owner, group, time, type, device number.
fn facts(tree: &SourceTree, path: &str) -> (u32, u16, u16, u32, FileKind, (u32, u32)) {
    let node = tree.node(tree.find(path.as_bytes()).unwrap_or_else(|| panic!("no {path}")));
    let Meta { mode, uid, gid, mtime } = node.meta;
    let number = match node.kind {
        SourceKind::CharDevice(device) | SourceKind::BlockDevice(device) => (device.major, device.minor),
        _ => (0, 0),
    };
    (mode, uid, gid, mtime, node.kind.file_kind(), number)
}

#[test]
fn every_type() {
    use FileKind::{BlockDevice, CharDevice, Directory, Fifo, File};
    let tree = applied(
        "# a comment\n\n \t\n/ d 700 1 2\n\t/f f 4640 3 4 - - - - - # and more\n/dir/new/ d 1777 0 65535\n\
         /dir/new//null c 666 0 0 1 3 - - -\r\n/dir/sda b 0060660 0 6 4095 1048575 0 0 -\n/pipe p 10600 5\n\
         /dir d 750 8 9 0 0 0 0 3",
    );
    assert_eq!(facts(&tree, "/"), (0o700, 1, 2, 100, Directory, (0, 0)));
    assert_eq!(facts(&tree, "/same"), (0o4640, 3, 4, 7, File, (0, 0)), "a hard link");
    assert_eq!(facts(&tree, "/dir/new"), (0o1777, 0, 65535, 50, Directory, (0, 0)));
    assert_eq!(facts(&tree, "/dir/new/null"), (0o666, 0, 0, 50, CharDevice, (1, 3)));
    assert_eq!(facts(&tree, "/dir/sda"), (0o660, 0, 6, 50, BlockDevice, (4095, 1_048_575)));
    assert_eq!(facts(&tree, "/pipe"), (0o600, 5, 0, 100, Fifo, (0, 0)));
    assert_eq!(facts(&tree, "/dir"), (0o750, 8, 9, 50, Directory, (0, 0)));
    assert_eq!(tree.nodes().len(), 8);
    let tree = applied("/same c 600 0 0 1 2\n/link p 644 0 0\n");
    assert_eq!(facts(&tree, "/f"), (0o600, 0, 0, 7, CharDevice, (1, 2)));
    assert_eq!(facts(&tree, "/link"), (0o644, 0, 0, 9, Fifo, (0, 0)));
}

#[test]
fn series() {
    let tree = applied("/dir/tty c 620 0 5 4 64 9 2 3\n/dir/same b 600 0 0 7 8 0 0 2\n/dir/one b 600 0 0 7 8 5 2 0\n");
    let names: Vec<_> = tree.children(tree.find(b"dir").unwrap()).map(|(name, _)| name).collect();
    assert_eq!(names, [&b"one"[..], b"same0", b"same1", b"tty10", b"tty11", b"tty9"]);
    let numbers =
        ["tty9", "tty10", "tty11", "same0", "same1", "one"].map(|name| facts(&tree, &format!("dir/{name}")).5);
    assert_eq!(numbers, [(4, 64), (4, 66), (4, 68), (7, 8), (7, 8), (7, 8)]);
}

#[test]
fn errors_say_which_line_and_what() {
    let fails = |line: &str, text: &str| {
        let table = format!("# comment\n\n{line}\n/later x");
        let error = apply(&mut tree(), table.as_bytes(), OnNoParent::Refuse).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line 3: {text}")), "{line}: {error}");
        assert_eq!(error.lines().count(), 1);
    };
    fails("/f", "fewer than four fields");
    fails("/f f 644 # 1", "fewer than four fields");
    fails("/f f 644 1 2 3 4 5 6 7 8", "more than ten fields");
    fails(&"x".repeat(70_000), "the line is over 65536 bytes");
    fails("/f f 648 1", "mode: `648` is no octal number");
    fails("/f f - 1", "mode: `-` is no octal");
    fails("/f f 644 -", "uid: `-` is no decimal");
    fails("/f f 644 -1", "uid: `-1` is no decimal");
    fails("/f f 644 1 +1", "gid: `+1` is no decimal");
    fails("/f c 644 1 1 0x4 1", "major: `0x4` is no decimal");
    fails("/f c 644 1 1 99999999999999999999", "major: `99999999999999999999` is no");
    fails("/f c 644 1 1 4 64 - - 3", "count: a number behind a `-`");
    fails("/f f 10644 1", "mode 0o10644 has bits");
    fails("/f l 777 0 0", "type `l`: give f, d, c, b or p");
    fails("/f pp 644 0 0", "type `pp`");
    fails("f f 644 0 0", "f: the name does not start with a slash");
    fails("/none f 644 0 0", "/none: there is no such file");
    fails("/none/x p 644 0 0", "/none/x: its directory is not there");
    fails("/dir/../x p 644 0 0", "/dir/../x: its directory is not there");
    fails("/dir/.. p 644 0 0", "/dir/..: not a name");
    fails("/f/x p 644 0 0", "/f/x: not a directory");
    fails("/f f 644 65536 0", "/f: uid 65536 is over 65535");
    fails("/f f 644 0 70000", "/f: gid 70000 is over 65535");
    fails("/x c 644 0 0 4096 0", "/x: device number 4096:0 is over");
    fails("/f b 644 0 0 0 1048576", "/f: device number 0:1048576 is over");
    fails("/x c 644 0 0 0 4294967296", "/x: device number 0:4294967295 is over");
    fails("/x c 644 0 0 1 1048575 0 1 2", "/x1: device number 1:1048576 is over");
    fails("/x c 644 0 0 1 1 0 1 1048577", "count 1048577: at most 1048576");
    fails("/f d 755 0 0", "/f: a line for a Directory, but a File is there");
    fails("/link f 755 0 0", "/link: a line for a File, but a Symlink is there");
    fails("/dir f 755 0 0", "/dir: a line for a File, but a Directory is there");
    fails("/ p 755 0 0", "/: a line for a Fifo, but a Directory is there");
    fails(&format!("/{} p 644 0 0", "n".repeat(255)), &format!("/{}: the name is 255 bytes", "n".repeat(255)));
}

#[test]
fn lines_without_a_directory_can_be_skipped() {
    let mut tree = tree();
    let table = b"/none/\xff c 600 0 0 1 2 0 1 4\n/dir/p p 600 0 0\n";
    let skipped = apply(&mut tree, &table[..], OnNoParent::Skip).unwrap();
    assert_eq!(skipped, [Skipped { line: 1, path: b"/none/\xff".to_vec() }]);
    assert!(tree.find(b"/dir/p").is_some());
    assert!(apply(&mut tree, &b"/none f 600 0 0\n"[..], OnNoParent::Skip).is_err());
}
