//! What is wrong with an image before anything is done to it: fields have damaged flash, but a verdict should say so.

use anyhow::{Context, Result};
use jffs2_tx::check::{Fate, Finding, Severity, check};
use jffs2_tx::index::Index;
use jffs2_tx::scan::Rules;
use jffs2_tx::tree::show_path;
use nandsim::Shape;

/// Findings that are told.
const TOLD: usize = 3;

/// The first findings, and how many more there are. What a kernel repairs without a loss is none.
pub(super) fn of_image(shape: Shape, image: &[u8]) -> Result<Vec<String>> {
    let whole = (image.len() as u64).next_multiple_of(u64::from(shape.eraseblock));
    let Ok(geometry) = shape.geometry(whole) else { return Ok(Vec::new()) };
    let chip = shape.flashed(geometry, image, 0)?;
    let index = Index::open(&chip, Rules { endian: shape.endian, summaries: true }).context("--image")?;
    let is_loss =
        |finding: &Finding| finding.severity >= Severity::Warning && matches!(finding.fate, Fate::Lost | Fate::Unknown);
    let mut found: Vec<String> = check(&chip, &index)?.iter().filter(|found| is_loss(found)).map(line).collect();
    if let Some(more @ 1..) = found.len().checked_sub(TOLD) {
        found.truncate(TOLD);
        found.push(format!("{more} more, see `jffs2-tx check`"));
    }
    Ok(found)
}

fn line(finding: &Finding) -> String {
    match &finding.path {
        Some(path) => format!("{}: {}", show_path(path), finding.text),
        None => finding.text.clone(),
    }
}

/// A line to stand above a verdict; nothing if there is no damage.
pub(super) fn warning(damage: &[String]) -> Option<String> {
    (!damage.is_empty()).then(|| format!("WARNING: the image is damaged before the update: {}", damage.join("; ")))
}
