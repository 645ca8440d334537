//! What images betray, kind by kind.

use super::*;
use crate::wire::{Cleanmarker, Compression, Dirent, Inode, Marker, MarkerKind};
use std::vec;

const E: Endian = Endian::Little;

/// Eraseblocks of 32 KiB, each begun by `first` and filled with names.
fn image(blocks: usize, mut first: impl FnMut(usize, &mut Vec<u8>)) -> Vec<u8> {
    let mut all = Vec::new();
    for block in 0..blocks {
        let mut bytes = Vec::new();
        first(block, &mut bytes);
        while bytes.len() + 96 <= 0x8000 {
            Dirent { pino: 1, version: 1, ino: 2, mctime: 0, kind: 8, name: &[b'n'; 55] }.emit(E, &mut bytes);
        }
        bytes.resize(0x8000, 0xff);
        all.append(&mut bytes);
    }
    all
}

fn detect(image: &[u8]) -> Detected {
    Survey::of(image).unwrap().detect().unwrap()
}

#[test]
fn eraseblocks_without_cleanmarkers_do_not_double_the_size() {
    let mixed = image(8, |block, bytes| {
        if block % 2 == 0 {
            Cleanmarker::emit(E, bytes, 12);
        }
    });
    let found = detect(&mixed);
    assert_eq!((found.eraseblock, found.sure, found.kind), (0x8000, true, FlashKind::Nor));
    assert!(Survey::of(&mixed[..]).unwrap().check_eraseblock(0x1_0000).is_ok());
}

#[test]
fn begin_markers_stand_at_eraseblock_starts() {
    let begin = Marker {
        kind: MarkerKind::Begin,
        commit_point: None,
        sequence: 1,
        txid: [1; 16],
        commit_block: u32::MAX,
        nodes: 0,
        bytes: 0,
        time: 0,
        digest: [0; 32],
        label: String::new(),
    };
    let survey = Survey::of(&image(4, |_, bytes| begin.emit(E, bytes))[..]).unwrap();
    assert_eq!(survey.detect().unwrap().eraseblock, 0x8000);
    assert!(matches!(survey.check_eraseblock(0x1_0000), Err(DetectError::Eraseblock { likely: 0x8000, .. })));
    assert!(matches!(survey.check_eraseblock(0x4000), Err(DetectError::Eraseblock { likely: 0x8000, .. })));
}

#[test]
fn one_stray_node_does_not_outvote_the_rest() {
    let mut bytes = image(40, |_, _| {});
    // Part of some other image, in a file that was stored as it is and lost its own header.
    bytes.truncate(0x12_7fa0);
    Dirent { pino: 1, version: 1, ino: 2, mctime: 0, kind: 8, name: &[b'n'; 200] }.emit(E, &mut bytes);
    assert_eq!(detect(&bytes).eraseblock, 0x8000);
}

#[test]
fn nodes_are_found_wherever_reads_and_windows_end() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = buf.len().min(7001);
            self.0.read(&mut buf[..len])
        }
    }
    let bytes = image(200, |_, _| {});
    let survey = Survey::of(Slow(&bytes)).unwrap();
    assert_eq!(survey.nodes(E), 200 * (0x8000 / 96));
    assert_eq!(survey.detect().unwrap(), detect(&bytes));
}

#[test]
fn nothing_to_go_by_is_not_sure() {
    let mut bytes = Vec::new();
    Cleanmarker::emit(E, &mut bytes, 16);
    let found = detect(&bytes);
    assert_eq!((found.eraseblock, found.page_size, found.sure), (0x1_0000, 16, false));
    bytes.resize(0x5000, 0xff);
    assert_eq!(detect(&bytes).eraseblock, 0x1000);
    assert!(matches!(Survey::of(&vec![0xff; 5000][..]).unwrap().detect(), Err(DetectError::Blank)));
    assert!(matches!(Survey::of(io::empty()).unwrap().detect(), Err(DetectError::Empty)));
}

/// Numbers that look random.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

fn inode(version: u32, len: u32) -> Inode {
    Inode {
        ino: 2,
        version,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        isize: len,
        atime: 0,
        mtime: 0,
        ctime: 0,
        offset: 0,
        csize: 0,
        dsize: len,
        compression: Compression::None,
        data_crc: 0,
    }
}

