//! An image read back after it was built: whatever is different is found, and named.

use std::io::{Seek, Write};

use jffs2_mkimage::{Options, VerifyError, build, verify};
use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::source::{Content, Extra, NodeId, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::tree::Attribute;
use jffs2_tx::wire::Endian;

const META: Meta = Meta { mode: 0o755, uid: 1, gid: 2, mtime: 1_700_000_000 };
/// More than is compared at a time.
const LONG: u32 = 200_001;

fn add(tree: &mut SourceTree, name: &str, kind: SourceKind) -> NodeId {
    tree.add(ROOT, name.as_bytes(), SourceNode { meta: META, kind }).unwrap()
}

fn file(bytes: Vec<u8>) -> SourceKind {
    SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes) }
}

fn long(seed: u32) -> Vec<u8> {
    (0..LONG).map(|at| (at.wrapping_mul(seed) >> 9) as u8).collect()
}

fn attributes(value: &str) -> Extra {
    let xattrs = vec![Attribute { name: b"user.note".to_vec(), value: value.into() }];
    Extra { times: Some((5, 6)), xattrs }
}

/// A tree in which `change` replaces one thing.
fn tree(change: &str) -> SourceTree {
    let mut tree = SourceTree::new(META);
    let pick = |name: &str, old: &'static str, new: &'static str| if change == name { new } else { old };
    let first = add(&mut tree, "long", file(long(if change == "content" { 77 } else { 76 })));
    let second = add(&mut tree, "second", file(b"x".to_vec()));
    add(&mut tree, pick("name", "a", "b"), SourceKind::Fifo);
    add(&mut tree, "type", if change == "type" { SourceKind::Fifo } else { SourceKind::Socket });
    add(&mut tree, "symlink", SourceKind::Symlink(pick("target", "to", "at").into()));
    let minor = if change == "device" { 4 } else { 3 };
    add(&mut tree, "null", SourceKind::CharDevice(Device { major: 1, minor }));
    add(&mut tree, "size", file(vec![0; if change == "size" { 9 } else { 8 }]));
    add(&mut tree, "holes", file(vec![0; LONG as usize]));
    match change {
        "split" => drop(add(&mut tree, "z link", file(long(76)))),
        _ => tree.link(ROOT, b"z link", if change == "link" { second } else { first }).unwrap(),
    }
    tree.set_extra(second, attributes(pick("xattr", "old", "new"))).unwrap();
    let directory = add(&mut tree, "directory", SourceKind::Directory(Default::default()));
    if change == "more" {
        tree.add(directory, b"more", SourceNode { meta: META, kind: SourceKind::Fifo }).unwrap();
    }
    match change {
        "mode" => tree.node_mut(directory).meta.mode = 0o700,
        "label" => {
            let Extra { xattrs, .. } = attributes("new");
            tree.set_extra(directory, Extra { times: None, xattrs }).unwrap();
        }
        "owner" => tree.node_mut(ROOT).meta.uid = 0,
        "mtime" => tree.node_mut(second).meta.mtime += 1,
        "ctime" => tree.set_extra(second, Extra { times: Some((5, 7)), ..attributes("old") }).unwrap(),
        _ => {}
    }
    tree
}

/// What verifying the image of one tree against another finds.
fn compared(built: &SourceTree, against: &SourceTree, options: &Options) -> Result<(), VerifyError> {
    let mut file = tempfile::tempfile().unwrap();
    build(built, options, &mut file).unwrap();
    verify(against, &file, options)
}

#[test]
fn the_same_tree_is_the_same() {
    for endian in [Endian::Little, Endian::Big] {
        for summary in [false, true] {
            let options = Options { endian, summary, eraseblock: 8 << 10, ..Options::default() };
            compared(&tree(""), &tree(""), &options).unwrap();
            let nand = Some("512+16".parse().unwrap());
            compared(&tree(""), &tree(""), &Options { nand, cleanmarkers: false, ..options }).unwrap();
        }
    }
}

#[test]
fn whatever_is_different_is_named() {
    for (change, path, what) in [
        ("content", "/long", "its content"),
        ("name", "/", "a name in it"),
        ("more", "/directory", "a name in it"),
        ("type", "/type", "its type"),
        ("target", "/symlink", "its target"),
        ("device", "/null", "its device number"),
        ("size", "/size", "its size"),
        ("link", "/z link", "what it is linked to"),
        ("split", "/z link", "what it is linked to"),
        ("xattr", "/second", "an extended attribute"),
        ("label", "/directory", "an extended attribute"),
        ("mode", "/directory", "its mode, owner or time"),
        ("owner", "/", "its mode, owner or time"),
        ("mtime", "/second", "its mode, owner or time"),
        ("ctime", "/second", "its access or change time"),
    ] {
        for (built, against) in [("", change), (change, "")] {
            match compared(&tree(built), &tree(against), &Options::default()) {
                Err(VerifyError::Differs { path: at, what: found }) => {
                    assert_eq!((&*at, found), (path, what), "{change}");
                }
                other => panic!("{change}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_found() {
    let (tree, options) = (tree(""), Options::default());
    let mut image = Vec::new();
    build(&tree, &options, &mut image).unwrap();
    // Every byte of the first nodes, and some of the rest; a bit in padding is no difference.
    let nodes = image.iter().rposition(|byte| *byte != 0xff).unwrap();
    for at in (12..600).chain((600..nodes).step_by(997)).filter(|at| image[*at] != 0xff) {
        let mut file = tempfile::tempfile().unwrap();
        let mut flipped = image.clone();
        flipped[at] ^= 4;
        file.write_all(&flipped).unwrap();
        file.rewind().unwrap();
        assert!(verify(&tree, &file, &options).is_err(), "byte {at:#x}");
    }
}
