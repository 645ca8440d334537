//! A pass over a stream with a window behind every position.

use std::io::{self, Read};
use std::vec::Vec;

use super::{DetectError, MAX_DETECTED};

/// Bytes that are in memory behind every position that is looked at; twice as many are held.
const WINDOW: usize = MAX_DETECTED as usize;

/// What is left of the stream at a position.
pub(crate) struct Rest<'a> {
    /// Bytes: at least a window, unless `last`.
    pub(crate) bytes: &'a [u8],
    /// They reach to the end.
    pub(crate) last: bool,
}

/// Calls `step` with each position, from 0 on; it says how many bytes to go on by, at least one. The stream's length.
pub(crate) fn walk(mut reader: impl Read, mut step: impl FnMut(u64, Rest<'_>) -> usize) -> Result<u64, DetectError> {
    let (mut offset, mut buf) = (0, Vec::new());
    loop {
        let last = !fill(&mut reader, &mut buf).map_err(|error| DetectError::Io { offset, error })?;
        let stop = if last { buf.len() } else { WINDOW };
        let mut at = 0;
        while at < stop {
            at += step(offset + at as u64, Rest { bytes: &buf[at..], last }).max(1);
        }
        let done = at.min(buf.len());
        offset += done as u64;
        buf.drain(..done);
        if last {
            return Ok(offset);
        }
    }
}

/// Reads until `buf` holds two windows; whether there may be more.
fn fill(reader: &mut impl Read, buf: &mut Vec<u8>) -> io::Result<bool> {
    let wanted = 2 * WINDOW - buf.len();
    Ok(reader.by_ref().take(wanted as u64).read_to_end(buf)? == wanted)
}
