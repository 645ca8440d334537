//! Checks a file system: everything that a reader could stumble over, as findings. Nothing is changed.
//!
//! A finding says how bad it is ([`Severity`]), what it is ([`Code`]), and what becomes of it ([`Fate`]): whether a
//! kernel that mounts the flash sets it right by itself, or whether something is lost.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::error::ReadError;
use crate::flash::Flash;
use crate::index::Index;

mod code;
mod damage;
mod flash;
mod names;
mod tree;

pub use code::{Code, Fate, Severity};

/// Linux mounts no flash with fewer eraseblocks.
pub const MIN_BLOCKS: u32 = 5;
/// Longest path that is followed, bytes; Linux takes none that is longer. Without a limit a chain of directories in a
/// small image could keep any reader busy for days.
pub const MAX_PATH: usize = 4096;
/// Versions from here on are worth a note: Linux counts them in 32 bits, transactions stop at 2^31.
pub const HIGH_VERSION: u32 = 0x7000_0000;

/// One thing that the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub code: Code,
    /// What becomes of it.
    pub fate: Fate,
    /// Flash offset, bytes, where there is one.
    pub offset: Option<u32>,
    /// Path from the root, no slash in front, if it is about one; empty for the root.
    pub path: Option<Vec<u8>>,
    /// Inode number, if it is about one.
    pub ino: Option<u32>,
    /// Range of the file that it is about, start and end in bytes.
    pub range: Option<(u32, u32)>,
    /// What was found, and what becomes of it.
    pub text: String,
}

impl Finding {
    /// A finding of which no more than this is known; [`Code`] says how bad it usually is.
    #[must_use]
    pub fn new(code: Code, text: String) -> Self {
        let (severity, fate) = code.usual();
        Self { severity, code, fate, offset: None, path: None, ino: None, range: None, text }
    }

    fn at(self, offset: u32) -> Self {
        Self { offset: Some(offset), ..self }
    }

    fn about(self, path: &[u8], ino: u32) -> Self {
        Self { path: Some(path.to_vec()), ino: Some(ino), ..self }
    }
}

/// Checks what `index` knows of `flash`, and reads all data of all files. Findings about the flash come first, then
/// those about the tree, in the order of its paths.
///
/// # Errors
/// [`ReadError::Device`] if an eraseblock cannot be read at all.
pub fn check<F: Flash>(flash: &F, index: &Index) -> Result<Vec<Finding>, ReadError<F::Error>> {
    all(flash, index, true)
}

/// The same without decoding the data of files: what a reader should know of that looks at names and metadata only, or
/// reads the data itself.
///
/// # Errors
/// As [`check`].
pub fn check_names<F: Flash>(flash: &F, index: &Index) -> Result<Vec<Finding>, ReadError<F::Error>> {
    all(flash, index, false)
}

fn all<F: Flash>(flash: &F, index: &Index, contents: bool) -> Result<Vec<Finding>, ReadError<F::Error>> {
    let of_tree = tree::check(flash, index, contents)?;
    let mut found = flash::check(flash, index, &of_tree)?;
    found.extend(of_tree);
    Ok(found)
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}
