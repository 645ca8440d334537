use super::*;
use jffs2_tx::source::Content;
use jffs2_tx::tree::Attribute;

fn tree(mtime: u32, words: &[&str]) -> SourceTree {
    let meta = Meta { mode: 0o751, uid: 3, gid: 4, mtime };
    let mut tree = SourceTree::new(meta);
    for word in words {
        let path = word.trim_end_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = tree.find(parent.as_bytes()).unwrap();
        let directory = SourceKind::Directory(BTreeMap::new());
        let file = SourceKind::File { size: 4, content: Content::Bytes(mtime.to_le_bytes().to_vec()) };
        let kind = if word.ends_with('/') { directory } else { file };
        let id = tree.add(parent, name.as_bytes(), SourceNode { meta, kind }).unwrap();
        tree.set_extra(id, Extra { times: Some((mtime, mtime + 1)), xattrs: vec![] }).unwrap();
    }
    tree
}

/// Paths with their times, symlinks with their targets.
fn words(tree: &SourceTree) -> String {
    let word = |(path, id): (Vec<u8>, NodeId)| {
        let path = String::from_utf8(path).unwrap();
        let node = tree.node(id);
        if node.meta.mtime == OUTSIDE {
            assert_eq!(tree.extra(id).and_then(|extra| extra.times), None);
        }
        match &node.kind {
            SourceKind::Symlink(target) => format!("{path}>{}:{}", String::from_utf8_lossy(target), node.meta.mtime),
            SourceKind::Directory(_) => format!("{path}/:{}", node.meta.mtime),
            _ => format!("{path}:{}", node.meta.mtime),
        }
    };
    walk(tree).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn content_moves_and_mount_points_stay() {
    let tree = tree(7, &["bin/", "bin/sh", "init", "mnt/", "mnt/a/", "mnt/a/b/", "proc/", "var/", "var/log/", "var/x"]);
    let swung = swing(&tree, b"v1").unwrap();
    assert_eq!(
        words(&swung),
        "/:0 bin>v1/bin:0 init>v1/init:0 mnt/:0 mnt/a/:0 mnt/a/b/:0 proc/:0 v1/:7 v1/bin/:7 v1/bin/sh:7 v1/init:7 \
         v1/mnt>../mnt:0 v1/proc>../proc:0 v1/var/:7 v1/var/log/:7 v1/var/x:7 var>v1/var:0"
    );
    let meta = |path: &str| swung.node(swung.find(path.as_bytes()).unwrap()).meta;
    assert_eq!((meta("").mode, meta("v1").mode, meta("v1").uid), (0o751, 0o751, 3));
    assert_eq!((meta("mnt/a").mode, meta("bin").mode), (0o751, 0o777));
}

#[test]
fn hard_links_and_attributes_come_along() {
    let mut tree = tree(7, &["a/", "a/x", "b/"]);
    let x = tree.find(b"a/x").unwrap();
    tree.link(tree.find(b"b").unwrap(), b"y", x).unwrap();
    tree.link(ROOT, b"z", x).unwrap();
    let xattrs = vec![Attribute { name: b"user.a".to_vec(), value: vec![1] }];
    tree.set_extra(ROOT, Extra { times: None, xattrs: xattrs.clone() }).unwrap();
    let swung = swing(&tree, b"n").unwrap();
    let ids = ["n/a/x", "n/b/y", "n/z"].map(|path| swung.find(path.as_bytes()).unwrap());
    assert_eq!(ids, [ids[0]; 3]);
    for path in ["", "n"] {
        assert_eq!(swung.extra(swung.find(path.as_bytes()).unwrap()).unwrap().xattrs, xattrs);
    }
}

#[test]
fn names_that_will_not_do() {
    let refused = |words: &[&str], name: &str| swing(&tree(7, words), name.as_bytes()).unwrap_err().to_string();
    assert_eq!(refused(&["a", "v1/"], "v1"), "/v1: the directory has this name already");
    assert_eq!(refused(&["a", "v1"], "v1"), "/v1: the directory has this name already");
    assert!(refused(&[], "a/b").contains("not a name"));
    assert!(refused(&[], "").contains("0 bytes long"));
    assert!(refused(&[&"n".repeat(200)], &"v".repeat(60)).contains("symlink's target is 261 bytes long"));
}
