//! Files of which the archive holds only what is no hole.

use std::io;
use std::sync::Arc;

use super::records::number;

/// Start and length of a range that is stored, bytes.
pub(super) type Run = (u64, u64);

/// How far a sparse file has been read.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    runs: Arc<[Run]>,
    /// How many ranges have begun.
    begun: usize,
    /// The range that comes next, what is read of it taken off.
    run: Run,
    at: u64,
    size: u64,
}

impl Sparse {
    /// `None` if the ranges are not in order, within the file and as long as what is stored.
    pub(super) fn new(runs: Vec<Run>, size: u64, stored: u64) -> Option<Self> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for (start, len) in &runs {
            end = start.checked_add(*len).filter(|_| *start >= end)?;
            sum = sum.checked_add(*len)?;
        }
        (end <= size && sum == stored).then(|| Self { runs: runs.into(), begun: 0, run: (0, 0), at: 0, size })
    }

    /// What the next `most` bytes are: so many zeros, then so many stored ones. Both are 0 at the end only.
    pub(super) fn next(&mut self, most: usize) -> (usize, usize) {
        while self.run.1 == 0 && self.run.0 < self.size {
            self.run = self.runs.get(self.begun).copied().unwrap_or((self.size, 0));
            self.begun += 1;
        }
        let most = most as u64;
        let zeros = (self.run.0 - self.at).min(most);
        let stored = self.run.1.min(most - zeros);
        self.at += zeros + stored;
        if stored > 0 {
            self.run = (self.run.0 + stored, self.run.1 - stored);
        }
        (zeros as usize, stored as usize)
    }
}

/// What the next `most` bytes of a file are, of which `stored` bytes are left in the archive: so many zeros, then so many
/// stored ones.
pub(super) fn next(sparse: Option<&mut Sparse>, stored: u64, most: usize) -> (usize, usize) {
    match sparse {
        Some(sparse) => sparse.next(most),
        None => (0, stored.min(most as u64) as usize),
    }
}

/// The ranges in a header of GNU's old format.
pub(super) fn runs_of(entries: &[tar::GnuSparseHeader]) -> io::Result<Vec<Run>> {
    entries.iter().filter(|entry| !entry.is_empty()).map(|entry| Ok((entry.offset()?, entry.length()?))).collect()
}

/// The map of pax format 1.0: decimal lines, how many ranges and then start and length of each, to the end of a record.
#[derive(Debug, Default)]
pub(super) struct MapText {
    numbers: Vec<u64>,
    /// The start of a number whose end is in the next record.
    line: Vec<u8>,
    read: usize,
}

impl MapText {
    pub(super) fn is_complete(&self) -> bool {
        let Some(count) = self.numbers.first() else { return false };
        (self.numbers.len() as u64 - 1) / 2 >= *count
    }

    /// Bytes of it so far.
    pub(super) fn len(&self) -> usize {
        self.read
    }

    /// Adds a record; `None` if it does not hold numbers. What is behind the last range counts for nothing.
    pub(super) fn push(&mut self, record: &[u8]) -> Option<()> {
        self.read += record.len();
        for byte in record {
            if self.is_complete() {
                break;
            }
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            self.numbers.push(number(&self.line)?);
            self.line.clear();
        }
        Some(())
    }

    pub(super) fn into_runs(self) -> Vec<Run> {
        self.numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(runs: &[Run], size: u64, most: usize) -> Option<Vec<(usize, usize)>> {
        let mut sparse = Sparse::new(runs.to_vec(), size, runs.iter().map(|run| run.1).sum())?;
        Some(std::iter::from_fn(|| Some(sparse.next(most)).filter(|found| *found != (0, 0))).collect())
    }

    #[test]
    fn holes_and_data() {
        assert_eq!(shape(&[(2, 3), (5, 1), (8, 0)], 8, 100), Some(vec![(2, 3), (0, 1), (2, 0)]));
        assert_eq!(shape(&[(2, 3)], 5, 2), Some(vec![(2, 0), (0, 2), (0, 1)]));
        assert_eq!(shape(&[], 3, 2), Some(vec![(2, 0), (1, 0)]));
        assert_eq!(shape(&[(0, 0), (0, 2)], 2, 9), Some(vec![(0, 2)]));
        assert_eq!(shape(&[], 0, 2), Some(vec![]));
        for (runs, size) in [(&[(3, 3), (5, 1)][..], 9), (&[(2, 3)], 4), (&[(u64::MAX, 1)], 9)] {
            assert_eq!(shape(runs, size, 9), None);
        }
        assert!(Sparse::new(vec![(0, 2)], 2, 3).is_none());
    }

    #[test]
    fn map_over_records() {
        let mut map = MapText::default();
        map.push(b"2\n0\n51").unwrap();
        assert!(!map.is_complete());
        map.push(b"2\n1024\n5\n\0\0").unwrap();
        assert!(map.is_complete());
        assert_eq!((map.len(), map.into_runs()), (17, vec![(0, 512), (1024, 5)]));
        assert!(MapText::default().push(b"x\n").is_none());
    }
}
