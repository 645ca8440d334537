//! Keeps the states that failed.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nandsim::report::{FailingState, Story, save_failure};
use nandsim::{CutPath, Report, Torture};

/// Keeps each failure that the report lists in a folder of its own in `dir`; returns the folders. `token` replays one.
pub(super) fn save(
    dir: &Path,
    torture: &Torture,
    story: &Story<'_>,
    report: &Report,
    token: &dyn Fn(&CutPath) -> String,
) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for failure in &report.failures {
        let Some(found) = torture.state(&failure.cut) else { continue };
        let state = FailingState {
            token: &token(&failure.cut),
            what: &failure.what,
            old: &torture.start,
            new: story.end(),
            found: &found,
            endian: torture.workload.endian,
        };
        folders.push(save_failure(dir, &state)?);
    }
    Ok(folders)
}
