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

use crate::harness::{Done, Harness, HarnessError, Workload};
use crate::torture::{Torture, TortureError, TreeOracle};
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

/// An update with a mistake in it.
#[derive(Clone, Debug)]
pub struct PlantedUpdate {
    /// The update as it should be.
    pub update: Update,
    mistake: Mistake,
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
    pub fn plant(&self, mut torture: Torture) -> Result<Harness<PlantedUpdate, TreeOracle>, PlantError> {
        if let Mistake::Trace(change) = self.mistake {
            change(&mut torture)
                .ok_or_else(|| PlantError::Absent { plant: self.name, scene: self.scene.to_string() })?;
        }
        let Torture { start, trace, workload: update, oracle, seed, plan } = torture;
        let workload = PlantedUpdate { update, mistake: self.mistake };
        match self.mistake {
            Mistake::Run(_) => Ok(Harness { plan, ..Harness::new(start, workload, oracle, seed)? }),
            Mistake::Trace(_) | Mistake::Recover(_) => Ok(Harness { start, trace, workload, oracle, seed, plan }),
        }
    }
}

impl Workload for PlantedUpdate {
    fn run(&self, flash: &mut Recorder, attempt: u8) -> Done {
        match self.mistake {
            Mistake::Run(run) => run(&self.update, flash, attempt),
            Mistake::Trace(_) | Mistake::Recover(_) => self.update.run(flash, attempt),
        }
    }

    fn recover(&self, flash: &mut Recorder) -> Done {
        match self.mistake {
            Mistake::Recover(recover) => recover(&self.update, flash),
            Mistake::Trace(_) | Mistake::Run(_) => self.update.recover(flash),
        }
    }

    fn settle(&self, flash: &mut Recorder) -> Done {
        self.update.settle(flash)
    }
}
