//! Who says what a state is.

use std::fmt;
use std::sync::Arc;

use super::Stage;
use crate::chip::Chip;
use crate::verdict::Verdict;

/// Knows the old state and the new one. A function `Fn(&Chip) -> Verdict` is one, with a single reader and all the rules
/// below as they stand; look at the chip as the device's next start does, and [`Verdict::Unreadable`] is whatever keeps it
/// from starting. If looking writes, as where reading mends, let it write to a clone of the chip: clones are cheap.
pub trait Oracle: Sync {
    /// Looks at states; there is one for each thread, so it can keep what it knows.
    type Eye<'o>: Eye
    where
        Self: 'o;

    /// One more.
    fn eye(&self) -> Self::Eye<'_>;

    /// Whether a sight is right at this stage; what is wrong with it. By default every reader sees the old state or the
    /// new one, and the new one after the work was done again.
    ///
    /// # Errors
    /// [`Verdict::Mixed`] or [`Verdict::Unreadable`].
    fn accepts(&self, stage: Stage, sight: &Sight) -> Result<(), Verdict> {
        sight.is_fine(stage)?;
        match stage.is_redone() && sight.verdict != Verdict::New {
            true => Err(Verdict::Mixed(format!("{stage}: {sight}"))),
            false => Ok(()),
        }
    }

    /// Whether the work is done, and right, when it was not cut; what is wrong with it. By default the new state is seen.
    ///
    /// # Errors
    /// [`Verdict::Mixed`] or [`Verdict::Unreadable`].
    fn is_done(&self, chip: &Chip, sight: &Sight) -> Result<(), Verdict> {
        let _ = chip;
        match sight.verdict {
            Verdict::New => Ok(()),
            _ => Err(Verdict::Mixed(format!("when all is done: {sight}"))),
        }
    }

    /// Whether what was seen before a recovery may be seen as `after` behind it, or after a cut in it.
    ///
    /// # Errors
    /// What has changed.
    fn kept(&self, before: &Sight, after: &Sight) -> Result<(), Verdict> {
        match before == after {
            true => Ok(()),
            false => Err(Verdict::Mixed(format!("recovery changed the state: {before} before, {after} after"))),
        }
    }
}

/// Looks at states.
pub trait Eye {
    /// What is seen of a state, the power just back on.
    fn see(&mut self, chip: &Chip) -> Sight;
}

/// What is seen of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The one that counts where all are fine.
    pub verdict: Verdict,
    /// What each reader sees, by name. Readers may differ by design: [`Oracle::accepts`] knows.
    pub readers: Arc<[(&'static str, Verdict)]>,
    /// What is by design and was allowed, by name: reports count it.
    pub allowed: Arc<[&'static str]>,
}

impl Sight {
    /// With one reader only.
    #[must_use]
    pub fn of(verdict: Verdict) -> Self {
        Self { readers: Arc::new([("reader", verdict.clone())]), verdict, allowed: Arc::default() }
    }

    /// Whether every reader sees the old state or the new one.
    ///
    /// # Errors
    /// What the first that does not sees instead.
    pub fn is_fine(&self, stage: Stage) -> Result<(), Verdict> {
        match self.readers.iter().find(|(_, verdict)| !verdict.is_fine()) {
            None => Ok(()),
            Some((reader, verdict)) => Err(verdict.clone().about(&format!("{stage}, {reader}"))),
        }
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (reader, verdict)) in self.readers.iter().enumerate() {
            write!(f, "{}{reader} {verdict}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A function that tells old from new is an oracle.
impl<F: Fn(&Chip) -> Verdict + Sync> Oracle for F {
    type Eye<'o>
        = &'o F
    where
        F: 'o;

    fn eye(&self) -> &F {
        self
    }
}

impl<F: Fn(&Chip) -> Verdict> Eye for &F {
    fn see(&mut self, chip: &Chip) -> Sight {
        Sight::of(self(chip))
    }
}
