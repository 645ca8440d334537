//! What flash does when power fails or cells age: how often it is tried, and what is promised.

use std::fmt;
use std::str::FromStr;

use jffs2_tx::flash::FlashKind;
use serde::Serialize;

use super::FaultKind;
use crate::chip::{Pairing, Rules};
use crate::cut::{EraseDamage, ProgramDamage, Tear};

/// How often a fault is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "u8")]
pub enum Tier {
    /// In every run.
    One,
    /// In long campaigns.
    Two,
    /// On request: beyond any datasheet.
    Three,
}

impl Tier {
    /// All, the first first.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];
}

impl From<Tier> for u8 {
    fn from(tier: Tier) -> Self {
        tier as Self + 1
    }
}

/// Text that is no tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give 1, 2 or 3")]
pub struct ParseTierError;

impl FromStr for Tier {
    type Err = ParseTierError;

    fn from_str(text: &str) -> Result<Self, ParseTierError> {
        Self::ALL.into_iter().find(|tier| u8::from(*tier).to_string() == text).ok_or(ParseTierError)
    }
}

/// What is promised where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// The old tree or the new one, exactly.
    Survive,
    /// A clear error or older good data: never silently wrong.
    Detect,
    /// Nothing: shown, never counted as passed.
    None,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Survive => "survive",
            Self::Detect => "detect",
            Self::None => "none",
        })
    }
}

impl Promise {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Survive => "survive",
            Self::Detect => "detect",
            Self::None => "none",
        }
    }
}

/// Flash that faults are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlashClass {
    /// NOR, with ECC or without.
    Nor,
    /// NAND with one bit in a cell, or of which that is not known.
    Slc,
    /// NAND with more bits in a cell: pages are paired.
    Mlc,
}

