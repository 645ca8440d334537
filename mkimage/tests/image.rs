//! Images read back node by node.

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroUsize;

use jffs2_mkimage::{BuildError, Compress, HOLE_MIN, Method, Options, Pad, Pick, Report, build};
use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::source::{Content, NodeId, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::wire::{Compression, Endian};
use proptest::prelude::*;
use trees::{META, file, noise, tree_of};
use walk::{Node, expected, nodes, read_back};

mod trees;
mod walk;

fn directory() -> SourceNode {
    SourceNode { meta: Meta { mode: 0o755, mtime: 77, ..META }, kind: SourceKind::Directory(Default::default()) }
}

/// Builds, reads back and compares.
fn check(tree: &SourceTree, options: &Options) -> (Vec<u8>, Report) {
    let mut image = Vec::new();
    let report = build(tree, options, &mut image).unwrap();
    assert_eq!(read_back(&image, options), expected(tree, options));
    assert_eq!(report.bytes, image.len() as u64);
    assert_eq!(report.nodes, nodes(&image, options).len() as u64);
    assert_eq!(report.inodes as usize, tree.nodes().len());
    (image, report)
}

fn every_layout() -> Vec<Options> {
    let mut all = Vec::new();
    for endian in [Endian::Little, Endian::Big] {
        for cleanmarkers in [true, false] {
            for summary in [true, false] {
                for sort in [true, false] {
                    all.push(Options { endian, cleanmarkers, summary, sort, ..Options::default() });
                }
            }
        }
    }
    all
}

#[test]
fn sizes_around_pages_and_holes() {
    let hole = HOLE_MIN as usize;
    let sizes = [0, 1, 3, 4, 5, 4095, 4096, 4097, 8192, hole - 1, hole, hole + 1, hole + 4096, 3 * hole];
    let mut files: Vec<_> = sizes.iter().flat_map(|&len| [vec![0; len], vec![b'x'; len], noise(len, 7)]).collect();
    // Holes in the middle, a page off, at the end, and a run of zeros that covers no whole pages.
    for (head, len, tail) in [(1, hole, 1), (4096, hole, 1), (4096, hole + 5, 0), (4095, hole, 4097), (0, hole, 9)] {
        files.push([noise(head, 3), vec![0; len], noise(tail, 4)].concat());
    }
    let tree = tree_of(&files);
    for options in every_layout() {
        check(&tree, &options);
    }
    check(&tree, &Options { eraseblock: 4096, page_size: 1 << 16, ..Options::default() });
    check(&tree, &Options { eraseblock: 4096, summary: true, page_size: 512, ..Options::default() });
}

#[test]
fn zeros_become_one_hole_node_from_32_kib_on() {
    let count = |len: u32| {
        let (image, report) = check(&tree_of(&[vec![0; len as usize]]), &Options::default());
        let holes = nodes(&image, &Options::default())
            .into_iter()
            .filter(|node| matches!(node, Node::Inode(i, _) if i.compression == Compression::Zero))
            .count();
        (holes, report.hole_bytes)
    };
    assert_eq!(count(HOLE_MIN - 1), (0, 0));
    assert_eq!(count(HOLE_MIN), (1, u64::from(HOLE_MIN)));
    assert_eq!(count((20 << 20) + 5), (1, (20 << 20) + 5), "a trailing part of a page belongs to the hole");
}

#[test]
fn a_page_is_split_where_there_is_room_for_128_bytes() {
    let options = Options {
        cleanmarkers: false,
        eraseblock: 8192,
        page_size: 16 << 10,
        compress: Compress::none(),
        ..Options::default()
    };
    // Before the second file's data: two dirents, the root's inode, the first file, and the headers of both.
    let before = 2 * 44 + 68 + 2 * 68;
    for (room, len, parts) in
        [(124, 1000, vec![1000]), (128, 1000, vec![128, 872]), (128, 128, vec![128]), (400, 404, vec![400, 4])]
    {
        let (image, report) = check(&tree_of(&[noise(8192 - before - room, 1), noise(len, 2)]), &options);
        let second = nodes(&image, &options).into_iter().filter_map(|node| match node {
            Node::Inode(inode, _) if inode.ino == 3 => Some(inode.dsize as usize),
            _ => None,
        });
        assert_eq!(second.collect::<Vec<_>>(), parts, "{room} bytes left");
        assert_eq!(report.eraseblocks, if len > room { 2 } else { 1 });
    }
}

#[test]
fn order_numbers_and_versions() {
    let mut tree = SourceTree::new(META);
    let dir = tree.add(ROOT, b"d", directory()).unwrap();
    let z = tree.add(dir, b"z", file(vec![b'z'; 5000])).unwrap();
    tree.link(ROOT, b"b", z).unwrap();
    tree.add(ROOT, b"e", file(vec![])).unwrap();
    let sequence = |options: &Options| -> Vec<_> {
        let (image, _) = check(&tree, options);
        let brief = |node: &Node<'_>| match node {
            Node::Dirent(d) => (String::from_utf8(d.name.to_vec()).unwrap(), d.pino, d.version),
            Node::Inode(i, _) => (String::new(), i.ino, i.version),
        };
        nodes(&image, options).iter().map(brief).collect()
    };
    let dirent = |name: &str, pino, version| (name.to_string(), pino, version);
    let inode = |ino, version| (String::new(), ino, version);
    let root = [dirent("b", 1, 1), dirent("d", 1, 2), dirent("e", 1, 3), inode(1, 4)];
    let below = [dirent("z", 3, 1), inode(3, 2)];
    let (content, empty) = ([inode(2, 1), inode(2, 2)], [inode(4, 1)]);
    let options = Options::default();
    assert_eq!(sequence(&options), [&root[..], &content, &below, &empty].concat());
    let sorted = Options { sort: true, ..options };
    assert_eq!(sequence(&sorted), [&root[..], &below, &content, &empty].concat());
}

