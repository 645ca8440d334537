//! Which node each byte of a file comes from.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that do not overlap, each with the node that was laid over it last.
#[derive(Debug)]
pub(super) struct Extents<T>(BTreeMap<u32, (u32, T)>);

impl<T: Copy> Extents<T> {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Lays a range over what is there.
    pub(super) fn lay(&mut self, range: Range<u32>, node: T) {
        if range.is_empty() {
            return;
        }
        let under: Vec<_> = self
            .0
            .range(..range.end)
            .rev()
            .map(|(&start, &(end, node))| (start, end, node))
            .take_while(|&(_, end, _)| end > range.start)
            .collect();
        for (start, end, old) in under {
            self.0.remove(&start);
            if start < range.start {
                self.0.insert(start, (range.start, old));
            }
            if end > range.end {
                self.0.insert(range.end, (end, old));
            }
        }
        self.0.insert(range.start, (range.end, node));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Range<u32>, T)> {
        self.0.iter().map(|(&start, &(end, node))| (start..end, node))
    }

    /// Where the last range ends.
    pub(super) fn end(&self) -> u32 {
        self.0.last_key_value().map_or(0, |(_, &(end, _))| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_on_top() {
        let mut extents = Extents::new();
        let mut owners = [None; 40];
        for (i, range) in [5..10, 0..40, 10..20, 12..15, 8..13, 30..30, 19..31].into_iter().enumerate() {
            extents.lay(range.clone(), i);
            owners[range.start as usize..range.end as usize].fill(Some(i));
            for (at, owner) in (0..).zip(owners) {
                let found = extents.iter().find(|(range, _)| range.contains(&at));
                assert_eq!(found.map(|(_, node)| node), owner, "byte {at} after {i}");
            }
        }
        assert_eq!(extents.end(), 40);
    }
}
