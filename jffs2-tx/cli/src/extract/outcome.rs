//! What extraction did, did not, and could not do.

use jffs2_tx::tree::{Loss, LossReason};
use serde::Serialize;

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
    /// A range of a file holds zeros or older bytes instead.
    Lost(Loss),
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
    /// Where on the flash the node of the range is, bytes, if it is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u32>,
    /// Why the range is lost, in a word that does not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
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
            exit = match trouble {
                Trouble::Host(_) => Exit::Io,
                _ if exit == Exit::Done => Exit::Findings,
                _ => exit,
            };
            let line = TroubleLine::new(show::path(&plan.path(*item)), trouble);
            complain(&line.text());
            if json {
                show::json(&mut out, &line)?;
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

impl TroubleLine {
    fn new(path: String, trouble: &Trouble) -> Self {
        let (loss, reason) = match trouble {
            Trouble::Lost(loss) => (Some(loss), loss.reason.to_string()),
            Trouble::Damaged(why) | Trouble::Host(why) => (None, why.clone()),
        };
        let (start, end) = loss.map(|loss| (loss.start, loss.end)).unzip();
        let code = loss.map(|loss| LossReason::code(loss.reason));
        Self { path, start, end, at: loss.and_then(|loss| loss.at), code, reason }
    }

    fn text(&self) -> String {
        let Self { path, start, end, at, reason, .. } = self;
        let range = start.zip(*end).map(|(start, end)| format!("bytes {start} to {end} lost: ")).unwrap_or_default();
        let node = at.map(|at| format!(", node at {at:#x}")).unwrap_or_default();
        format!("{path}: {range}{reason}{node}")
    }
}
