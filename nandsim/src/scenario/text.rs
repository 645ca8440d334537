//! Tokens as text: `flash=nor,eraseblock=65536,unit=1,endian=little,tree=all-kinds,seed=0,update=1a2b3c4d,cut=17:before`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jffs2_tx::flash::FlashKind;
use jffs2_tx::wire::{CommitPoint, Endian};

use super::{Scenario, Token, Trees};
use crate::fault::{Fault, FaultKind};
use crate::harness::CutPath;
use crate::parts::{Part, PartError};
use crate::plant::Plant;
use crate::shape::Shape;
use crate::update::First;

/// Text that is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    /// Not KEY=VALUE.
    #[error("{0:?} is not KEY=VALUE")]
    Pair(String),
    /// No such key.
    #[error("a token has no {0:?}; it may be of a newer nandsim")]
    Key(String),
    /// The value makes no sense.
    #[error("{key}={value} makes no sense in a token")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// The part is not known.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A key that every token has is not there.
    #[error("the token has no {0}")]
    Missing(&'static str),
}

/// Updates before the one under test, at most: each takes its time.
pub const MOST_BEFORE: u32 = 1000;

const FAULTS: [(FaultKind, &str); 6] = [
    (FaultKind::ProgramIgnored, "program-ignored"),
    (FaultKind::ProgramLosesBits, "program-loses-bits"),
    (FaultKind::ProgramFails, "program-fails"),
    (FaultKind::EraseIgnored, "erase-ignored"),
    (FaultKind::EraseFails, "erase-fails"),
    (FaultKind::WriteProtect, "write-protect"),
];

const FIRSTS: [(First, &str); 2] = [(First::Abort, "abort"), (First::Collection, "gc")];

const POINTS: [CommitPoint; 3] = [CommitPoint::Dirent, CommitPoint::Head, CommitPoint::Summary];

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "part={}", part.name)?,
            None => write!(f, "flash={}", if self.shape.kind == FlashKind::Nor { "nor" } else { "nand" })?,
        }
        write!(f, ",eraseblock={}", self.shape.eraseblock)?;
        if self.part.is_none() {
            write!(f, ",unit={}", self.shape.write_size)?;
        }
        write!(f, ",endian={}", if self.shape.endian == Endian::Little { "little" } else { "big" })?;
        if let Some(blocks) = self.blocks {
            write!(f, ",blocks={blocks}")?;
        }
        write!(f, ",tree={}", self.trees)?;
        if self.before > 0 {
            write!(f, ",before={}", self.before)?;
        }
        if let Some((_, name)) = FIRSTS.iter().find(|(of, _)| *of == self.first) {
            write!(f, ",first={name}")?;
        }
        if let Some(changes) = &self.changes {
            let numbers: Vec<String> = changes.iter().map(usize::to_string).collect();
            write!(f, ",changes={}", numbers.join("+"))?;
        }
        if let Some(point) = self.point {
            write!(f, ",point={point}")?;
        }
        if let Some(Fault { kind, nth }) = self.fault {
            let name = FAULTS.iter().find(|(of, _)| *of == kind).map_or("", |(_, name)| name);
            write!(f, ",fault={name}:{nth}")?;
        }
        if let Some(plant) = self.plant {
            write!(f, ",plant={}", plant.name)?;
        }
        write!(f, ",seed={}", self.seed)
    }
}

impl fmt::Display for Trees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllKinds => write!(f, "all-kinds"),
            Self::Small => write!(f, "small"),
            Self::Large => write!(f, "large"),
            Self::Random(seed) => write!(f, "random:{seed}"),
            Self::Given => write!(f, "given"),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},update={:08x},cut={}", self.scenario, self.update, self.cut)
    }
}

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let mut fields = Fields::default();
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').ok_or_else(|| ParseTokenError::Pair(pair.into()))?;
            if key == "part" {
                Part::by_name(value)?;
            }
            let known = fields.set(key, value).ok_or_else(|| ParseTokenError::Key(key.into()))?;
            known.ok_or_else(|| ParseTokenError::Value { key: key.into(), value: value.into() })?;
        }
        fields.token()
    }
}

/// What has been read of a token.
#[derive(Default)]
struct Fields {
    part: Option<&'static Part>,
    flash: Option<FlashKind>,
    eraseblock: Option<u32>,
    unit: Option<u32>,
    endian: Option<Endian>,
    blocks: Option<u32>,
    trees: Option<Trees>,
    before: Option<u32>,
    first: Option<First>,
    changes: Option<BTreeSet<usize>>,
    point: Option<CommitPoint>,
    fault: Option<Fault>,
    plant: Option<&'static Plant>,
    seed: Option<u64>,
    update: Option<u32>,
    cut: Option<CutPath>,
}

