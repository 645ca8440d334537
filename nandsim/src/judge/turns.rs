//! Where an update turns from the old tree to the new one.

use jffs2_tx::wire::CommitPoint;

use super::Judge;
use crate::chip::Chip;
use crate::cut::{Cut, Tear, Walker};
use crate::trace::Trace;
use crate::verdict::Verdict;

/// The operation that commits, for each reader: before it the reader sees the old tree, behind it the new one, and never
/// anything else between two operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Index of the operation; `None` if the reader sees the old tree to the end.
    pub by_reader: Vec<(&'static str, Option<usize>)>,
}

/// A reader sees the trees in another order, or readers turn apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// A state between two operations is not one that may be.
    #[error("before operation {op}: {wrong}")]
    Wrong {
        /// The operation behind it; the number of operations at the end.
        op: usize,
        /// What is wrong.
        wrong: Verdict,
    },
    /// A reader goes back to the old tree.
    #[error("before operation {op} {reader} sees the old tree again")]
    Back {
        /// The operation behind it.
        op: usize,
        /// Which.
        reader: &'static str,
    },
    /// Readers that see the commit see it at different operations, or some that must see it do not.
    #[error("readers see the commit at different operations: {0:?}")]
    Apart(Vec<(&'static str, Option<usize>)>),
}

impl Turns {
    /// Walks an update, which was recorded from the state `start` and is committed by `point`.
    ///
    /// # Errors
    /// [`TurnError`].
    pub fn of(judge: &mut Judge, start: &Chip, trace: &Trace, point: CommitPoint) -> Result<Self, TurnError> {
        let mut by_reader: Vec<(&'static str, Option<usize>)> = Vec::new();
        let moments = (0..=trace.ops.len()).map(|op| Cut { op, tear: Tear::Before });
        for (Cut { op, .. }, chip) in Walker::new(start.clone(), trace, 0, moments) {
            let seen = judge.verdicts(&chip);
            seen.fine(point).map_err(|wrong| TurnError::Wrong { op, wrong })?;
            if op == 0 {
                by_reader = seen.named().map(|(reader, _)| (reader, None)).collect();
            }
            for ((reader, turn), (_, verdict)) in by_reader.iter_mut().zip(seen.named()) {
                match (*verdict == Verdict::New, &turn) {
                    // Committed by the operation before.
                    (true, None) => *turn = Some(op.saturating_sub(1)),
                    (false, Some(_)) => return Err(TurnError::Back { op, reader }),
                    _ => {}
                }
            }
        }
        let knowing = judge.verdicts(start).knowing_summaries();
        let turns = Self { by_reader };
        let must: Vec<_> = knowing.iter().map(|knows| *knows || point != CommitPoint::Summary).collect();
        if turns.are_one(&must) { Ok(turns) } else { Err(TurnError::Apart(turns.by_reader)) }
    }

    /// Whether all that must see the commit see it at the same operation.
    fn are_one(&self, must: &[bool]) -> bool {
        let mut turns = self.by_reader.iter().zip(must).filter(|(_, must)| **must).map(|((_, turn), _)| *turn);
        turns.next().is_some_and(|first| first.is_some() && turns.all(|turn| turn == first))
    }
}
