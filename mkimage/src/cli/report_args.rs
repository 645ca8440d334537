//! What is told of an image: how large it is, where the space went, what is left for updates.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use jffs2_mkimage::room::Room;
use jffs2_mkimage::size::parse_size;
use jffs2_mkimage::usage::{Usage, usage};
use jffs2_mkimage::{Built, Options, Pad, Report};
use jffs2_tx::source::SourceTree;
use serde::Serialize;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Reports")]
pub(crate) struct ReportArgs {
    /// Refuse an image that leaves fewer than N eraseblocks of the flash free for updates, and tell how large a transaction
    /// may be
    #[arg(long, value_name = "N")]
    free: Option<u32>,

    /// Size of the flash or partition, for --free [default: that of --pad]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    flash_size: Option<u64>,

    /// Write a report to FILE, as one JSON object
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Print a report as one line of JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Print a report on standard error
    #[arg(short, long)]
    verbose: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<Room>,
}

/// What `--report` writes.
#[derive(Serialize)]
struct Full<'a> {
    #[serde(flatten)]
    line: &'a Line<'a>,
    #[serde(flatten)]
    usage: Usage,
    seconds: Seconds,
}

/// How long each phase took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Seconds {
    pub(crate) sources: f64,
    pub(crate) build: f64,
    pub(crate) verify: f64,
}

impl ReportArgs {
    /// Whether the size of the flash has to be known from elsewhere.
    pub(crate) fn wants_flash_size(&self) -> bool {
        self.free.is_some() && self.flash_size.is_none()
    }

    /// Room for updates, if it was asked for.
    ///
    /// # Errors
    /// There is less than what was asked for.
    pub(crate) fn room(&self, report: &Report, options: &Options) -> Result<Option<Room>> {
        let padded = match options.pad {
            Pad::To(size) | Pad::AtLeast(size) => Some(size),
            Pad::None | Pad::Eraseblock => None,
        };
        let Some(size) = self.flash_size.or(padded.filter(|_| self.free.is_some())) else { return Ok(None) };
        let room = Room::new(report, options, size)?;
        let wanted = self.free.unwrap_or(0);
        ensure!(
            room.free >= wanted,
            "the image leaves {} of {} eraseblocks free, --free wants {wanted}: remove files or take a larger flash",
            room.free,
            room.eraseblocks
        );
        Ok(Some(room))
    }

    pub(crate) fn tell(&self, tree: &SourceTree, built: &Built, room: Option<Room>, seconds: Seconds) -> Result<()> {
        let line = Line { report: &built.report, room };
        if self.verbose {
            eprintln!("{}", in_words(&built.report));
        }
        if let Some(room) = room.filter(|_| self.verbose || self.free.is_some()) {
            eprintln!("{}", room_in_words(&room));
        }
        if let Some(path) = &self.report {
            write_full(path, &Full { line: &line, usage: usage(tree, built), seconds })?;
        }
        if self.json {
            writeln!(io::stdout(), "{}", serde_json::to_string(&line)?).context("standard output")?;
        }
        Ok(())
    }
}

fn write_full(path: &Path, full: &Full<'_>) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file = File::create(path)?;
        serde_json::to_writer_pretty(&mut file, full)?;
        writeln!(file)
    };
    write().with_context(|| path.display().to_string())
}

fn room_in_words(room: &Room) -> String {
    let Room { eraseblocks, free, kernel_reserve, transaction_eraseblocks, transaction_bytes } = room;
    format!(
        "{free} of {eraseblocks} eraseblocks are free, {kernel_reserve} of them for the kernel; a transaction may take \
         {transaction_eraseblocks}, which hold {transaction_bytes} bytes of new files if they do not compress"
    )
}

fn in_words(report: &Report) -> String {
    let Report { bytes, eraseblocks, nodes, inodes, data_bytes, hole_bytes, stored_bytes, compressors } = report;
    let by = [
        ("zlib", compressors.zlib),
        ("lzo", compressors.lzo),
        ("rtime", compressors.rtime),
        ("lzma", compressors.lzma),
        ("none", compressors.none),
    ];
    let by = by.iter().filter(|(_, part)| part.nodes > 0);
    let by: Vec<_> = by.map(|(name, part)| format!("{name} {} in {}", part.bytes, part.stored)).collect();
    format!(
        "image {bytes} bytes, {eraseblocks} eraseblocks with {nodes} nodes of {inodes} inodes; files {data_bytes} \
         bytes, {hole_bytes} of them in holes, the rest stored in {stored_bytes}: {}",
        by.join(", ")
    )
}
