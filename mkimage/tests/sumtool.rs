//! Images that get summaries: what each node becomes, and that the tree stays what it was.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use jffs2_mkimage::sumtool::{Cleanmarkers, Options, Report, SumError, summarize};
use jffs2_mkimage::{BuildError, build};
use jffs2_tx::check::{Severity, check};
use jffs2_tx::detect::DetectError;
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash, OobLayout};
use jffs2_tx::index::ROOT;
use jffs2_tx::scan::{Place, Places};
use jffs2_tx::source::{Content, ROOT as SOURCE_ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::wire::{
    Cleanmarker, Compression, Dirent, Header, Inode, Summary, SummaryEntry, Xattr, Xref, nodetype, xprefix,
};
use jffs2_tx::{Endian, Index, Meta, Rules, Transaction, Tree, TxOptions};

const META: Meta = Meta { mode: 0o644, uid: 1, gid: 2, mtime: 1_700_000_000 };
const LITTLE: Endian = Endian::Little;
const BLOCK: u32 = 8 << 10;
const OPTIONS: Options = Options { endian: LITTLE, eraseblock: BLOCK, cleanmarkers: Cleanmarkers::AsRead, pad: false };

fn summarized(image: &[u8], options: &Options) -> (Vec<u8>, Report) {
    let mut out = Vec::new();
    let report = summarize(Cursor::new(image), options, &mut out).unwrap();
    assert_eq!(report.bytes, out.len() as u64);
    assert_eq!(report.eraseblocks as usize, out.len().div_ceil(options.eraseblock as usize));
    (out, report)
}

fn refused(image: &[u8], options: &Options) -> SumError {
    summarize(Cursor::new(image), options, &mut Vec::new()).unwrap_err()
}

fn flash_of(image: &[u8], eraseblock: u32, kind: FlashKind) -> MemFlash {
    let size = image.len().next_multiple_of(eraseblock as usize).max(8 * eraseblock as usize);
    let write_size = if kind == FlashKind::Nor { 1 } else { 512 };
    MemFlash::with_data(Geometry::new(kind, size as u64, eraseblock, write_size).unwrap(), image.to_vec())
}

/// Every path with all that is known of it.
fn listing(flash: &MemFlash, rules: Rules) -> Vec<String> {
    let index = Index::open(flash, rules).unwrap();
    let tree = Tree::new(flash, &index);
    let line = |path: &[u8], ino| {
        let content = tree.open(ino).and_then(|_| tree.read(ino, u32::MAX));
        let xattrs = tree.xattrs(ino).unwrap();
        format!("{} {:?} {content:?} {xattrs:?}", String::from_utf8_lossy(path), tree.stat(ino))
    };
    tree.walk(ROOT).map(|step| line(&step.path, step.ino)).collect()
}

/// The tree, which is the same for readers with and without summaries.
fn tree_of(image: &[u8], options: &Options) -> Vec<String> {
    let flash = flash_of(image, options.eraseblock, FlashKind::Nor);
    let [with, without] = [true, false].map(|summaries| listing(&flash, Rules { endian: options.endian, summaries }));
    assert_eq!(with, without);
    with
}

/// The nodes, without those that belong to the eraseblock.
fn nodes(image: &[u8], options: &Options) -> Vec<Vec<u8>> {
    let is_of_block = |kind| matches!(kind, nodetype::CLEANMARKER | nodetype::SUMMARY);
    let of_block = |block| {
        Places::new(options.endian, block, 0).filter_map(|place| match place {
            Place::Node { header, bytes, .. } if !is_of_block(header.nodetype) => Some(bytes.to_vec()),
            Place::Node { .. } => None,
            Place::Garbage { at, reason, .. } => panic!("garbage at {at:#x}: {reason}"),
        })
    };
    image.chunks(options.eraseblock as usize).flat_map(of_block).collect()
}

/// Checks that each eraseblock's summary lists all of its nodes, in order.
fn check_summaries(image: &[u8], options: &Options, cleanmarker: u32) {
    for block in image.chunks(options.eraseblock as usize) {
        let at = Summary::locate(options.endian, block).expect("an eraseblock without a summary");
        let summary = Summary::parse(options.endian, &block[at..]).unwrap();
        assert_eq!((summary.cleanmarker, summary.padded), (cleanmarker, 0));
        let listed: Vec<_> = summary.entries.iter().map(SummaryEntry::offset).collect();
        let places = Places::new(options.endian, block, 0).map(|place| place.range().0 as u32);
        let there: Vec<_> = places.skip(usize::from(cleanmarker > 0)).take_while(|&place| place < at as u32).collect();
        assert_eq!(listed, there);
        let end = summary.entries.last().unwrap().end();
        assert!(block[end as usize..at].iter().all(|&byte| byte == 0xff));
        assert_eq!(block.starts_with(&cleanmarker_bytes(options.endian, cleanmarker)), cleanmarker > 0);
    }
}

fn cleanmarker_bytes(endian: Endian, len: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    Cleanmarker::emit(endian, &mut bytes, len.max(12));
    bytes.resize(bytes.len().next_multiple_of(4), 0xff);
    bytes
}

/// Bytes that do not compress, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn source() -> SourceTree {
    let mut tree = SourceTree::new(Meta { mode: 0o755, ..META });
    let dir = tree
        .add(SOURCE_ROOT, b"d", SourceNode { meta: META, kind: SourceKind::Directory(Default::default()) })
        .unwrap();
    for (name, len) in [("empty", 0), ("small", 5), ("page", 4096), ("large", 40_000)] {
        let kind = SourceKind::File { size: len, content: Content::Bytes(noise(len as usize)) };
        tree.add(dir, name.as_bytes(), SourceNode { meta: META, kind }).unwrap();
    }
    for n in 0..300 {
        let name = format!("a symlink with a name that fills summaries {n}");
        let kind = SourceKind::Symlink(b"d/small".to_vec());
        tree.add(SOURCE_ROOT, name.as_bytes(), SourceNode { meta: META, kind }).unwrap();
    }
    tree
}

