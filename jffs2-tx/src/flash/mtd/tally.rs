//! What error correction had to do while we read.

use std::collections::BTreeSet;
use std::vec::Vec;

use super::ioctl::EccResult;
use crate::flash::Ecc;

/// What error correction had to do since the device was opened, for the pages that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Corrections {
    /// Pages of which bits were corrected. A page counts once, however often it is read. Of a read of many pages whose
    /// flipped bits are not seen again when each page is read alone, one page counts.
    pub corrected_pages: u32,
    /// Pages that could not be corrected.
    pub uncorrectable_pages: u32,
    /// Eraseblocks, ascending, that should be read and written anew: the kernel said so (as many bits were corrected
    /// in one ECC step as the device's `bitflip_threshold`), or a page in it was uncorrectable.
    pub scrub: Vec<u32>,
}

/// Pages and eraseblocks seen so far, by number.
#[derive(Debug, Default)]
pub(super) struct Tally {
    corrected: BTreeSet<u32>,
    uncorrectable: BTreeSet<u32>,
    scrub: BTreeSet<u32>,
}

impl Tally {
    pub(super) fn note_page(&mut self, page: u32, verdict: Ecc) {
        match verdict {
            Ecc::Clean => false,
            Ecc::Corrected => self.corrected.insert(page),
            Ecc::Uncorrectable => self.uncorrectable.insert(page),
        };
    }

    /// `threshold`: bits from which on the kernel advises to scrub; 0 if it did not tell.
    pub(super) fn note_block(&mut self, block: u32, ecc: EccResult, threshold: u32) {
        if ecc.uncorrectable > 0 || (ecc.corrected > 0 && ecc.max_bitflips >= threshold) {
            self.scrub.insert(block);
        }
    }

    pub(super) fn corrections(&self) -> Corrections {
        Corrections {
            corrected_pages: self.corrected.len() as u32,
            uncorrectable_pages: self.uncorrectable.len() as u32,
            scrub: self.scrub.iter().copied().collect(),
        }
    }
}

pub(super) fn verdict(ecc: EccResult) -> Ecc {
    match ecc {
        EccResult { uncorrectable: 1.., .. } => Ecc::Uncorrectable,
        EccResult { corrected: 1.., .. } => Ecc::Corrected,
        _ => Ecc::Clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_count_once_and_scrubbing_starts_at_the_threshold() {
        let few = EccResult { corrected: 5, max_bitflips: 2, uncorrectable: 0 };
        let many = EccResult { max_bitflips: 3, ..few };
        let lost = EccResult { uncorrectable: 1, ..few };
        let mut tally = Tally::default();
        for (page, ecc) in [(7, few), (7, few), (8, EccResult::default()), (9, lost), (9, few)] {
            tally.note_page(page, verdict(ecc));
        }
        tally.note_block(4, few, 3);
        tally.note_block(6, lost, 3);
        tally.note_block(5, many, 3);
        tally.note_block(3, EccResult::default(), 0);
        tally.note_block(2, EccResult { corrected: 1, ..EccResult::default() }, 0);
        let expected = Corrections { corrected_pages: 2, uncorrectable_pages: 1, scrub: std::vec![2, 5, 6] };
        assert_eq!(tally.corrections(), expected);
        assert_eq!(verdict(lost), Ecc::Uncorrectable);
    }
}
