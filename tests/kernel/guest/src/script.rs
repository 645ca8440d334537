//! The job as it lies on the guest's disk: a script, one step a line, and after it the contents of eraseblocks.
//!
//! The disk begins with one sector that holds a [`Header`], which says where the script is; the contents are where the
//! steps say. Where the script is one of [`crate::scenario`]s, its lines are those of that module.

use std::fmt;
use std::str::FromStr;

use crate::listing::hex;

mod mode;

pub use mode::{Age, Alternate, Compressor, Mode};

/// What the header's length, the script's start and the contents' starts are multiples of.
pub const SECTOR: u64 = 512;

const MAGIC: &str = "jffs2-judge-2";

/// The first line of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the script's lines are.
    pub kind: ScriptKind,
    /// Where the script begins.
    pub script_start: u64,
    /// Length of the script in bytes.
    pub script_len: u64,
    /// Whether the kernel's log is wanted, case by case.
    pub log: bool,
}

/// What the guest is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptKind {
    /// To judge flash states: the lines are [`Step`]s.
    Cases,
    /// To play [`crate::scenario`]s: the lines are those of that module.
    Scenarios,
}

const KINDS: [(ScriptKind, &str); 2] = [(ScriptKind::Cases, "cases"), (ScriptKind::Scenarios, "scenarios")];

/// What the guest is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Replace the MTD device, if any, by a new and erased one.
    Device(DeviceStep),
    /// Learn where the content of a block lies.
    Block(BlockStep),
    /// Bring the device to a state and let the kernel read it.
    Case(CaseStep),
}

/// A flash to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStep {
    /// The kernel module that simulates it.
    pub module: String,
    /// Number of eraseblocks.
    pub blocks: u32,
    /// Bytes in an eraseblock.
    pub block_size: u32,
    /// Bytes that are programmed at a time; the size of an eraseblock where pages don't matter.
    pub page_size: u32,
    /// The module's parameters.
    pub parameters: Vec<String>,
}

/// What one eraseblock holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockStep {
    /// By what number the cases call it.
    pub id: u32,
    /// Where on the disk the bytes lie.
    pub offset: u64,
    /// How many bytes there are; what follows them in the eraseblock is erased.
    pub len: u32,
    /// Whether the eraseblock is marked bad.
    pub bad: bool,
    /// What the free part of the first page's spare area begins with.
    pub oob: Vec<u8>,
    /// Pages that the chip's error correction must give up on.
    pub unreadable: Vec<u32>,
}

/// One state to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseStep {
    /// The name under which the results are reported.
    pub name: String,
    /// How the state is judged.
    pub mode: Mode,
    /// When to print all lines of the tree.
    pub listing: Listing,
    /// Where on the second disk to put what the device holds after the case; behind it, the copies that [`Age`] asks
    /// for.
    pub dump: Option<u64>,
    /// Eraseblocks that differ from the case before: their index and the id of what they hold.
    pub changes: Vec<(u32, u32)>,
}

/// When to print all lines of a tree, not its digest only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listing {
    /// Not at all.
    Never,
    /// Every time.
    Always,
    /// If the digest is none of these.
    Unless(Vec<String>),
}

impl Listing {
    /// Whether a tree with this digest is to be printed.
    pub fn wanted(&self, digest: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Unless(known) => !known.iter().any(|known| known == digest),
        }
    }
}

/// A part of the judgement of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Bringing the device to the case's state; reported only if it fails.
    Prepare,
    /// The walk of a read-only mount.
    ReadOnly,
    /// The first walk of a mount for writing.
    ReadWrite,
    /// The work in a mount for writing; reported only if it fails.
    Work,
    /// The walk of the read-only mount after the work.
    Remount,
}

const PHASES: [(Phase, &str); 5] = [
    (Phase::Prepare, "prepare"),
    (Phase::ReadOnly, "ro"),
    (Phase::ReadWrite, "rw"),
    (Phase::Work, "work"),
    (Phase::Remount, "remount"),
];

/// A line that is no step, header or phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: {text:?}")]
pub struct ParseError {
    what: &'static str,
    text: String,
}

impl ParseError {
    pub(crate) fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.to_owned() }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("?", |(_, word)| *word);
        writeln!(f, "{MAGIC} {kind} {} {} {}", self.script_start, self.script_len, u8::from(self.log))
    }
}

impl FromStr for Header {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let mut words = text.lines().next()?.split(' ');
            (words.next()? == MAGIC).then_some(())?;
            let kind = words.next()?;
            Some(Self {
                kind: KINDS.iter().find(|(_, word)| *word == kind).map(|(kind, _)| *kind)?,
                script_start: number(words.next()?)?,
                script_len: number(words.next()?)?,
                log: flag(words.next()?)?,
            })
        };
        parse().ok_or_else(|| ParseError::new("job header", text))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = PHASES.iter().find(|(phase, _)| phase == self).map_or("?", |(_, word)| *word);
        f.write_str(word)
    }
}

impl FromStr for Phase {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = PHASES.iter().find(|(_, word)| *word == text);
        found.map(|(phase, _)| *phase).ok_or_else(|| ParseError::new("phase", text))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(d) => {
                write!(f, "device {} {} {} {} {}", d.module, d.blocks, d.block_size, d.page_size, list(&d.parameters))
            }
            Self::Block(b) => {
                let (oob, unreadable) = (or_dash(hex(&b.oob)), list(&b.unreadable));
                write!(f, "block {} {} {} {} {oob} {unreadable}", b.id, b.offset, b.len, u8::from(b.bad))
            }
            Self::Case(c) => {
                let dump = or_dash(c.dump.map_or_else(String::new, |offset| offset.to_string()));
                let changes: Vec<String> = c.changes.iter().map(|(index, id)| format!("{index}:{id}")).collect();
                write!(f, "case {} {} {} {dump} {}", c.name, c.mode, c.listing, list(&changes))
            }
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Always => f.write_str("always"),
            Self::Unless(digests) => f.write_str(&list(digests)),
        }
    }
}

