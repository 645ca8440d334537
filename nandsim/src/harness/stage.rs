//! When a state is judged, and what is cut besides the work.

use std::fmt;

/// When a state is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// As the power cut left it.
    Cut,
    /// After recovery.
    Recovered,
    /// After recovery and the work done again.
    Redone,
    /// After the work done again without recovery.
    RedoneDirectly,
}

impl Stage {
    /// Whether the work was done again, so that only the new state will do.
    #[must_use]
    pub fn is_redone(self) -> bool {
        matches!(self, Self::Redone | Self::RedoneDirectly)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "after the cut",
            Self::Recovered => "after recovery",
            Self::Redone => "after recovery and the work done again",
            Self::RedoneDirectly => "after the work done again without recovery",
        })
    }
}

/// What is done on the state that a cut left, and cut in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Act {
    /// Recovery.
    Recovery,
    /// The work again, after recovery.
    Retry,
    /// The work again, without recovery.
    Direct,
}

impl Act {
    const ALL: [Self; 3] = [Self::Recovery, Self::Retry, Self::Direct];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::Retry => "retry",
            Self::Direct => "direct",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.name() == name)
    }
}
