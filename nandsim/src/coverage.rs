//! Which faults were tried in which operations, and which were not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jffs2_tx::wire::{Endian, Header, Marker, MarkerKind, nodetype};
use serde::Serialize;

use crate::cut::{Cut, cuts_all, cuts_of_tier};
use crate::fault::{FlashClass, Hazard, Tier};
use crate::trace::{Op, Trace};

/// What an operation is for. A trace that is not of JFFS2 has no commit block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// A program of data.
    Payload,
    /// A program of an eraseblock that holds a commit marker.
    Commit,
    /// An erase.
    Erase,
    /// A cleanmarker, in band or not.
    Cleanmarker,
    /// A bad mark.
    BadMark,
    /// A sync.
    Sync,
    /// After the last operation.
    End,
}

impl OpKind {
    fn name(self) -> &'static str {
        match self {
            Self::Payload => "payload program",
            Self::Commit => "commit program",
            Self::Erase => "erase",
            Self::Cleanmarker => "cleanmarker",
            Self::BadMark => "bad mark",
            Self::Sync => "sync",
            Self::End => "end",
        }
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A fault in a kind of operation, and how often it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// The operation.
    pub op: OpKind,
    /// The fault.
    pub hazard: Hazard,
    /// How often it is tried on this flash; `None` if it is not said to happen there.
    pub tier: Option<Tier>,
    /// How often it was.
    pub times: u64,
}

/// Counts what is tried on a trace. Serializes to the list of all that could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "Vec<Tried>")]
pub struct Coverage {
    flash: FlashClass,
    /// Of each operation.
    ops: Vec<OpKind>,
    times: BTreeMap<(OpKind, Hazard), u64>,
}

impl Coverage {
    /// Nothing tried yet of all that could be.
    #[must_use]
    pub fn new(trace: &Trace) -> Self {
        let flash = FlashClass::of(trace.geometry.kind(), &trace.rules);
        let mut new = Self { flash, ops: kinds(trace), times: BTreeMap::new() };
        let extra = Tier::ALL.into_iter().flat_map(|tier| cuts_of_tier(trace, tier));
        for cut in cuts_all(trace).chain(extra) {
            new.times.entry((new.kind(cut.op), cut.tear.into())).or_insert(0);
        }
        for kind in new.ops.iter().copied().collect::<BTreeSet<_>>() {
            if matches!(kind, OpKind::Payload | OpKind::Commit | OpKind::Erase | OpKind::Cleanmarker) {
                for hazard in [Hazard::Unsynced, Hazard::OperationFails, Hazard::OperationIgnored, Hazard::WriteProtect]
                {
                    new.times.entry((kind, hazard)).or_insert(0);
                }
            }
        }
        new
    }

    /// The kind of flash.
    #[must_use]
    pub fn flash(&self) -> FlashClass {
        self.flash
    }

    /// Counts a cut.
    pub fn add(&mut self, cut: &Cut) {
        self.add_fault(cut.op, cut.tear.into());
    }

    /// Counts a fault that is no cut, in the operation with this index.
    pub fn add_fault(&mut self, op: usize, hazard: Hazard) {
        *self.times.entry((self.kind(op), hazard)).or_insert(0) += 1;
    }

    /// Adds what was tried elsewhere on the same trace, by another thread say.
    pub fn merge(&mut self, other: &Self) {
        for (what, times) in &other.times {
            *self.times.entry(*what).or_insert(0) += times;
        }
    }

