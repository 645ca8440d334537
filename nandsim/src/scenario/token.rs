//! A test and a cut in it: all that is needed to see a failure again.

use super::{Given, Scenario, ScenarioError};
use crate::content::{ContentId, Hasher};
use crate::harness::CutPath;
use crate::torture::Torture;
use crate::trace::{Op, Trace};

/// Names a test, and a cut. Its text is one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The test.
    pub scenario: Scenario,
    /// Identifies what the update does to the flash, so that another update is not taken for it.
    pub update: u32,
    /// Where the power fails.
    pub cut: CutPath,
}

/// The test cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be made at all.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The trees are others, or the update is of another version.
    #[error("the update is {found:08x}, that of the token {wanted:08x}: other trees, or another version of nandsim")]
    Other {
        /// What the update is.
        found: u32,
        /// What the token says.
        wanted: u32,
    },
    /// The cut leads nowhere.
    #[error("there is nothing to cut at {0}")]
    Cut(CutPath),
}

impl Token {
    /// Names a cut in a recorded test.
    #[must_use]
    pub fn new(scenario: &Scenario, torture: &Torture, cut: CutPath) -> Self {
        Self { scenario: scenario.clone(), update: update_id(&torture.trace), cut }
    }

    /// Makes the test again.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn record(&self, given: Option<&Given>) -> Result<Torture, TokenError> {
        let torture = self.scenario.record(given)?;
        let found = update_id(&torture.trace);
        if found != self.update {
            return Err(TokenError::Other { found, wanted: self.update });
        }
        self.check(&torture)?;
        Ok(torture)
    }

    /// Whether there is something to cut there.
    ///
    /// # Errors
    /// [`TokenError::Cut`].
    pub fn check(&self, torture: &Torture) -> Result<(), TokenError> {
        match torture.state(&self.cut) {
            Some(_) => Ok(()),
            None => Err(TokenError::Cut(self.cut.clone())),
        }
    }
}

/// Identifies what is done.
fn update_id(trace: &Trace) -> u32 {
    let mut hasher = Hasher::new();
    for op in &trace.ops {
        let (kind, number, data): (u8, u32, &[u8]) = match op {
            Op::Program { offset, data } => (0, *offset, data),
            Op::Erase { block } => (1, *block, &[]),
            Op::OobCleanmarker { block } => (2, *block, &[]),
            Op::MarkBad { block } => (3, *block, &[]),
            Op::Sync => (4, 0, &[]),
        };
        hasher.update(&[kind]);
        hasher.update(&number.to_le_bytes());
        hasher.update(data);
    }
    let ContentId(id) = hasher.finish();
    id as u32
}
