//! What threads have found out, so that no state is put through the same twice.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::trial::Wrong;
use crate::content::ContentId;

/// States that a set holds at most, some 300 MB; more are put through again.
const MOST: usize = 8 << 20;

/// Shared by all threads of a run. Two threads may find out the same at once; that is rare.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// States after a cut that were put through everything, and nothing was wrong.
    first: Mutex<HashSet<ContentId>>,
    /// The same for states after second cuts.
    second: Mutex<HashSet<ContentId>>,
    /// What came of doing the work again, by the state that it was done on, and whether the power was cut in that, too.
    redone: Mutex<HashMap<(ContentId, bool), Result<(), Wrong>>>,
    second_cuts: AtomicU64,
}

impl Known {
    pub(super) fn first(&self) -> Fine<'_> {
        Fine(&self.first)
    }

    pub(super) fn second(&self) -> Fine<'_> {
        Fine(&self.second)
    }

    pub(super) fn redone_states(&self) -> usize {
        let redone = locked(&self.redone);
        redone.keys().filter(|(id, cut)| *cut || !redone.contains_key(&(*id, true))).count()
    }

    pub(super) fn count_second_cut(&self) {
        self.second_cuts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn second_cuts(&self) -> u64 {
        self.second_cuts.load(Ordering::Relaxed)
    }

    /// What came of doing the work again on a state, and `cut` there; `redo` finds out.
    pub(super) fn redone(
        &self,
        id: ContentId,
        cut: bool,
        redo: impl FnOnce() -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        let known = locked(&self.redone).get(&(id, cut)).cloned();
        known.unwrap_or_else(|| {
            let result = redo();
            locked(&self.redone).insert((id, cut), result.clone());
            result
        })
    }
}

/// A set of states in which nothing is wrong.
#[derive(Clone, Copy)]
pub(super) struct Fine<'k>(&'k Mutex<HashSet<ContentId>>);

impl Fine<'_> {
    pub(super) fn has(self, id: ContentId) -> bool {
        locked(self.0).contains(&id)
    }

    pub(super) fn add(self, id: ContentId) {
        let mut set = locked(self.0);
        if set.len() < MOST {
            set.insert(id);
        }
    }

    pub(super) fn len(self) -> usize {
        locked(self.0).len()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
