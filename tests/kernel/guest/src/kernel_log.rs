//! The kernel's log, read as it grows.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};

/// What the kernel says when something in it is broken, whatever the flash holds.
const SUSPICIOUS: [&str; 12] = [
    "BUG:",
    "kernel BUG",
    "Oops",
    "WARNING:",
    "general protection",
    "Call Trace",
    "hung task",
    "blocked for more than",
    "unable to handle",
    "refcount_t",
    "UBSAN",
    "stalls on CPU",
];

/// Levels of the log up to this one tell of errors (KERN_ERR).
const ERROR: u32 = 3;

/// How many lines after a suspicious one belong to it.
const AFTERMATH: u32 = 16;

/// A line of the log.
struct Line {
    level: u32,
    text: String,
}

/// A reader of the kernel's log that remembers where it is.
pub(crate) struct KernelLog {
    file: File,
    verbose: bool,
    aftermath: u32,
}

impl KernelLog {
    /// Begins with the first line that the kernel still has; `verbose` prints all lines, not the suspicious ones only.
    pub(crate) fn open(verbose: bool) -> Result<Self> {
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").context("/dev/kmsg")?;
        Ok(Self { file, verbose, aftermath: 0 })
    }

    /// Prints what has been said since the last call.
    pub(crate) fn report(&mut self, case: &str) {
        while let Some(line) = self.next_line() {
            self.print(case, &line);
        }
    }

    fn print(&mut self, case: &str, Line { level, text: line }: &Line) {
        if SUSPICIOUS.iter().any(|phrase| line.contains(phrase)) {
            self.aftermath = AFTERMATH + 1;
        }
        if self.aftermath > 0 {
            self.aftermath -= 1;
            println!("SUSPECT {case} {line}");
        } else if *level <= ERROR && line.starts_with("jffs2") {
            println!("ERROR {case} {line}");
        } else if self.verbose {
            println!("LOG {case} {line}");
        }
    }

    fn next_line(&mut self) -> Option<Line> {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => return None,
                Ok(length) => return Some(message(&record[..length])),
                // The kernel has overwritten the next record: it goes on with the oldest that is left.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

/// A record is `number,...;text` and further lines; the number's lowest three bits are its level.
fn message(record: &[u8]) -> Line {
    let text = String::from_utf8_lossy(record);
    let line = text.lines().next().unwrap_or_default();
    let number: Option<u32> = line.split(',').next().and_then(|number| number.parse().ok());
    Line {
        level: number.map_or(u32::MAX, |number| number % 8),
        text: line.split_once(';').map_or(line, |(_, message)| message).to_owned(),
    }
}
