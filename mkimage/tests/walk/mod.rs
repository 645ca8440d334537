//! Reads an image back node by node, strictly: every rule that the builder promises to keep is asserted on the way.

use std::collections::BTreeMap;
use std::io::Read as _;

use jffs2_mkimage::{HOLE_MIN, Options, Pad};
use jffs2_tx::codec::decode;
use jffs2_tx::source::{ROOT, SourceKind, SourceTree};
use jffs2_tx::wire::{Compression, Dirent, HEADER_SIZE, Header, Inode, Summary, SummaryEntry, nodetype, pad4};

/// An eraseblock leaves less unused than the largest node that is never split takes: a symlink's without summaries,
/// a dirent and its entry with them.
const WASTE_LIMIT: usize = Inode::flash_size(254);
const WASTE_LIMIT_WITH_SUMMARY: usize = Dirent::flash_size(254) + 24 + 254 + 3;
const MAX_SUMMARY: usize = 64 << 10;

/// One inode as a path leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: u32,
    pub(crate) uid: u16,
    pub(crate) gid: u16,
    pub(crate) mtime: u32,
    /// A file's bytes, a symlink's target, a device's number as stored; nothing for a directory.
    pub(crate) content: Vec<u8>,
    /// The first path that leads to the same inode.
    pub(crate) same_as: Vec<u8>,
}

/// What the paths of a tree lead to.
pub(crate) type Listing = BTreeMap<Vec<u8>, Entry>;

/// A node of an image.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Dirent(Dirent<'a>),
    Inode(Inode, &'a [u8]),
}

/// All nodes, in the order on the flash.
pub(crate) fn nodes<'a>(image: &'a [u8], options: &Options) -> Vec<Node<'a>> {
    let mut all = Vec::new();
    let blocks: Vec<_> = image.chunks(options.eraseblock as usize).collect();
    let nodes_from = if options.cleanmarkers { pad4(options.cleanmarker_size) as usize } else { 0 };
    let used = blocks.iter().rposition(|block| block[nodes_from..].iter().any(|&b| b != 0xff)).unwrap();
    let marked = blocks[used + 1..].iter().filter(|block| block[0] != 0xff).count();
    let marks = options.cleanmarkers && matches!(options.pad, Pad::AtLeast(_));
    assert_eq!(marked, if marks { blocks.len() - used - 1 } else { 0 }, "empty eraseblocks with cleanmarkers");
    for (i, block) in blocks[..=used].iter().enumerate() {
        block_nodes(block, options, i == used, &mut all);
    }
    all
}

fn block_nodes<'a>(block: &'a [u8], options: &Options, last: bool, all: &mut Vec<Node<'a>>) {
    let e = options.endian;
    let mut at = 0;
    let mut expected = Vec::new();
    if options.cleanmarkers {
        let totlen = options.cleanmarker_size;
        assert_eq!(Header::parse(e, block), Ok(Header { nodetype: nodetype::CLEANMARKER, totlen, obsolete: false }));
        at = pad4(totlen) as usize;
        assert!(block[HEADER_SIZE..at].iter().all(|&b| b == 0xff), "garbage in the cleanmarker");
    }
    while let Ok(header) = Header::parse(e, &block[at..]) {
        assert!(!header.obsolete);
        let (offset, totlen) = (at as u32, header.totlen);
        let bytes = &block[at..at + totlen as usize];
        match header.nodetype {
            nodetype::DIRENT => {
                let d = Dirent::parse(e, bytes).unwrap();
                let Dirent { pino, version, ino, kind, name, .. } = d;
                expected.push(SummaryEntry::Dirent { totlen, offset, pino, version, ino, kind, name });
                all.push(Node::Dirent(d));
            }
            nodetype::INODE => {
                let node = Inode::parse(e, bytes).unwrap();
                assert!(node.data_is_good(bytes));
                expected.push(SummaryEntry::Inode { ino: node.ino, version: node.version, offset, totlen });
                all.push(Node::Inode(node, node.data(bytes).unwrap()));
            }
            nodetype::SUMMARY => break,
            other => panic!("node of type {other:#x} at {at:#x}"),
        }
        at += pad4(totlen) as usize;
    }
    assert!(!expected.is_empty(), "an eraseblock without nodes");
    let end = if options.summary { summary(block, at, options, &expected) } else { block.len() };
    assert!(block[at..end].iter().all(|&b| b == 0xff), "garbage after the last node");
    let listed: usize = expected.iter().map(SummaryEntry::size).sum();
    let unused = if options.summary { block.len() - at - Summary::flash_size(listed) } else { block.len() - at };
    let summary_full = options.summary && Summary::flash_size(listed) > MAX_SUMMARY - 300;
    let limit = if options.summary { WASTE_LIMIT_WITH_SUMMARY } else { WASTE_LIMIT };
    assert!(last || summary_full || unused < limit, "{unused} bytes wasted");
}