fn built(options: &Options, cleanmarkers: bool, summary: bool) -> Vec<u8> {
    let Options { endian, eraseblock, .. } = *options;
    let of_image = jffs2_mkimage::Options { endian, eraseblock, cleanmarkers, summary, ..Default::default() };
    let mut image = Vec::new();
    build(&source(), &of_image, &mut image).unwrap();
    image
}

/// An image of these nodes, one list for each eraseblock.
fn image_of(blocks: &[&[&[u8]]]) -> Vec<u8> {
    let mut image = Vec::new();
    for (block, nodes) in blocks.iter().enumerate() {
        image.resize(block * BLOCK as usize, 0xff);
        Cleanmarker::emit(LITTLE, &mut image, 12);
        for node in *nodes {
            image.extend_from_slice(node);
            image.resize(image.len().next_multiple_of(4), 0xff);
        }
    }
    image
}

fn dirent(name: &[u8], version: u32, ino: u32) -> Vec<u8> {
    let kind = if ino == 0 { 0 } else { 8 };
    let mut node = Vec::new();
    Dirent { pino: 1, version, ino, mctime: 7, kind, name }.emit(LITTLE, &mut node);
    node
}

fn inode(ino: u32, version: u32, data: &[u8]) -> Vec<u8> {
    let len = data.len() as u32;
    let of_file = Inode {
        ino,
        version,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        isize: len,
        atime: 1,
        mtime: 1,
        ctime: 1,
        offset: 0,
        csize: len,
        dsize: len,
        compression: Compression::None,
        data_crc: 0,
    };
    let mut node = Vec::new();
    of_file.emit(LITTLE, &mut node, data);
    node
}

