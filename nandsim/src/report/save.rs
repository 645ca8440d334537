//! What is kept of a failure, for those who look into it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jffs2_tx::error::ReadError;
use jffs2_tx::wire::Endian;
use sha2::{Digest, Sha256};

use super::beyond::beyond_image;
use super::node_diff::NodeDiff;
use crate::chip::{Chip, ChipError};

/// The states before and after the update are kept of flash up to this size, bytes.
const KEPT_WHOLE: usize = 64 << 20;

/// A failing state.
#[derive(Clone, Copy, Debug)]
pub struct FailingState<'s> {
    /// Replays it; names the folder.
    pub token: &'s str,
    /// What went wrong.
    pub what: &'s str,
    /// Before the update.
    pub old: &'s Chip,
    /// After it.
    pub new: &'s Chip,
    /// The state.
    pub found: &'s Chip,
    /// Byte order of the file system.
    pub endian: Endian,
}

/// Nothing was kept, or not all.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Of a file or folder.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder holds something else.
    #[error("{} holds something else than this failure: give another folder", .0.display())]
    Taken(PathBuf),
    /// The state cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError<ChipError>),
}

/// Keeps a failing state in a folder of its own in `dir`, which is made if it is not there: `state.img`; `old.img` and
/// `new.img` of flash up to 64 MiB; `state.txt`, what the image cannot hold; `diff.txt`; `token.txt`. Returns the folder.
///
/// # Errors
/// [`SaveError`]. A folder that holds the same failure is written again; another file is never overwritten.
pub fn save_failure(dir: &Path, failure: &FailingState<'_>) -> Result<PathBuf, SaveError> {
    let folder = dir.join(folder_name(failure.token));
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| SaveError::File { path, error }
    };
    let token = format!("{}\n{}\n", failure.token, failure.what);
    if folder.exists() && fs::read_to_string(folder.join("token.txt")).ok().as_deref() != Some(token.as_str()) {
        return Err(SaveError::Taken(folder));
    }
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(at(&path))
    };
    write("token.txt", token.as_bytes())?;
    let diff = NodeDiff::of(failure.old, failure.new, failure.found, failure.endian)?;
    write("diff.txt", diff.to_string().as_bytes())?;
    write("state.txt", beyond_text(failure.found).as_bytes())?;
    let image = failure.found.image();
    write("state.img", &image)?;
    if image.len() <= KEPT_WHOLE {
        write("old.img", &failure.old.image())?;
        write("new.img", &failure.new.image())?;
    }
    Ok(folder)
}

fn beyond_text(chip: &Chip) -> String {
    let said = beyond_image(chip);
    match said.is_empty() {
        true => "The image holds all of the state.\n".into(),
        false => format!("Beyond the cells, which are in state.img:\n{said}"),
    }
}

/// Short, whatever the token is.
fn folder_name(token: &str) -> String {
    let hash = Sha256::digest(token.as_bytes());
    let hex: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("failure-{hex}")
}
