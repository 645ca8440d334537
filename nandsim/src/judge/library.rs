//! What the library's readers make of a flash state.

use jffs2_tx::flash::Geometry;
use jffs2_tx::wire::Endian;

use crate::cache::Cache;
use crate::chip::Chip;
use crate::content::ContentId;
use crate::reader::ByReader;
use crate::snapshot::Snapshot;
use crate::verdict::Verdict;
use crate::viewer::{View, ViewError, Viewer};

/// Differences that a description lists.
const SHOWN_DIFFERENCES: usize = 4;
/// Flash states whose verdicts are kept.
pub(super) const KNOWN_STATES: usize = 1 << 12;

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

/// Judges flash states by the library's reader, equal ones only once.
#[derive(Debug)]
pub struct LibraryJudge {
    viewer: Viewer,
    expected: ByReader<Expected>,
    known: Cache<ContentId, ByReader<Verdict>>,
}

impl LibraryJudge {
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
        let verdicts = self.look(chip);
        self.known.insert(id, verdicts.clone());
        verdicts
    }

    /// The same for a state that is not known.
    pub(super) fn look(&mut self, chip: &Chip) -> ByReader<Verdict> {
        let views = self.viewer.views(chip);
        ByReader {
            with_summaries: self.expected.with_summaries.verdict(&views.with_summaries),
            without_summaries: self.expected.without_summaries.verdict(&views.without_summaries),
        }
    }
}
