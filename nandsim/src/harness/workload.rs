//! What is done to the flash while the power is cut.

use std::error::Error;

use crate::trace::Recorder;

/// Whether it could be done, and why not.
pub type Done<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Work on a flash that is to survive power cuts: an update, a write to a store.
///
/// It is done over and over on copies of the flash, on several threads, in no order. So all that it does must follow from
/// what it reads there and from its own fields: nothing is kept in memory, as nothing is over a power cut, and nothing is
/// random but by a seed. It writes through [`FlashMut`](crate::flash::FlashMut), or through an adapter of another trait;
/// where its driver waits until a program is done and lasts, call [`sync`](crate::flash::FlashMut::sync): between two
/// syncs, what goes to different eraseblocks may be lost in any order. A refusal of the flash (a program over programmed
/// cells, a NAND page out of order) is a failure of the work, even if it goes on.
pub trait Workload: Sync {
    /// The work. `attempt` 0 starts on the flash that the harness was given; from 1 on, on what a cut and perhaps
    /// [`recover`](Self::recover) left, where it may be done in part or whole: the new state must come of it all the same.
    ///
    /// # Errors
    /// Whatever keeps it from being done; after a cut each is a failure.
    fn run(&self, flash: &mut Recorder, attempt: u8) -> Done;

    /// What the device does at its next start, before it relies on the state or does the work again: mends, cleans up. Must
    /// leave the state what it was, old or new, come to an end, and change nothing when it is done a second time. Some
    /// states are put through [`run`](Self::run) without it.
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
