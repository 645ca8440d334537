//! Mistakes that can be planted in an update, to see that the harness finds them.
//!
//! ```
//! use nandsim::{Plant, cuts_all};
//!
//! let plant = Plant::by_name("commit-before-payload").ok_or("no such plant")?;
//! let torture = plant.plant(plant.subject(0)?)?;
//! let report = torture.run(cuts_all(&torture.trace), 1, &|_| {});
//! assert!(!report.counts.is_fine());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::harness::{Done, Harness, HarnessError};
use crate::torture::{Torture, TortureError};
use crate::trace::Recorder;
use crate::update::Update;

mod collection;
mod commit_block;
mod device;
mod dirents;
mod driver;
mod edit;
mod inodes;
mod order;
mod recovery;
mod retry;
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
    mistake: Mistake,
}

/// Where a mistake is made.
#[derive(Clone, Copy, Debug)]
enum Mistake {
    /// In what was recorded; `None` if there is nothing of the kind.
    Trace(fn(&mut Torture) -> Option<()>),
    /// In the code that makes the update.
    Run(fn(&Update, &mut Recorder, u8) -> Done),
    /// In the code that recovers from a power cut.
    Recover(fn(&Update, &mut Recorder) -> Done),
}

/// A mistake cannot be planted.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    /// What was recorded has nothing of the kind.
    #[error("{plant} cannot be planted: nothing of the kind is done; take {scene}")]
    Absent {
        /// Name of the mistake.
        plant: &'static str,
        /// Where it can be made.
        scene: String,
    },
    /// It shows without any power cut.
    #[error(transparent)]
    Found(#[from] HarnessError),
}

impl Plant {
    /// All of them.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        [
            order::PLANTS,
            commit_block::PLANTS,
            summary::PLANTS,
            dirents::PLANTS,
            inodes::PLANTS,
            device::PLANTS,
            retry::PLANTS,
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

    /// Where it can be made, in words.
    #[must_use]
    pub fn scene(&self) -> String {
        self.scene.to_string()
    }

    /// Something done to a small flash, recorded, in which the mistake can be made.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn subject(&self, seed: u64) -> Result<Torture, TortureError> {
        self.scene.recorded(seed)
    }

    /// The same with the mistake in it.
    ///
    /// # Errors
    /// [`PlantError`].
    pub fn plant(&'static self, mut torture: Torture) -> Result<Torture, PlantError> {
        torture.workload.plant = Some(self);
        match self.mistake {
            Mistake::Recover(_) => Ok(torture),
            Mistake::Trace(change) => match change(&mut torture) {
                Some(()) => Ok(torture),
                None => Err(PlantError::Absent { plant: self.name, scene: self.scene() }),
            },
            Mistake::Run(_) => {
                let Torture { start, workload, oracle, seed, plan, .. } = torture;
                Ok(Harness { plan, ..Harness::new(start, workload, oracle, seed)? })
            }
        }
    }

    /// Makes the update, if that is where the mistake is.
    pub(crate) fn run(&self, update: &Update, flash: &mut Recorder, attempt: u8) -> Option<Done> {
        if let Mistake::Run(run) = self.mistake { Some(run(update, flash, attempt)) } else { None }
    }

    /// Recovers, if that is where the mistake is.
    pub(crate) fn recover(&self, update: &Update, flash: &mut Recorder) -> Option<Done> {
        if let Mistake::Recover(recover) = self.mistake { Some(recover(update, flash)) } else { None }
    }
}

/// Names are unique.
impl PartialEq for Plant {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Plant {}