#[test]
fn padding() {
    let tree = tree_of(&[noise(70_000, 1)]);
    let size = |pad, summary| check(&tree, &Options { pad, summary, ..Options::default() }).1.bytes;
    assert!(size(Pad::None, false) < 80_000 && size(Pad::None, false).is_multiple_of(4));
    assert_eq!(size(Pad::None, true), 131_072);
    assert_eq!(size(Pad::Eraseblock, false), 131_072);
    for to in [131_072, 131_072 + 65_536, 1 << 20] {
        assert_eq!(size(Pad::To(to), false), to);
        assert_eq!(size(Pad::To(to), true), to);
    }
    for (least, bytes) in [(0, 131_072), (131_072, 131_072), (131_073, 131_072 + 65_536), (1 << 20, 1 << 20)] {
        assert_eq!(size(Pad::AtLeast(least), false), bytes);
    }
    let error = build(&tree, &Options { pad: Pad::AtLeast(1 << 32), ..Options::default() }, &mut io::sink());
    assert!(matches!(error, Err(BuildError::PadSize { .. })));
    let fail = |to| build(&tree, &Options { pad: Pad::To(to), ..Options::default() }, &mut io::sink()).unwrap_err();
    assert!(matches!(fail(65_536), BuildError::TooLarge { bytes: 131_072, size: 65_536 }));
    for to in [0, 65_537, 1 << 32] {
        assert!(matches!(fail(to), BuildError::PadSize { .. }), "{to}");
    }
}

#[test]
fn refuses_odd_sizes() {
    let tree = tree_of(&[]);
    let fail = |options| build(&tree, &options, &mut io::sink()).unwrap_err();
    for eraseblock in [0, 2048, 65_535, 1 << 25] {
        let error = fail(Options { eraseblock, ..Options::default() });
        assert!(matches!(error, BuildError::Eraseblock(_)));
    }
    for page_size in [0, 128, 4095, 1 << 17] {
        assert!(matches!(fail(Options { page_size, ..Options::default() }), BuildError::PageSize(_)));
    }
    for cleanmarker_size in [0, 11, (32 << 10) + 1, u32::MAX] {
        let options = Options { cleanmarker_size, ..Options::default() };
        assert!(matches!(fail(options), BuildError::Cleanmarker(_)));
    }
}

#[test]
fn a_summary_stays_within_what_linux_reads() {
    let mut tree = SourceTree::new(META);
    for i in 0..9000 {
        let fifo = SourceNode { meta: META, kind: SourceKind::Fifo };
        tree.add(ROOT, format!("{i}").as_bytes(), fifo).unwrap();
    }
    check(&tree, &Options { eraseblock: 1 << 18, summary: true, ..Options::default() });
}

#[test]
fn a_file_that_changes_size_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for (before, now) in [(5000, 5001), (5000, 4999), (0, 1), (1, 0), (4096, 4097)] {
        fs::write(&path, vec![b'x'; before]).unwrap();
        let tree = SourceTree::from_dir(dir.path()).unwrap();
        fs::write(&path, vec![b'x'; now]).unwrap();
        let error = build(&tree, &Options::default(), &mut io::sink()).unwrap_err();
        assert!(matches!(&error, BuildError::Changed { path } if path.ends_with("/log")), "{error}");
    }
    let tree = SourceTree::from_dir(dir.path()).unwrap();
    fs::remove_file(&path).unwrap();
    let error = build(&tree, &Options::default(), &mut io::sink()).unwrap_err();
    assert!(matches!(error, BuildError::Read { path, .. } if path.ends_with("/log")));
}

#[test]
fn a_full_disk_is_an_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tree = tree_of(&[noise(200_000, 1)]);
    let options = Options { pad: Pad::To(1 << 20), ..Options::default() };
    for room in [0, 65_536, 262_143, 262_144, (1 << 20) - 1] {
        assert!(matches!(build(&tree, &options, &mut Full(room)), Err(BuildError::Write(_))));
    }
    assert!(build(&tree, &options, &mut Full(1 << 20)).is_ok());
}

