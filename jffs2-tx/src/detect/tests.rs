//! What images betray, kind by kind.

use super::*;
use crate::wire::{Cleanmarker, Dirent, Marker, MarkerKind};
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
