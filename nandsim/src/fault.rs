//! Planned faults: a chip that does not do what it is told, at operations picked beforehand.

mod catalogue;
mod decay;

pub use catalogue::{FlashClass, Hazard, ParseTierError, Promise, Tier};
pub use decay::Decay;

/// What goes wrong. A failed operation breaks its eraseblock: everything after it fails there, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A program reports success and does nothing.
    ProgramIgnored,
    /// A program reports success and leaves some bits uncleared.
    ProgramLosesBits,
    /// A program reports failure and has cleared some of its bits.
    ProgramFails,
    /// An erase reports success and does nothing.
    EraseIgnored,
    /// An erase reports failure and does nothing.
    EraseFails,
    /// From the operation on, programs and erases report success and do nothing: `nth` counts both together.
    WriteProtect,
}

/// A fault that strikes once (or, with [`FaultKind::WriteProtect`], from then on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Programs or erases, whichever the kind is about, from the planning on before the one that it strikes.
    pub nth: u64,
}

/// The faults that are still to come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan(Vec<Fault>);

impl Plan {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Counts a program; what goes wrong with it.
    pub(crate) fn strike_program(&mut self) -> Option<FaultKind> {
        use FaultKind::{ProgramFails, ProgramIgnored, ProgramLosesBits, WriteProtect};
        self.strike(|kind| matches!(kind, ProgramIgnored | ProgramLosesBits | ProgramFails | WriteProtect))
    }

    /// Counts an erase; what goes wrong with it.
    pub(crate) fn strike_erase(&mut self) -> Option<FaultKind> {
        use FaultKind::{EraseFails, EraseIgnored, WriteProtect};
        self.strike(|kind| matches!(kind, EraseIgnored | EraseFails | WriteProtect))
    }

    /// Whether nothing sticks any more, bad marks and cleanmarkers included.
    pub(crate) fn is_write_protected(&self) -> bool {
        self.0.iter().any(|fault| fault.kind == FaultKind::WriteProtect && fault.nth == 0)
    }

    fn strike(&mut self, concerned: impl Fn(FaultKind) -> bool) -> Option<FaultKind> {
        let mut struck = None;
        self.0.retain_mut(|fault| {
            if !concerned(fault.kind) {
                return true;
            }
            if fault.nth == 0 {
                struck = struck.or(Some(fault.kind));
                return fault.kind == FaultKind::WriteProtect;
            }
            fault.nth -= 1;
            true
        });
        struck
    }
}
