//! Where the space went, and what is left for updates.

use jffs2_mkimage::room::Room;
use jffs2_mkimage::usage::{LARGEST, usage};
use jffs2_mkimage::{BuildError, Options, Report, build, build_with};
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::inode_kind::Meta;
use jffs2_tx::source::{Content, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::{Endian, Transaction, TxError, TxOptions};

const META: Meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 0 };

fn noise(len: usize, mut state: u32) -> Vec<u8> {
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

fn file(bytes: Vec<u8>) -> SourceNode {
    SourceNode { meta: META, kind: SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes) } }
}

#[test]
fn every_byte_of_a_node_counts_once() {
    let mut tree = SourceTree::new(META);
    let directory = || SourceNode { meta: META, kind: SourceKind::Directory(Default::default()) };
    let a = tree.add(ROOT, b"a", directory()).unwrap();
    let deep = tree.add(a, b"deep", directory()).unwrap();
    let empty = tree.add(ROOT, b"empty", directory()).unwrap();
    let linked = tree.add(deep, b"linked", file(noise(5000, 1))).unwrap();
    tree.link(empty, b"same", linked).unwrap();
    for number in 0..LARGEST {
        tree.add(a, format!("{number}").as_bytes(), file(noise(100 + 4 * number, 2))).unwrap();
    }
    let options = Options { cleanmarkers: false, eraseblock: 1 << 20, ..Options::default() };
    let built = build_with(&tree, &options, &mut std::io::sink(), &mut |_| {}).unwrap();
    let found = usage(&tree, &built);
    // Without cleanmarkers, in one eraseblock, an image is nothing but its nodes.
    assert_eq!(built.flash_bytes.iter().sum::<u64>(), built.report.bytes);
    let directories: Vec<_> =
        found.directories.iter().map(|used| (&*used.path, used.bytes, used.flash_bytes)).collect();
    let small: u64 = (0..LARGEST as u64).map(|number| 100 + 4 * number).sum();
    // An inode's node without data takes 68 bytes, a dirent 40 and its name, all padded to words of four.
    let same = 68 + 44;
    let in_deep = 68 + 48 + 2 * 68 + 5000;
    let in_a = built.report.bytes - same - (68 + 44 + 48);
    assert_eq!(
        directories,
        [
            ("/", small + 5000, built.report.bytes),
            ("/a", small + 5000, in_a),
            ("/a/deep", 5000, in_deep),
            ("/empty", 0, same)
        ]
    );
    let files: Vec<_> = found.largest_files.iter().map(|used| (&*used.path, used.bytes)).collect();
    assert_eq!((files.len(), files[0], files[1]), (LARGEST, ("/a/deep/linked", 5000), ("/a/19", 176)));
}

#[test]
fn largest_files_are_those_that_take_most_flash() {
    let mut tree = SourceTree::new(META);
    for (name, bytes) in [("hole", vec![0; 1 << 20]), ("b", noise(500, 1)), ("a", noise(500, 2)), ("c", noise(501, 3))]
    {
        tree.add(ROOT, name.as_bytes(), file(bytes)).unwrap();
    }
    let built = build_with(&tree, &Options::default(), &mut std::io::sink(), &mut |_| {}).unwrap();
    let found: Vec<_> = usage(&tree, &built).largest_files.into_iter().map(|used| used.path).collect();
    assert_eq!(found, ["/c", "/a", "/b", "/hole"]);
}

/// Whether a transaction with so many bytes of new files, which do not compress, fits beside the image.
fn fits(image: &[u8], geometry: Geometry, bytes: u64) -> bool {
    let mut flash = MemFlash::with_data(geometry, image.to_vec());
    let mut tx = Transaction::begin(&mut flash, Endian::Little, TxOptions::default()).unwrap();
    tx.create_file(b"/new", META, &noise(bytes as usize, 9)).unwrap();
    match tx.commit() {
        Ok(_) => true,
        Err(TxError::NoSpace { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_largest_transaction_fits_and_a_little_more_does_not() {
    let mut tree = SourceTree::new(META);
    tree.add(ROOT, b"old", file(noise(300_000, 3))).unwrap();
    for (kind, page, eraseblock, size) in [
        (FlashKind::Nor, 1, 64 << 10, 4 << 20),
        (FlashKind::Nor, 1, 8 << 10, 2 << 20),
        (FlashKind::Nand, 2048, 128 << 10, 16 << 20),
        (FlashKind::Nand, 512, 16 << 10, 4 << 20),
    ] {
        let options = Options { eraseblock, cleanmarkers: kind == FlashKind::Nor, ..Options::default() };
        let geometry = Geometry::new(kind, size, eraseblock, page).unwrap();
        let mut image = Vec::new();
        let report = build(&tree, &options, &mut image).unwrap();
        let room = Room::new(&report, &options, size).unwrap();
        assert!(fits(&image, geometry, room.transaction_bytes), "{geometry:?} {room:?}");
        let more = room.transaction_bytes + 3 * u64::from(eraseblock);
        assert!(!fits(&image, geometry, more), "{geometry:?} {room:?}");
    }
}

#[test]
fn flash_that_is_too_small_or_none() {
    let report = Report { eraseblocks: 17, ..Report::default() };
    let of = |size| Room::new(&report, &Options::default(), size);
    assert_eq!(of(17 << 16).map(|room| (room.free, room.transaction_bytes)).unwrap(), (0, 0));
    assert!(matches!(of(16 << 16), Err(BuildError::TooLarge { .. })));
    assert!(matches!(of((17 << 16) + 1), Err(BuildError::PadSize { .. })));
}
