//! A whole test by name: the flash, the trees, the update, the seed. The same name makes the same test on any machine.

use std::collections::BTreeSet;
use std::io;

use jffs2_mkimage::BuildError;
use jffs2_tx::flash::{Geometry, GeometryError};
use jffs2_tx::source::SourceTree;
use jffs2_tx::tx::TxOptions;
use jffs2_tx::wire::CommitPoint;

use crate::chip::{Chip, ChipError};
use crate::fault::Fault;
use crate::parts::{Part, PartError};
use crate::plant::Plant;
use crate::sample::{Sample, sample, sample_large, sample_random, sample_small_change};
use crate::shape::Shape;
use crate::torture::{Torture, TortureError};
use crate::update::{First, Update};

mod changes;
mod history;
mod text;
mod token;

use history::History;

pub use changes::{Change, ChangeKind, changes, with_changes};
pub use text::{MOST_BEFORE, ParseTokenError};
pub use token::{Token, TokenError};

/// An update on a flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The part whose rules the flash keeps; `None`: what the shape says.
    pub part: Option<&'static Part>,
    /// The flash, all but its size.
    pub shape: Shape,
    /// Eraseblocks; `None`: what the update needs.
    pub blocks: Option<u32>,
    /// From what, to what.
    pub trees: Trees,
    /// Updates before the one under test, each with some of its changes, some cut; between them the flash is used.
    pub before: u32,
    /// What is done right before the update.
    pub first: First,
    /// Of the [`changes`] between the trees only these, by number; `None`: all.
    pub changes: Option<BTreeSet<usize>>,
    /// What is to make the update visible; `None`: the library chooses.
    pub point: Option<CommitPoint>,
    /// Something that goes wrong with the flash in the update.
    pub fault: Option<Fault>,
    /// A mistake that the update makes.
    pub plant: Option<&'static Plant>,
    /// Picks what is random.
    pub seed: u64,
}

/// The old tree and the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trees {
    /// [`sample`].
    AllKinds,
    /// [`sample_small_change`].
    Small,
    /// [`sample_large`].
    Large,
    /// [`sample_random`] of that seed.
    Random(u64),
    /// Given beside the scenario.
    Given,
}

/// Trees that come from outside.
#[derive(Clone, Debug)]
pub struct Given {
    /// What the flash holds before.
    pub old: Old,
    /// What it is to hold.
    pub new: SourceTree,
}

/// What the flash holds before.
#[derive(Clone, Debug)]
pub enum Old {
    /// An image of this tree.
    Tree(SourceTree),
    /// This image.
    Image(Vec<u8>),
}

/// The test cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The trees are to be given, and were not.
    #[error("the trees must be given: --old DIR or --image IMG, and --new DIR")]
    NotGiven,
    /// Of an image's tree no part of the changes can be made, and no history.
    #[error("only changes between two trees can be told apart, not those between an image and a tree")]
    ChangesOfImage,
    /// The flash cannot be that size.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The part is another.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The old tree cannot become an image.
    #[error("no image can be made")]
    Build(#[from] BuildError),
    /// The image is larger than the flash.
    #[error("the old tree does not fit the flash")]
    Chip(#[from] ChipError),
    /// A tree cannot be read.
    #[error("a file of the trees cannot be read")]
    Source(#[from] io::Error),
    /// The update cannot be recorded.
    #[error(transparent)]
    Torture(#[from] TortureError),
}

impl Scenario {
    /// Does the update once, on a flash that holds the old tree.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn record(&self, given: Option<&Given>) -> Result<Torture, ScenarioError> {
        let (old, new) = self.trees(given)?;
        let (image, old) = match old {
            Old::Tree(tree) => (self.shape.image(&tree)?, Some(tree)),
            Old::Image(image) => (image, None),
        };
        let geometry = self.geometry(image.len(), &new)?;
        let erased = match self.part {
            Some(part) => part.chip(geometry, self.seed)?,
            None => Chip::new(geometry, self.seed),
        };
        let mut start = self.shape.flashed_on(erased, &image)?;
        if self.before > 0 {
            let old = old.as_ref().ok_or(ScenarioError::ChangesOfImage)?;
            let history = History { endian: self.shape.endian, old, new: &new, updates: self.before, seed: self.seed };
            start = history.of(start)?;
        }
        if let Some(fault) = self.fault {
            start.plan(fault);
        }
        let options = TxOptions {
            label: "nandsim".into(),
            commit_point: self.point,
            txid: self.seed.to_le_bytes().repeat(2).try_into().unwrap_or_default(),
            ..TxOptions::default()
        };
        Ok(Torture::record(
            start,
            Update { plant: self.plant, first: self.first, ..Update::new(self.shape.endian, new, options) },
            self.seed,
        )?)
    }

    fn geometry(&self, image: usize, new: &SourceTree) -> Result<Geometry, ScenarioError> {
        Ok(match self.blocks {
            Some(blocks) => self.shape.geometry(u64::from(blocks) * u64::from(self.shape.eraseblock))?,
            None => self.shape.geometry_for(image, self.shape.image(new)?.len())?,
        })
    }

    fn trees(&self, given: Option<&Given>) -> Result<(Old, SourceTree), ScenarioError> {
        let (old, new) = match (self.trees.sample(), given) {
            (Some(Sample { old, new }), _) => (Old::Tree(old), new),
            (None, Some(Given { old, new })) => (old.clone(), new.clone()),
            (None, None) => return Err(ScenarioError::NotGiven),
        };
        let Some(wanted) = &self.changes else { return Ok((old, new)) };
        match old {
            Old::Tree(tree) => {
                let new = with_changes(&tree, &new, wanted)?;
                Ok((Old::Tree(tree), new))
            }
            Old::Image(_) => Err(ScenarioError::ChangesOfImage),
        }
    }

    /// The changes of the update, all of them; `None` if its old tree is an image.
    ///
    /// # Errors
    /// [`ScenarioError::NotGiven`], [`ScenarioError::Source`].
    pub fn all_changes(&self, given: Option<&Given>) -> Result<Option<Vec<Change>>, ScenarioError> {
        match (Self { changes: None, ..self.clone() }).trees(given)? {
            (Old::Tree(old), new) => Ok(Some(changes(&old, &new)?)),
            (Old::Image(_), _) => Ok(None),
        }
    }
}

impl Trees {
    /// `None` if they are given.
    #[must_use]
    pub fn sample(self) -> Option<Sample> {
        match self {
            Self::AllKinds => Some(sample()),
            Self::Small => Some(sample_small_change()),
            Self::Large => Some(sample_large()),
            Self::Random(seed) => Some(sample_random(seed)),
            Self::Given => None,
        }
    }
}
