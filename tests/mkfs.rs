//! Images that mkfs.jffs2 made, read by our reader: equal to the source tree in everything.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use jffs2_mkimage::source::devtable::{self, OnNoParent};
use jffs2_mkimage::{Options, Pad, build};
use jffs2_tx::flash::{FlashKind, Geometry, ImageFlash, MemFlash};
use jffs2_tx::source::SourceTree;
use jffs2_tx::wire::Compression;
use jffs2_tx::{Endian, Index, Rules, Tree};
use jffs2_tx_tests::listing::{self, Entry};
use jffs2_tx_tests::ours;
use jffs2_tx_tests::tools::{roots, run};
use tempfile::TempDir;

const ERASEBLOCK: u32 = 64 << 10;

/// An image of a directory, made by mkfs.jffs2.
struct Made {
    flash: ImageFlash,
    rules: Rules,
    _dir: TempDir,
}

impl Made {
    fn of(source: &Path, endian: Endian, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let image = dir.path().join("image");
        let order = if endian == Endian::Little { "-l" } else { "-b" };
        let mut mkfs = Command::new("mkfs.jffs2");
        mkfs.args(["-e", "64KiB", "--pad", order]).args(options);
        run(mkfs.arg("-r").arg(source).arg("-o").arg(&image));
        let size = image.metadata().expect("image is there").len();
        let geometry = Geometry::new(FlashKind::Nor, size, ERASEBLOCK, 1).expect("valid geometry");
        let flash = ImageFlash::open(&image, geometry, false).expect("image opens");
        Self { flash, rules: Rules { endian, summaries: true }, _dir: dir }
    }

    fn index(&self) -> Index {
        Index::open(&self.flash, self.rules).expect("image is read")
    }

    /// Names of the compressors of all nodes with data.
    fn compressors(&self) -> BTreeSet<&'static str> {
        let index = self.index();
        let nodes = index.reachable().flat_map(|ino| index.nodes(ino)).filter(|node| node.dsize > 0);
        nodes.map(|node| Compression::from_id(node.compression).name()).collect()
    }

    fn entries(&self) -> Vec<Entry> {
        ours::list(&self.flash, self.rules).expect("every path is read")
    }

    fn xattrs(&self) -> Xattrs {
        let index = self.index();
        let tree = Tree::new(&self.flash, &index);
        let of = |ino| tree.xattrs(ino).expect("attributes are read").into_iter().map(|a| (a.name, a.value)).collect();
        tree.walk(jffs2_tx::index::ROOT)
            .map(|step| (step.path, of(step.ino)))
            .filter(|(_, found): &(_, BTreeMap<_, _>)| !found.is_empty())
            .collect()
    }
}

/// Attributes by path and name.
type Xattrs = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Lines of everything but the root: mkfs.jffs2 writes no node for that.
fn lines(mut entries: Vec<Entry>) -> Vec<String> {
    listing::count_links_as_jffs2(&mut entries);
    entries.retain(|entry| entry.path != b".");
    listing::lines(&entries)
}

/// mkfs.jffs2 gives a dirent the time of what it leads to, and by that Linux dates the directory (FORMAT.md, section 3,
/// rule 8). Where that is so, the directory gets its time in the source back.
fn restore_directory_times(source: &[Entry], found: &mut [Entry]) {
    let mut inside: BTreeMap<&[u8], BTreeSet<i64>> = BTreeMap::new();
    for entry in source {
        let slash = entry.path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
        inside.entry(&entry.path[..slash]).or_default().insert(entry.mtime);
    }
    let own: BTreeMap<&[u8], i64> = source.iter().map(|entry| (&entry.path[..], entry.mtime)).collect();
    for entry in found.iter_mut().filter(|entry| entry.is_directory()) {
        let path = &entry.path[..];
        if inside.get(path).is_some_and(|times| times.contains(&entry.mtime)) {
            entry.mtime = own.get(path).copied().unwrap_or_default();
        }
    }
}

fn check_equal(source: &Path, made: &Made, least: usize) {
    let (theirs, mut ours) = (listing::walk(source).expect("source is read"), made.entries());
    restore_directory_times(&theirs, &mut ours);
    let (theirs, ours) = (lines(theirs), lines(ours));
    assert!(theirs.len() >= least, "only {} paths in {}", theirs.len(), source.display());
    let only = |a: &[String], b: &BTreeSet<&String>| {
        a.iter().filter(|line| !b.contains(line)).take(5).cloned().collect::<Vec<_>>()
    };
    let different = (only(&theirs, &ours.iter().collect()), only(&ours, &theirs.iter().collect()));
    assert!(theirs == ours, "source and image differ: {different:#?}");
}

