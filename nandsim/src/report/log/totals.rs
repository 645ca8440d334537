//! What an update comes to.

use serde::Serialize;

use super::clock::Clock;
use super::{Step, What};
use crate::trace::{Op, Trace};

/// Sums over a log. Times are in microseconds, and there if the part's are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Operations.
    pub ops: usize,
    /// Programs.
    pub programs: usize,
    /// Bytes that they program.
    pub programmed_bytes: u64,
    /// Erases.
    pub erases: usize,
    /// Bytes of files, as stored, in the nodes that are written.
    pub data_bytes: u64,
    /// Bytes programmed for each of those.
    pub write_amplification: Option<f64>,
    /// Typical time.
    pub us: Option<u64>,
    /// Longest time that the part allows itself.
    pub longest_us: Option<u64>,
    /// NAND: time to read each programmed page once, without the bus. Not part of the others.
    pub read_back_us: Option<u64>,
    /// Operations after the one that shows the new tree, until the update returns.
    pub ops_after_commit: Option<usize>,
    /// Typical time of those.
    pub us_after_commit: Option<u64>,
}

impl Totals {
    pub(super) fn of(steps: &[Step], trace: &Trace, commit: Option<usize>, clock: Option<&Clock>) -> Self {
        let count = |wanted: fn(&Op) -> bool| trace.ops.iter().filter(|op| wanted(op)).count();
        let data_bytes = steps.iter().map(data_bytes).sum();
        let programmed_bytes = trace.programmed_bytes();
        let after = commit.map(|commit| steps.get(commit + 1..).unwrap_or_default());
        let time = |steps: &[Step]| steps.iter().map(|step| step.time.map(|(_, takes)| takes)).sum::<Option<u64>>();
        let timed = clock.is_some();
        Self {
            ops: steps.len(),
            programs: count(|op| matches!(op, Op::Program { .. })),
            programmed_bytes,
            erases: count(|op| matches!(op, Op::Erase { .. })),
            data_bytes,
            write_amplification: (data_bytes > 0).then(|| programmed_bytes as f64 / data_bytes as f64),
            us: time(steps).filter(|_| timed),
            longest_us: clock.and_then(|clock| clock.longest(&trace.ops)),
            read_back_us: clock.and_then(|clock| clock.read_back(&trace.ops)),
            ops_after_commit: after.map(<[Step]>::len),
            us_after_commit: after.and_then(time).filter(|_| timed),
        }
    }
}

/// Of the nodes that a program completes.
fn data_bytes(step: &Step) -> u64 {
    let stored = |what: &What| if let What::Inode { csize, .. } = what { u64::from(*csize) } else { 0 };
    if step.is_program() { step.nodes.iter().map(|node| stored(&node.what)).sum() } else { 0 }
}
