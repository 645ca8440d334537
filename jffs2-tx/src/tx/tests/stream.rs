//! Trees that come entry by entry, and dry runs of them.

use std::boxed::Box;
use std::io::{self, Read};
use std::string::{String, ToString};

use proptest::prelude::*;

use super::estimate::estimate;
use super::*;
use crate::flash::MemError;
use crate::source::{Content, NodeId, SourceKind, SourceNode, SourceTree};

type Outcome<T> = core::result::Result<T, TxError<MemError>>;

fn file(bytes: &[u8]) -> SourceKind {
    SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes.to_vec()) }
}

fn directory() -> SourceKind {
    SourceKind::Directory(BTreeMap::new())
}

/// Entries of a stream, for one endianness and a NOR flash; then what it says and the tree that it makes.
struct Flow {
    flash: MemFlash,
}

enum Item<'a> {
    Node(&'a str, Meta, SourceKind),
    Link(&'a str, &'a str),
}
use Item::{Link, Node};

impl Flow {
    fn new() -> Self {
        let mut flash = flashes().remove(0);
        populate(&mut flash, Endian::Little);
        Self { flash }
    }

    fn send(&mut self, items: &[Item<'_>]) -> Outcome<(ReplaceReport, CommitReport)> {
        let mut tx = Transaction::begin(&mut self.flash, Endian::Little, options(None, 9))?;
        match feed(tx.replace_stream(), items) {
            Ok(replaced) => Ok((replaced, tx.commit()?)),
            Err(error) => {
                assert!(matches!(tx.commit(), Err(TxError::Poisoned)), "half a tree was committed");
                Err(error)
            }
        }
    }

    /// The reason of a refusal; the tree must be what it was.
    fn refusal(&mut self, items: &[Item<'_>]) -> String {
        let before = self.list();
        let error = self.send(items).unwrap_err();
        assert_eq!(self.list(), before);
        error.to_string()
    }

    fn list(&self) -> Listing {
        list(&self.flash, rules(Endian::Little, true))
    }

    fn paths(&self) -> Vec<String> {
        self.list().into_keys().skip(1).map(|path| String::from_utf8(path).unwrap()).collect()
    }
}

fn feed(mut stream: Stream<'_, '_, MemFlash>, items: &[Item<'_>]) -> Outcome<ReplaceReport> {
    for item in items {
        match item {
            Node(path, meta, kind) => {
                stream.node(path.as_bytes(), SourceNode { meta: *meta, kind: kind.clone() })?;
            }
            Link(path, target) => stream.link(path.as_bytes(), target.as_bytes())?,
        }
    }
    stream.finish()
}

#[test]
fn names_that_do_not_come_go_away() {
    let mut flow = Flow::new();
    let (replaced, _) = flow.send(&[Node("./new", META, file(b"x"))]).unwrap();
    assert_eq!(flow.paths(), ["new"]);
    assert_eq!((replaced.inodes, replaced.written, replaced.names_removed), (2, 1, 4));
    let root = flow.list()[&b""[..]].0.meta;
    assert_eq!(root, Meta { mode: 0o700, uid: 5, gid: 6, mtime: 77 }, "a root that does not come keeps what it has");
    flow.send(&[Node("/", DIR, directory())]).unwrap();
    assert_eq!((flow.paths().len(), flow.list()[&b""[..]].0.meta), (0, DIR));
}

#[test]
fn directories_come_late_or_never() {
    let mut flow = Flow::new();
    let late = Meta { mode: 0o700, uid: 3, gid: 4, mtime: 5 };
    let items = [
        Node("//etc/./app//config", META, file(b"one=1\n")),
        Node("new/deep/file", META, file(b"1")),
        Node("new/deep/", late, directory()),
    ];
    let (replaced, _) = flow.send(&items).unwrap();
    let list = flow.list();
    let meta = |path: &[u8]| list[path].0.meta;
    let implied = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
    assert_eq!((meta(b"new/deep"), meta(b"new"), meta(b"etc/app")), (late, implied, implied));
    assert_eq!((replaced.inodes, replaced.written, replaced.metadata_changed), (7, 3, 2));
    let (replaced, committed) = flow.send(&items).unwrap();
    assert_eq!((replaced.written, committed.commit_point), (0, None), "and again it is equal");
}

#[test]
fn of_entries_with_one_path_the_last_counts() {
    let mut flow = Flow::new();
    let other = Meta { mode: 0o600, ..META };
    flow.send(&[
        // The old contents; others; the old ones again.
        Node("etc/hosts", META, file(b"127.0.0.1 localhost\n")),
        Node("etc/hosts", META, file(b"other")),
        Node("etc/hosts", other, file(b"127.0.0.1 localhost\n")),
        // What has a second name by then keeps it.
        Node("etc/hosts2", META, file(b"127.0.0.1 localhost\n")),
        Link("linked", "etc/hosts2"),
        Node("etc/hosts2", META, file(b"replaced")),
        // Other types, and an empty directory.
        Node("holey", META, SourceKind::Fifo),
        Node("holey", DIR, directory()),
        Node("holey", META, SourceKind::Symlink(b"target".to_vec())),
        Node("empty", DIR, directory()),
        Node("empty", other, file(b"")),
        Node("dev", META, file(b"a file")),
        Node("dev/", DIR, directory()),
        Node("dev/null", META, SourceKind::CharDevice(Device { major: 1, minor: 3 })),
        Link("linked", "linked"),
    ])
    .unwrap();
    let list = flow.list();
    assert_eq!(flow.paths(), ["dev", "dev/null", "empty", "etc", "etc/hosts", "etc/hosts2", "holey", "linked"]);
    assert_eq!((list[&b"etc/hosts"[..]].0.meta, list[&b"etc/hosts"[..]].0.links), (other, 1));
    assert_eq!(list[&b"etc/hosts"[..]].1, b"127.0.0.1 localhost\n");
    assert_eq!(list[&b"etc/hosts2"[..]].1, b"replaced");
    assert_eq!((list[&b"linked"[..]].1.as_slice(), list[&b"linked"[..]].0.meta), (&b"127.0.0.1 localhost\n"[..], META));
    assert_eq!((list[&b"holey"[..]].0.kind, list[&b"holey"[..]].1.as_slice()), (FileKind::Symlink, &b"target"[..]));
    assert_eq!((list[&b"empty"[..]].0.meta, list[&b"dev"[..]].0.meta), (other, DIR));
}

#[test]
fn hard_links_lead_to_what_came() {
    let mut flow = Flow::new();
    // The old tree has one inode under both names of etc: two files now.
    flow.send(&[
        Node("etc/hosts", META, file(b"127.0.0.1 localhost\n")),
        Node("etc/hosts2", META, file(b"127.0.0.1 localhost\n")),
        Node("pipe", META, SourceKind::Fifo),
        Link("z/pipe", "/pipe"),
        Link("etc/app", "./etc/hosts"),
    ])
    .unwrap();
    let links = |list: &Listing, path: &[u8]| list[path].0.links;
    let list = flow.list();
    assert_eq!(["etc/hosts", "etc/hosts2", "pipe", "etc/app"].map(|path| links(&list, path.as_bytes())), [2, 1, 2, 2]);
    // And one again.
    flow.send(&[Node("etc/hosts2", META, file(b"127.0.0.1 localhost\n")), Link("etc/hosts", "etc/hosts2")]).unwrap();
    assert_eq!(links(&flow.list(), b"etc/hosts"), 2);

    assert_eq!(
        flow.refusal(&[Link("a", "b"), Node("b", META, file(b""))]),
        "a: hard link to b, but no file came before under that path"
    );
    assert!(flow.refusal(&[Link("a", "etc/hosts")]).contains("hard link"), "what is on the flash has not come");
    assert!(flow.refusal(&[Node("d", DIR, directory()), Link("a", "d")]).contains("hard link"));
}

#[test]
fn files_swap_names_and_become_directories() {
    let mut flow = Flow::new();
    flow.send(&[Node("a", META, file(b"first")), Node("b", META, file(b"other")), Node("c/d", META, file(b"x"))])
        .unwrap();
    flow.send(&[Node("b", META, file(b"first")), Node("a", META, file(b"other")), Node("c", META, file(b"x"))])
        .unwrap();
    let list = flow.list();
    assert_eq!(
        (&list[&b"a"[..]].1[..], &list[&b"b"[..]].1[..], &list[&b"c"[..]].1[..]),
        (&b"other"[..], &b"first"[..], &b"x"[..])
    );
    flow.send(&[Node("a/b", META, file(b"deep")), Node("c", DIR, directory())]).unwrap();
    assert_eq!(flow.paths(), ["a", "a/b", "c"]);
}

#[test]
fn what_cannot_be_is_refused_with_its_path() {
    let mut flow = Flow::new();
    let long = "n".repeat(255);
    let deep = "d/".repeat(2049);
    for (path, kind, reason) in [
        ("a/../b", file(b""), "a/../b: not a name"),
        ("..", directory(), "..: not a name"),
        ("a\0b", file(b""), "a\\u{0}b: not a name"),
        (long.as_str(), file(b""), ": the name is 255 bytes long"),
        (deep.as_str(), file(b""), ": the path is 4098 bytes long"),
        ("/", file(b""), "/: not a directory"),
        ("s", SourceKind::Symlink(Vec::new()), "s: the symlink's target is 0 bytes long"),
        ("n", SourceKind::CharDevice(Device { major: 4096, minor: 0 }), "n: device number 4096:0 is over"),
        ("f", SourceKind::File { size: 2, content: Content::Bytes(b"1".to_vec()) }, "f: the content is 1 bytes long"),
    ] {
        let said = flow.refusal(&[Node(path, META, kind)]);
        assert!(said.contains(reason), "{said}");
    }
    let odd = Meta { mode: 0o10_000, ..META };
    assert!(flow.refusal(&[Node("f", odd, file(b""))]).contains("f: mode 0o10000"));
    let link = SourceKind::Symlink(b"etc".to_vec());
    assert_eq!(flow.refusal(&[Node("l", META, link), Node("l/x", META, file(b""))]), "l: not a directory");
    assert_eq!(
        flow.refusal(&[Node("d/x", META, file(b"")), Node("d", META, file(b""))]),
        "d: came before as a directory, and there are names in it by now"
    );
}

/// Gives some bytes, then an error or the end.
struct Broken(usize, bool);

impl Read for Broken {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(self.0).min(777);
        buf[..len].fill(7);
        self.0 -= len;
        if len == 0 && self.1 { Err(io::Error::other("line cut")) } else { Ok(len) }
    }
}

#[test]
fn contents_that_end_early_or_late_are_refused() {
    let mut flow = Flow::new();
    let before = flow.list();
    for (size, given, fails, reason) in [
        (100_000, 99_999, false, "f: size changed while it was read: 100000 bytes before, 99999 now"),
        (131_072, 131_073, false, "f: size changed while it was read: 131072 bytes before, 131073 now"),
        (100_000, 70_000, true, "f: line cut"),
        (1 << 32, 0, false, "f: the file is 4294967296 bytes long"),
    ] {
        let mut tx = Transaction::begin(&mut flow.flash, Endian::Little, options(None, 9)).unwrap();
        let error = tx.replace_stream().file(b"f", META, size, &mut Broken(given, fails)).unwrap_err();
        assert!(error.to_string().starts_with(reason), "{error}");
        tx.abort().unwrap();
        assert_eq!(flow.list(), before);
    }
}

/// Every place where the new contents may begin to differ, about the chunks and pages.
#[test]
fn what_is_equal_in_front_is_copied() {
    const LEN: usize = 200_000;
    for mut flash in flashes() {
        let old = noise(LEN, 77);
        let mut tx = Transaction::begin(&mut flash, Endian::Big, options(None, 1)).unwrap();
        tx.create_file(b"/f", META, &old).unwrap();
        if tx.commit().is_err() {
            continue;
        }
        for at in [0, 1, 4095, 65_535, 65_536, 65_537, 131_071, 131_072, 150_000, LEN - 1] {
            let mut flash = flash.clone();
            let mut new = old.clone();
            new[at] ^= 1;
            let mut tx = Transaction::begin(&mut flash, Endian::Big, options(None, 2)).unwrap();
            let mut stream = tx.replace_stream();
            stream.node(b"f", SourceNode { meta: META, kind: file(&new) }).unwrap();
            let replaced = stream.finish().unwrap();
            assert_eq!((replaced.written, replaced.bytes_written), (1, LEN as u64));
            if tx.commit().is_ok() {
                let list = list(&flash, rules(Endian::Big, true));
                assert!(list[&b"f"[..]].1 == new, "differs from {at} on");
            }
        }
    }
}

mod random {
    use super::*;

    /// A file system as paths, small enough to collide.
    #[derive(Clone, Debug)]
    pub(super) enum Kind {
        Dir(Vec<(u8, Node)>),
        File(u8, u8),
        Symlink(u8),
        Device(u8),
        Fifo,
        /// The same inode as the n-th file so far, if there is one.
        Link(u8),
    }

    #[derive(Clone, Debug)]
    pub(super) struct Node {
        meta: Meta,
        kind: Kind,
    }

    fn meta() -> impl Strategy<Value = Meta> {
        (prop_oneof![Just(0o644), Just(0o755), Just(0o4711)], 0..3u16, 0..2u32).prop_map(|(mode, uid, mtime)| Meta {
            mode,
            uid,
            gid: uid,
            mtime: mtime * 1000,
        })
    }

    fn node() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            4 => (0..4u8, 0..6u8).prop_map(|(seed, size)| Kind::File(seed, size)),
            1 => (0..3u8).prop_map(Kind::Symlink),
            1 => (0..3u8).prop_map(Kind::Device),
            1 => Just(Kind::Fifo),
            2 => any::<u8>().prop_map(Kind::Link),
        ];
        let leaf = (meta(), leaf).prop_map(|(meta, kind)| Node { meta, kind });
        leaf.prop_recursive(3, 40, 6, |below| {
            (meta(), prop::collection::vec((0..8u8, below), 0..6))
                .prop_map(|(meta, names)| Node { meta, kind: Kind::Dir(names) })
        })
    }