impl FlashClass {
    /// What a chip of this kind, with these rules, is.
    #[must_use]
    pub fn of(kind: FlashKind, rules: &Rules) -> Self {
        match (kind, rules.pairing) {
            (FlashKind::Nor, _) => Self::Nor,
            (FlashKind::Nand, Pairing::Unknown) => Self::Slc,
            (FlashKind::Nand, Pairing::FourAndSix) => Self::Mlc,
        }
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hazard {
    /// The power fails between two operations.
    Cut,
    /// The power fails in a program: a part of its bytes or bits is done.
    TornProgram,
    /// The power fails in an erase: zeros, random bits, or blank cells that are weak.
    TornErase,
    /// The power fails in a program or an erase: its cells read differently from read to read.
    UnstableBits,
    /// The power fails in a program: it reads blank, and is not.
    LooksBlank,
    /// The power fails in a program: an earlier page that shares its cells is lost.
    PairedPages,
    /// The power fails in a program: other cells of the eraseblock change.
    Disturbed,
    /// Operations before a sync are lost, or done in another order.
    Unsynced,
    /// A program or an erase says that it failed; the eraseblock has gone bad.
    OperationFails,
    /// A program or an erase says that it is done, and is not or not all.
    OperationIgnored,
    /// Nothing is programmed or erased any more, and no operation says so.
    WriteProtect,
    /// Eraseblocks are bad from the start.
    FactoryBad,
    /// Bits are flipped, and ECC corrects them.
    BitFlips,
    /// Bits are flipped, more than can be corrected, in old data, new data or markers.
    Uncorrectable,
    /// The power fails again, in the recovery or in the work done again.
    RepeatedCuts,
    /// The flash is full, or inode numbers or versions are used up.
    Exhausted,
}

impl Hazard {
    /// All.
    pub const ALL: [Self; 16] = [
        Self::Cut,
        Self::TornProgram,
        Self::TornErase,
        Self::UnstableBits,
        Self::LooksBlank,
        Self::PairedPages,
        Self::Disturbed,
        Self::Unsynced,
        Self::OperationFails,
        Self::OperationIgnored,
        Self::WriteProtect,
        Self::FactoryBad,
        Self::BitFlips,
        Self::Uncorrectable,
        Self::RepeatedCuts,
        Self::Exhausted,
    ];

    /// Its name, in small letters and hyphens.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What happens, in a line.
    #[must_use]
    pub fn what(self) -> &'static str {
        self.row().1
    }

    /// How often it is tried on such flash; `None` where it does not happen.
    #[must_use]
    pub fn tier(self, flash: FlashClass) -> Option<Tier> {
        let [nor, slc, mlc] = self.row().2;
        let tier = match flash {
            FlashClass::Nor => nor,
            FlashClass::Slc => slc,
            FlashClass::Mlc => mlc,
        };
        Tier::ALL.into_iter().find(|of| u8::from(*of) == tier)
    }

    /// What is promised on such flash. Tier 3 is beyond any promise.
    #[must_use]
    pub fn promise(self, flash: FlashClass) -> Promise {
        match self {
            _ if self.tier(flash) == Some(Tier::Three) => Promise::None,
            Self::Disturbed | Self::Uncorrectable => Promise::Detect,
            _ => Promise::Survive,
        }
    }

    /// Name, what happens, tiers on NOR, SLC and MLC NAND; 0: it does not happen.
    fn row(self) -> (&'static str, &'static str, [u8; 3]) {
        match self {
            Self::Cut => ("cut", "power fails between two operations", [1, 1, 1]),
            Self::TornProgram => ("torn-program", "power fails in a program: some bytes or bits are done", [1, 1, 1]),
            Self::TornErase => {
                ("torn-erase", "power fails in an erase: zeros, random bits, weak blank cells", [1, 1, 1])
            }
            Self::UnstableBits => ("unstable-bits", "torn cells read differently from read to read", [2, 2, 2]),
            Self::LooksBlank => ("looks-blank", "a torn program reads blank, and is not", [1, 1, 1]),
            // SLC stands for NAND of which the pairing is not known, too.
            Self::PairedPages => ("paired-pages", "a torn program spoils an earlier page", [0, 1, 1]),
            Self::Disturbed => ("disturbed", "a torn program changes other cells of its eraseblock", [3, 0, 2]),
            Self::Unsynced => ("unsynced", "operations before a sync are lost or reordered", [1, 1, 1]),
            Self::OperationFails => ("operation-fails", "a program or an erase fails: grown bad eraseblock", [2, 1, 1]),
            Self::OperationIgnored => ("operation-ignored", "a program or an erase does less than it says", [1, 1, 1]),
            Self::WriteProtect => ("write-protect", "nothing is programmed or erased any more", [1, 1, 1]),
            Self::FactoryBad => ("factory-bad", "eraseblocks are bad from the start", [0, 1, 1]),
            Self::BitFlips => ("bit-flips", "flipped bits that ECC corrects", [0, 1, 1]),
            Self::Uncorrectable => ("uncorrectable", "flipped bits in data or markers, beyond ECC", [2, 2, 2]),
            Self::RepeatedCuts => ("repeated-cuts", "power fails again in recovery or retry", [1, 1, 1]),
            Self::Exhausted => ("exhausted", "flash full, numbers used up: refused", [1, 1, 1]),
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Tear> for Hazard {
    fn from(tear: Tear) -> Self {
        use ProgramDamage as P;
        match tear {
            Tear::Before => Self::Cut,
            Tear::Unsynced { .. } => Self::Unsynced,
            Tear::Cleanmarker => Self::TornProgram,
            Tear::Program { damage, .. } => match damage {
                P::Prefix | P::Suffix | P::Bytes | P::Bits | P::OneBit | P::AllButOneBit | P::NoEcc => {
                    Self::TornProgram
                }
                P::LooksBlank | P::WeakBlank => Self::LooksBlank,
                P::Paired | P::PairedBlank | P::PairedDone => Self::PairedPages,
                P::UnstablePrefix | P::UnstableBits => Self::UnstableBits,
                P::Disturbed => Self::Disturbed,
            },
            Tear::Erase { damage: EraseDamage::Unstable | EraseDamage::UnstableZeros, .. } => Self::UnstableBits,
            Tear::Erase { .. } => Self::TornErase,
        }
    }
}

impl From<FaultKind> for Hazard {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::ProgramFails | FaultKind::EraseFails => Self::OperationFails,
            FaultKind::ProgramIgnored | FaultKind::ProgramLosesBits | FaultKind::EraseIgnored => Self::OperationIgnored,
            FaultKind::WriteProtect => Self::WriteProtect,
        }
    }
}
