//! Keeps the states that failed.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nandsim::report::{FailingState, Story, save_failure};

use super::publish::Results;

/// Keeps each failure in a folder of its own in `dir`; returns the folders.
pub(super) fn save(dir: &Path, results: &Results<'_>, story: &Story<'_>) -> Result<Vec<PathBuf>> {
    let torture = results.torture;
    let mut folders = Vec::new();
    for (cut, what) in &results.failures {
        let Some(found) = torture.state(cut) else { continue };
        let state = FailingState {
            token: &(results.token)(cut).to_string(),
            what,
            old: &torture.start,
            new: story.end(),
            found: &found,
            endian: torture.workload.endian,
        };
        folders.push(save_failure(dir, &state)?);
    }
    Ok(folders)
}