/// Eraseblocks of nodes of many lengths, as NAND has them; `tail` bytes at their ends stay blank.
fn of_all_lengths(endian: Endian, blocks: usize, eraseblock: usize, tail: usize) -> Vec<u8> {
    let mut next = numbers(eraseblock as u64);
    let (mut all, mut version) = (Vec::new(), 0);
    for block in 1..=blocks {
        while all.len() + 300 + tail < block * eraseblock {
            version += 1;
            let room = block * eraseblock - all.len() - tail - 300;
            let len = [8, 60, 600, 2000, 4096][next(5)].min(room);
            let data: Vec<u8> = (0..len).map(|_| next(256) as u8).collect();
            inode(version, len as u32).emit(endian, &mut all, &data);
        }
        all.resize(block * eraseblock, 0xff);
    }
    all
}

/// The dump of an image: behind pages that are not blank what could be ECC bytes.
fn dumped(image: &[u8], layout: OobLayout) -> Vec<u8> {
    let mut next = numbers(7);
    let mut dump = Vec::new();
    for page in image.chunks(layout.page() as usize) {
        let written = page.iter().any(|byte| *byte != 0xff);
        dump.extend_from_slice(page);
        dump.resize(dump.len() + layout.page() as usize - page.len(), 0xff);
        dump.extend((0..layout.spare()).map(|at| if written && at > 9 { next(256) as u8 } else { 0xff }));
    }
    dump
}

#[test]
fn dumps_are_told_from_plain_images_and_from_each_other() {
    for (eraseblock, tail) in [(0x4000, 0), (0x4000, 64), (0x2_0000, 16), (0x2_0000, 128), (0x4_0000, 224)] {
        for endian in [Endian::Little, Endian::Big] {
            let image = of_all_lengths(endian, (0x4_0000 / eraseblock).max(4), eraseblock, tail);
            assert_eq!(Survey::of(&image[..]).unwrap().dump(), None, "{eraseblock:#x} {tail}");
            for layout in LAYOUTS {
                let dump = dumped(&image, layout);
                let found = Survey::of(&dump[..]).unwrap().dump().unwrap();
                assert_eq!((found.layout, found.sure), (layout, true), "{eraseblock:#x} {tail} {}", found.evidence);
            }
        }
    }
}

#[test]
fn cleanmarkers_alone_show_a_dump() {
    for layout in LAYOUTS {
        for place in [0, 2, 8] {
            let mut dump = dumped(&[0xff; 8 * 0x2_0000], layout);
            let block = layout.dump_len(0x2_0000) as usize;
            for start in (0..dump.len()).step_by(block) {
                let at = start + layout.page() as usize + place;
                dump[at..at + 8].copy_from_slice(&Cleanmarker::oob(E));
            }
            assert_eq!(Survey::of(&dump[..]).unwrap().dump().unwrap().layout, layout, "{place}");
        }
    }
}

#[test]
fn an_end_mark_counts_on_the_grid_only() {
    let mut bytes = image(8, |block, bytes| {
        if block == 5 {
            bytes.extend(END_MARK);
        }
    });
    assert_eq!(detect(&bytes).end, Some(5 * 0x8000));
    bytes[0x1000..0x1004].copy_from_slice(&END_MARK);
    bytes[0x1004..0x8000].fill(0xff);
    assert_eq!((detect(&bytes).eraseblock, detect(&bytes).end), (0x8000, Some(5 * 0x8000)));
    bytes[..4].copy_from_slice(&END_MARK);
    assert!(matches!(Survey::of(&bytes[..]).unwrap().detect(), Err(DetectError::Ended)));
}

#[test]
fn a_node_that_the_end_cuts_is_reported() {
    let bytes = image(4, |_, _| {});
    assert_eq!(detect(&bytes[..0x1_8000]).cut, None);
    assert_eq!(detect(&bytes[..0x1_8000 - 32 - 96]).cut, None);
    let node = 0x1_0000 + 96 * 7;
    for kept in [12, 40, 94] {
        let missing = 95 - kept as u64;
        assert_eq!(detect(&bytes[..node + kept]).cut, Some(Cut { at: node as u64, missing }));
    }
}
