//! What the kernel made of the cases.

use std::collections::HashMap;
use std::time::Duration;

use kernel_guest::script::Phase;

use super::Error;
use super::qemu::Console;

/// How many lines of the console an error shows.
const TAIL: usize = 120;

/// All results of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order of the cases, a case's phases in their order.
    pub results: Vec<CaseResult>,
    /// Lines of the kernel's log that tell of a fault in the kernel, each behind the name of the case.
    pub log: Vec<String>,
    /// Lines in which jffs2 tells of errors (level KERN_ERR and worse), each behind the name of the case. Torn and damaged
    /// nodes are none: of these it tells in notices and warnings.
    pub errors: Vec<String>,
    /// What the flash held after each case that was to be dumped, by the case's name.
    pub dumps: HashMap<String, Vec<u8>>,
    /// All that the guest printed.
    pub console: String,
    /// From the start of QEMU to its end.
    pub seconds: f64,
    /// From the start of QEMU to the first case.
    pub boot_seconds: f64,
    /// Mounts, failed ones too.
    pub mounts: u32,
    /// From the first case to the end of the last one.
    pub judging_seconds: f64,
    /// What that time was spent on, as the guest says it: `prepare=milliseconds mount=...`.
    pub spent: String,
}

impl Report {
    /// Mounts over the time without the boot.
    pub fn mounts_per_second(&self) -> f64 {
        f64::from(self.mounts) / self.judging_seconds.max(f64::EPSILON)
    }

    /// The outcome of one phase of a case.
    pub fn outcome(&self, name: &str, phase: Phase) -> Option<&Outcome> {
        self.results.iter().find(|result| result.name == name && result.phase == phase).map(|result| &result.outcome)
    }
}

/// The result of one phase of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// Which part of its judgement.
    pub phase: Phase,
    /// What came of it.
    pub outcome: Outcome,
    /// All lines of the tree, if the case asked for them.
    pub listing: Vec<String>,
}

/// What the kernel made of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It read a tree: the digest of its [`crate::listing`], and the number of entries.
    Digest(String, u64),
    /// It didn't: what failed, and the error's name, such as `mount: EIO: I/O error`.
    Error(String),
}

impl Outcome {
    /// Whether it is the tree with this digest.
    pub fn is(&self, digest: &str) -> bool {
        matches!(self, Self::Digest(found, _) if found == digest)
    }
}

/// Makes a report of a console.
pub(super) fn parse(console: Console) -> Result<Report, Error> {
    let mut parser = Parser::default();
    for (time, line) in &console.lines {
        parser.line(*time, line)?;
    }
    let text: String = console.lines.iter().fold(String::new(), |text, (_, line)| text + line + "\n");
    if !parser.done {
        return Err(parser.unfinished(&console));
    }
    Ok(Report {
        mounts: parser.mounts,
        judging_seconds: parser.end.saturating_sub(parser.start).as_secs_f64(),
        spent: parser.spent,
        results: parser.results,
        log: parser.log,
        errors: parser.errors,
        dumps: HashMap::new(),
        console: text,
        seconds: console.run_time.as_secs_f64(),
        boot_seconds: parser.start.as_secs_f64(),
    })
}

#[derive(Default)]
struct Parser {
    results: Vec<CaseResult>,
    listings: HashMap<String, Vec<String>>,
    log: Vec<String>,
    errors: Vec<String>,
    spent: String,
    mounts: u32,
    start: Duration,
    end: Duration,
    done: bool,
}

impl Parser {
    /// Takes a line; firmware and kernel print some, too, which are left alone.
    fn line(&mut self, time: Duration, line: &str) -> Result<(), Error> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "READY" => self.start = time,
            "ERROR" => self.errors.push(rest.to_owned()),
            "SPENT" => rest.clone_into(&mut self.spent),
            "DONE" => (self.end, self.done) = (time, true),
            "RESULT" => {
                let result = self.result(rest).ok_or_else(|| Error::Line(line.to_owned()))?;
                self.mounts += u32::from(matches!(result.phase, Phase::ReadOnly | Phase::ReadWrite | Phase::Remount));
                self.results.push(result);
            }
            "LIST" => {
                let (name, entry) = rest.split_once(' ').ok_or_else(|| Error::Line(line.to_owned()))?;
                self.listings.entry(name.to_owned()).or_default().push(entry.to_owned());
            }
            "SUSPECT" => self.log.push(rest.to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn result(&mut self, text: &str) -> Option<CaseResult> {
        let mut words = text.splitn(4, ' ');
        let (name, phase) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let (what, rest) = (words.next()?, words.next()?);
        let outcome = match what {
            "ERROR" => Outcome::Error(rest.to_owned()),
            digest => Outcome::Digest(digest.to_owned(), rest.parse().ok()?),
        };
        let listing = self.listings.remove(&name).unwrap_or_default();
        Some(CaseResult { name, phase, outcome, listing })
    }

    fn unfinished(&self, console: &Console) -> Error {
        let last = self.results.last().map_or("boot".to_owned(), |result| format!("{} {}", result.name, result.phase));
        let tail = tail(&console.lines);
        match console.silence {
            Some(silence) => Error::Silent { silence, last, tail },
            None => Error::Unfinished { last, tail },
        }
    }
}

/// The end of the console, with room for a trace of the kernel, without lines of trees and of its usual log.
pub(super) fn tail(lines: &[(Duration, String)]) -> String {
    let usual = |line: &str| line.starts_with("LIST ") || line.starts_with("LOG ");
    let telling = lines.iter().map(|(_, line)| line.as_str()).filter(|line| !usual(line));
    let mut last: Vec<&str> = telling.rev().take(TAIL).collect();
    last.reverse();
    last.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[&str]) -> Console {
        let lines = (1..).map(Duration::from_secs).zip(lines.iter().map(|line| (*line).to_owned())).collect();
        Console { lines, silence: None, killed: false, run_time: Duration::from_secs(9) }
    }

    #[test]
    fn lines_become_results() {
        let report = parse(console(&[
            "[    0.1] Linux",
            "READY",
            "LIST a .|41ed 0 0 0 0 3 0:0|-|",
            "RESULT a ro 00ff 1",
            "RESULT b rw ERROR mount: EIO: I/O error",
            "SUSPECT b BUG: something",
            "ERROR b jffs2: error: something",
            "SPENT mount=3",
            "DONE",
        ]))
        .unwrap();
        let [a, b] = &report.results[..] else { panic!("{report:?}") };
        assert_eq!((&*a.name, a.phase, a.listing.len()), ("a", Phase::ReadOnly, 1));
        assert!(a.outcome.is("00ff"));
        assert_eq!(b.outcome, Outcome::Error("mount: EIO: I/O error".to_owned()));
        assert_eq!(report.log, ["b BUG: something"]);
        assert_eq!((&report.errors[..], &*report.spent), (&["b jffs2: error: something".to_owned()][..], "mount=3"));
        assert_eq!((report.boot_seconds, report.mounts_per_second()), (2.0, 2.0 / 7.0));
    }

    #[test]
    fn a_guest_that_ends_early_is_an_error_with_the_console() {
        let error = parse(console(&["READY", "RESULT a ro 00 1", "Kernel panic - not syncing"])).unwrap_err();
        assert!(
            matches!(&error, Error::Unfinished { last, tail } if last == "a ro" && tail.contains("panic")),
            "{error}"
        );
    }
}
