//! What a part allows beyond its geometry, and how far a power cut reaches in it.

use jffs2_tx::flash::{FlashKind, Geometry};

/// Write buffer of NOR of which nothing is known, bytes.
const USUAL_WRITE_BUFFER: u32 = 256;

/// The rules of a part. [`Rules::of`] gives those of a chip of which only the geometry is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Least that can be programmed, bytes, with ECC of its own where there is ECC: once between erases then. On NAND a
    /// page or a part of one.
    pub program_unit: u32,
    /// NAND: programs that a page takes between erases (NOP).
    pub page_programs: u8,
    /// NAND: a program of the OOB area alone is one of them. Otherwise it is counted apart.
    pub oob_counts: bool,
    /// NAND: pages can be programmed in any order.
    pub any_page_order: bool,
    /// NOR: bytes that are programmed at once, aligned to their number. Within them, bits are cleared in no order.
    pub write_buffer: u32,
    /// NAND: pages that share their cells.
    pub pairing: Pairing,
}

impl Rules {
    /// Whole units, each once where there is ECC, NAND pages in ascending order; the OOB area apart.
    #[must_use]
    pub fn of(geometry: &Geometry) -> Self {
        Self {
            program_unit: geometry.write_size(),
            page_programs: 1,
            oob_counts: false,
            any_page_order: false,
            write_buffer: USUAL_WRITE_BUFFER,
            pairing: Pairing::Unknown,
        }
    }

    /// What a power cut tears at most one of, bytes: a NAND page, a NOR write buffer.
    #[must_use]
    pub fn torn_unit(&self, geometry: &Geometry) -> u32 {
        match geometry.kind() {
            FlashKind::Nor => self.write_buffer,
            FlashKind::Nand => geometry.write_size(),
        }
    }
}

/// Which NAND pages share their cells: a power cut in the program of the later one destroys the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Not known: the page before, and the third before, are tried.
    Unknown,
    /// MLC: pages 0 and 4, 1 and 5, then 2 and 8, 3 and 9, 6 and 12, 7 and 13 ...; the last pairs stand 4 apart again.
    FourAndSix,
}

impl Pairing {
    /// How many pages back the earlier page of a later one is; `None` for an earlier one. `pages` in an eraseblock: a
    /// multiple of 4.
    #[must_use]
    pub fn distance(self, page: u32, pages: u32) -> Option<u32> {
        let is_later = page >= 4 && (page % 4 < 2 || page + 2 >= pages);
        match self {
            Self::FourAndSix if is_later && (page < 6 || page + 2 >= pages) => Some(4),
            Self::FourAndSix if is_later => Some(6),
            Self::FourAndSix | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_and_six_pairs_every_page_once() {
        let pairs: Vec<(u32, u32)> =
            (0..128).filter_map(|page| Some((page - Pairing::FourAndSix.distance(page, 128)?, page))).collect();
        assert_eq!(pairs[..6], [(0, 4), (1, 5), (2, 8), (3, 9), (6, 12), (7, 13)]);
        assert_eq!(pairs[60..], [(118, 124), (119, 125), (122, 126), (123, 127)]);
        let mut pages: Vec<u32> = pairs.iter().flat_map(|&(earlier, later)| [earlier, later]).collect();
        pages.sort_unstable();
        assert_eq!(pages, (0..128).collect::<Vec<_>>());
    }
}
