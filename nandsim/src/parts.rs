//! Real parts by name: geometry, rules and times.
//!
//! Where a number is from is said at each part. "Class" times are those usual for parts of the kind, and stand where the
//! part's own have not been looked up: good for an estimate, not for a promise.

use jffs2_tx::flash::{FlashKind, Geometry, GeometryError};
use jffs2_tx::wire::Endian;
use serde::Serialize;

use crate::chip::{Chip, Pairing, Rules};
use crate::shape::Shape;

const KIB: u32 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A part, or what is soldered to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// As its maker calls it, without package and grade.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// NOR or NAND.
    pub kind: FlashKind,
    /// Size, bytes.
    pub size: u64,
    /// What one command erases, bytes: the usual size first.
    pub eraseblocks: &'static [u32],
    /// NAND page, or least unit that can be programmed on NOR, bytes.
    pub write_size: u32,
    /// NAND: OOB area of a page, bytes.
    pub oob: u32,
    /// What it allows beyond its geometry.
    pub rules: Rules,
    /// How long it takes.
    pub times: Times,
}

/// How long a part takes, and where that is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Program of a NAND page or of a full NOR write buffer, microseconds.
    pub program_us: Span,
    /// Erase of an eraseblock of the usual size, microseconds.
    pub erase_us: Span,
    /// Read of a NAND page into the part's buffer, microseconds; 0 on NOR, where the bus decides.
    pub read_us: u32,
    /// Where these are from.
    pub from: TimesFrom,
}

/// A typical time and the longest, if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Typical.
    pub typical: u32,
    /// Longest.
    pub max: Option<u32>,
}

/// Where times are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimesFrom {
    /// The part's datasheet.
    Datasheet,
    /// Some of them, of parts of the kind.
    Class,
}

/// A part cannot be had like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// There is no part of that name.
    #[error("no part is called {0:?}{alike}; `nandsim parts` lists them", alike = similar(.0))]
    Unknown(String),
    /// The part does not erase in such pieces.
    #[error("{name} erases {} bytes at once, not {asked}", listed(known))]
    Eraseblock {
        /// The part.
        name: &'static str,
        /// What it erases.
        known: &'static [u32],
        /// What was asked for.
        asked: u32,
    },
    /// The part is smaller.
    #[error("{name} has {size} bytes, not {asked}")]
    Size {
        /// The part.
        name: &'static str,
        /// Its size.
        size: u64,
        /// What was asked for.
        asked: u64,
    },
    /// The size asked for is not one.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
}

fn listed(sizes: &[u32]) -> String {
    sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ")
}

/// Parts that begin alike, as those of a family do.
fn similar(asked: &str) -> String {
    let alike = |name: &str| name.bytes().zip(asked.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let most = PARTS.iter().map(|part| alike(part.name)).max().unwrap_or(0);
    let names: Vec<&str> = PARTS.iter().map(|part| part.name).filter(|name| alike(name) == most).collect();
    if most < 3 { String::new() } else { format!(", but {} is", names.join(" or ")) }
}

impl Part {
    /// The part of that name; upper and lower case are the same.
    ///
    /// # Errors
    /// [`PartError::Unknown`].
    pub fn by_name(name: &str) -> Result<&'static Self, PartError> {
        PARTS.iter().find(|part| part.name.eq_ignore_ascii_case(name)).ok_or_else(|| PartError::Unknown(name.into()))
    }

    /// A flash of such parts. `eraseblock` in bytes; `None`: the usual one.
    ///
    /// # Errors
    /// [`PartError::Eraseblock`].
    pub fn shape(&self, eraseblock: Option<u32>, endian: Endian) -> Result<Shape, PartError> {
        let eraseblock = eraseblock.unwrap_or(self.eraseblocks[0]);
        if !self.eraseblocks.contains(&eraseblock) {
            return Err(PartError::Eraseblock { name: self.name, known: self.eraseblocks, asked: eraseblock });
        }
        Ok(Shape { kind: self.kind, eraseblock, write_size: self.write_size, endian })
    }

    /// The first `size` bytes of the part (`None`: all), in eraseblocks of the usual size.
    ///
    /// # Errors
    /// [`PartError::Size`], [`PartError::Geometry`].
    pub fn geometry(&self, size: Option<u64>) -> Result<Geometry, PartError> {
        let geometry = Geometry::new(self.kind, size.unwrap_or(self.size), self.eraseblocks[0], self.write_size)?;
        self.check(&geometry)?;
        Ok(geometry)
    }

    /// Whether the part is as large as that.
    ///
    /// # Errors
    /// [`PartError::Size`].
    pub fn check(&self, geometry: &Geometry) -> Result<(), PartError> {
        let asked = u64::from(geometry.size());
        if asked <= self.size { Ok(()) } else { Err(PartError::Size { name: self.name, size: self.size, asked }) }
    }

    /// An erased chip that keeps the part's rules.
    ///
    /// # Errors
    /// [`PartError::Size`].
    pub fn chip(&self, geometry: Geometry, seed: u64) -> Result<Chip, PartError> {
        self.check(&geometry)?;
        Ok(Chip::with_rules(geometry, self.rules, seed))
    }
}