impl Fields {
    /// `None` if there is no such key, `Some(None)` if the value is none.
    fn set(&mut self, key: &str, value: &str) -> Option<Option<()>> {
        Some(match key {
            "part" => put(&mut self.part, Part::by_name(value).ok()),
            "flash" => put(&mut self.flash, one_of(value, &[("nor", FlashKind::Nor), ("nand", FlashKind::Nand)])),
            "eraseblock" => put(&mut self.eraseblock, value.parse().ok()),
            "unit" => put(&mut self.unit, value.parse().ok()),
            "endian" => put(&mut self.endian, one_of(value, &[("little", Endian::Little), ("big", Endian::Big)])),
            "blocks" => put(&mut self.blocks, value.parse().ok()),
            "tree" => put(&mut self.trees, value.parse().ok()),
            "before" => put(&mut self.before, value.parse().ok().filter(|updates| *updates <= MOST_BEFORE)),
            "first" => put(&mut self.first, parse_first(value)),
            "changes" => put(&mut self.changes, parse_changes(value)),
            "point" => put(&mut self.point, POINTS.into_iter().find(|point| point.to_string() == value)),
            "fault" => put(&mut self.fault, parse_fault(value)),
            "plant" => put(&mut self.plant, Plant::by_name(value)),
            "seed" => put(&mut self.seed, value.parse().ok()),
            "update" => put(&mut self.update, u32::from_str_radix(value, 16).ok()),
            "cut" => put(&mut self.cut, value.parse().ok()),
            _ => return None,
        })
    }

    fn token(self) -> Result<Token, ParseTokenError> {
        let missing = ParseTokenError::Missing;
        let eraseblock = self.eraseblock.ok_or(missing("eraseblock"))?;
        let endian = self.endian.ok_or(missing("endian"))?;
        let shape = match self.part {
            Some(part) => Shape { kind: part.kind, eraseblock, write_size: part.write_size, endian },
            None => {
                let (kind, write_size) = (self.flash.ok_or(missing("flash"))?, self.unit.ok_or(missing("unit"))?);
                Shape { kind, eraseblock, write_size, endian }
            }
        };
        let scenario = Scenario {
            part: self.part,
            shape,
            blocks: self.blocks,
            trees: self.trees.ok_or(missing("tree"))?,
            before: self.before.unwrap_or(0),
            first: self.first.unwrap_or_default(),
            changes: self.changes,
            point: self.point,
            fault: self.fault,
            plant: self.plant,
            seed: self.seed.ok_or(missing("seed"))?,
        };
        let (update, cut) = (self.update.ok_or(missing("update"))?, self.cut.ok_or(missing("cut"))?);
        Ok(Token { scenario, update, cut })
    }
}

fn put<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    *field = value;
    field.is_some().then_some(())
}

fn one_of<T: Copy>(value: &str, names: &[(&str, T)]) -> Option<T> {
    names.iter().find(|(name, _)| *name == value).map(|(_, of)| *of)
}

impl FromStr for Trees {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let fixed = [Self::AllKinds, Self::Small, Self::Large, Self::Given];
        let trees = match text.strip_prefix("random:") {
            Some(seed) => seed.parse().ok().map(Self::Random),
            None => fixed.into_iter().find(|trees| trees.to_string() == text),
        };
        trees.ok_or_else(|| ParseTokenError::Value { key: "tree".into(), value: text.into() })
    }
}

fn parse_first(value: &str) -> Option<First> {
    FIRSTS.iter().find(|(_, name)| *name == value).map(|(first, _)| *first)
}

fn parse_changes(value: &str) -> Option<BTreeSet<usize>> {
    value.split('+').filter(|number| !number.is_empty()).map(|number| number.parse().ok()).collect()
}

fn parse_fault(value: &str) -> Option<Fault> {
    let (name, nth) = value.split_once(':')?;
    let kind = FAULTS.iter().find(|(_, of)| *of == name)?.0;
    Some(Fault { kind, nth: nth.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_a_token() {
        for text in [
            "flash=nor,eraseblock=65536,unit=1,endian=little,tree=all-kinds,seed=0,update=1a2b3c4d,cut=17:before",
            "flash=nand,eraseblock=16384,unit=512,endian=big,blocks=40,tree=random:9,before=3,first=gc,changes=1+4,point=summary,\
             fault=erase-fails:2,seed=7,update=00000000,cut=3:bits:0:1/recovery:2:erase-blank:0",
            "part=W25Q128FV,eraseblock=4096,endian=big,tree=given,plant=no-sync,seed=7,update=ffffffff,cut=3:before",
        ] {
            assert_eq!(text.parse::<Token>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_tokens_are_told_apart() {
        let good =
            "flash=nor,eraseblock=65536,unit=1,endian=little,tree=all-kinds,seed=0,update=1a2b3c4d,cut=17:before";
        let error = |text: String| text.parse::<Token>().unwrap_err();
        for key in ["flash", "eraseblock", "unit", "endian", "tree", "seed", "update", "cut"] {
            let rest: Vec<&str> = good.split(',').filter(|pair| !pair.starts_with(&format!("{key}="))).collect();
            assert!(matches!(error(rest.join(",")), ParseTokenError::Missing(missing) if missing == key));
            let spoilt = good.replace(&format!("{key}="), &format!("{key}=?"));
            assert!(matches!(error(spoilt), ParseTokenError::Value { .. }));
        }
        assert!(matches!(error(format!("{good},later=1")), ParseTokenError::Key(_)));
        assert!(matches!(error(format!("{good},before=1001")), ParseTokenError::Value { .. }));
        assert!(matches!(error(format!("part=W25Q64,{good}")), ParseTokenError::Part(_)));
        assert!(matches!(error(good.replace("seed=0", "seed")), ParseTokenError::Pair(_)));
    }
}
