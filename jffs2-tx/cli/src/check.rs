//! `check`: findings of the library's check, one a line.

use std::io::Write;

use jffs2_tx::check::{Finding, Severity, check};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::image::{Image, ImageArgs};
use crate::show;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// One JSON object for each finding.
    #[arg(long)]
    json: bool,
}

/// A finding, as `--json` shows it. Fields that do not apply are left out.
#[derive(Debug, Serialize)]
struct Line {
    /// `note`, `warning` or `error`.
    severity: String,
    /// Flash offset, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    /// Path from the root, with a slash in front; escaped as the crate's documentation says.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Inode number.
    #[serde(skip_serializing_if = "Option::is_none")]
    ino: Option<u32>,
    /// What was found, and what becomes of it.
    text: String,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let findings = check(&image.flash, &image.index)?;
    let mut out = show::stdout();
    for line in findings.iter().map(Line::of) {
        if args.json {
            show::json(&mut out, &line)?;
        } else {
            writeln!(out, "{}", line.text()).map_err(Failure::Stdout)?;
        }
    }
    out.flush().map_err(Failure::Stdout)?;
    let bad = findings.iter().any(|finding| finding.severity > Severity::Note);
    Ok(if bad { Exit::Findings } else { Exit::Done })
}

impl Line {
    fn of(finding: &Finding) -> Self {
        Self {
            severity: finding.severity.to_string(),
            offset: finding.offset,
            path: finding.path.as_deref().map(show::path),
            ino: finding.ino,
            text: finding.text.clone(),
        }
    }

    /// `warning: /etc/passwd: at 0x1234: ...`
    fn text(&self) -> String {
        let path = self.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
        let at = self.offset.map(|offset| format!("at {offset:#x}: ")).unwrap_or_default();
        format!("{}: {path}{at}{}", self.severity, self.text)
    }
}
