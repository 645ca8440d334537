//! What each reader makes of a flash state: the old tree, the new one, or something that must not be.

use std::fmt;

use jffs2_tx::flash::Geometry;
use jffs2_tx::wire::Endian;

use crate::cache::Cache;
use crate::chip::Chip;
use crate::content::ContentId;
use crate::reader::ByReader;
use crate::snapshot::Snapshot;
use crate::viewer::{View, ViewError, Viewer};

/// Differences that a description lists.
const SHOWN_DIFFERENCES: usize = 4;
/// Flash states whose verdicts are kept.
const KNOWN_STATES: usize = 1 << 12;

/// What a reader sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exactly the old tree.
    Old,
    /// Exactly the new tree.
    New,
    /// Another tree, or one that cannot last; how it differs, or why.
    Mixed(String),
    /// A name leads to something that cannot be read, or the mount fails; why.
    Unreadable(String),
}

impl Verdict {
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

/// The two trees that a reader may see.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Before the update.
    pub old: Snapshot,
    /// After it.
    pub new: Snapshot,
}

impl Expected {
    /// Which one a reader sees.
    #[must_use]
    pub fn verdict(&self, view: &View) -> Verdict {
        match view {
            Ok(seen) if *seen == self.old => Verdict::Old,
            Ok(seen) if *seen == self.new => Verdict::New,
            Ok(seen) => {
                let list = |wanted| seen.differences(wanted, SHOWN_DIFFERENCES).join(", ");
                Verdict::Mixed(format!("not old ({}) and not new ({})", list(&self.old), list(&self.new)))
            }
            Err(error @ ViewError::Overwritable { .. }) => Verdict::Mixed(error.to_string()),
            Err(error) => Verdict::Unreadable(error.to_string()),
        }
    }
}

/// Judges flash states, equal ones only once.
#[derive(Debug)]
pub struct Judge {
    viewer: Viewer,
    expected: ByReader<Expected>,
    known: Cache<ContentId, ByReader<Verdict>>,
}

impl Judge {
    /// For chips of one geometry.
    #[must_use]
    pub fn new(geometry: &Geometry, endian: Endian, expected: ByReader<Expected>) -> Self {
        Self { viewer: Viewer::new(geometry, endian), expected, known: Cache::new(KNOWN_STATES) }
    }

    /// What each reader sees.
    pub fn verdicts(&mut self, chip: &Chip) -> ByReader<Verdict> {
        let id = chip.content_id();
        if let Some(known) = self.known.get(&id) {
            return known;
        }
        let views = self.viewer.views(chip);
        let verdicts = ByReader {
            with_summaries: self.expected.with_summaries.verdict(&views.with_summaries),
            without_summaries: self.expected.without_summaries.verdict(&views.without_summaries),
        };
        self.known.insert(id, verdicts.clone());
        verdicts
    }
}
