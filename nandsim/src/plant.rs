//! Mistakes that can be planted in an update, to see that the harness finds them.
//!
//! ```
//! use nandsim::{Plant, cuts_all};
//!
//! let plant = Plant::by_name("commit-before-payload").ok_or("no such plant")?;
//! let mut torture = plant.subject(0)?;
//! plant.plant(&mut torture)?;
//! let report = torture.run(cuts_all(&torture.trace), 1, &|_| {});
//! assert!(!report.counts.is_fine());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::torture::{Torture, TortureError};

mod collection;
mod commit_block;
mod device;
mod edit;
mod nodes;
mod order;
mod recovery;
mod scene;
mod summary;

use scene::Scene;

/// A mistake that code which makes transactions could make.
#[derive(Debug)]
pub struct Plant {
    /// Lower-case words with hyphens.
    pub name: &'static str,
    /// What is done wrong.
    pub what: &'static str,
    /// Where it matters.
    scene: Scene,
    /// Changes what was done; `None` if there is nothing of the kind.
    change: fn(&mut Torture) -> Option<()>,
}

/// The mistake cannot be made in that update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{plant} cannot be planted: the update does nothing of the kind; it can be in {scene}")]
pub struct PlantError {
    /// Name of the mistake.
    pub plant: &'static str,
    /// Where it can be made.
    pub scene: String,
}

impl Plant {
    /// All of them.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        [
            order::PLANTS,
            commit_block::PLANTS,
            summary::PLANTS,
            nodes::PLANTS,
            device::PLANTS,
            recovery::PLANTS,
            collection::PLANTS,
        ]
        .into_iter()
        .flatten()
    }

    /// The one of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        Self::all().find(|plant| plant.name == name)
    }

    /// Something done to a small flash, recorded, in which the mistake can be made.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn subject(&self, seed: u64) -> Result<Torture, TortureError> {
        self.scene.recorded(seed)
    }

    /// Makes the mistake in what was recorded.
    ///
    /// # Errors
    /// [`PlantError`]; nothing is changed then.
    pub fn plant(&self, torture: &mut Torture) -> Result<(), PlantError> {
        let mut planted = torture.clone();
        (self.change)(&mut planted).ok_or_else(|| PlantError { plant: self.name, scene: self.scene.to_string() })?;
        *torture = planted;
        Ok(())
    }
}
