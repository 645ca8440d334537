//! Every byte outside the losses is the one that was written last.

use proptest::prelude::*;
use std::vec;

use super::*;
use crate::index::extents;

fn node(version: u32, offset: u32, dsize: u32, isize: u32) -> InodeRecord {
    let (at, mode) = (version * 100, 0o100_644);
    InodeRecord { ino: 2, version, at, offset, dsize, csize: 0, isize, mode, compression: 0, good: true }
}

fn bad(node: InodeRecord) -> InodeRecord {
    InodeRecord { good: false, ..node }
}

fn suspect(node: &InodeRecord) -> Suspect {
    let held = Held::Data { start: node.offset, end: node.offset + node.dsize, isize: node.isize };
    Suspect { at: node.at, ino: node.ino, version: node.version, held, exact: true }
}

fn lost(nodes: &[InodeRecord], suspects: &[Suspect]) -> Vec<(u32, u32, Option<u32>, &'static str)> {
    let (size, extents) = extents(nodes);
    let found = losses(nodes, suspects, size, &extents);
    found.iter().map(|loss| (loss.start, loss.end, loss.at, loss.reason.code())).collect()
}

#[test]
fn nothing_is_lost() {
    assert_eq!(lost(&[node(1, 0, 10, 10), node(2, 10, 10, 20)], &[]), []);
    // Superseded, cut off, or a copy of a good one.
    assert_eq!(lost(&[bad(node(1, 0, 10, 10)), node(2, 0, 10, 10)], &[]), []);
    assert_eq!(lost(&[node(1, 0, 10, 10), bad(node(2, 10, 10, 20)), node(3, 0, 0, 10)], &[]), []);
    assert_eq!(lost(&[node(1, 0, 10, 10), bad(node(1, 0, 10, 10))], &[]), []);
    assert_eq!(lost(&[node(2, 0, 10, 10)], &[suspect(&node(1, 0, 10, 10))]), []);
}

#[test]
fn each_kind_of_loss() {
    let first = node(1, 0, 10, 10);
    assert_eq!(lost(&[first, bad(node(2, 5, 10, 15))], &[]), [(5, 15, Some(200), "data-crc")]);
    assert_eq!(lost(&[first], &[suspect(&node(2, 5, 10, 15))]), [(5, 15, Some(200), "node-crc")]);
    assert_eq!(lost(&[first, node(3, 20, 10, 30)], &[]), [(10, 20, None, "missing")]);
    assert_eq!(lost(&[first, node(2, 0, 0, 30)], &[]), [(10, 30, None, "cut")]);
    assert_eq!(lost(&[first], &[suspect(&node(2, 0, 0, 3))]), [(3, 10, Some(200), "node-crc")], "a truncation");
    // Of two bad ones the newer is what is missed.
    let nodes = [first, bad(node(2, 0, 8, 10)), bad(node(3, 0, 4, 10))];
    assert_eq!(lost(&nodes, &[]), [(0, 4, Some(300), "data-crc"), (4, 8, Some(200), "data-crc")]);
}

/// What a writer does to a file.
#[derive(Clone, Debug)]
enum Step {
    Write(u32, u32),
    Truncate(u32),
}

/// What becomes of its node.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Good,
    BadData,
    BadFields,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..60_u32, 1..30_u32).prop_map(|(at, len)| Step::Write(at, len)),
        1 => (0..90_u32).prop_map(Step::Truncate),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![3 => Just(Fate::Good), 1 => Just(Fate::BadData), 1 => Just(Fate::BadFields)]
}

proptest! {
    /// Bytes are the version that wrote them, 0 for holes; as Linux does, growing writes a hole node first.
    #[test]
    fn what_is_not_listed_is_right(steps in proptest::collection::vec((step(), fate()), 1..12)) {
        let (mut version, mut file) = (1, Vec::<u32>::new());
        let (mut nodes, mut suspects) = (vec![node(1, 0, 0, 0)], Vec::new());
        let mut put = |file: &mut Vec<u32>, at: u32, len: u32, end: u32, fate: Fate| {
            version += 1;
            file.resize(end as usize, 0);
            file[at as usize..(at + len) as usize].fill(version);
            let node = node(version, at, len, end);
            match fate {
                // No data, no bad data.
                Fate::BadData if len > 0 => nodes.push(bad(node)),
                Fate::BadFields => suspects.push(suspect(&node)),
                _ => nodes.push(node),
            }
        };
        for (step, fate) in steps {
            let size = file.len() as u32;
            match step {
                Step::Write(at, len) => {
                    if at > size {
                        put(&mut file, size, at - size, at, fate);
                    }
                    put(&mut file, at, len, (at + len).max(size), fate);
                }
                Step::Truncate(to) if to <= size => put(&mut file, 0, 0, to, fate),
                Step::Truncate(to) => put(&mut file, size, to - size, to, fate),
            }
        }
        let (size, extents) = extents(&nodes);
        let mut seen = vec![0; size as usize];
        for extent in &extents {
            seen[extent.start as usize..extent.end as usize].fill(nodes[extent.node].version);
        }
        let lost = losses(&nodes, &suspects, size, &extents);
        prop_assert!(lost.windows(2).all(|pair| pair[0].end <= pair[1].start), "{lost:?}");
        for at in 0..seen.len().max(file.len()) {
            let listed = lost.iter().any(|loss| (loss.start..loss.end).contains(&(at as u32)));
            prop_assert!(listed || seen.get(at) == file.get(at), "byte {at} of {seen:?}, not {file:?}: {lost:?}");
        }
    }
}
