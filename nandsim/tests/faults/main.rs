//! Faults beyond plain cuts: what survives them, what notices them, and what was tried. `JFFS2_TX_LONG=1` tries more.

mod catalogue;
#[path = "../common/mod.rs"]
mod common;
mod decay;
mod kernel;
mod looks;
mod settled;
mod unstable;
