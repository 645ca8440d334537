//! Errors of a transaction.

use alloc::string::String;

use crate::error::ReadError;
use crate::log::WriteError;
use crate::wire::CommitPoint;

/// A transaction could not go on. Unless it says otherwise the tree is the old one.
#[derive(Debug, thiserror::Error)]
pub enum TxError<E> {
    /// Reading the old tree failed.
    #[error(transparent)]
    Read(#[from] ReadError<E>),
    /// Writing failed, before the commit point.
    #[error(transparent)]
    Write(#[from] WriteError<E>),
    /// A node on the flash allows reading only.
    #[error("node at {offset:#x} of type {nodetype:#06x} allows reading only: a newer writer is needed")]
    ReadOnly {
        /// Flash offset, bytes.
        offset: u32,
        /// Node type.
        nodetype: u16,
    },
    /// The flash holds something, and none of it is JFFS2.
    #[error("the flash holds data but no JFFS2 node: if it is to be overwritten, erase it first")]
    Foreign,
    /// The change does not fit the free eraseblocks.
    #[error(
        "no space: needs {needed} eraseblocks, {free} are free, and {reserve} of those must stay free for the kernel"
    )]
    NoSpace {
        /// Eraseblocks that the transaction needs.
        needed: u32,
        /// Eraseblocks that are free or hold nothing that is needed.
        free: u32,
        /// How many of them the kernel needs to work.
        reserve: u32,
    },
    /// The last commit may read differently at the next power-up, and no eraseblock is free to write it again.
    #[error(
        "the last update may not last, and no eraseblock is free to write its commit again: let a kernel free some first"
    )]
    Unsettled,
    /// What changes directly in the root, or in metadata of files, does not fit one commit block.
    #[error("the change needs {needed} bytes in the commit block, which has {room}: split it into several updates")]
    CommitBlockFull {
        /// Bytes needed at least.
        needed: usize,
        /// Bytes that there are.
        room: usize,
    },
    /// The commit point asked for cannot be used.
    #[error("commit point {wanted} cannot be used: {reason}")]
    CommitPoint {
        /// What was asked for.
        wanted: CommitPoint,
        /// Why not.
        reason: &'static str,
    },
    /// The change takes a *summary* commit, which was to be avoided.
    #[error(
        "the change takes a summary commit, and nothing says that the kernel knows summaries (CONFIG_JFFS2_SUMMARY): \
         without them it would stay at the old tree"
    )]
    NoSummaryReader,
    /// An operation makes no sense for its path.
    #[error("{path}: {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong.
        problem: PathProblem,
    },
    /// A file of the new tree could not be read.
    #[error("{path}: {reason}")]
    Source {
        /// Where it was to go.
        path: String,
        /// Why.
        reason: String,
    },
    /// Inode or version numbers have run out.
    #[error("{what} are exhausted on this flash: build a new image")]
    Exhausted {
        /// Which numbers.
        what: &'static str,
    },
    /// What was written reads differently now.
    #[error("payload at {offset:#x} does not read back as written: the flash is failing")]
    Payload {
        /// Start of the eraseblock, bytes.
        offset: u32,
    },
    /// [`Transaction::commit`](super::Transaction::commit) of a dry run, or
    /// [`Transaction::estimate`](super::Transaction::estimate) of a transaction that is none.
    #[error("a dry run can be estimated but not committed, any other transaction committed but not estimated")]
    DryRun,
    /// An operation failed before; the transaction can only be aborted.
    #[error("an earlier operation of this transaction failed: abort it and begin again")]
    Poisoned,
    /// The commit point was programmed but does not read back. The next mount shows the old tree or the new one, whole.
    #[error(
        "the commit at {offset:#x} cannot be verified: the tree is the old one or the new one; run recover ({error})"
    )]
    Uncertain {
        /// Start of the commit block, bytes.
        offset: u32,
        /// What happened.
        error: WriteError<E>,
    },
}

/// Why an operation makes no sense for its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// No such name.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("exists already")]
    Exists,
    /// A component is no directory.
    #[error("not a directory")]
    NotADirectory,
    /// A directory is not wanted here.
    #[error("is a directory")]
    IsADirectory,
    /// Only a recursive removal takes a directory with names in it.
    #[error("directory is not empty")]
    NotEmpty,
    /// The root cannot be removed, renamed or replaced.
    #[error("the root itself cannot be removed or renamed")]
    Root,
    /// Names are 1 to 254 bytes without slash and NUL, and neither `.` nor `..`.
    #[error("name is not 1 to 254 bytes without NUL")]
    Name,
    /// Symlink targets are 1 to 254 bytes.
    #[error("symlink target is not 1 to 254 bytes")]
    Target,
    /// Files are at most 4 GiB - 1.
    #[error("file is larger than 4 GiB - 1")]
    TooLarge,
    /// Device numbers are at most 4095 and 1048575.
    #[error("device number is out of range")]
    Device,
    /// A directory cannot be moved into itself.
    #[error("cannot be moved into itself")]
    IntoItself,
    /// Permission bits are 0 to 0o7777.
    #[error("mode has bits beyond 07777")]
    Mode,
}
