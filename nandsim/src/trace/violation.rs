//! An operation that breaks a rule of the chip, and what led there.

use std::fmt;

use super::{Op, Trace};
use crate::chip::ChipError;

/// Operations before it that are listed.
const LISTED: usize = 12;

/// An operation that the chip refused. Shown in several lines: the operation, then those on its eraseblock since that was
/// last erased, the last ones first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    /// Operations that were done before it, so the number that it would have.
    pub op: usize,
    /// What was tried, in words.
    pub tried: String,
    /// Which rule it breaks.
    #[source]
    pub error: ChipError,
    /// Operations on the same eraseblock since it was last erased, that erase included, by number; ascending.
    pub before: Vec<(usize, String)>,
}

impl Violation {
    /// `op` was tried behind what is in `trace`.
    #[must_use]
    pub fn new(trace: &Trace, op: &Op, error: ChipError) -> Self {
        let block = op.block(&trace.geometry);
        let on_block = (0..).zip(&trace.ops).filter(|(_, done)| done.block(&trace.geometry) == block);
        let mut before: Vec<(usize, &Op)> = on_block.collect();
        let since = before.iter().rposition(|(_, done)| matches!(done, Op::Erase { .. })).unwrap_or(0);
        before.drain(..since);
        let before = before.into_iter().map(|(number, done)| (number, done.to_string())).collect();
        Self { op: trace.ops.len(), tried: op.to_string(), error, before }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  at operation {}: {}", self.error, self.op, self.tried)?;
        for (number, done) in self.before.iter().rev().take(LISTED) {
            write!(f, "\n  after operation {number}: {done}")?;
        }
        match self.before.len().saturating_sub(LISTED) {
            0 if self.before.is_empty() => write!(f, "\n  nothing was done to its eraseblock before"),
            0 => Ok(()),
            more => write!(f, "\n  after {more} more on its eraseblock"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jffs2_tx::flash::{FlashKind, FlashMut, Geometry};

    use super::*;
    use crate::chip::Chip;
    use crate::trace::Recorder;

    fn recorder() -> Recorder {
        let geometry = Geometry::new(FlashKind::Nand, 1 << 20, 131_072, 2048);
        Recorder::new(Chip::new(geometry.unwrap_or_else(|e| unreachable!("{e}")), 0))
    }

    #[test]
    fn tells_what_was_done_to_the_eraseblock_since_its_erase() {
        let mut flash = recorder();
        flash.program(131_072, &[0; 4096]).unwrap();
        flash.erase(1).unwrap();
        flash.program(131_072, &[0; 2048]).unwrap();
        flash.program(0, &[0; 2048]).unwrap();
        flash.sync().unwrap();
        assert_eq!(flash.violation(), None);
        flash.program(131_072, &[0; 2048]).unwrap_err();
        flash.program(0, &[0; 2048]).unwrap_err();
        let text = "\
            second program of the page at 0x20000 since its erase\n  \
            at operation 5: program of 2048 bytes at 0x20000\n  \
            after operation 2: program of 2048 bytes at 0x20000\n  \
            after operation 1: erase of eraseblock 1";
        assert_eq!(flash.violation().unwrap().to_string(), text, "the first, not the second");
    }

    #[test]
    fn lists_a_few_of_many() {
        let mut flash = recorder();
        (0..20).for_each(|page| flash.program(page * 2048, &[0; 2048]).unwrap());
        flash.program(0, &[0; 2048]).unwrap_err();
        let text = flash.violation().unwrap().to_string();
        assert_eq!(text.lines().count(), 2 + LISTED + 1, "{text}");
        assert!(text.ends_with("after 8 more on its eraseblock"), "{text}");
    }

    #[test]
    fn the_first_operation_of_all() {
        let mut flash = recorder();
        flash.program(1, &[0]).unwrap_err();
        assert!(flash.violation().unwrap().to_string().ends_with("nothing was done to its eraseblock before"));
        assert_eq!(flash.trace().ops, []);
    }
}
