//! The free spare bytes of a page, one after another, on kernels that do not sort them out themselves.

use std::fs::File;
use std::vec;
use std::vec::Vec;

use nix::errno::Errno;

use super::ioctl::{self, EccResult, OobRun};
use super::is_unknown;

/// Reads the first free spare bytes of the page at `start`.
pub(super) fn read_free(mtd: &File, start: u32, oob_size: u32, bytes: &mut [u8]) -> Result<EccResult, Errno> {
    match ioctl::read_free_oob(mtd, start, bytes) {
        // Linux before 6.1.
        Err(errno) if is_unknown(errno) => {
            let places = places(&ioctl::ecc_layout(mtd)?.free, oob_size, bytes.len())?;
            let mut spare = vec![0; oob_size as usize];
            ioctl::read_oob(mtd, start, &mut spare)?;
            for (byte, place) in bytes.iter_mut().zip(places) {
                *byte = spare[place];
            }
            Ok(EccResult::default())
        }
        result => result,
    }
}

/// Programs the first free spare bytes of the page at `start`.
pub(super) fn write_free(mtd: &File, start: u32, oob_size: u32, bytes: &[u8]) -> Result<(), Errno> {
    match ioctl::write_free_oob(mtd, start, bytes) {
        // Linux before 3.3.
        Err(errno) if is_unknown(errno) => {
            let places = places(&ioctl::ecc_layout(mtd)?.free, oob_size, bytes.len())?;
            let mut spare = vec![0xff; oob_size as usize];
            for (byte, place) in bytes.iter().zip(places) {
                spare[place] = *byte;
            }
            ioctl::write_oob(mtd, start, &spare)
        }
        result => result,
    }
}

/// Where the first `count` free spare bytes are.
fn places(runs: &[OobRun], oob_size: u32, count: usize) -> Result<Vec<usize>, Errno> {
    let bytes = runs.iter().flat_map(|run| run.offset..run.offset.saturating_add(run.length));
    let places: Vec<_> = bytes.take_while(|place| *place < oob_size).map(|place| place as usize).take(count).collect();
    if places.len() == count { Ok(places) } else { Err(Errno::EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_bytes_one_after_another() {
        let run = |offset, length| OobRun { offset, length };
        // OneNAND: three, two, and so on.
        let runs = [run(2, 3), run(14, 2), run(18, 3), run(30, 2), run(0, 0)];
        assert_eq!(places(&runs, 64, 8), Ok(vec![2, 3, 4, 14, 15, 18, 19, 20]));
        assert_eq!(places(&runs, 64, 0), Ok(vec![]));
        assert_eq!(places(&runs, 64, 11), Err(Errno::EINVAL));
        assert_eq!(places(&runs, 18, 6), Err(Errno::EINVAL));
        assert_eq!(places(&[run(u32::MAX, 9)], 64, 1), Err(Errno::EINVAL));
    }
}