    pub(super) fn tree() -> impl Strategy<Value = SourceTree> {
        (meta(), prop::collection::vec((0..8u8, node()), 0..8)).prop_map(|(meta, names)| {
            let mut tree = SourceTree::new(meta);
            fill(&mut tree, 0, &names);
            tree
        })
    }

    fn fill(tree: &mut SourceTree, parent: NodeId, names: &[(u8, Node)]) {
        for (name, node) in names {
            let name = [b'a' + name];
            let kind = match &node.kind {
                Kind::Dir(below) => {
                    let kind = SourceKind::Directory(BTreeMap::new());
                    // A name that is taken is left out.
                    if let Ok(id) = tree.add(parent, &name, SourceNode { meta: node.meta, kind }) {
                        fill(tree, id, below);
                    }
                    continue;
                }
                Kind::Link(nth) => {
                    let files: Vec<NodeId> = (0..tree.nodes().len())
                        .filter(|id| !matches!(tree.node(*id).kind, SourceKind::Directory(_)))
                        .collect();
                    if !files.is_empty() {
                        let _ = tree.link(parent, &name, files[usize::from(*nth) % files.len()]);
                    }
                    continue;
                }
                Kind::File(seed, size) => {
                    let mut bytes = noise(usize::from(*size) * 3000, 7);
                    // Contents that are equal up to somewhere.
                    if let Some(byte) = bytes.get_mut(usize::from(*seed) * 4000) {
                        *byte ^= *seed;
                    }
                    file(&bytes)
                }
                Kind::Symlink(n) => SourceKind::Symlink([b't', *n].to_vec()),
                Kind::Device(n) => SourceKind::CharDevice(Device { major: u32::from(*n), minor: 1 }),
                Kind::Fifo => SourceKind::Fifo,
            };
            let mode = if matches!(kind, SourceKind::Symlink(_)) { 0o777 } else { node.meta.mode };
            let _ = tree.add(parent, &name, SourceNode { meta: Meta { mode, ..node.meta }, kind });
        }
    }

