//! `check`: findings of the library's check, one a line. What they are called is listed at
//! [`Code`](jffs2_tx::check::Code).

use std::io::Write;

use jffs2_tx::check::{Code, Fate, Finding, Severity, check};
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
    /// What was found: one of a fixed list of words.
    code: &'static str,
    /// What becomes of it: `repaired` by the kernel, `lost`, `unknown` if something may be lost, or it `stays`.
    fate: &'static str,
    /// Flash offset, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    /// Path from the root, with a slash in front; escaped as the crate's documentation says.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Inode number.
    #[serde(skip_serializing_if = "Option::is_none")]
    ino: Option<u32>,
    /// Range of the file that it is about, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u32>,
    /// Its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<u32>,
    /// What was found, and what becomes of it.
    text: String,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let mut findings = check(&image.flash, &image.index)?;
    findings.extend(short(&image, &findings));
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
            code: finding.code.as_str(),
            fate: finding.fate.as_str(),
            offset: finding.offset,
            path: finding.path.as_deref().map(show::path),
            ino: finding.ino,
            start: finding.range.map(|range| range.0),
            end: finding.range.map(|range| range.1),
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

/// An image that was built without padding ends behind its last node; one that was cut ends anywhere.
fn short(image: &Image, found: &[Finding]) -> Option<Finding> {
    let geometry = image.index.geometry();
    let missing = u64::from(geometry.size()).checked_sub(image.file_size).filter(|missing| *missing > 0)?;
    let text = format!("the file ends inside an eraseblock, the last {missing} bytes of it read as 0xff");
    let finding = Finding::new(Code::ShortImage, text);
    let last = geometry.offset_of(geometry.blocks() - 1);
    if found.iter().all(|finding| finding.offset.is_none_or(|offset| offset < last)) {
        return Some(finding);
    }
    let text = finding.text + ": it was cut off, and what stood behind is gone";
    Some(Finding { severity: Severity::Warning, fate: Fate::Unknown, text, ..finding })
}
