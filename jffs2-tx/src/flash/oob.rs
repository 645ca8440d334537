//! NAND pages with their spare bytes (OOB) behind each, as raw dumps hold them (`FORMAT.md`, "Containers").

use core::fmt;
use core::str::FromStr;

use crate::wire::{Cleanmarker, Endian};

/// Smallest and largest page, bytes.
pub const PAGES: core::ops::RangeInclusive<u32> = 256..=32 << 10;
/// Fewest spare bytes of a page: a cleanmarker's length. The most are as many as the page has.
pub const MIN_SPARE: u32 = 8;

/// If more than so many of a hundred eraseblocks of a dump are marked bad, no mark is believed: that byte holds something
/// else there. NAND is sold with two of a hundred at most.
pub const MAX_BAD_PERCENT: usize = 50;

/// How a dump interleaves page data and spare bytes: one page, its spare bytes, the next page, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OobLayout {
    page: u32,
    spare: u32,
}

/// Not a layout of any NAND.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a page and its spare bytes such as 2048+64: pages are powers of two from 256 to 32768, with 8 bytes or more"
)]
pub struct OobError;

/// The spare bytes of an eraseblock's first pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockMarks {
    /// Marked bad.
    pub bad: bool,
    /// The byte order of the cleanmarker in it.
    pub cleanmarker: Option<Endian>,
}

/// Takes the bad-block marks of a flash's eraseblocks back if they are too many: [`MAX_BAD_PERCENT`].
pub fn believe(blocks: &mut [BlockMarks]) {
    let bad = blocks.iter().filter(|marks| marks.bad).count();
    if bad * 100 > blocks.len() * MAX_BAD_PERCENT {
        blocks.iter_mut().for_each(|marks| marks.bad = false);
    }
}

impl OobLayout {
    /// A page and the spare bytes behind it.
    ///
    /// # Errors
    /// [`OobError`] outside [`PAGES`] and [`MIN_SPARE`].
    pub fn new(page: u32, spare: u32) -> Result<Self, OobError> {
        let possible = PAGES.contains(&page) && page.is_power_of_two() && (MIN_SPARE..=page).contains(&spare);
        if possible { Ok(Self { page, spare }) } else { Err(OobError) }
    }

    /// For constants: the caller knows that it is one.
    pub(crate) const fn known(page: u32, spare: u32) -> Self {
        Self { page, spare }
    }

    /// Data bytes of a page.
    #[must_use]
    pub fn page(self) -> u32 {
        self.page
    }

    /// Spare bytes of a page.
    #[must_use]
    pub fn spare(self) -> u32 {
        self.spare
    }

    /// A page with its spare bytes.
    #[must_use]
    pub fn unit(self) -> u64 {
        u64::from(self.page) + u64::from(self.spare)
    }

    /// Where in the dump a byte of data stands.
    #[must_use]
    pub fn in_dump(self, data: u64) -> u64 {
        let page = u64::from(self.page);
        (data / page).saturating_mul(self.unit()).saturating_add(data % page)
    }

    /// Which byte of data stands there in the dump; `None` for spare bytes.
    #[must_use]
    pub fn in_data(self, at: u64) -> Option<u64> {
        let (pages, rest) = (at / self.unit(), at % self.unit());
        (rest < u64::from(self.page)).then(|| pages * u64::from(self.page) + rest)
    }

    /// Bytes of data in so many bytes of a dump; the last page may be cut.
    #[must_use]
    pub fn data_len(self, dump_len: u64) -> u64 {
        let page = u64::from(self.page);
        dump_len / self.unit() * page + (dump_len % self.unit()).min(page)
    }

    /// Bytes of a dump that hold so many bytes of data, spare bytes of the last page included.
    #[must_use]
    pub fn dump_len(self, data_len: u64) -> u64 {
        data_len.div_ceil(u64::from(self.page)).saturating_mul(self.unit())
    }

    /// What the spare bytes of an eraseblock's first and second page say. As Linux, a mark is any value but 0xFF in
    /// the sixth spare byte of pages up to 512 bytes, in the first of larger ones; but not if a cleanmarker covers it.
    #[must_use]
    pub fn marks(self, first: &[u8], second: &[u8]) -> BlockMarks {
        let mark = if self.page <= 512 { 5 } else { 0 };
        let is_bad = |spare: &[u8]| spare.get(mark).is_some_and(|byte| *byte != 0xff);
        let cleanmarker = find_cleanmarker(first);
        let covered = cleanmarker.is_some_and(|(_, at)| (at..at + 8).contains(&mark));
        BlockMarks {
            bad: is_bad(first) && !covered || is_bad(second),
            cleanmarker: cleanmarker.map(|(endian, _)| endian),
        }
    }
}

impl fmt::Display for OobLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.page, self.spare)
    }
}

impl FromStr for OobLayout {
    type Err = OobError;