fn names(compressors: &[&'static str]) -> BTreeSet<&'static str> {
    compressors.iter().copied().collect()
}

#[test]
fn a_whole_root_in_either_endianness() {
    let (old, new) = roots();
    for (source, endian, options, compressors) in [
        (old, Endian::Little, &[][..], &["none", "zlib"][..]),
        (new, Endian::Big, &["-X", "lzo", "-x", "zlib"], &["lzo", "none", "rtime"]),
    ] {
        let made = Made::of(&source, endian, options);
        assert_eq!(made.compressors(), names(compressors));
        check_equal(&source, &made, 1500);
    }
}

#[test]
fn every_compressor_and_mode() {
    let source = roots().0.join("usr/sbin");
    let cases: [(&[&str], &[&str]); 9] = [
        (&["-x", "rtime"], &["none", "zlib"]),
        (&["-x", "zlib", "-x", "lzo"], &["none", "rtime"]),
        (&["-X", "lzo", "-x", "zlib", "-x", "rtime"], &["lzo", "none"]),
        (&["-X", "lzo"], &["lzo", "none", "zlib"]),
        (&["-X", "lzo", "-m", "size"], &["lzo", "none", "rtime", "zlib"]),
        (&["-m", "none"], &["none"]),
        (&["-m", "size"], &["none", "rtime", "zlib"]),
        (&["-m", "priority", "-y", "90:rtime"], &["none", "rtime", "zlib"]),
        (&["-s", "32KiB"], &["none", "rtime", "zlib"]),
    ];
    for (at, (options, compressors)) in cases.into_iter().enumerate() {
        let endian = if at % 2 == 0 { Endian::Little } else { Endian::Big };
        let made = Made::of(&source, endian, options);
        assert_eq!(made.compressors(), names(compressors), "{options:?}");
        check_equal(&source, &made, 10);
    }
}

/// `user::rw-,user:1000:rwx,group::r--,group:70000:r-x,mask::rwx,other::r--`, and one that names nobody, as `getxattr`
/// gives them.
const ACLS: [&[u8]; 2] = [
    b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
        \x08\0\x05\0\x70\x11\x01\0\x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff",
    b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff",
];

/// A small tree with extended attributes of every kind, on the file system that the tests are built on.
fn tree_with_xattrs() -> TempDir {
    let place = roots().0;
    let dir = tempfile::tempdir_in(place.parent().expect("in the target directory")).expect("temporary directory");
    let at = |name: &str| dir.path().join(name);
    for name in ["plain", "labelled", "labelled too", "acl", "many"] {
        fs::write(at(name), name).expect("file is written");
    }
    fs::create_dir_all(at("dir/in it")).expect("directory is made");
    symlink("plain", at("link")).expect("symlink is made");
    fs::hard_link(at("many"), at("second name")).expect("link is made");

    set(&at("labelled"), "user.mime", b"text/plain");
    set(&at("labelled too"), "user.mime", b"text/plain");
    set(&at("acl"), "system.posix_acl_access", ACLS[0]);
    set(&at("dir"), "system.posix_acl_default", ACLS[0]);
    set(&at("dir/in it"), "system.posix_acl_default", ACLS[1]);
    set(&at("dir/in it"), "user.empty", b"");
    for (name, value) in [("user.long", &[0xa5; 2000][..]), ("user.\u{e9}", b"\0\xff"), ("user.a.b", b"1")] {
        set(&at("many"), name, value);
    }
    if nix::unistd::geteuid().is_root() {
        set(&at("labelled"), "security.selinux", b"system_u:object_r:bin_t\0");
        set(&at("many"), "security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        set(&at("link"), "trusted.of-a-link", b"yes");
        set(&at("dir"), "trusted.overlay.opaque", b"y");
    }
    dir
}

fn set(path: &Path, name: &str, value: &[u8]) {
    if let Err(error) = xattr::set(path, name, value) {
        panic!("{}: {name}: {error}: this test needs a file system with extended attributes and ACLs", path.display());
    }
}

/// Attributes of a directory's tree, as the host's kernel gives them.
fn host_xattrs(root: &Path) -> Xattrs {
    let of = |path: &[u8]| -> BTreeMap<_, _> {
        let path: PathBuf = root.join(OsStr::from_bytes(path));
        let value = |name: &OsStr| xattr::get(&path, name).expect("value is read").expect("value is there");
        xattr::list(&path).expect("names are read").map(|name| (name.clone().into_vec(), value(&name))).collect()
    };
    let entries = listing::walk(root).expect("source is read");
    let paths = entries.into_iter().filter(|entry| entry.path != b".").map(|entry| entry.path[2..].to_vec());
    paths.map(|path| (path.clone(), of(&path))).filter(|(_, found)| !found.is_empty()).collect()
}

#[test]
fn xattrs_of_every_kind() {
    let source = tree_with_xattrs();
    let theirs = host_xattrs(source.path());
    assert_eq!(theirs.len(), if nix::unistd::geteuid().is_root() { 8 } else { 7 }, "paths with attributes");
    for endian in [Endian::Little, Endian::Big] {
        let made = Made::of(source.path(), endian, &["--with-xattr"]);
        assert_eq!(made.xattrs(), theirs);
        check_equal(source.path(), &made, 9);
        assert_eq!(Made::of(source.path(), endian, &[]).xattrs(), Xattrs::new());
    }
    let labels = Made::of(source.path(), Endian::Little, &["--with-selinux"]).xattrs();
    let only = |kept: fn(&[u8]) -> bool| -> Xattrs {
        let keep = |found: &BTreeMap<Vec<u8>, _>| found.clone().into_iter().filter(|(name, _)| kept(name)).collect();
        let kept = theirs.iter().map(|(path, found)| (path.clone(), keep(found)));
        kept.filter(|(_, found): &(_, BTreeMap<_, _>)| !found.is_empty()).collect()
    };
    assert_eq!(labels, only(|name| name.starts_with(b"security.")));
    let acls = Made::of(source.path(), Endian::Big, &["--with-posix-acl"]).xattrs();
    assert_eq!(acls, only(|name| name.starts_with(b"system.posix_acl_")));
}

#[test]
fn device_tables_mean_the_same() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (source, table) = (dir.path().join("source"), dir.path().join("table"));
    fs::create_dir_all(source.join("dev/sub")).expect("directories are made");
    for name in ["plain", "changed"] {
        fs::write(source.join(name), name).expect("file is written");
    }
    let text = b"# name type mode uid gid major minor start inc count\n\n \t/dev d 700 1 2 - - - - -\n\
        /plain f 4751 3 65535 - - - - - # trailing\n/changed c 600 4 4 5 6\n/new d 1777 5\n/new/in\xff d 755 0 0\n\
        /new/in\xff/pipe p 600 9 9 0 0 0 1 3\n/dev/null c 666 0 0 1 3 0 0 -\n/dev/tty c 620 0 5 4 64 9 2 4\n\
        /dev/hda b 660 0 6 3 1 1 1 15\n/dev/sub/x b 60660 0 6 255 255\n/dev/zero c 600 0 0 1 1 0 1 1\n\
        /dev/tty9 c 600 7 7 5 5 - - -\n/dev//flat c 600 0 0 1 2 3 0 2\n/none/x p 600 0 0\n/none/y d 755 0 0\n";
    fs::write(&table, text).expect("table is written");
    let made = Made::of(&source, Endian::Little, &["-D", &table.to_string_lossy()]);

    let mut tree = SourceTree::from_dir(&source).expect("source is read");
    let skipped = devtable::apply(&mut tree, &text[..], OnNoParent::Skip).expect("table is read");
    assert_eq!(skipped.iter().map(|skipped| skipped.line).collect::<Vec<_>>(), [16, 17]);
    // What a table makes has another time: mkfs.jffs2 takes that of the day.
    let without_times = |mut entries: Vec<Entry>| {
        entries.iter_mut().for_each(|entry| entry.mtime = 0);
        lines(entries)
    };
    let (ours, theirs) = (without_times(built(&tree, Endian::Little)), without_times(made.entries()));
    assert_eq!(ours, theirs);
    assert_eq!(theirs.len(), 31, "paths");
}

/// What our builder's image of a tree holds.
fn built(tree: &SourceTree, endian: Endian) -> Vec<Entry> {
    let mut image = Vec::new();
    let options = Options { endian, pad: Pad::Eraseblock, ..Options::default() };
    build(tree, &options, &mut image).expect("image is built");
    let geometry = Geometry::new(FlashKind::Nor, image.len() as u64, ERASEBLOCK, 1).expect("valid geometry");
    ours::list(&MemFlash::with_data(geometry, image), Rules { endian, summaries: true }).expect("every path is read")
}