/// Of a type that nobody knows.
fn unknown(nodetype: u16) -> Vec<u8> {
    let mut node = Vec::new();
    Xref { ino: 1, xid: 1, seqno: 2 }.emit(LITTLE, &mut node);
    node[2..4].copy_from_slice(&nodetype.to_le_bytes());
    let crc = jffs2_tx::crc::crc32(&node[..8]);
    node[8..12].copy_from_slice(&crc.to_le_bytes());
    node
}

fn obsolete(mut node: Vec<u8>) -> Vec<u8> {
    node[3] &= 0xdf;
    node
}

#[test]
fn every_eraseblock_ends_in_a_summary_and_the_tree_stays() {
    for endian in [Endian::Little, Endian::Big] {
        for eraseblock in [8 << 10, 64 << 10, 128 << 10] {
            for cleanmarkers in [true, false] {
                let options = Options { endian, eraseblock, ..OPTIONS };
                let image = built(&options, cleanmarkers, false);
                let (out, report) = summarized(&image, &options);
                check_summaries(&out, &options, if cleanmarkers { 12 } else { 0 });
                assert!(nodes(&out, &options) == nodes(&image, &options));
                assert_eq!(tree_of(&out, &options), tree_of(&image, &options));
                let of_nodes = Report { nodes: nodes(&image, &options).len() as u64, ..Report::default() };
                let Report { bytes, eraseblocks, .. } = report;
                assert_eq!(report, Report { bytes, eraseblocks, ..of_nodes });
                assert!(summarized(&out, &options).0 == out, "not the same when done again");
            }
        }
    }
}

#[test]
fn an_image_with_summaries_gives_itself() {
    let image = built(&OPTIONS, true, true);
    assert!(nodes(&summarized(&image, &OPTIONS).0, &OPTIONS) == nodes(&image, &OPTIONS));
}

#[test]
fn cleanmarkers_as_read_or_as_asked_for() {
    let (with, without) = (built(&OPTIONS, true, false), built(&OPTIONS, false, false));
    for (image, cleanmarkers, len) in [
        (&with, Cleanmarkers::AsRead, 12),
        (&with, Cleanmarkers::None, 0),
        (&with, Cleanmarkers::Of(13), 13),
        (&without, Cleanmarkers::AsRead, 0),
        (&without, Cleanmarkers::Of(16), 16),
        (&without, Cleanmarkers::Of(100), 100),
    ] {
        let options = Options { cleanmarkers, ..OPTIONS };
        let (out, _) = summarized(image, &options);
        check_summaries(&out, &options, len);
        assert!(nodes(&out, &options) == nodes(image, &OPTIONS));
        // Again, with nothing said.
        check_summaries(&summarized(&out, &OPTIONS).0, &OPTIONS, len);
    }
    for len in [0, 11, BLOCK, u32::MAX] {
        let error = refused(&with, &Options { cleanmarkers: Cleanmarkers::Of(len), ..OPTIONS });
        assert!(matches!(error, SumError::Cleanmarker(said) if said == len), "{error}");
    }
    let error = refused(&with, &Options { cleanmarkers: Cleanmarkers::Of(BLOCK - 4), ..OPTIONS });
    assert!(matches!(error, SumError::Build(BuildError::Node { room: 4, .. })), "{error}");
}

#[test]
fn nothing_comes_back() {
    let gone = [dirent(b"obsolete", 1, 2), inode(2, 1, b"obsolete")].map(obsolete);
    let kept = [
        dirent(b"old", 2, 3),
        inode(3, 1, b"old"),
        dirent(b"deleted", 3, 4),
        inode(4, 1, b"deleted"),
        inode(3, 2, b"new"),
        dirent(b"deleted", 4, 0),
        // Of equal versions the later one wins.
        dirent(b"old", 5, 3),
        inode(3, 2, b"newer"),
    ];
    let mut all: Vec<&[u8]> = gone.iter().map(Vec::as_slice).collect();
    all.extend(kept.iter().map(Vec::as_slice));
    let image = image_of(&[&all[..3], &all[3..6], &all[6..]]);
    let (out, _) = summarized(&image, &OPTIONS);
    let cut: Vec<&[u8]> =
        kept.iter().map(|node| &node[..Header::parse(LITTLE, node).unwrap().totlen as usize]).collect();
    assert_eq!(nodes(&out, &OPTIONS), cut);
    assert_eq!(tree_of(&out, &OPTIONS), tree_of(&image, &OPTIONS));
    assert_eq!(tree_of(&out, &OPTIONS).len(), 2);
}

