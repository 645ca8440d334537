//! Contents of a file that are read once: they stay where the old file has them, and are written where it has not.

use std::format;
use std::io::{ErrorKind, Read};
use std::string::{String, ToString};
use std::vec;

use super::overlay::Entry;
use super::{Result, Transaction, TxError};
use crate::flash::FlashMut;
use crate::inode_kind::{FileKind, Meta};
use crate::source::SourceError;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Where a file's bytes come from, and how many they are to be.
pub(super) struct Contents<'r> {
    pub size: u32,
    pub source: &'r mut dyn Read,
    /// For messages.
    pub path: &'r [u8],
}

impl<F: FlashMut> Transaction<'_, F> {
    /// The inode for a file: `old` if it is a file with these contents, otherwise a new one with `meta`. While the contents
    /// are the old ones nothing is written; from the first difference on there is a new file, and what was equal before it
    /// is copied on the flash.
    pub(super) fn place_contents(
        &mut self,
        old: Option<Entry>,
        meta: Meta,
        mut contents: Contents<'_>,
    ) -> Result<Entry, F> {
        let mut chunk = vec![0; CHUNK];
        // An inode that cannot be read is replaced: that is what an update is for.
        let old = old.filter(|old| {
            let stat = self.old_tree().stat(old.ino);
            stat.is_ok_and(|stat| stat.kind == FileKind::File && stat.size == contents.size)
        });
        let (same, mut pending) = match old {
            Some(old) => match self.compare(old.ino, &mut contents, &mut chunk)? {
                Compared::Equal => return Ok(old),
                Compared::Differs { same, pending } => (same, pending),
            },
            None => (0, contents.fill(0, &mut chunk)?),
        };
        let mut file = self.create(meta)?;
        if let Some(old) = old {
            self.copy_start(old.ino, same, &mut file)?;
        }
        let mut done = same;
        while pending > 0 {
            self.append(&mut file, &chunk[..pending])?;
            done += pending as u32;
            pending = contents.fill(done, &mut chunk)?;
        }
        self.finish(&mut file)?;
        Ok(Entry { ino: file.ino(), kind: FileKind::File })
    }

    /// Reads until the contents are not those of an old file of the same size; `chunk` has what was read last.
    fn compare(&self, ino: u32, contents: &mut Contents<'_>, chunk: &mut [u8]) -> Result<Compared, F> {
        let mut file = self.old_tree().open(ino).ok();
        let mut old = vec![0; chunk.len()];
        let mut same = 0;
        loop {
            let pending = contents.fill(same, chunk)?;
            if pending == 0 {
                return Ok(Compared::Equal);
            }
            let there = file.as_mut().and_then(|file| file.read_at(same, &mut old[..pending]).ok());
            if there != Some(pending) || old[..pending] != chunk[..pending] {
                return Ok(Compared::Differs { same, pending });
            }
            same += pending as u32;
        }
    }
}

enum Compared {
    Equal,
    Differs {
        /// Bytes that are equal.
        same: u32,
        /// Bytes that follow in the chunk.
        pending: usize,
    },
}

impl Contents<'_> {
    /// Reads what comes behind the first `done` bytes: as much as `chunk` takes, and nothing at the end.
    fn fill<E>(&mut self, done: u32, chunk: &mut [u8]) -> core::result::Result<usize, TxError<E>> {
        let wanted = chunk.len().min((self.size - done) as usize);
        // One byte more must not be there.
        let (mut filled, end) = (0, wanted.max(1));
        while filled < end {
            match self.source.read(&mut chunk[filled..end]) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(self.path, &error)),
            }
        }
        if filled == wanted {
            return Ok(filled);
        }
        let now = u64::from(done) + filled as u64;
        let reason = format!("size changed while it was read: {} bytes before, {now} now", self.size);
        Err(TxError::Source { path: String::from_utf8_lossy(self.path).into_owned(), reason })
    }
}

pub(super) fn unreadable<E>(path: &[u8], error: &std::io::Error) -> TxError<E> {
    TxError::Source { path: String::from_utf8_lossy(path).into_owned(), reason: error.to_string() }
}

impl<E> From<SourceError> for TxError<E> {
    fn from(error: SourceError) -> Self {
        Self::Source { path: error.path, reason: error.reason.to_string() }
    }
}
