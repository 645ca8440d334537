//! What is done to the flash while the power is cut.

use std::error::Error;

use crate::trace::Recorder;

/// Whether it could be done, and why not.
pub type Done<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Work on a flash that is to survive power cuts: an update, a write to a store. All that it does must follow from what
/// is on the flash and from its own fields.
pub trait Workload: Sync {
    /// The work. `attempt` 0 starts on the flash that the harness was given; from 1 on, on what a cut and perhaps
    /// [`recover`](Self::recover) left, where the work may be done in part or whole: it must make the new state of it.
    ///
    /// # Errors
    /// Whatever keeps it from being done; after a cut each is a failure.
    fn run(&self, flash: &mut Recorder, attempt: u8) -> Done;

    /// What the device does at its next start, before it relies on the state or does the work again. Must leave the state
    /// what it was, old or new, and have nothing to do a second time.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    fn recover(&self, flash: &mut Recorder) -> Done {
        let _ = flash;
        Ok(())
    }

    /// What makes recovered states alike that differ in nothing that matters, so that the work is done again on few of
    /// them only. Used where [`Plan::settle`](super::Plan::settle) says so.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    fn settle(&self, flash: &mut Recorder) -> Done {
        let _ = flash;
        Ok(())
    }
}