/// An eraseblock of which the summary lists only the first `listed` nodes.
fn partly_listed(all: &[&[u8]], listed: usize) -> Vec<u8> {
    let mut block = image_of(&[all]);
    let len = BLOCK as usize - block.len();
    let whole = summarized(&image_of(&[&all[..listed]]), &OPTIONS).0;
    let summary = Summary::parse(LITTLE, &whole[Summary::locate(LITTLE, &whole).unwrap()..]).unwrap();
    assert_eq!(summary.entries.len(), listed);
    summary.emit(LITTLE, &mut block, len, BLOCK);
    block
}

#[test]
fn what_no_reader_sees_stays_unseen() {
    let all = [dirent(b"seen", 1, 2), inode(2, 1, b"seen"), dirent(b"hidden", 2, 3), inode(3, 1, b"hidden")];
    let all = all.each_ref().map(Vec::as_slice);
    let two_blocks = image_of(&[&all[..2], &all[2..]]);
    let with_blank = |at: usize, len: usize| {
        let mut image = two_blocks.clone();
        image.splice(at..at, vec![0xff; len]);
        image
    };
    let at = BLOCK as usize;
    for (what, image, rest) in [
        ("a blank head", with_blank(at, 256), 1),
        ("blank behind a cleanmarker", with_blank(at + 12, 20), 1),
        ("a summary that does not list it", partly_listed(&all, 2), 0),
    ] {
        let (out, report) = summarized(&image, &OPTIONS);
        assert_eq!(nodes(&out, &OPTIONS), nodes(&two_blocks[..at], &OPTIONS), "{what}");
        assert_eq!((report.nodes, report.eraseblocks, report.damage), (2, 1, 0), "{what}");
        assert_eq!(tree_of(&out, &OPTIONS).len(), 2, "{what}: {rest}");
    }
    let (_, report) = summarized(&with_blank(at, 252), &OPTIONS);
    assert_eq!(report.nodes, 4, "a head that is not blank enough");
}

#[test]
fn unknown_types_go_by_their_compatibility() {
    let (first, last) = (dirent(b"file", 1, 2), inode(2, 1, b"content"));
    let with = |kind| image_of(&[&[&first, &unknown(kind), &last]]);
    let (out, report) = summarized(&with(0x6123), &OPTIONS);
    assert_eq!(nodes(&out, &OPTIONS), nodes(&with(0x6123), &OPTIONS));
    assert_eq!((report.nodes, report.unlisted_blocks, report.left_out), (3, 1, 0));
    assert_eq!(Summary::locate(LITTLE, &out), None);
    assert_eq!(out.len(), 12 + 44 + 28 + 76, "no padding that nobody asked for");
    assert_eq!(summarized(&with(0x6123), &Options { pad: true, ..OPTIONS }).0.len(), BLOCK as usize);

    let (out, report) = summarized(&with(0x2123), &OPTIONS);
    check_summaries(&out, &OPTIONS, 12);
    assert_eq!((report.nodes, report.unlisted_blocks, report.left_out), (2, 0, 1));

    for kind in [0xa123, 0xe123] {
        let error = refused(&with(kind), &OPTIONS);
        assert!(matches!(&error, SumError::Unknown(node) if (node.at, node.nodetype) == (12 + 44, kind)), "{error}");
        let mut hidden = with(kind);
        hidden.splice(0..12, [0xff; 256]);
        hidden.splice(0..0, image_of(&[&[&first, &last], &[]])[..BLOCK as usize].to_vec());
        assert_eq!(summarized(&hidden, &OPTIONS).1.nodes, 2, "one that no reader sees");
        assert_eq!(summarized(&image_of(&[&[&first, &obsolete(unknown(kind)), &last]]), &OPTIONS).1.nodes, 2);
    }
}

