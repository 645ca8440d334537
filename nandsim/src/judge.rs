//! What each reader makes of a flash state: the old tree, the new one, or something that must not be.
//!
//! [`Standard`] says what each reader may see of an update; a [`Judge`] says what it does see of a state: the library's
//! reader with and without summaries, and boot firmware, whole tree and kernel image. [`Seen::fine`] and
//! [`Seen::kept_by_recovery`] are the rules that all states keep, and [`Turns`] are where an update commits.

use std::sync::Arc;

mod allowance;
mod firmware;
mod fit;
mod kernel;
mod library;
mod listing;
mod seen;
mod standard;
mod turns;

pub use allowance::{Allowance, AllowanceCounts, Allowances};
pub use library::{Expected, LibraryJudge};
pub use seen::{FirmwareSeen, Seen};
pub use standard::{LeftOut, Standard, StandardError};
pub use turns::{TurnError, Turns};

use crate::cache::Cache;
use crate::chip::Chip;
use crate::content::ContentId;
use firmware::FirmwareJudge;
use library::KNOWN_STATES;

/// Judges flash states, equal ones only once. One for each thread.
#[derive(Debug)]
pub struct Judge {
    library: LibraryJudge,
    firmware: FirmwareJudge,
    known: Cache<ContentId, Arc<Seen>>,
}

impl Judge {
    /// For the states of one update.
    #[must_use]
    pub fn new(standard: Arc<Standard>) -> Self {
        let library = LibraryJudge::new(&standard.geometry, standard.endian, standard.library.clone());
        Self { library, firmware: FirmwareJudge::new(standard), known: Cache::new(KNOWN_STATES) }
    }

    /// What each reader sees.
    pub fn verdicts(&mut self, chip: &Chip) -> Arc<Seen> {
        let id = chip.content_id();
        self.known.get(&id).unwrap_or_else(|| {
            let library = self.library.look(chip);
            let firmware = self.firmware.seen(chip, &library);
            let seen = Arc::new(Seen { library, firmware });
            self.known.insert(id, Arc::clone(&seen));
            seen
        })
    }
}
