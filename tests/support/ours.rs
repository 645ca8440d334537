//! The tree of a flash as this project's reader sees it, in the form in which the kernel lists what it reads.

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::Flash;
pub use kernel_guest::ours::{RULES, entry, list};

use crate::listing;

/// A tree as lines of a [`listing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The digest of the listing.
    pub digest: String,
    /// Its lines.
    pub lines: Vec<String>,
}

impl Seen {
    /// The tree that a flash holds.
    pub fn on<F: Flash>(flash: &F) -> Result<Self, ReadError<F::Error>> {
        let entries = list(flash, RULES)?;
        Ok(Self { digest: listing::digest(&entries), lines: listing::lines(&entries) })
    }

    /// The lines that only this tree has, behind a minus, and those that only the other one has, behind a plus.
    pub fn difference(&self, other: &[String]) -> String {
        let minus = self.lines.iter().filter(|line| !other.contains(line)).map(|line| format!("- {line}\n"));
        let plus = other.iter().filter(|line| !self.lines.contains(line)).map(|line| format!("+ {line}\n"));
        minus.chain(plus).collect()
    }
}
