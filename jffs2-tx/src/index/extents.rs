//! One file's data as ranges of nodes.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::scan::InodeRecord;

/// A range of a file and the node that has its bytes. What lies between ranges reads as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Start in the file, bytes.
    pub start: u32,
    /// End in the file, bytes.
    pub end: u32,
    /// The node, as an index into the slice that [`extents`] was given.
    pub node: usize,
}

/// The file's size and its ranges, ascending, from its nodes ascending by version. A higher version covers a lower
/// one; the newest good node's isize cuts the rest off, and a size that no node reaches is cut to what is there
/// (Linux fs/jffs2/readinode.c does the same).
#[must_use]
pub fn extents(nodes: &[InodeRecord]) -> (u32, Vec<Extent>) {
    let good = |node: &&InodeRecord| node.good;
    let Some(latest) = nodes.iter().rev().find(good) else { return (0, Vec::new()) };
    let reach = nodes
        .iter()
        .filter(good)
        .filter(|node| node.dsize > 0)
        .map(|node| node.offset.saturating_add(node.dsize))
        .max()
        .unwrap_or(0);
    let size = latest.isize.min(reach);
    let mut gaps = BTreeMap::from([(0, size)]);
    let mut found = Vec::new();
    for (at, node) in nodes.iter().enumerate().rev() {
        if node.good && node.dsize > 0 {
            cover(&mut gaps, node.offset, node.offset.saturating_add(node.dsize), at, &mut found);
        }
    }
    found.sort_unstable_by_key(|extent| extent.start);
    (size, found)
}

/// Gives the parts of `start..end` that no newer node has to node `node`.
pub(crate) fn cover(gaps: &mut BTreeMap<u32, u32>, start: u32, end: u32, node: usize, found: &mut Vec<Extent>) {
    if start >= end {
        return;
    }
    let first = gaps.range(..=start).next_back().map_or(start, |gap| *gap.0);
    let touched: Vec<(u32, u32)> = gaps.range(first..end).map(|gap| (*gap.0, *gap.1)).collect();
    for (gap_start, gap_end) in touched {
        let (from, to) = (gap_start.max(start), gap_end.min(end));
        if from >= to {
            continue;
        }
        gaps.remove(&gap_start);
        if gap_start < from {
            gaps.insert(gap_start, from);
        }
        if to < gap_end {
            gaps.insert(to, gap_end);
        }
        found.push(Extent { start: from, end: to, node });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(version: u32, offset: u32, dsize: u32, isize: u32) -> InodeRecord {
        InodeRecord {
            ino: 2,
            version,
            at: 0,
            offset,
            dsize,
            csize: 0,
            isize,
            mode: 0o100_644,
            compression: 1,
            good: true,
        }
    }

    #[test]
    fn newest_wins_and_isize_cuts() {
        let nodes = [node(1, 0, 100, 100), node(2, 40, 20, 100), node(3, 0, 0, 90)];
        let (size, found) = extents(&nodes);
        assert_eq!(size, 90);
        let ranges: Vec<_> = found.iter().map(|e| (e.start, e.end, e.node)).collect();
        assert_eq!(ranges, [(0, 40, 0), (40, 60, 1), (60, 90, 0)]);
    }

    #[test]
    fn a_size_that_nothing_reaches_is_cut() {
        assert_eq!(extents(&[node(1, 0, 10, 10), node(2, 0, 0, 5000)]).0, 10);
        assert_eq!(extents(&[node(1, 0, 0, 5000)]), (0, Vec::new()));
    }

    proptest! {
        /// The same as writing the nodes one after the other into an array.
        #[test]
        fn agrees_with_an_array(writes in proptest::collection::vec((0u32..60, 1u32..30), 1..20), isize in 0u32..100) {
            let mut nodes: Vec<_> =
                writes.iter().enumerate().map(|(i, w)| node(i as u32, w.0, w.1, 100)).collect();
            nodes.push(node(99, 0, 0, isize));
            let mut model = [usize::MAX; 100];
            for (i, w) in writes.iter().enumerate() {
                model[w.0 as usize..(w.0 + w.1) as usize].fill(i);
            }
            let (size, found) = extents(&nodes);
            let mut seen = [usize::MAX; 100];
            for e in found {
                prop_assert!(e.end <= size);
                seen[e.start as usize..e.end as usize].fill(e.node);
            }
            prop_assert_eq!(&seen[..size as usize], &model[..size as usize]);
        }
    }
}