    /// All that could be tried, by operation.
    pub fn all(&self) -> impl Iterator<Item = Tried> + '_ {
        let tried = |(&(op, hazard), &times)| Tried { op, hazard, tier: hazard.tier(self.flash), times };
        self.times.iter().map(tried)
    }

    /// What could have been tried on this flash and was not.
    pub fn missing(&self) -> impl Iterator<Item = Tried> + '_ {
        self.all().filter(|tried| tried.times == 0)
    }

    /// Each fault that was not tried in some operations, with these.
    pub fn not_tried(&self) -> impl Iterator<Item = String> + '_ {
        let hazards: BTreeSet<Hazard> = self.missing().map(|of| of.hazard).collect();
        hazards.into_iter().map(|hazard| {
            let ops: Vec<&str> = self.missing().filter(|of| of.hazard == hazard).map(|of| of.op.name()).collect();
            let tier = hazard.tier(self.flash).map_or(String::new(), |tier| format!(" (tier {})", u8::from(tier)));
            format!("{hazard}{tier} in {}", ops.join(", "))
        })
    }

    fn kind(&self, op: usize) -> OpKind {
        self.ops.get(op).copied().unwrap_or(OpKind::End)
    }
}

impl From<Coverage> for Vec<Tried> {
    fn from(coverage: Coverage) -> Self {
        coverage.all().collect()
    }
}

/// A table of operations by faults, and a line for each fault that was not tried.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ops: BTreeSet<OpKind> = self.times.keys().map(|(op, _)| *op).collect();
        let hazards: BTreeSet<Hazard> = self.times.keys().map(|(_, hazard)| *hazard).collect();
        write!(f, "{:<18}", "")?;
        ops.iter().try_for_each(|op| write!(f, " {op:>15}"))?;
        for hazard in &hazards {
            write!(f, "\n{hazard:<18}")?;
            for op in &ops {
                match self.times.get(&(*op, *hazard)) {
                    Some(times) => write!(f, " {times:>15}")?,
                    None => write!(f, " {:>15}", "-")?,
                }
            }
        }
        self.not_tried().try_for_each(|line| write!(f, "\nnot tried: {line}"))
    }
}

/// What each operation of a trace is for.
fn kinds(trace: &Trace) -> Vec<OpKind> {
    let geometry = &trace.geometry;
    let mut kinds = vec![OpKind::Payload; trace.ops.len()];
    // An eraseblock's programs are known for a commit's once its marker comes, or one did since its erase.
    let mut commits = BTreeSet::new();
    for (kind, op) in kinds.iter_mut().zip(&trace.ops).rev() {
        let block = op.block(geometry);
        *kind = match op {
            Op::Program { data, .. } => {
                if holds_commit(data) {
                    commits.insert(block);
                }
                match commits.contains(&block) {
                    true => OpKind::Commit,
                    false if is_cleanmarker(data) => OpKind::Cleanmarker,
                    false => OpKind::Payload,
                }
            }
            Op::Erase { .. } => {
                commits.remove(&block);
                OpKind::Erase
            }
            Op::OobCleanmarker { .. } => OpKind::Cleanmarker,
            Op::MarkBad { .. } => OpKind::BadMark,
            Op::Sync => OpKind::Sync,
        };
    }
    after_marker(trace, &mut kinds);
    kinds
}

/// What follows a commit marker in its eraseblock belongs to the commit, too.
fn after_marker(trace: &Trace, kinds: &mut [OpKind]) {
    let mut commits = BTreeSet::new();
    for (kind, op) in kinds.iter_mut().zip(&trace.ops) {
        let block = op.block(&trace.geometry);
        match op {
            Op::Program { data, .. } if holds_commit(data) => drop(commits.insert(block)),
            Op::Program { .. } if commits.contains(&block) => *kind = OpKind::Commit,
            Op::Erase { .. } => drop(commits.remove(&block)),
            _ => {}
        }
    }
}

fn holds_commit(data: &[u8]) -> bool {
    let at = |at: &[u8], endian| Marker::parse(endian, at).is_ok_and(|marker| marker.kind != MarkerKind::Begin);
    let starts = (0..data.len()).step_by(4).map(|start| &data[start..]);
    starts.into_iter().any(|bytes| [Endian::Little, Endian::Big].into_iter().any(|endian| at(bytes, endian)))
}

fn is_cleanmarker(data: &[u8]) -> bool {
    let of = |endian| Header::parse(endian, data).is_ok_and(|header| header.nodetype == nodetype::CLEANMARKER);
    of(Endian::Little) || of(Endian::Big)
}
