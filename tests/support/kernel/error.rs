//! What keeps the kernel from judging.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of this machine is not installed.
    #[error("{program} is not installed; on Debian: apt-get install {package}")]
    Missing {
        /// What was to be run.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program ran and failed.
    #[error("{program} failed: {message}")]
    Failed {
        /// The program and its arguments.
        program: String,
        /// What it said.
        message: String,
    },
    /// No kernel package of that name is known; perhaps the package lists are empty.
    #[error("no kernel package {0} to be had; try: apt-get update")]
    NoPackage(String),
    /// The kernel package doesn't have a module.
    #[error("the kernel has no module {0}")]
    NoModule(String),
    /// The package's boot folder has no kernel image.
    #[error("no kernel image in {}", .0.display())]
    NoImage(PathBuf),
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A case's name isn't a single printable word, or another case has it.
    #[error("the name of case {0:?} is empty, has blanks or is taken")]
    Name(String),
    /// A state doesn't fit the device.
    #[error("{0}")]
    Geometry(String),
    /// The guest printed nothing for too long and was ended.
    #[error("the guest was silent for {silence:?} after {last}; its console ends with:\n{tail}")]
    Silent {
        /// For how long.
        silence: Duration,
        /// The last case that it reported.
        last: String,
        /// The end of the console.
        tail: String,
    },
    /// The guest ended before the job did.
    #[error("the guest ended after {last}; its console ends with:\n{tail}")]
    Unfinished {
        /// The last case that it reported.
        last: String,
        /// The end of the console.
        tail: String,
    },
    /// The guest printed a line that the host doesn't understand.
    #[error("the guest's line makes no sense: {0}")]
    Line(String),
}

impl Error {
    /// For `map_err` on what was done to a file.
    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path: path.clone(), source }
    }
}