    fn from_str(text: &str) -> Result<Self, OobError> {
        let (page, spare) = text.split_once('+').ok_or(OobError)?;
        let number = |text: &str| text.parse().map_err(|_| OobError);
        Self::new(number(page)?, number(spare)?)
    }
}

/// A cleanmarker in a page's spare bytes: its byte order, and where it starts. Which bytes are free for it is up to
/// the controller, so it counts wherever its eight bytes stand together, or alone among bytes that are 0xFF.
#[must_use]
pub fn find_cleanmarker(spare: &[u8]) -> Option<(Endian, usize)> {
    let start = spare.iter().position(|byte| *byte != 0xff)?;
    [Endian::Little, Endian::Big].into_iter().find_map(|endian| {
        let wanted = Cleanmarker::oob(endian);
        let together = spare[start..].windows(wanted.len()).position(|bytes| bytes == wanted).map(|at| start + at);
        let alone = || spare.iter().filter(|byte| **byte != 0xff).eq(&wanted).then_some(start);
        together.or_else(alone).map(|at| (endian, at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec, vec::Vec};

    const LARGE: OobLayout = OobLayout::known(2048, 64);
    const SMALL: OobLayout = OobLayout::known(512, 16);

    #[test]
    fn only_layouts_that_can_be() {
        assert_eq!("2048+64".parse(), Ok(LARGE));
        assert_eq!(OobLayout::new(4096, 218).unwrap().to_string(), "4096+218");
        for text in
            ["", "2048", "+", "2048+", "1+99999", "2000+64", "2048+4", "2048+2049", "65536+64", "-1+8", "99999999999+8"]
        {
            assert_eq!(text.parse::<OobLayout>(), Err(OobError), "{text}");
        }
    }

    #[test]
    fn offsets_there_and_back() {
        for data in [0, 1, 2047, 2048, 2049, 131_071, 131_072, (1 << 32) - 1] {
            let at = LARGE.in_dump(data);
            assert_eq!(LARGE.in_data(at), Some(data));
            assert_eq!(LARGE.data_len(at), data);
        }
        assert_eq!((LARGE.in_dump(2048), LARGE.in_data(2048), LARGE.in_data(2111)), (2112, None, None));
        assert_eq!((LARGE.data_len(2100), LARGE.data_len(2113), LARGE.dump_len(2049)), (2048, 2049, 4224));
        assert_eq!(LARGE.in_dump(u64::MAX), u64::MAX);
    }

    #[test]
    fn cleanmarkers_count_wherever_they_are() {
        let little = Cleanmarker::oob(Endian::Little);
        for at in [0, 2, 8] {
            let mut spare = vec![0xff; 16];
            spare[at..at + 8].copy_from_slice(&little);
            assert_eq!(find_cleanmarker(&spare), Some((Endian::Little, at)));
        }
        // Among ECC bytes.
        let mut used: Vec<u8> = (0..64).map(|n| n * 3 + 1).collect();
        assert_eq!(find_cleanmarker(&used), None);
        used[2..10].copy_from_slice(&Cleanmarker::oob(Endian::Big));
        assert_eq!(find_cleanmarker(&used), Some((Endian::Big, 2)));
        // In the free bytes of OneNAND: three, two and three.
        let mut apart = vec![0xff; 64];
        for (at, byte) in [2, 3, 4, 14, 15, 18, 19, 20].into_iter().zip(little) {
            apart[at] = byte;
        }
        assert_eq!(find_cleanmarker(&apart), Some((Endian::Little, 2)));
        apart[40] = 0;
        assert_eq!(find_cleanmarker(&apart), None);
        assert_eq!(find_cleanmarker(&[0xff; 64]), None);
    }

    #[test]
    fn bad_marks_stand_where_linux_looks() {
        let blank = [0xff; 64];
        let with = |at: usize| {
            let mut spare = blank;
            spare[at] = 0;
            spare
        };
        assert!(LARGE.marks(&with(0), &blank).bad && LARGE.marks(&blank, &with(0)).bad);
        assert!(SMALL.marks(&with(5), &blank).bad && SMALL.marks(&blank, &with(5)).bad);
        assert!(!LARGE.marks(&with(5), &with(1)).bad && !SMALL.marks(&with(0), &with(4)).bad);
        let mut covered = blank;
        covered[..8].copy_from_slice(&Cleanmarker::oob(Endian::Little));
        assert_eq!(LARGE.marks(&covered, &[]), BlockMarks { bad: false, cleanmarker: Some(Endian::Little) });
        assert!(LARGE.marks(&covered, &with(0)).bad);
    }

    #[test]
    fn marks_on_most_blocks_are_none() {
        let marked = |bad| BlockMarks { bad, cleanmarker: None };
        let mut some = [marked(true), marked(false)];
        believe(&mut some);
        assert!(some[0].bad);
        let mut most = [marked(true), marked(true), marked(false)];
        believe(&mut most);
        assert!(most.iter().all(|marks| !marks.bad));
    }
}