/// Where the summary starts: right behind the last node, which ends at `nodes_end`, so that no space looks dirty.
fn summary(block: &[u8], nodes_end: usize, options: &Options, expected: &[SummaryEntry<'_>]) -> usize {
    assert_eq!(block.len(), options.eraseblock as usize);
    let start = Summary::locate(options.endian, block).unwrap();
    let summary = Summary::parse(options.endian, &block[start..]).unwrap();
    assert_eq!(
        (summary.cleanmarker, summary.padded),
        (if options.cleanmarkers { options.cleanmarker_size } else { 0 }, 0)
    );
    assert_eq!(summary.entries, expected);
    assert_eq!(block.len() - start, (block.len() - nodes_end).min(MAX_SUMMARY));
    start
}

/// Everything that the image's root leads to.
pub(crate) fn read_back(image: &[u8], options: &Options) -> Listing {
    let nodes = nodes(image, options);
    let mut inodes: BTreeMap<u32, Inode> = BTreeMap::new();
    let mut contents: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut names: BTreeMap<u32, Vec<&Dirent<'_>>> = BTreeMap::new();
    let mut versions: BTreeMap<u32, u32> = BTreeMap::new();
    for node in &nodes {
        let (ino, version) = match node {
            Node::Dirent(d) => (d.pino, d.version),
            Node::Inode(i, _) => (i.ino, i.version),
        };
        let newest = versions.entry(ino).or_default();
        *newest += 1;
        assert_eq!(version, *newest, "versions of inode {ino}");
        match node {
            Node::Dirent(d) => names.entry(d.pino).or_default().push(d),
            Node::Inode(i, stored) => {
                assert_eq!((i.atime, i.ctime), (i.mtime, i.mtime));
                let content = contents.entry(i.ino).or_default();
                assert_eq!(i.offset as usize, content.len(), "data of inode {ino} is ascending, without gaps");
                append(i, stored, options, content);
                inodes.insert(i.ino, *i);
            }
        }
    }
    for d in names.values().flatten() {
        assert_eq!(d.mctime, inodes[&d.pino].mtime);
        assert_eq!(u32::from(d.kind), inodes[&d.ino].mode >> 12);
    }
    let mut listing = Listing::new();
    let mut first_paths = BTreeMap::new();
    let mut todo = vec![(Vec::new(), 1)];
    while let Some((path, ino)) = todo.pop() {
        let Inode { mode, uid, gid, mtime, isize, .. } = inodes[&ino];
        let content = contents[&ino].clone();
        let has_size = matches!(mode & 0o170_000, 0o100_000 | 0o120_000);
        assert_eq!(isize as usize, if has_size { content.len() } else { 0 });
        let below = names.get(&ino).into_iter().flatten().rev();
        todo.extend(below.map(|d| ([&path, &b"/"[..], d.name].concat(), d.ino)));
        let same_as = first_paths.entry(ino).or_insert_with(|| path.clone()).clone();
        listing.insert(path, Entry { mode, uid, gid, mtime, content, same_as });
    }
    listing
}

fn append(node: &Inode, stored: &[u8], options: &Options, content: &mut Vec<u8>) {
    if node.compression == Compression::Zero {
        assert!(stored.is_empty() && node.dsize >= HOLE_MIN && node.offset.is_multiple_of(options.page_size));
        content.resize(content.len() + node.dsize as usize, 0);
        return;
    }
    let first_page = node.offset / options.page_size;
    assert!(node.dsize == 0 || (node.offset + node.dsize - 1) / options.page_size == first_page, "crosses a page");
    assert!(node.compression == Compression::None || stored.len() < node.dsize as usize);
    decode(node.compression, stored, node.dsize, content).unwrap();
}

/// What an image of the tree must hold.
pub(crate) fn expected(tree: &SourceTree, options: &Options) -> Listing {
    let mut listing = Listing::new();
    let mut first_paths = BTreeMap::new();
    let mut todo = vec![(Vec::new(), ROOT)];
    while let Some((path, id)) = todo.pop() {
        let node = tree.node(id);
        let content = match &node.kind {
            SourceKind::File { content, .. } => {
                let mut bytes = Vec::new();
                content.open().unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            }
            SourceKind::Symlink(target) => target.clone(),
            SourceKind::CharDevice(device) | SourceKind::BlockDevice(device) => device.encode(options.endian),
            SourceKind::Directory(_) | SourceKind::Fifo | SourceKind::Socket => Vec::new(),
        };
        let mut below: Vec<_> = tree.children(id).map(|(n, id)| ([&path, &b"/"[..], n].concat(), id)).collect();
        below.reverse();
        todo.append(&mut below);
        let same_as = first_paths.entry(id).or_insert_with(|| path.clone()).clone();
        let permissions = if matches!(node.kind, SourceKind::Symlink(_)) { 0o777 } else { node.meta.mode };
        let mode = node.kind.file_kind().mode_bits() | permissions;
        let (uid, gid, mtime) = (node.meta.uid, node.meta.gid, node.meta.mtime);
        listing.insert(path, Entry { mode, uid, gid, mtime, content, same_as });
    }
    listing
}
