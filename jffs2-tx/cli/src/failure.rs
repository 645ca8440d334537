//! How commands end: exit codes, and the one line that says why.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use jffs2_tx::codec::CodecError;
use jffs2_tx::detect::DetectError;
use jffs2_tx::error::ReadError;
use jffs2_tx::tx::TxError;

/// Exit codes; the table in the crate's documentation says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Findings = 1,
    Usage = 2,
    Io = 3,
    NoSpace = 4,
    Busy = 5,
    Unsupported = 6,
    NotJffs2 = 7,
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Stdout could not be written.
    Stdout(io::Error),
    /// Anything else, said in one line.
    Because(Exit, String),
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Display) -> Self {
        Self::Because(exit, text.to_string())
    }

    /// The same, but saying what it is about first.
    pub(crate) fn about(self, what: impl Display) -> Self {
        match self {
            Self::Because(exit, text) if text.starts_with(&what.to_string()) => Self::Because(exit, text),
            Self::Because(exit, text) => Self::Because(exit, format!("{what}: {text}")),
            stdout => stdout,
        }
    }

    /// Says it on stderr.
    pub(crate) fn report(self) -> Exit {
        match self {
            // Whoever read stdout has seen enough.
            Self::Stdout(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
            Self::Stdout(error) => Self::new(Exit::Io, format!("stdout: {error}")).report(),
            Self::Because(exit, text) => {
                complain(&text);
                exit
            }
        }
    }
}

impl<E: Display> From<ReadError<E>> for Failure {
    fn from(error: ReadError<E>) -> Self {
        let exit = match &error {
            ReadError::Codec { error: CodecError::Unsupported(_), .. } | ReadError::Incompatible { .. } => {
                Exit::Unsupported
            }
            ReadError::Damaged { .. } | ReadError::Codec { .. } | ReadError::NoNode { .. } => Exit::Findings,
            ReadError::Device { .. } | ReadError::NotFound { .. } => Exit::Io,
            ReadError::NotADirectory { .. } | ReadError::WrongKind { .. } => Exit::Io,
        };
        Self::new(exit, error)
    }
}

impl<E: Display + std::fmt::Debug> From<TxError<E>> for Failure {
    fn from(error: TxError<E>) -> Self {
        let exit = match error {
            TxError::Read(error) => return error.into(),
            TxError::NoSpace { .. } | TxError::CommitBlockFull { .. } | TxError::Unsettled => Exit::NoSpace,
            TxError::CommitPoint { .. } | TxError::NoSummaryReader => Exit::Unsupported,
            TxError::Exhausted { .. } | TxError::ReadOnly { .. } => Exit::Unsupported,
            TxError::Foreign => Exit::NotJffs2,
            TxError::Write(_) | TxError::Source { .. } | TxError::Path { .. } | TxError::Payload { .. } => Exit::Io,
            TxError::Poisoned | TxError::DryRun | TxError::Uncertain { .. } => Exit::Io,
        };
        let option =
            if matches!(error, TxError::NoSummaryReader) { "; if it does, give --kernel-summaries yes" } else { "" };
        Self::new(exit, format!("{error}{option}"))
    }
}

impl From<DetectError> for Failure {
    fn from(error: DetectError) -> Self {
        let exit = if matches!(error, DetectError::Io { .. }) { Exit::Io } else { Exit::NotJffs2 };
        Self::new(exit, error)
    }
}

/// One line of trouble on stderr.
pub(crate) fn complain(text: &str) {
    say("error", text);
}

/// One line on stderr that is no trouble.
pub(crate) fn note(text: &str) {
    say("note", text);
}

fn say(what: &str, text: &str) {
    // Without stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "jffs2-tx: {what}: {text}");
}
