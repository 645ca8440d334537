//! What flash does when power fails or cells age, how often that is tried, and what is promised.

use std::fmt;

use jffs2_tx::flash::FlashKind;
use serde::Serialize;

use crate::chip::{Pairing, Rules};
use crate::cut::{EraseDamage, ProgramDamage, Tear};
use crate::fault::FaultKind;

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

impl From<Tier> for u8 {
    fn from(tier: Tier) -> Self {
        tier as Self + 1
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

/// Flash that faults are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlashClass {
    /// NOR, with ECC or without.
    Nor,
    /// NAND with one bit in a cell.
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