#[test]
fn an_eraseblock_goes_without_a_summary_if_a_node_needs_its_room() {
    let large = inode(2, 1, &noise(BLOCK as usize - 12 - 68));
    let image = image_of(&[&[&dirent(b"first", 1, 2)], &[&large], &[&dirent(b"last", 2, 2)]]);
    let (out, report) = summarized(&image, &OPTIONS);
    assert_eq!((report.eraseblocks, report.unlisted_blocks), (3, 1));
    for (block, summary) in out.chunks(BLOCK as usize).zip([true, false, true]) {
        assert_eq!(Summary::locate(LITTLE, block).is_some(), summary);
    }
    assert_eq!(nodes(&out, &OPTIONS), nodes(&image, &OPTIONS));
    assert_eq!(tree_of(&out, &OPTIONS), tree_of(&image, &OPTIONS));
    let error = refused(&image, &Options { cleanmarkers: Cleanmarkers::Of(16), ..OPTIONS });
    let BuildError::Node { size, room } = (match error {
        SumError::Build(error) => error,
        error => panic!("{error}"),
    }) else {
        panic!("another error")
    };
    assert_eq!((size, room), (BLOCK as usize - 12, BLOCK as usize - 16));
}

#[test]
fn damage_is_counted_and_what_it_hides_stays_hidden() {
    let mut bad_data = inode(2, 2, b"new");
    bad_data[68] ^= 1;
    let mut bad_fields = inode(2, 3, b"newest");
    bad_fields[30] ^= 1;
    let mut bad_value = Vec::new();
    Xattr { xid: 1, version: 2, prefix: xprefix::USER, name: b"name", value: b"value" }.emit(LITTLE, &mut bad_value);
    bad_value[37] ^= 1;
    let mut older = Vec::new();
    Xattr { xid: 1, version: 1, prefix: xprefix::USER, name: b"name", value: b"value" }.emit(LITTLE, &mut older);
    let mut tie = Vec::new();
    Xref { ino: 2, xid: 1, seqno: 2 }.emit(LITTLE, &mut tie);
    let good = [dirent(b"file", 1, 2), inode(2, 1, b"old"), older, tie];
    let all = [&good[0], &good[1], &good[2], &good[3], &bad_data, &bad_fields, &bad_value];
    let image = image_of(&[&all.map(Vec::as_slice)]);
    let (out, report) = summarized(&image, &OPTIONS);
    let first = image.len() - (bad_data.len() + bad_fields.len() + bad_value.len());
    assert_eq!((report.nodes, report.damage, report.first_damage), (6, 3, Some(first as u32)));
    check_summaries(&out, &OPTIONS, 12);
    assert_eq!(tree_of(&out, &OPTIONS), tree_of(&image, &OPTIONS));
    assert!(tree_of(&out, &OPTIONS)[1].ends_with("[111, 108, 100]) []"), "{:?}", tree_of(&out, &OPTIONS));
    let mut garbage = image_of(&[&[&good[0], b"not a node..", &good[1]]]);
    garbage.extend_from_slice(&[0; 40]);
    assert_eq!(summarized(&garbage, &OPTIONS).1.damage, 1);
}

