//! How things look in the output: bytes, times, JSON lines.

use std::io::{self, Write};

pub(crate) use jffs2_tx::manifest::{escape as text, to_hex as digits};
use serde::Serialize;

use crate::failure::Failure;

/// A path from the root, with a slash in front.
pub(crate) fn path(bytes: &[u8]) -> String {
    format!("/{}", text(bytes))
}

/// Seconds since 1970 as `2024-08-22T18:51:38Z`.
pub(crate) fn time(seconds: u64) -> String {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Days since 1970 to year, month, day.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of year 0, so that leap days end their years; 400 years are 146097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let year = 400 * era + year;
    let day = day - (153 * month + 2) / 5 + 1;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// Writes one JSON object on a line of its own.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(|error| Failure::Stdout(error.into()))?;
    out.write_all(b"\n").map_err(Failure::Stdout)
}

/// Writes a result that is one line: as JSON, or as text.
pub(crate) fn line(as_json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let mut out = stdout();
    if as_json {
        json(&mut out, value)?;
    } else {
        writeln!(out, "{}", text()).map_err(Failure::Stdout)?;
    }
    out.flush().map_err(Failure::Stdout)
}

/// Stdout, to be flushed at the end.
pub(crate) fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_unambiguously() {
        assert_eq!(path(b""), "/");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(time(1_724_351_098), "2024-08-22T18:24:58Z");
        assert_eq!(time(u64::from(u32::MAX)), "2106-02-07T06:28:15Z");
        time(u64::MAX);
    }
}
