//! Power cuts: where a trace is cut, and what is left of the operation that it was cut in.
//!
//! The text form (`17:prefix:0:204`) names a cut in reports and replays it: same trace, same seed, same state.

use std::fmt;
use std::str::FromStr;

mod damage;
mod exists;
mod plan;
#[cfg(test)]
mod tests;
mod tiers;
mod walker;

pub use plan::{cuts_all, cuts_sampled};
pub use tiers::{cuts_of_tier, cuts_sampled_up_to, cuts_up_to};
pub use walker::Walker;

/// A power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cut {
    /// Index of the operation that the power fails in; the number of operations for a cut after the last.
    pub op: usize,
    /// What is left of it.
    pub tear: Tear,
}

/// What a power cut leaves of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tear {
    /// Nothing: the power failed before.
    Before,
    /// Nothing, and of the operations since the last sync only some: of those on each eraseblock the first few. 0: only
    /// those on the eraseblock last changed; from 1 on: a random number on each.
    Unsynced {
        /// 0, or which random choice.
        variant: u32,
    },
    /// A program stopped in a page, or in a 256-byte write buffer of NOR. The ones before it in the same program are
    /// done, later ones untouched.
    Program {
        /// Page or buffer within the program, from 0.
        unit: u32,
        /// What became of it.
        damage: ProgramDamage,
        /// Bytes for [`Prefix`](ProgramDamage::Prefix), [`Suffix`](ProgramDamage::Suffix) and
        /// [`UnstablePrefix`](ProgramDamage::UnstablePrefix), pages back for [`Paired`](ProgramDamage::Paired) and the like,
        /// else which random choice.
        n: u32,
    },
    /// An erase stopped.
    Erase {
        /// What became of the eraseblock.
        damage: EraseDamage,
        /// Bytes where the damage has a length, else which random choice.
        n: u32,
        /// NAND: the OOB area still holds what it held.
        oob_kept: bool,
    },
    /// The OOB cleanmarker was written in part.
    Cleanmarker,
}

/// What became of the page or write buffer that a program stopped in. A NAND page is uncorrectable afterwards unless
/// it is complete, or reads blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProgramDamage {
    /// The first n bytes are done, the next has a random subset of its bits done.
    Prefix,
    /// The last n bytes are done, the one before has a random subset of its bits done.
    Suffix,
    /// A random subset of its bytes is done.
    Bytes,
    /// A random subset of its bits is done.
    Bits,
    /// One bit is done.
    OneBit,
    /// All but one bit is done.
    AllButOneBit,
    /// NAND: it reads blank, but must not be programmed again before an erase.
    LooksBlank,
    /// NAND: the data is complete, its ECC is not.
    NoEcc,
    /// MLC NAND: three quarters are done, and the page n before it in the eraseblock is garbage.
    Paired,
    /// MLC NAND: it reads blank as with [`LooksBlank`](Self::LooksBlank), and the page n before it has bits flipped.
    PairedBlank,
    /// MLC NAND: it is complete, and the page n before it is garbage.
    PairedDone,
    /// NOR: it reads blank, and the eraseblock is weak: what is programmed there later does not all stick.
    WeakBlank,
    /// The first n bytes are done, the cells of the rest are unstable: they differ from read to read, and from power-up to
    /// power-up. With ECC a read of them is clean, corrected or uncorrectable.
    UnstablePrefix,
    /// A random subset of its bits is done, the others are unstable.
    UnstableBits,
    /// It is complete, and elsewhere in its eraseblock bits are cleared, or on NAND flipped.
    Disturbed,
}

/// What became of an eraseblock whose erase stopped; it is weak in any case. An erase of NOR first programs zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EraseDamage {
    /// NOR: the first n bytes are zeros.
    Zeros,
    /// NOR: every byte is old, zero or random.
    Mixed,
    /// A random subset of the zero bits is erased.
    Bits,
    /// The first n bytes are erased.
    Prefix,
    /// The last n bytes are erased.
    Suffix,
    /// All reads blank.
    Blank,
    /// The first n bytes are erased, in the rest the zeros are unstable.
    Unstable,
    /// NOR: the first n bytes are zeros, in the write buffer behind them the ones are unstable.
    UnstableZeros,
}

