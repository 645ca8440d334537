//! The operation log of an update: what is written when, in words, and how long the part takes for it.

use std::collections::BTreeMap;

use jffs2_tx::flash::Geometry;
use jffs2_tx::wire::{CommitPoint, Endian, HEAD_SIZE};
use serde::Serialize;

use super::names::Names;
use super::node::{Node, What, told};
use crate::chip::{Chip, OobState, is_blank};
use crate::parts::Times;
use crate::trace::{Op, Trace};

mod clock;
mod text;
mod totals;

use clock::Clock;
pub use totals::Totals;

/// The operations of a trace with what they mean.
#[derive(Clone, Debug)]
pub struct Log {
    /// One for each operation.
    pub steps: Vec<Step>,
    /// What inodes are called, before and after.
    pub names: Names,
    /// The operation that shows the new tree, by its number.
    pub commit: Option<usize>,
    /// Sums.
    pub totals: Totals,
}

/// An operation.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number, from 0: cuts name it so.
    pub op: usize,
    /// When it begins and how long it takes, typical microseconds, if the part's times are known.
    pub time: Option<(u64, u64)>,
    /// What it is for.
    pub role: Role,
    /// The eraseblock.
    pub block: Option<u32>,
    /// Flash offset, bytes.
    pub offset: Option<u32>,
    /// Bytes that it programs or erases.
    pub len: u32,
    /// Nodes that a program completes; of an erase, those that were there.
    pub nodes: Vec<Node>,
    /// The device reported that it failed.
    pub failed: bool,
}

/// What an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Nodes of new inodes, which nothing leads to yet.
    Payload,
    /// What commits, or what the commit is to show.
    CommitBlock,
    /// A copy of the commit marker in the blank head.
    Head,
    /// The summary of the commit block.
    Summary,
    /// Makes a commit that counts already sure.
    Seal,
    /// Zeros over what must not show while it is erased.
    Zeros,
    /// Other nodes.
    Nodes,
    /// Erase of what was free.
    EraseFree,
    /// Erase of an eraseblock that holds something.
    EraseUsed,
    /// The eraseblock is marked free.
    Cleanmarker,
    /// The eraseblock is marked bad.
    Bad,
    /// All before is durable.
    Sync,
}

/// An eraseblock from one erase to the next.
struct Filling {
    cells: Vec<u8>,
    programs: Vec<usize>,
}

impl Log {
    /// Tells what `trace`, recorded from `start`, does. `commit` is the operation that shows the new tree, if one does:
    /// see [`Sights::commit`](super::Sights::commit).
    #[must_use]
    pub fn of(start: &Chip, trace: &Trace, endian: Endian, times: Option<&Times>, commit: Option<usize>) -> Self {
        let mut writer = Writer { endian, geometry: trace.geometry, steps: Vec::new(), open: BTreeMap::new(), commit };
        let clock = times.map(|times| Clock::new(*times, trace));
        let mut chip = start.clone();
        for op in &trace.ops {
            writer.step(op, &mut chip);
        }
        for filling in std::mem::take(&mut writer.open).into_values() {
            writer.close(filling);
        }
        let mut steps = writer.steps;
        if let Some(clock) = &clock {
            clock.stamp(trace, &mut steps);
        }
        let totals = Totals::of(&steps, trace, commit, clock.as_ref());
        Self { names: Names::of(&[start, &chip], endian), totals, commit, steps }
    }

    /// What some steps, alike and one after the other, are about.
    #[must_use]
    pub fn words(&self, steps: &[Step]) -> String {
        let Some(first) = steps.first() else { return String::new() };
        let nodes = told(steps.iter().flat_map(|step| &step.nodes), &self.names);
        let words = first.role.words();
        let failed = if steps.iter().any(|step| step.failed) { " - FAILS" } else { "" };
        if nodes.is_empty() { format!("{words}{failed}") } else { format!("{words}: {nodes}{failed}") }
    }
}

impl Role {
    /// In a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::CommitBlock => "commit block",
            Self::Head => "head copy",
            Self::Summary => "summary",
            Self::Seal => "seal",
            Self::Zeros => "zeros over what is hidden, before its erase",
            Self::Nodes => "nodes",
            Self::EraseFree => "was free",
            Self::EraseUsed => "held",
            Self::Cleanmarker => "marked clean",
            Self::Bad => "marked bad",
            Self::Sync => "durable up to here",
        }
    }
}

/// Goes through a trace.
struct Writer {
    endian: Endian,
    geometry: Geometry,
    steps: Vec<Step>,
    open: BTreeMap<u32, Filling>,
    commit: Option<usize>,
}