    /// Every path with its node, the root first.
    pub(super) fn entries(tree: &SourceTree) -> Vec<(Vec<u8>, NodeId)> {
        let mut all = Vec::from([(Vec::new(), 0)]);
        let mut at = 0;
        while at < all.len() {
            let (path, id) = all[at].clone();
            all.extend(tree.children(id).map(|(name, child)| ([&path[..], b"/", name].concat(), child)));
            at += 1;
        }
        all
    }
}

/// Sends a tree in the order of `keys`; the first name of a file that comes has its contents, the others are links.
fn send_tree<F: FlashMut>(stream: &mut Stream<'_, '_, F>, tree: &SourceTree, keys: &[u32]) -> Result<(), F> {
    let mut entries = random::entries(tree);
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| keys[at % keys.len()].wrapping_mul(*at as u32 + 1));
    let mut first: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
    for at in order {
        let (path, id) = core::mem::take(&mut entries[at]);
        if let Some(target) = first.get(&id) {
            stream.link(&path, target)?;
            continue;
        }
        let node = tree.node(id);
        let kind = match &node.kind {
            SourceKind::Directory(_) => directory(),
            other => other.clone(),
        };
        stream.node(&path, SourceNode { meta: node.meta, kind })?;
        if !matches!(node.kind, SourceKind::Directory(_)) {
            first.insert(id, path);
        }
    }
    Ok(())
}