const fn nor(program_unit: u32, write_buffer: u32) -> Rules {
    Rules {
        program_unit,
        page_programs: 1,
        oob_counts: false,
        any_page_order: false,
        write_buffer,
        pairing: Pairing::Unknown,
    }
}

const fn nand(program_unit: u32, page_programs: u8) -> Rules {
    Rules { page_programs, ..nor(program_unit, 256) }
}

const fn typical(typical: u32) -> Span {
    Span { typical, max: None }
}

const fn span(typical: u32, max: u32) -> Span {
    Span { typical, max: Some(max) }
}

/// All parts that are known by name.
pub const PARTS: &[Part] = &[
    // Winbond, W25Q128FV: size, erase sizes and page buffer from its datasheet; times of the class.
    Part {
        name: "W25Q128FV",
        what: "SPI NOR",
        kind: FlashKind::Nor,
        size: 16 * MIB,
        eraseblocks: &[64 * KIB, 4 * KIB],
        write_size: 1,
        oob: 0,
        rules: nor(1, 256),
        times: Times {
            program_us: span(700, 3_000),
            erase_us: span(150_000, 2_000_000),
            read_us: 0,
            from: TimesFrom::Class,
        },
    },
    // Micron, "128Mb, 3V, Multiple I/O Serial Flash", rev. R: 4 KiB subsectors, 64 KiB sectors; times of the class.
    Part {
        name: "N25Q128A",
        what: "SPI NOR",
        kind: FlashKind::Nor,
        size: 16 * MIB,
        eraseblocks: &[64 * KIB, 4 * KIB],
        write_size: 1,
        oob: 0,
        rules: nor(1, 256),
        times: Times {
            program_us: span(500, 5_000),
            erase_us: span(700_000, 3_000_000),
            read_us: 0,
            from: TimesFrom::Class,
        },
    },
    // Macronix, KH25L8005, P/N PM1307 rev. 1.1, first page: all of it.
    Part {
        name: "KH25L8005",
        what: "SPI NOR",
        kind: FlashKind::Nor,
        size: MIB,
        eraseblocks: &[64 * KIB, 4 * KIB],
        write_size: 1,
        oob: 0,
        rules: nor(1, 256),
        times: Times {
            program_us: span(1_400, 5_000),
            erase_us: span(1_000_000, 2_000_000),
            read_us: 0,
            from: TimesFrom::Datasheet,
        },
    },
    // Spansion, S29GL128S, 001-98285: size, 512-byte write buffer, words programmed again give the AND; times of the
    // class. A second program turns off the ECC of its 32 bytes, which is not modelled.
    Part {
        name: "S29GL128S",
        what: "CFI NOR",
        kind: FlashKind::Nor,
        size: 16 * MIB,
        eraseblocks: &[128 * KIB],
        write_size: 1,
        oob: 0,
        rules: nor(1, 512),
        times: Times {
            program_us: span(340, 750),
            erase_us: span(275_000, 1_100_000),
            read_us: 0,
            from: TimesFrom::Class,
        },
    },
    // Intel, StrataFlash P30, 306666: 128 KiB main blocks, 7 us a byte through the buffer; the erase of the class. Four
    // 32 KiB parameter blocks at one end are left out.
    Part {
        name: "28F128P30",
        what: "CFI NOR, StrataFlash",
        kind: FlashKind::Nor,
        size: 16 * MIB,
        eraseblocks: &[128 * KIB],
        write_size: 1,
        oob: 0,
        rules: nor(1, 64),
        times: Times {
            program_us: typical(448),
            erase_us: span(1_200_000, 4_000_000),
            read_us: 0,
            from: TimesFrom::Class,
        },
    },
    // Micron, M29EW family, rev. E: 128 KiB blocks, 512-word buffer, 0.88 us a byte if it is full; the erase of the class.
    Part {
        name: "28F256M29EW",
        what: "CFI NOR",
        kind: FlashKind::Nor,
        size: 32 * MIB,
        eraseblocks: &[128 * KIB],
        write_size: 1,
        oob: 0,
        rules: nor(1, 1024),
        times: Times {
            program_us: typical(901),
            erase_us: span(800_000, 4_000_000),
            read_us: 0,
            from: TimesFrom::Class,
        },
    },
    // Macronix, MX29F1610A, preliminary, first page: all of it. Maxima are not given there.
    Part {
        name: "MX29F1610A",
        what: "parallel NOR",
        kind: FlashKind::Nor,
        size: 2 * MIB,
        eraseblocks: &[128 * KIB],
        write_size: 1,
        oob: 0,
        rules: nor(1, 128),
        times: Times { program_us: typical(900), erase_us: typical(1_300_000), read_us: 0, from: TimesFrom::Datasheet },
    },
    // Infineon, SEMPER S25HL512T: 16-byte ECC units that take one program each, from Linux' driver of the family
    // (drivers/mtd/spi-nor/spansion.c); size, sectors and times of the class.
    Part {
        name: "S25HL512T",
        what: "SPI NOR with ECC",
        kind: FlashKind::Nor,
        size: 64 * MIB,
        eraseblocks: &[256 * KIB],
        write_size: 16,
        oob: 0,
        rules: nor(16, 256),
        times: Times {
            program_us: span(430, 2_175),
            erase_us: span(773_000, 5_869_000),
            read_us: 0,
            from: TimesFrom::Class,
        },
    },
    // Samsung, K9F1208U0M, p. 31: one program of the main area and two of the spare, pages in any order; 16 KiB blocks and
    // the read from K9F1208U0B; other times of the class.
    Part {
        name: "K9F1208U0M",
        what: "SLC NAND, small page",
        kind: FlashKind::Nand,
        size: 64 * MIB,
        eraseblocks: &[16 * KIB],
        write_size: 512,
        oob: 16,
        rules: Rules { any_page_order: true, ..nand(512, 1) },
        times: Times { program_us: span(200, 500), erase_us: span(2_000, 3_000), read_us: 15, from: TimesFrom::Class },
    },
    // Samsung, K9F1G08U0A, pp. 1 and 30: four programs of the main area, each of its own 512 bytes, and four of the spare
    // area; 25 us for a read; other times of the class.
    Part {
        name: "K9F1G08U0A",
        what: "SLC NAND",
        kind: FlashKind::Nand,
        size: 128 * MIB,
        eraseblocks: &[128 * KIB],
        write_size: 2048,
        oob: 64,
        rules: nand(512, 4),
        times: Times { program_us: span(200, 700), erase_us: span(2_000, 3_000), read_us: 25, from: TimesFrom::Class },
    },
    // Micron, MT29F2G08AAC, first page: geometry and typical times. The number of programs is that of the class.
    Part {
        name: "MT29F2G08AAC",
        what: "SLC NAND",
        kind: FlashKind::Nand,
        size: 256 * MIB,
        eraseblocks: &[128 * KIB],
        write_size: 2048,
        oob: 64,
        rules: nand(512, 4),
        times: Times { program_us: typical(300), erase_us: typical(2_000), read_us: 25, from: TimesFrom::Datasheet },
    },
    // OLPC's hardware specification of the XO-1: 1024 MiB of SLC NAND, of more than one maker. The geometry of Samsung's
    // K9K8G08U0M, p. 9: 8192 blocks of 128 KiB, pages of 2048 + 64 bytes; programs of a page as with K9F4G08U0M, p. 32,
    // of which it is made; times of the class.
    Part {
        name: "OLPC-XO-1",
        what: "SLC NAND, K9K8G08U0M",
        kind: FlashKind::Nand,
        size: 1024 * MIB,
        eraseblocks: &[128 * KIB],
        write_size: 2048,
        oob: 64,
        rules: nand(512, 4),
        times: Times { program_us: span(200, 700), erase_us: span(1_500, 2_000), read_us: 25, from: TimesFrom::Class },
    },
    // Samsung, K9GAG08U0M, a class of MLC: pages of 4096 + 128 bytes in blocks of 512 KiB, one program a page with its
    // spare area; pairs as in the flash drivers that are told of "4_6" pairing. All of the class. Linux mounts no JFFS2
    // on MLC (fs/jffs2/fs.c).
    Part {
        name: "K9GAG08U0M",
        what: "MLC NAND, paired pages",
        kind: FlashKind::Nand,
        size: 2048 * MIB,
        eraseblocks: &[512 * KIB],
        write_size: 4096,
        oob: 128,
        rules: Rules { oob_counts: true, pairing: Pairing::FourAndSix, ..nand(4096, 1) },
        times: Times {
            program_us: span(800, 3_000),
            erase_us: span(1_500, 10_000),
            read_us: 60,
            from: TimesFrom::Class,
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_possible_and_have_names_of_their_own() {
        for part in PARTS {
            let geometry = part.geometry(None).unwrap();
            assert_eq!((u64::from(geometry.size()), part.oob > 0), (part.size, part.kind == FlashKind::Nand));
            assert_eq!(Part::by_name(&part.name.to_lowercase()).unwrap().name, part.name);
            assert_eq!(PARTS.iter().filter(|other| other.name == part.name).count(), 1);
            let rules = part.rules;
            let unit = if part.kind == FlashKind::Nor { part.write_size } else { rules.program_unit };
            assert!(rules.program_unit == unit && part.write_size.is_multiple_of(unit), "{}", part.name);
            // More programs than pieces, or fewer: neither is what a datasheet says.
            let pieces = part.write_size / rules.program_unit;
            assert_eq!(pieces, u32::from(rules.page_programs), "{}", part.name);
            for &eraseblock in part.eraseblocks {
                assert_eq!(part.shape(Some(eraseblock), Endian::Little).unwrap().eraseblock, eraseblock);
            }
            for Span { typical, max } in [part.times.program_us, part.times.erase_us] {
                assert!(typical > 0 && max.is_none_or(|max| max > typical), "{}", part.name);
            }
        }
    }

    #[test]
    fn what_a_part_is_not() {
        assert_eq!(Part::by_name("27C256").unwrap_err(), PartError::Unknown("27C256".into()));
        let told = Part::by_name("k9f1G08U0B").unwrap_err().to_string();
        assert!(told.starts_with("no part is called \"k9f1G08U0B\", but K9F1G08U0A is;"), "{told}");
        let part = Part::by_name("OLPC-XO-1").unwrap();
        assert_eq!(part.geometry(Some(8 * MIB)).unwrap().blocks(), 64);
        assert!(matches!(part.geometry(Some(1025 * MIB)), Err(PartError::Size { .. })));
        assert!(matches!(part.geometry(Some(1)), Err(PartError::Geometry(_))));
        assert!(matches!(part.shape(Some(64 * KIB), Endian::Big), Err(PartError::Eraseblock { .. })));
        let larger = Geometry::new(FlashKind::Nand, 2048 * MIB, 128 * KIB, 2048).unwrap();
        assert!(matches!(part.chip(larger, 0), Err(PartError::Size { .. })));
    }
}