/// What a random tree is made of.
#[derive(Clone, Debug)]
enum Step {
    Directory,
    File(Vec<(u8, usize)>),
    Symlink(Vec<u8>),
    Device(bool, Device),
    Fifo,
    Socket,
    Link(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Step> {
    let piece = (0u8..3, prop_oneof![0usize..300, 4000usize..4200, 0usize..80_000]);
    let device = (any::<bool>(), 0u32..=0xfff, 0u32..=0xf_ffff);
    prop_oneof![
        3 => Just(Step::Directory),
        6 => prop::collection::vec(piece, 0..4).prop_map(Step::File),
        1 => prop::collection::vec(1u8..=255, 1..=254).prop_map(Step::Symlink),
        1 => device.prop_map(|(block, major, minor)| Step::Device(block, Device { major, minor })),
        1 => Just(Step::Fifo),
        1 => Just(Step::Socket),
        2 => any::<prop::sample::Index>().prop_map(Step::Link),
    ]
}

fn content(pieces: &[(u8, usize)]) -> Vec<u8> {
    let piece = |&(kind, len): &(u8, usize)| match kind {
        0 => vec![0; len],
        1 => noise(len, len as u32),
        _ => b"the quick brown fox ".iter().copied().cycle().take(len).collect(),
    };
    pieces.iter().flat_map(piece).collect()
}

/// Names that are taken, and names that are none, are left out.
fn grow(tree: &mut SourceTree, parent: NodeId, name: &[u8], meta: Meta, step: &Step) {
    let kind = match step {
        Step::Directory => SourceKind::Directory(Default::default()),
        Step::File(pieces) => {
            let bytes = content(pieces);
            SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes) }
        }
        Step::Symlink(target) => SourceKind::Symlink(target.clone()),
        Step::Device(true, device) => SourceKind::BlockDevice(*device),
        Step::Device(false, device) => SourceKind::CharDevice(*device),
        Step::Fifo => SourceKind::Fifo,
        Step::Socket => SourceKind::Socket,
        Step::Link(to) => {
            let _ = tree.link(parent, name, to.index(tree.nodes().len()));
            return;
        }
    };
    let _ = tree.add(parent, name, SourceNode { meta, kind });
}

prop_compose! {
    fn metas()(mode in 0u32..=0o7777, uid: u16, gid: u16, mtime: u32) -> Meta {
        Meta { mode, uid, gid, mtime }
    }
}

prop_compose! {
    fn trees()(
        root in metas(),
        parts in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::collection::vec(1u8..=255, 1..=254), metas(), steps()), 0..30),
    ) -> SourceTree {
        let mut tree = SourceTree::new(root);
        for (parent, name, meta, step) in &parts {
            let directories: Vec<NodeId> = (0..tree.nodes().len())
                .filter(|&id| matches!(tree.node(id).kind, SourceKind::Directory(_)))
                .collect();
            grow(&mut tree, directories[parent.index(directories.len())], name, *meta, step);
        }
        tree
    }
}

prop_compose! {
    fn compressions()(
        candidates in prop::collection::vec(
            prop_oneof![
                3 => (1u8..=12).prop_map(Method::Zlib),
                1 => Just(Method::Lzo),
                1 => Just(Method::Rtime),
                1 => Just(Method::Lzma),
            ],
            0..4,
        ),
        smallest: bool,
    ) -> Compress {
        Compress { candidates, pick: if smallest { Pick::Smallest } else { Pick::First } }
    }
}

prop_compose! {
    fn layouts()(
        big: bool, eraseblock in 12u32..18, cleanmarkers: bool,
        cleanmarker_size in prop_oneof![3 => Just(12), 1 => 12u32..300], page_size in 8u32..17, pad: bool, summary: bool,
        sort: bool, compress in prop_oneof![7 => Just(Compress::default()), 1 => compressions()],
    ) -> Options {
        Options {
            endian: if big { Endian::Big } else { Endian::Little },
            eraseblock: 1 << eraseblock,
            cleanmarkers,
            cleanmarker_size,
            page_size: 1 << page_size,
            pad: if pad { Pad::Eraseblock } else { Pad::None },
            summary,
            sort,
            first: Vec::new(),
            compress,
            threads: NonZeroUsize::new(1),
            nand: None,
        }
    }
}

proptest! {
    #[test]
    fn any_tree_reads_back(tree in trees(), options in layouts()) {
        let (image, _) = check(&tree, &options);
        let mut again = Vec::new();
        build(&tree, &Options { threads: NonZeroUsize::new(3), ..options }, &mut again).unwrap();
        prop_assert!(image == again, "the same input gives the same bytes");
    }
}

#[test]
fn a_directory_of_the_host_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/conf"), noise(9000, 5)).unwrap();
    fs::hard_link(dir.path().join("etc/conf"), dir.path().join("same")).unwrap();
    std::os::unix::fs::symlink("etc/conf", dir.path().join("link")).unwrap();
    File::create(dir.path().join("sparse")).unwrap().set_len(1 << 20).unwrap();
    let (_, report) = check(&SourceTree::from_dir(dir.path()).unwrap(), &Options::default());
    assert_eq!((report.inodes, report.hole_bytes, report.data_bytes), (5, 1 << 20, 9000 + (1 << 20)));
}
