//! What each eraseblock holds as an update goes on.

use std::collections::BTreeSet;

use jffs2_tx::flash::Flash;
use jffs2_tx::index::Index;
use jffs2_tx::scan::{BlockState, Rules, scan_block};
use jffs2_tx::wire::Endian;

use crate::chip::Chip;
use crate::reader::ByReader;
use crate::trace::Trace;

/// Heights that a filling eraseblock is told in.
const LEVELS: usize = 16;

/// Eraseblocks over operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Operations. There is one moment more: before the first.
    pub ops: usize,
    /// Ascending by eraseblock.
    pub rows: Vec<Row>,
}

/// One eraseblock that changes, or neighbours that do not and hold the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// First eraseblock.
    pub first: u32,
    /// Last one.
    pub last: u32,
    /// An operation touches it.
    pub changes: bool,
    /// What it holds; the first begins at moment 0.
    pub spans: Vec<Span>,
}

/// From a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// After so many operations.
    pub from: usize,
    /// What it holds.
    pub content: Content,
    /// How full it is, in sixteenths.
    pub level: u8,
}

/// What an eraseblock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Nodes that the tree needs, from before the update.
    Old,
    /// Nodes that it no longer needs.
    Dead,
    /// Nothing: it may be used at once, or after an erase.
    Free,
    /// What the update wrote and nothing leads to yet.
    Payload,
    /// What no reader sees.
    Hidden,
    /// What the update wrote, and readers see.
    New,
    /// What a power cut left of an operation.
    Torn,
    /// Nothing, ever.
    Bad,
}

impl Content {
    /// All of them, in the order of a legend.
    pub const ALL: [Self; 8] =
        [Self::Old, Self::Dead, Self::Free, Self::Payload, Self::Hidden, Self::New, Self::Torn, Self::Bad];

    /// In a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Old => "old data, in use",
            Self::Dead => "data no longer in use",
            Self::Free => "free",
            Self::Payload => "new data, nothing leads to it yet",
            Self::Hidden => "written, but hidden from readers",
            Self::New => "new data, in use",
            Self::Torn => "torn by the power cut",
            Self::Bad => "bad eraseblock",
        }
    }
}

impl Picture {
    /// Of what `trace` does from `start` on; `commit` is the operation that shows the new tree.
    #[must_use]
    pub fn of(start: &Chip, trace: &Trace, endian: Endian, commit: Option<usize>) -> Self {
        let touched: BTreeSet<u32> = trace.ops.iter().filter_map(|op| op.block(&trace.geometry)).collect();
        let blocks = 0..trace.geometry.blocks();
        let mut painter = Painter { endian, chip: start.clone(), live: Live::default(), touched: BTreeSet::new() };
        painter.live.before = live(start, endian);
        let mut rows: Vec<Row> = blocks.map(|block| painter.row(block, touched.contains(&block))).collect();
        for (op, done) in trace.ops.iter().enumerate() {
            // One that fails may have done something.
            let _ = done.apply(&mut painter.chip);
            let Some(block) = done.block(&trace.geometry) else { continue };
            painter.touched.insert(block);
            let span = painter.span(block, op + 1, commit.is_some_and(|commit| op >= commit));
            if let Some(row) = rows.get_mut(block as usize) {
                row.push(span);
            }
        }
        painter.live.after = live(&painter.chip, endian);
        if let Some(commit) = commit {
            rows.iter_mut().for_each(|row| row.commit(commit + 1, &painter));
        }
        Self { ops: trace.ops.len(), rows: joined(rows) }
    }
}

impl Row {
    fn push(&mut self, span: Span) {
        if self.spans.last().is_none_or(|last| (last.content, last.level) != (span.content, span.level)) {
            self.spans.push(span);
        }
    }

    /// What it holds changes its meaning when the new tree shows.
    fn commit(&mut self, from: usize, painter: &Painter) {
        let at = self.spans.partition_point(|span| span.from < from);
        let Some(before) = at.checked_sub(1).and_then(|i| self.spans.get(i)).copied() else { return };
        let content = match before.content {
            Content::Payload => Content::New,
            Content::Old if !painter.live.after.contains(&self.first) => Content::Dead,
            same => same,
        };
        let is_changed_then = self.spans.get(at).is_some_and(|span| span.from == from);
        if content != before.content && !is_changed_then {
            self.spans.insert(at, Span { from, content, ..before });
        }
    }

    fn joins(&self, next: &Self) -> bool {
        let like = |row: &Self| row.spans.iter().map(|span| (span.from, span.content)).collect::<Vec<_>>();
        !self.changes && !next.changes && like(self) == like(next)
    }
}

fn joined(rows: Vec<Row>) -> Vec<Row> {
    let mut joined: Vec<Row> = Vec::new();
    for row in rows {
        match joined.last_mut() {
            Some(last) if last.joins(&row) => last.last = row.last,
            _ => joined.push(row),
        }
    }
    joined
}

/// Eraseblocks that some reader needs.
#[derive(Default)]
struct Live {
    before: BTreeSet<u32>,
    after: BTreeSet<u32>,
}

fn live(chip: &Chip, endian: Endian) -> BTreeSet<u32> {
    let rules = ByReader::rules(endian);
    let of = |rules: Rules| Index::open(chip, rules).map(|index| index.blocks().to_vec()).unwrap_or_default();
    let blocks = [of(rules.with_summaries), of(rules.without_summaries)];
    blocks.iter().flat_map(|blocks| (0..).zip(blocks)).filter(|(_, info)| info.live > 0).map(|(i, _)| i).collect()
}

struct Painter {
    endian: Endian,
    chip: Chip,
    live: Live,
    /// So far.
    touched: BTreeSet<u32>,
}

impl Painter {
    fn row(&self, block: u32, changes: bool) -> Row {
        Row { first: block, last: block, changes, spans: vec![self.span(block, 0, false)] }
    }

    fn span(&self, block: u32, from: usize, committed: bool) -> Span {
        let cells = self.chip.block_data(block);
        let written = cells.iter().filter(|cell| **cell != 0xff).count();
        let level = (written * LEVELS).div_ceil(cells.len().max(1)) as u8;
        Span { from, content: self.content(block, cells, committed), level }
    }

    fn content(&self, block: u32, cells: &[u8], committed: bool) -> Content {
        let rules = Rules { endian: self.endian, summaries: true };
        let oob = self.chip.has_oob_cleanmarker(block).unwrap_or(false);
        match scan_block(self.chip.geometry(), rules, block, cells, oob).state {
            _ if self.chip.is_bad(block).unwrap_or(false) => Content::Bad,
            BlockState::Bad => Content::Bad,
            BlockState::Blank | BlockState::Clean => Content::Free,
            BlockState::Hidden => Content::Hidden,
            BlockState::Used => match (self.touched.contains(&block), committed) {
                (true, true) => Content::New,
                (true, false) => Content::Payload,
                (false, _) if self.live.before.contains(&block) => Content::Old,
                (false, _) => Content::Dead,
            },
        }
    }
}
