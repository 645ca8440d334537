//! What a state is.

use std::fmt;

/// What a reader sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Exactly the old state.
    Old,
    /// Exactly the new state.
    New,
    /// Another state, or one that cannot last; how it differs, or why.
    Mixed(String),
    /// A name leads to something that cannot be read, or nothing can be read at all; why.
    Unreadable(String),
}

impl Verdict {
    /// Old or new.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        matches!(self, Self::Old | Self::New)
    }

    /// The same with its description put into context.
    #[must_use]
    pub(crate) fn about(self, what: &str) -> Self {
        match self {
            Self::Old | Self::New => self,
            Self::Mixed(how) => Self::Mixed(format!("{what}: {how}")),
            Self::Unreadable(why) => Self::Unreadable(format!("{what}: {why}")),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old => write!(f, "old"),
            Self::New => write!(f, "new"),
            Self::Mixed(how) => write!(f, "mixed: {how}"),
            Self::Unreadable(why) => write!(f, "unreadable: {why}"),
        }
    }
}
