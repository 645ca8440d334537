//! Simulated NOR and NAND flash, and the power cuts to try on code that writes to it.
//!
//! [`Chip`] enforces the rules of programming and erasing; [`Recorder`] keeps what was done as a [`Trace`]; [`cuts_all`]
//! and [`cuts_sampled`] name the states in which a power cut could have left the chip, and [`Walker`] makes them.
#![forbid(unsafe_code)]

mod chip;
mod content;
mod cut;
mod fault;
mod rng;
mod trace;

pub use chip::{Chip, ChipError, Counters, OobState};
pub use content::ContentId;
pub use cut::{Cut, EraseDamage, ParseCutError, ProgramDamage, Tear, Walker, cuts_all, cuts_sampled};
pub use fault::{Fault, FaultKind};
pub use rng::Rng;
pub use trace::{Op, Recorder, Trace};