const PROGRAM_NAMES: [(ProgramDamage, &str); 15] = [
    (ProgramDamage::Prefix, "prefix"),
    (ProgramDamage::Suffix, "suffix"),
    (ProgramDamage::Bytes, "bytes"),
    (ProgramDamage::Bits, "bits"),
    (ProgramDamage::OneBit, "one-bit"),
    (ProgramDamage::AllButOneBit, "all-but-one-bit"),
    (ProgramDamage::LooksBlank, "looks-blank"),
    (ProgramDamage::NoEcc, "no-ecc"),
    (ProgramDamage::Paired, "paired"),
    (ProgramDamage::PairedBlank, "paired-blank"),
    (ProgramDamage::PairedDone, "paired-done"),
    (ProgramDamage::WeakBlank, "weak-blank"),
    (ProgramDamage::UnstablePrefix, "unstable-prefix"),
    (ProgramDamage::UnstableBits, "unstable-bits"),
    (ProgramDamage::Disturbed, "disturbed"),
];

const ERASE_NAMES: [(EraseDamage, &str); 8] = [
    (EraseDamage::Zeros, "erase-zeros"),
    (EraseDamage::Mixed, "erase-mixed"),
    (EraseDamage::Bits, "erase-bits"),
    (EraseDamage::Prefix, "erase-prefix"),
    (EraseDamage::Suffix, "erase-suffix"),
    (EraseDamage::Blank, "erase-blank"),
    (EraseDamage::Unstable, "erase-unstable"),
    (EraseDamage::UnstableZeros, "erase-unstable-zeros"),
];

/// Text that names no cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cut, such as 17:before or 17:prefix:0:204")]
pub struct ParseCutError(String);

impl ParseCutError {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.op)?;
        match self.tear {
            Tear::Before => write!(f, "before"),
            Tear::Unsynced { variant } => write!(f, "unsynced:{variant}"),
            Tear::Program { unit, damage, n } => write!(f, "{}:{unit}:{n}", name_of(&PROGRAM_NAMES, damage)),
            Tear::Erase { damage, n, oob_kept } => {
                write!(f, "{}:{n}{}", name_of(&ERASE_NAMES, damage), if oob_kept { ":oob" } else { "" })
            }
            Tear::Cleanmarker => write!(f, "cleanmarker"),
        }
    }
}

impl FromStr for Cut {
    type Err = ParseCutError;

    fn from_str(text: &str) -> Result<Self, ParseCutError> {
        parse(text).ok_or_else(|| ParseCutError::of(text))
    }
}

fn parse(text: &str) -> Option<Cut> {
    let fields: Vec<&str> = text.split(':').collect();
    let (&op, fields) = fields.split_first()?;
    let tear = match *fields {
        ["before"] => Tear::Before,
        ["cleanmarker"] => Tear::Cleanmarker,
        ["unsynced", variant] => Tear::Unsynced { variant: variant.parse().ok()? },
        [name, n] => erase_tear(name, n, false)?,
        [name, n, "oob"] => erase_tear(name, n, true)?,
        [name, unit, n] => {
            let damage = named(&PROGRAM_NAMES, name)?;
            Tear::Program { unit: unit.parse().ok()?, damage, n: n.parse().ok()? }
        }
        _ => return None,
    };
    Some(Cut { op: op.parse().ok()?, tear })
}

fn erase_tear(name: &str, n: &str, oob_kept: bool) -> Option<Tear> {
    Some(Tear::Erase { damage: named(&ERASE_NAMES, name)?, n: n.parse().ok()?, oob_kept })
}

fn name_of<T: Copy + PartialEq>(names: &[(T, &'static str)], value: T) -> &'static str {
    names.iter().find(|(of, _)| *of == value).map_or("", |(_, name)| name)
}

fn named<T: Copy>(names: &[(T, &str)], name: &str) -> Option<T> {
    names.iter().find(|(_, of)| *of == name).map(|&(value, _)| value)
}
