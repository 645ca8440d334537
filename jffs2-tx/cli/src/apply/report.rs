//! What `apply` says at the end.

use jffs2_tx::tx::{CommitReport, Estimate, ReplaceReport, TxError, TxOptions};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::show;

pub(super) enum Outcome {
    /// Not enough eraseblocks are free: the tree is the old one.
    Full {
        needed: u32,
        free: u32,
        reserve: u32,
        online: bool,
    },
    Applied(Applied),
    Estimated(Estimated),
}

impl Outcome {
    pub(super) fn show(&self, json: bool) -> Result<Exit, Failure> {
        match self {
            Self::Full { needed, free, reserve, online } => Err(no_space(*needed, *free, *reserve, *online)),
            Self::Applied(applied) => {
                show::line(json, applied, || applied.text())?;
                Ok(Exit::Done)
            }
            Self::Estimated(estimated) => {
                show::line(json, estimated, || estimated.text())?;
                Ok(if estimated.fits { Exit::Done } else { Exit::NoSpace })
            }
        }
    }
}

fn no_space(needed: u32, free: u32, reserve: u32, online: bool) -> Failure {
    let hint = match online {
        true => "; unmounted, eraseblocks that hold only what nothing needs would count, too",
        false => "; gc, apply --gc, or --summary-readers-only may free some",
    };
    let error = TxError::<std::convert::Infallible>::NoSpace { needed, free, reserve };
    Failure::new(Exit::NoSpace, format!("{error}{hint}"))
}

/// A transaction that was committed, as `--json` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Applied {
    /// Transaction id, 32 hexadecimal digits.
    txid: String,
    /// Sequence number.
    sequence: u64,
    /// Label, escaped as the crate's documentation says.
    label: String,
    /// `dirent`, `head` or `summary`; null if the tree was equal already: nothing was written then.
    commit_point: Option<String>,
    /// Inodes of the new tree.
    inodes: u32,
    /// Inodes that are new or have new contents.
    inodes_written: u32,
    /// Inodes of which only metadata changed.
    metadata_changed: u32,
    /// Names that went away, not counting what was below them.
    names_removed: u32,
    /// Bytes of file contents written, before compression.
    bytes_written: u64,
    /// Bytes programmed.
    bytes_programmed: u64,
    /// Nodes written.
    nodes: u32,
    /// Eraseblocks taken.
    eraseblocks_taken: u32,
    /// Eraseblocks erased.
    eraseblocks_erased: u32,
    /// Eraseblocks that failed and were replaced.
    eraseblocks_failed: u32,
    /// Eraseblocks free now, those that the kernel needs included.
    eraseblocks_free: u32,
    /// Directories that got a new inode so that the change fits.
    directories_shadowed: u32,
    /// Unchanged files that were copied so that the change fits.
    files_copied: u32,
}

/// What `--dry-run` found out, as `--json` shows it: what the same command without it would do, if no eraseblock fails.
#[derive(Debug, Serialize)]
pub(super) struct Estimated {
    /// Whether there is room; exit code 4 if not.
    pub(super) fits: bool,
    /// `dirent`, `head` or `summary`; null if the tree is equal already: nothing would be written.
    commit_point: Option<String>,
    /// Inodes of the new tree.
    inodes: u32,
    /// Inodes that are new or have new contents.
    inodes_written: u32,
    /// Inodes of which only metadata changes.
    metadata_changed: u32,
    /// Names that go away, not counting what is below them.
    names_removed: u32,
    /// Bytes of file contents to write, before compression.
    bytes_written: u64,
    /// Bytes to program.
    bytes_programmed: u64,
    /// Nodes to write.
    nodes: u32,
    /// Eraseblocks that it takes.
    eraseblocks_needed: u32,
    /// Eraseblocks that are free now, or hold nothing that is needed.
    eraseblocks_free: u32,
    /// How many of these are to stay free, for the kernel.
    eraseblocks_reserved: u32,
    /// Directories that get a new inode so that the change fits.
    directories_shadowed: u32,
    /// Unchanged files that are copied so that the change fits.
    files_copied: u32,
}

impl Applied {
    pub(super) fn new(options: &TxOptions, replaced: ReplaceReport, report: &CommitReport) -> Self {
        Self {
            txid: show::digits(&options.txid),
            sequence: report.sequence,
            label: show::text(options.label.as_bytes()),
            commit_point: report.commit_point.map(|point| point.to_string()),
            inodes: replaced.inodes,
            inodes_written: replaced.written,
            metadata_changed: replaced.metadata_changed,
            names_removed: replaced.names_removed,
            bytes_written: replaced.bytes_written,
            bytes_programmed: report.bytes_programmed,
            nodes: report.nodes,
            eraseblocks_taken: report.eraseblocks_taken,
            eraseblocks_erased: report.eraseblocks_erased,
            eraseblocks_failed: report.eraseblocks_failed,
            eraseblocks_free: report.eraseblocks_free,
            directories_shadowed: report.directories_shadowed,
            files_copied: report.files_copied,
        }
    }

    fn text(&self) -> String {
        let Some(point) = &self.commit_point else { return "equal already: nothing was written".into() };
        format!(
            "committed by {point}, sequence {}: {} inodes written, {} with new metadata, {} names removed; \
             {} bytes programmed in {} eraseblocks, {} failed and were replaced, {} eraseblocks free",
            self.sequence,
            self.inodes_written,
            self.metadata_changed,
            self.names_removed,
            self.bytes_programmed,
            self.eraseblocks_taken,
            self.eraseblocks_failed,
            self.eraseblocks_free
        )
    }
}

impl Estimated {
    pub(super) fn new(replaced: ReplaceReport, estimate: &Estimate) -> Self {
        let report = &estimate.report;
        Self {
            fits: estimate.fits,
            commit_point: report.commit_point.map(|point| point.to_string()),
            inodes: replaced.inodes,
            inodes_written: replaced.written,
            metadata_changed: replaced.metadata_changed,
            names_removed: replaced.names_removed,
            bytes_written: replaced.bytes_written,
            bytes_programmed: report.bytes_programmed,
            nodes: report.nodes,
            eraseblocks_needed: report.eraseblocks_taken,
            eraseblocks_free: estimate.free,
            eraseblocks_reserved: estimate.reserve,
            directories_shadowed: report.directories_shadowed,
            files_copied: report.files_copied,
        }
    }

    fn text(&self) -> String {
        let Some(point) = &self.commit_point else { return "equal already: nothing would be written".into() };
        format!(
            "{}: would commit by {point}: {} inodes written, {} with new metadata, {} names removed; {} bytes programmed in \
             {} eraseblocks, {} are free, of which {} stay so",
            if self.fits { "fits" } else { "does not fit" },
            self.inodes_written,
            self.metadata_changed,
            self.names_removed,
            self.bytes_programmed,
            self.eraseblocks_needed,
            self.eraseblocks_free,
            self.eraseblocks_reserved
        )
    }
}