impl FromStr for Listing {
    type Err = ParseError;

    fn from_str(word: &str) -> Result<Self, ParseError> {
        listing(word).ok_or_else(|| ParseError::new("listing", word))
    }
}

impl FromStr for Step {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        let words: Vec<&str> = line.split(' ').collect();
        let step = match words[..] {
            ["device", ref fields @ ..] => device(fields).map(Self::Device),
            ["block", ref fields @ ..] => block(fields).map(Self::Block),
            ["case", ref fields @ ..] => case(fields).map(Self::Case),
            _ => None,
        };
        step.ok_or_else(|| ParseError::new("step", line))
    }
}

fn device(fields: &[&str]) -> Option<DeviceStep> {
    let [module, blocks, block_size, page_size, parameters] = fields else {
        return None;
    };
    Some(DeviceStep {
        module: (*module).to_owned(),
        blocks: number(blocks)?,
        block_size: number(block_size)?,
        page_size: number(page_size)?,
        parameters: items(parameters, |word| Some(word.to_owned()))?,
    })
}

fn block(fields: &[&str]) -> Option<BlockStep> {
    let [id, offset, len, bad, oob, unreadable] = fields else {
        return None;
    };
    Some(BlockStep {
        id: number(id)?,
        offset: number(offset)?,
        len: number(len)?,
        bad: flag(bad)?,
        oob: bytes(oob)?,
        unreadable: items(unreadable, number)?,
    })
}

fn case(fields: &[&str]) -> Option<CaseStep> {
    let [name, mode, when, dump, changes] = fields else {
        return None;
    };
    Some(CaseStep {
        name: (*name).to_owned(),
        mode: mode.parse().ok()?,
        listing: listing(when)?,
        dump: if *dump == "-" { None } else { Some(number(dump)?) },
        changes: items(changes, |pair| {
            let (index, id) = pair.split_once(':')?;
            Some((number(index)?, number(id)?))
        })?,
    })
}

fn listing(when: &str) -> Option<Listing> {
    match when {
        "never" => Some(Listing::Never),
        "always" => Some(Listing::Always),
        digests => items(digests, |digest| Some(digest.to_owned())).map(Listing::Unless),
    }
}

/// Joins items by commas; `-` stands for none of them, so that every field is a word.
fn list<T: ToString>(items: &[T]) -> String {
    or_dash(items.iter().map(T::to_string).collect::<Vec<_>>().join(","))
}

fn or_dash(word: String) -> String {
    if word.is_empty() { "-".to_owned() } else { word }
}

fn items<T>(word: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if word == "-" { Some(Vec::new()) } else { word.split(',').map(parse).collect() }
}

fn number<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

fn flag(word: &str) -> Option<bool> {
    match word {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn bytes(word: &str) -> Option<Vec<u8>> {
    if word == "-" {
        return Some(Vec::new());
    }
    let digits = word.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn survives(step: Step) {
        assert_eq!(step.to_string().parse(), Ok(step));
    }

    #[test]
    fn steps_survive_the_way_to_the_guest() {
        survives(Step::Device(DeviceStep {
            module: "mtdram".to_owned(),
            blocks: 32,
            block_size: 65536,
            page_size: 65536,
            parameters: vec!["total_size=2048".to_owned(), "erase_size=64".to_owned()],
        }));
        let block =
            BlockStep { id: 7, offset: 1024, len: 65536, bad: true, oob: vec![0x85, 0x19], unreadable: vec![1, 63] };
        survives(Step::Block(BlockStep { oob: vec![], unreadable: vec![], bad: false, ..block.clone() }));
        survives(Step::Block(block));
        let case = CaseStep {
            name: "cut-17".to_owned(),
            mode: Mode::ReadWrite,
            listing: Listing::Unless(vec!["aa".to_owned(), "bb".to_owned()]),
            dump: None,
            changes: vec![(0, 3), (31, 4)],
        };
        let age = Age { seed: 5, turns: 3, cuts: 2, compressor: Compressor::Turns };
        survives(Step::Case(CaseStep { mode: Mode::Age(age), dump: Some(0), ..case.clone() }));
        let alternate = Alternate { seed: 6, rounds: 100 };
        survives(Step::Case(CaseStep { mode: Mode::Alternate(alternate), ..case.clone() }));
        survives(Step::Case(CaseStep { mode: Mode::Heavy, dump: Some(4096), ..case.clone() }));
        survives(Step::Case(CaseStep { listing: Listing::Always, mode: Mode::ReadOnly, ..case.clone() }));
        survives(Step::Case(CaseStep { listing: Listing::Never, changes: vec![], ..case.clone() }));
        survives(Step::Case(case));
    }

    #[test]
    fn headers_and_phases_survive_too() {
        for (kind, _) in KINDS {
            let header = Header { kind, script_start: SECTOR, script_len: 12345, log: true };
            assert_eq!(header.to_string().parse(), Ok(header));
        }
        for (phase, _) in PHASES {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in
            ["", "case", "case a ro never 1", "case a age:1:2:3 never - -", "block 1 2 3 2 - -", "device m 1 2 3"]
        {
            assert!(line.parse::<Step>().is_err(), "{line:?} was taken for a step");
        }
    }
}