#[test]
fn images_that_are_not_what_is_said_are_refused() {
    let image = built(&OPTIONS, true, false);
    let error = refused(&image, &Options { endian: Endian::Big, ..OPTIONS });
    assert_eq!(error.to_string(), "the image is little endian: give -l");
    for eraseblock in [4 << 10, 16 << 10] {
        let error = refused(&image, &Options { eraseblock, ..OPTIONS });
        assert!(matches!(error, SumError::Detect(DetectError::Eraseblock { likely: BLOCK, .. })), "{error}");
    }
    for eraseblock in [0, 1, 2048, 5000, 32 << 20] {
        let error = refused(&image, &Options { eraseblock, ..OPTIONS });
        assert!(matches!(error, SumError::Eraseblock(said) if said == eraseblock), "{error}");
    }
    let whole = image_of(&[&[&dirent(b"file", 1, 2), &inode(2, 1, b"content")]]);
    let error = refused(&whole[..whole.len() - 2], &OPTIONS);
    assert!(matches!(error, SumError::Cut { missing: 1, .. }), "{error}");
    let error = refused(&noise(100_000), &OPTIONS);
    assert!(matches!(error, SumError::Detect(DetectError::NotJffs2)), "{error}");
    let layout: OobLayout = "512+16".parse().unwrap();
    let dump: Vec<u8> = image.chunks(512).flat_map(|page| [page, &[0xff; 16]].concat()).collect();
    assert!(matches!(refused(&dump, &OPTIONS), SumError::Spare(found) if found == layout));
}

#[test]
fn nothing_gives_nothing() {
    for image in [vec![], vec![0xff; 3 * BLOCK as usize], image_of(&[&[], &[]])] {
        assert_eq!(summarized(&image, &OPTIONS), (vec![], Report::default()));
    }
}

#[test]
fn an_end_mark_ends_the_image() {
    let mut image = built(&OPTIONS, true, false);
    let whole = summarized(&image, &OPTIONS).0;
    let end = image.len().next_multiple_of(BLOCK as usize);
    image.resize(end, 0xff);
    image.extend_from_slice(&[0xde, 0xad, 0xc0, 0xde]);
    image.resize(end + BLOCK as usize, 0);
    image.extend_from_slice(&image_of(&[&[&dirent(b"from before", 9000, 2)]]));
    let (out, report) = summarized(&image, &OPTIONS);
    assert_eq!((out, report.end_mark), (whole, Some(end as u64)));
}

/// Says that it is so long.
struct Long(Cursor<Vec<u8>>, u64);

impl Read for Long {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Seek for Long {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let SeekFrom::End(_) = to { Ok(self.1) } else { self.0.seek(to) }
    }
}

#[test]
fn no_image_reaches_4_gib() {
    let image = built(&OPTIONS, true, false);
    for len in [1 << 32, (1 << 32) - 1, u64::MAX] {
        let error = summarize(Long(Cursor::new(image.clone()), len), &OPTIONS, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, SumError::FourGib(said) if said == len), "{error}");
    }
}

#[test]
fn transactions_stay_what_they_are() {
    let options = Options { eraseblock: 64 << 10, ..OPTIONS };
    let size = options.eraseblock as usize * 24;
    let mut image = built(&options, true, false);
    image.resize(size, 0xff);
    let before = tree_of(&image, &options);
    for commits in [false, true] {
        let mut flash = flash_of(&image, options.eraseblock, FlashKind::Nor);
        let mut tx = Transaction::begin(&mut flash, LITTLE, TxOptions::default()).unwrap();
        tx.mkdir(b"/new", META).unwrap();
        for n in 0..30 {
            tx.create_file(format!("/new/{n}").as_bytes(), META, &noise(9000)).unwrap();
        }
        if commits {
            tx.commit().unwrap();
        } else {
            drop(tx);
        }
        let (out, report) = summarized(flash.data(), &options);
        check_summaries(&out, &options, 12);
        assert!(report.left_out > 0);
        let lines = tree_of(&out, &options);
        assert_eq!(lines, listing(&flash, Rules { endian: LITTLE, summaries: true }));
        assert_eq!(lines.len(), before.len() + if commits { 31 } else { 0 });
        let new = flash_of(&out, options.eraseblock, FlashKind::Nor);
        let index = Index::open(&new, Rules { endian: LITTLE, summaries: true }).unwrap();
        assert!(index.markers().is_empty());
        let found = check(&new, &index).unwrap();
        assert!(found.iter().all(|finding| finding.severity < Severity::Error), "{found:?}");
    }
}