/// Which of two old inodes a hard link keeps may depend on the order; their times of use are not compared.
fn without_atimes(flash: &MemFlash) -> Listing {
    let list = list(flash, rules(Endian::Big, true)).into_iter();
    list.map(|(path, (stat, content))| (path, (Stat { atime: 0, ..stat }, content))).collect()
}

fn replaced_by_tree(
    flash: &MemFlash,
    tree: &SourceTree,
    options: &TxOptions,
) -> (MemFlash, ReplaceReport, CommitReport) {
    let mut flash = flash.clone();
    let mut tx = Transaction::begin(&mut flash, Endian::Big, options.clone()).unwrap();
    let replaced = tx.replace_tree(tree, &mut |_, _| {}).unwrap();
    let report = tx.commit().unwrap();
    (flash, replaced, report)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any tree, in any order, over any other: what `replace_tree` makes of it.
    #[test]
    fn any_tree_in_any_order(
        old in random::tree(),
        new in random::tree(),
        keys in prop::collection::vec(any::<u32>(), 1..50),
        shape in 0..6usize,
    ) {
        let start = flashes().remove(shape);
        let (start, _, _) = replaced_by_tree(&start, &old, &options(None, 1));
        let (by_tree, _, _) = replaced_by_tree(&start, &new, &options(None, 2));

        let mut flash = start.clone();
        let mut tx = Transaction::begin(&mut flash, Endian::Big, options(None, 2)).unwrap();
        let mut stream = tx.replace_stream();
        send_tree(&mut stream, &new, &keys).unwrap();
        let replaced = stream.finish().unwrap();
        let report = tx.commit().unwrap();
        prop_assert_eq!(without_atimes(&flash), without_atimes(&by_tree));
        prop_assert_eq!(replaced.inodes as usize, new.nodes().len());

        // What is equal now takes nothing; and the dry run of the first time knew it all.
        let mut tx = Transaction::begin(&mut flash, Endian::Big, options(None, 3)).unwrap();
        let mut stream = tx.replace_stream();
        send_tree(&mut stream, &new, &keys).unwrap();
        prop_assert_eq!(stream.finish().unwrap().written, 0);
        prop_assert_eq!(tx.commit().unwrap().commit_point, None);
        let estimated = estimate(&start, Endian::Big, &options(None, 2), |tx| {
            let mut stream = tx.replace_stream();
            send_tree(&mut stream, &new, &keys).unwrap();
            stream.finish().unwrap();
        });
        prop_assert_eq!(estimated.unwrap().report, report);
    }
}

/// So that the trait object is used as the command line uses it.
#[test]
fn contents_may_be_boxed() {
    let mut flow = Flow::new();
    let mut tx = Transaction::begin(&mut flow.flash, Endian::Little, options(None, 9)).unwrap();
    let mut content: Box<dyn Read> = Box::new(&b"abc"[..]);
    let mut stream = tx.replace_stream();
    stream.file(b"f", META, 3, &mut *content).unwrap();
    stream.finish().unwrap();
    assert_eq!(tx.read_file(b"f").unwrap(), b"abc");
    tx.abort().unwrap();
}
