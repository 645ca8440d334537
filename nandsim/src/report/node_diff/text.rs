//! A node diff in lines.

use std::fmt;

use super::{BlockDiff, Mark, NodeDiff, NodeLine, Same};

/// Of more lines alike, one after the other, only the first and the last are shown.
const ALIKE: usize = 6;
const FIRST: usize = 3;
/// So many eraseblocks that are as before, or as after, are told one by one.
const FEW: usize = 3;

impl Mark {
    /// The sign that stands in front of a line.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Both => "=",
            Self::Old => "o",
            Self::New => "n",
            Self::Found => "?",
            Self::Torn => "!",
            Self::MissingBoth | Self::MissingOld | Self::MissingNew => "-",
        }
    }

    /// The same in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Both => "as before and after",
            Self::Old => "as before",
            Self::New => "as after",
            Self::Found => "only here",
            Self::Torn => "torn",
            Self::MissingBoth => "missing: before and after",
            Self::MissingOld => "missing: before",
            Self::MissingNew => "missing: after",
        }
    }
}

impl Same {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Old => "as before the update, which changes it later",
            Self::New => "as the whole update leaves it",
            Self::Neither => "as neither before nor after the update",
        }
    }
}

impl NodeLine {
    /// Which readers see it.
    #[must_use]
    pub fn seen_by(&self) -> &'static str {
        match self.seen.map(|seen| (seen.with_summaries, seen.without_summaries)) {
            None => "",
            Some((true, true)) => "seen",
            Some((true, false)) => "seen with summaries only",
            Some((false, true)) => "seen without summaries only",
            Some((false, false)) => "not seen",
        }
    }

    /// Whether its CRCs are good, or why it is no node; nothing of one that is missing.
    #[must_use]
    pub fn health(&self) -> &str {
        match self.mark {
            Mark::MissingBoth | Mark::MissingOld | Mark::MissingNew => "",
            _ => self.problem.as_deref().unwrap_or("CRC good"),
        }
    }
}

/// A line, or so many that are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'d> {
    /// A line.
    Line(&'d NodeLine),
    /// Lines left out, alike those around.
    More(usize),
}

impl BlockDiff {
    /// Its lines without the middle of long runs alike.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown<'_>> {
        let mut shown = Vec::new();
        let alike = |a: &NodeLine, b: &NodeLine| a.mark == b.mark && a.seen == b.seen;
        for run in self.nodes.chunk_by(alike) {
            let left_out = if run.len() > ALIKE { run.len() - FIRST - 1 } else { 0 };
            let (first, rest) = run.split_at(if left_out > 0 { FIRST } else { run.len() });
            shown.extend(first.iter().map(Shown::Line));
            if left_out > 0 {
                shown.push(Shown::More(left_out));
                shown.extend(rest.last().map(Shown::Line));
            }
        }
        shown
    }
}

/// An eraseblock, or many alike.
#[derive(Clone, Copy, Debug)]
pub enum Group<'d> {
    /// One.
    Block(&'d BlockDiff),
    /// More than a few that are all as before, or all as after.
    Many(&'d [BlockDiff]),
}

impl NodeDiff {
    /// Its eraseblocks, those that say little joined.
    #[must_use]
    pub fn groups(&self) -> Vec<Group<'_>> {
        let alike = |a: &BlockDiff, b: &BlockDiff| a.same == b.same && a.same != Same::Neither;
        let mut groups = Vec::new();
        for run in self.blocks.chunk_by(alike) {
            match run.len() {
                0..=FEW => groups.extend(run.iter().map(Group::Block)),
                _ => groups.push(Group::Many(run)),
            }
        }
        groups
    }
}

/// What many alike are called.
pub(in crate::report) fn many(blocks: &[BlockDiff]) -> String {
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return String::new() };
    format!("{} eraseblocks from {} to {}: each {}", blocks.len(), first.block, last.block, first.same.words())
}

impl fmt::Display for NodeDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "= as before and after the update, o as before, n as after, ? only here, ! torn, - missing here\n\
             Eraseblocks that the update leaves alone and that are as before it are not listed."
        )?;
        for group in self.groups() {
            match group {
                Group::Block(block) => write!(f, "\n{block}")?,
                Group::Many(blocks) => writeln!(f, "\n{}", many(blocks))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for BlockDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "eraseblock {}: {}", self.block, self.same.words())?;
        writeln!(f, "  {}", self.about.join("; "))?;
        if self.same != Same::Neither {
            return if self.words.is_empty() { Ok(()) } else { writeln!(f, "  {}", self.words) };
        }
        for shown in self.shown() {
            match shown {
                Shown::Line(line) => writeln!(f, "{line}")?,
                Shown::More(n) => writeln!(f, "  .. {n} more alike")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for NodeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = [self.health(), self.seen_by()].map(|note| if note.is_empty() { None } else { Some(note) });
        let notes: Vec<&str> = notes.into_iter().flatten().collect();
        let notes = if notes.is_empty() { self.mark.words().into() } else { notes.join(", ") };
        write!(f, "  {} {:#010x} {:>6}  {}  [{notes}]", self.mark.sign(), self.at, self.size, self.text)
    }
}
