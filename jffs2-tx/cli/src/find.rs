//! `find`: where JFFS2 file systems stand in a file of anything.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jffs2_tx::detect::show_size;
use jffs2_tx::find::{Found, MAX_FOUND, find};
use jffs2_tx::flash::FlashKind;
use serde::Serialize;

use crate::failure::{Exit, Failure, note};
use crate::image::{endian_name, open_regular};
use crate::show;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Any file: firmware, the contents of a whole flash, a NAND dump.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON object for each file system.
    #[arg(long)]
    json: bool,
}

/// A file system in a file, as `--json` shows it; sizes and offsets in bytes.
#[derive(Debug, Serialize)]
struct Line {
    /// Where it starts in the file, as for `--offset`.
    offset: u64,
    /// Bytes of the file that it takes, as for `--length`: whole eraseblocks, unless the file or the next file system
    /// comes before.
    length: u64,
    /// `little-endian` or `big-endian`.
    endian: &'static str,
    /// Eraseblock size.
    eraseblock: u32,
    /// What speaks for the eraseblock size, in words.
    evidence: String,
    /// Hardly any other eraseblock size is possible.
    sure: bool,
    /// `nor` or `nand`.
    flash: &'static str,
    /// Page on NAND, write unit on NOR.
    page_size: u32,
    /// Page and spare bytes, as for `--oob`, if it is a dump that holds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    oob: Option<String>,
    /// What speaks for the spare bytes, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    oob_evidence: Option<String>,
    /// Hardly any other layout of spare bytes is possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    oob_sure: Option<bool>,
    /// Valid nodes.
    nodes: u64,
    /// OpenWrt's end mark stands behind it.
    end_mark: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let about = |failure: Failure| failure.about(args.file.display());
    let (file, size) = open_regular(&args.file, false).map_err(about)?;
    let bar = progress_bar(size);
    let found = find(&file, |at| bar.set_position(at)).map_err(|error| about(error.into()));
    bar.finish_and_clear();
    let found = found?;
    let mut out = show::stdout();
    for line in found.all.iter().map(Line::of) {
        if args.json {
            show::json(&mut out, &line)?;
        } else {
            writeln!(out, "{}", line.text()).map_err(Failure::Stdout)?;
        }
    }
    out.flush().map_err(Failure::Stdout)?;
    if found.more {
        note(&format!("{}: there are more than {MAX_FOUND} file systems: the rest is left out", args.file.display()));
    }
    if found.all.is_empty() {
        note(&format!("{}: no JFFS2 file system in it", args.file.display()));
        return Ok(Exit::Findings);
    }
    Ok(Exit::Done)
}

impl Line {
    fn of(found: &Found) -> Self {
        let detected = &found.detected;
        Self {
            offset: found.container.offset,
            length: found.container.length,
            endian: endian_name(detected.endian),
            eraseblock: detected.eraseblock,
            evidence: detected.evidence.clone(),
            sure: detected.sure,
            flash: if detected.kind == FlashKind::Nor { "nor" } else { "nand" },
            page_size: detected.page_size,
            oob: detected.oob.as_ref().map(|oob| oob.layout.to_string()),
            oob_evidence: detected.oob.as_ref().map(|oob| oob.evidence.clone()),
            oob_sure: detected.oob.as_ref().map(|oob| oob.sure),
            nodes: found.nodes,
            end_mark: found.marked,
        }
    }

    /// Starts with the options that read it.
    fn text(&self) -> String {
        let oob = self.oob.as_ref().map(|oob| format!(" --oob {oob}")).unwrap_or_default();
        let size = show_size(self.eraseblock);
        let sure = if self.sure { "" } else { ", not sure" };
        let mark = if self.end_mark { ", end mark behind it" } else { "" };
        let oob_doubt = if self.oob_sure == Some(false) { ", spare bytes not sure" } else { "" };
        format!(
            "--offset {:#x} --length {:#x}{oob}: {}, {}, eraseblocks of {size}{sure}, {} nodes{oob_doubt}{mark}",
            self.offset, self.length, self.endian, self.flash, self.nodes
        )
    }
}

/// None in a pipe.
fn progress_bar(size: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {eta} left");
    ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
