//! What extraction did, did not, and could not do.

use serde::Serialize;

use super::contents::Lost;
use super::left_out::LeftOut;
use super::plan::Plan;
use crate::failure::{Exit, Failure, complain, note};
use crate::show;

/// What one thread, and in the end all of them, did.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) left_out: LeftOut,
    /// By item.
    pub(super) troubles: Vec<(usize, Trouble)>,
    /// SHA-256 of files, by item.
    pub(super) digests: Vec<(usize, [u8; 32])>,
}

/// What was created.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    /// The root included.
    pub(super) directories: u64,
    pub(super) files: u64,
    pub(super) symlinks: u64,
    pub(super) devices: u64,
    pub(super) fifos: u64,
    /// Names of the above beyond their first.
    pub(super) hard_links: u64,
    /// Bytes of files, holes left out.
    pub(super) bytes: u64,
}

/// Why an item is not as it should be.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A range of a file is zeros instead.
    Lost(Lost),
    /// It cannot be read at all.
    Damaged(String),
    /// The host does not take it.
    Host(String),
}

/// A line of `--json`: what could not be extracted. Fields that do not apply are left out.
#[derive(Debug, Serialize)]
struct TroubleLine {
    /// Path from the root, with a slash in front; escaped as the crate's documentation says.
    path: String,
    /// Range of the file, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u32>,
    /// In words.
    reason: String,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    counts: Counts,
    /// What could not be recreated here.
    left_out: &'a LeftOut,
    /// Names that are missing or not whole: each has been said.
    troubles: u64,
}

impl Outcome {
    pub(super) fn add(&mut self, other: Self) {
        let Counts { directories, files, symlinks, devices, fifos, hard_links, bytes } = other.counts;
        self.counts.directories += directories;
        self.counts.files += files;
        self.counts.symlinks += symlinks;
        self.counts.devices += devices;
        self.counts.fifos += fifos;
        self.counts.hard_links += hard_links;
        self.counts.bytes += bytes;
        self.left_out.add(other.left_out);
        self.troubles.extend(other.troubles);
        self.digests.extend(other.digests);
    }

    /// Puts everything in the order of the plan, whichever thread did it first.
    pub(super) fn sort(&mut self) {
        self.troubles.sort_by_key(|(item, _)| *item);
        self.digests.sort_unstable();
    }

    pub(super) fn trouble(&mut self, item: usize, what: Trouble) {
        self.troubles.push((item, what));
    }

    /// Says what went wrong and what was left out; with `json` also on stdout.
    pub(super) fn say(&self, plan: &Plan<'_>, refused: u64, json: bool) -> Result<Exit, Failure> {
        let mut out = show::stdout();
        let mut exit = if refused > 0 { Exit::Findings } else { Exit::Done };
        for (item, trouble) in &self.troubles {
            let path = show::path(&plan.path(*item));
            let (range, reason) = match trouble {
                Trouble::Lost(Lost { start, end, why }) => (Some((*start, *end)), why),
                Trouble::Damaged(why) | Trouble::Host(why) => (None, why),
            };
            exit = match trouble {
                Trouble::Host(_) => Exit::Io,
                _ if exit == Exit::Done => Exit::Findings,
                _ => exit,
            };
            let bytes = range.map(|(start, end)| format!("bytes {start} to {end} lost: ")).unwrap_or_default();
            complain(&format!("{path}: {bytes}{reason}"));
            if json {
                let (start, end) = range.unzip();
                show::json(&mut out, &TroubleLine { path, start, end, reason: reason.clone() })?;
            }
        }
        if let Some(text) = self.left_out.text() {
            note(&format!("left out: {text}"));
        }
        if json {
            let troubles = refused + self.troubles.len() as u64;
            show::json(&mut out, &Summary { counts: self.counts, left_out: &self.left_out, troubles })?;
        }
        std::io::Write::flush(&mut out).map_err(Failure::Stdout)?;
        Ok(exit)
    }
}
