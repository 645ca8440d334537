//! A tree from a directory of the host.

use std::string::String;

/// Why a tree cannot be written to a JFFS2 file system.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct SourceError {
    /// Which file.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}