impl Writer {
    fn step(&mut self, op: &Op, chip: &mut Chip) {
        let number = self.steps.len();
        let block = op.block(&self.geometry);
        let mut step = Step {
            op: number,
            time: None,
            role: Role::Sync,
            block,
            offset: block.map(|block| self.geometry.offset_of(block)),
            len: 0,
            nodes: Vec::new(),
            failed: false,
        };
        match op {
            Op::Program { offset, data } => {
                (step.offset, step.len) = (Some(*offset), data.len() as u32);
                step.role = self.program(number, *offset, data, chip);
            }
            Op::Erase { block } => {
                step.len = self.geometry.eraseblock();
                (step.role, step.nodes) = self.erase(*block, chip);
            }
            Op::OobCleanmarker { .. } => step.role = Role::Cleanmarker,
            Op::MarkBad { .. } => step.role = Role::Bad,
            Op::Sync => {}
        }
        step.failed = op.apply(chip).is_err();
        self.steps.push(step);
    }

    /// What it is for is known when the eraseblock is complete.
    fn program(&mut self, number: usize, offset: u32, data: &[u8], chip: &Chip) -> Role {
        let block = self.geometry.block_of(offset);
        let at = (offset - self.geometry.offset_of(block)) as usize;
        let before = chip.block_data(block).get(at..at + data.len()).unwrap_or_default();
        // Zeros in blank cells are filler.
        if data.iter().all(|byte| *byte == 0) && !is_blank(before) {
            return Role::Zeros;
        }
        let filling = self
            .open
            .entry(block)
            .or_insert_with(|| Filling { cells: chip.block_data(block).to_vec(), programs: Vec::new() });
        for (cell, new) in filling.cells.iter_mut().skip(at).zip(data) {
            *cell &= new;
        }
        filling.programs.push(number);
        Role::Nodes
    }

    fn erase(&mut self, block: u32, chip: &Chip) -> (Role, Vec<Node>) {
        if let Some(filling) = self.open.remove(&block) {
            self.close(filling);
        }
        let nodes = Node::all(self.endian, self.geometry.offset_of(block), chip.block_data(block));
        let is_free = nodes.iter().all(|node| node.what == What::Cleanmarker);
        let nothing = is_blank(chip.block_data(block)) || chip.oob(block) == OobState::Cleanmarker;
        if is_free && (nothing || !nodes.is_empty()) { (Role::EraseFree, Vec::new()) } else { (Role::EraseUsed, nodes) }
    }

    /// Hands the nodes of an eraseblock to the programs that completed them, and says what those were for.
    fn close(&mut self, filling: Filling) {
        let Some(block) = filling.programs.first().and_then(|&first| self.steps.get(first)?.block) else { return };
        let start = self.geometry.offset_of(block);
        let nodes = Node::all(self.endian, start, &filling.cells);
        let whole = Whole::of(&nodes);
        for node in nodes {
            // Padding may have been left out; the last word holds some of the node.
            let last = node.end - 4;
            let covers = |step: &Step| step.offset.is_some_and(|at| at <= last && last - at < step.len);
            if let Some(&op) = filling.programs.iter().rev().find(|&&op| covers(&self.steps[op])) {
                self.steps[op].nodes.push(node);
            }
        }
        for op in filling.programs {
            self.steps[op].role = whole.role(&self.steps[op], start, self.commit);
        }
    }
}

/// What an eraseblock is in its transaction.
struct Whole {
    payload: bool,
    commit: Option<CommitPoint>,
}

impl Whole {
    fn of(nodes: &[Node]) -> Self {
        let commit = |node: &Node| if let What::Commit(point) = node.what { point } else { None };
        Self {
            payload: nodes.iter().any(|node| matches!(node.what, What::Begin(_))),
            commit: nodes.iter().find_map(commit),
        }
    }

    fn role(&self, step: &Step, start: u32, commit: Option<usize>) -> Role {
        let in_head = step.offset.is_some_and(|at| ((at - start) as usize) < HEAD_SIZE);
        let has = |wanted: fn(&What) -> bool| step.nodes.iter().any(|node| wanted(&node.what));
        match self.commit {
            Some(_) if commit.is_some_and(|commit| step.op > commit) => Role::Seal,
            Some(CommitPoint::Head) if in_head => Role::Head,
            Some(_) if has(|what| matches!(what, What::Summary(_))) => Role::Summary,
            Some(_) => Role::CommitBlock,
            None if self.payload => Role::Payload,
            None if has(|what| *what == What::Cleanmarker) && step.nodes.len() == 1 => Role::Cleanmarker,
            None => Role::Nodes,
        }
    }
}
