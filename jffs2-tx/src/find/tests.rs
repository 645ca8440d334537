//! Which nodes make a file system.

use super::regions::Regions;
use crate::detect::{END_MARK, walk};
use crate::scan::written_end;
use crate::wire::{Cleanmarker, Dirent, Endian};
use std::vec::Vec;

const L: Endian = Endian::Little;
const B: Endian = Endian::Big;

/// Names that make up eraseblocks of 4 KiB, the last padded.
fn image(endian: Endian, names: u32, text: u8) -> Vec<u8> {
    let mut all = Vec::new();
    for version in 0..names {
        if all.len() % 4096 > 4096 - 100 {
            all.resize(all.len().next_multiple_of(4096), 0xff);
        }
        if all.len().is_multiple_of(4096) {
            Cleanmarker::emit(endian, &mut all, 12);
        }
        Dirent { pino: 1, version, ino: version + 2, mctime: 0, kind: 8, name: &[text; 40] }.emit(endian, &mut all);
    }
    all.resize(all.len().next_multiple_of(4096), 0xff);
    all
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(n >> 3) >> 40) as u8).collect()
}

/// Start and byte order of what is found.
fn regions(parts: &[&[u8]]) -> Vec<(u64, Endian)> {
    let bytes = parts.concat();
    let mut regions = Regions::default();
    walk(&bytes[..], |at, rest| regions.step(at, &rest)).unwrap();
    regions.finish();
    regions.done.iter().map(|region| (region.start, region.endian)).collect()
}

#[test]
fn one_or_several_wherever_they_stand() {
    let (one, two, big) = (image(L, 200, b'a'), image(L, 200, b'b'), image(B, 200, b'a'));
    let len = one.len() as u64;
    assert_eq!(regions(&[&one]), [(0, L)]);
    assert_eq!(regions(&[&noise(12_345), &one, &noise(999)]), [(12_345, L)]);
    assert_eq!(regions(&[&one, &big, &one]), [(0, L), (len, B), (2 * len, L)]);
    // On one grid, in one byte order: they contradict each other.
    assert_eq!(regions(&[&one, &two]), [(0, L), (len, L)]);
    assert_eq!(regions(&[&one, &[0xff; 8192], &two]), [(0, L), (len + 8192, L)]);
    // Without as much as a blank byte between them.
    let end = written_end(&one);
    assert_eq!(regions(&[&one[..end], &two[12..]]), [(0, L), (end as u64, L)]);
    // Off the grid, or behind what is none.
    let rest = image(L, 300, b'a')[len as usize..].to_vec();
    assert_eq!(regions(&[&one, &rest]), [(0, L)]);
    assert_eq!(regions(&[&one, &[0xff; 20], &rest]), [(0, L), (len + 20, L)]);
    assert_eq!(regions(&[&one, &noise(8192), &rest]), [(0, L)]);
    assert_eq!(regions(&[&one, &noise(400 << 10), &rest]), [(0, L), (len + (400 << 10), L)]);
}

#[test]
fn an_end_mark_ends_it() {
    let one = image(L, 200, b'a');
    let behind = one.len() as u64 + 4096;
    let mut mark = [0xff; 4096];
    assert_eq!(regions(&[&one, &mark, &image(L, 300, b'a')[one.len()..]]), [(0, L)]);
    mark[..4].copy_from_slice(&END_MARK);
    assert_eq!(regions(&[&one, &mark, &image(L, 300, b'a')[one.len()..]]), [(0, L), (behind, L)]);
}

#[test]
fn nodes_that_collection_copied_do_not_split_it() {
    let one = image(L, 200, b'a');
    let rest = image(L, 400, b'a')[one.len()..].to_vec();
    assert_eq!(regions(&[&one, &one[..8192], &rest]), [(0, L)]);
}

#[test]
fn two_stray_nodes_do_not_split_it() {
    let one = image(L, 400, b'a');
    let mut stray = Vec::new();
    for version in 1..3 {
        Dirent { pino: 1, version, ino: 2, mctime: 0, kind: 8, name: b"stray" }.emit(B, &mut stray);
    }
    assert_eq!(regions(&[&one[..8192], &stray, &noise(4096 - stray.len()), &one[8192..]]), [(0, L)]);
}

#[test]
fn one_weak_sign_is_none() {
    let mut program = noise(1 << 20);
    for (at, endian) in [(1001, L), (500_000, B)] {
        let mut marker = Vec::new();
        Cleanmarker::emit(endian, &mut marker, 12);
        program[at..at + 12].copy_from_slice(&marker);
    }
    assert_eq!(regions(&[&program]), []);
    assert_eq!(regions(&[]), []);
    let mut blank = Vec::new();
    for _ in 0..3 {
        Cleanmarker::emit(B, &mut blank, 12);
        blank.resize(blank.len().next_multiple_of(4096), 0xff);
    }
    assert_eq!(regions(&[&program, &blank]), [(1 << 20, B)]);
}
