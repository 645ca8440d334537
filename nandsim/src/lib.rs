//! Simulated NOR and NAND flash, and a harness that cuts the power of an update anywhere and judges what is left.
//!
//! [`Chip`] enforces the rules of programming and erasing; [`Recorder`] keeps what was done as a [`Trace`]; [`cuts_all`]
//! and [`cuts_sampled`] name the states in which a power cut could have left the chip, and [`Walker`] makes them.
//! [`Harness`] puts any [`Workload`] under test and has an [`Oracle`] judge what is left: after the cut, after recovery,
//! after the work done again, and after more cuts in these. So far nothing knows JFFS2: see [`Harness`] for your own updater
//! under test, and the examples for two of others.
//!
//! [`Torture`] is the harness of a JFFS2 update: a [`Judge`] compares the whole tree, as readers with and without summaries
//! see it, with the old one and the new one.
//!
//! ```
//! use jffs2_tx::flash::FlashKind;
//! use jffs2_tx::tx::TxOptions;
//! use jffs2_tx::wire::Endian;
//! use nandsim::{Shape, Torture, Update, cuts_sampled, sample_small_change};
//!
//! let shape = Shape { kind: FlashKind::Nand, eraseblock: 16 << 10, write_size: 512, endian: Endian::Big };
//! let (old, new) = (sample_small_change().old, sample_small_change().new);
//! let image = shape.image(&old)?;
//! let start = shape.flashed(shape.geometry_for(image.len(), image.len())?, &image, 0)?;
//! let update = Update::new(shape.endian, new, TxOptions::default());
//!
//! let torture = Torture::record(start, update, 0)?;
//! let cuts = cuts_sampled(&torture.trace, 50, torture.seed);
//! let report = torture.run(cuts.into_iter(), 1, &|_| {});
//! assert!(report.counts.is_fine(), "{:?}", report.failures);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Part`] knows real parts by name, and a chip keeps the [`Rules`] of one.
//!
//! [`Plant`] makes one of some sixty mistakes in an update, to see that it is found.
//!
//! [`report`] shows what an update writes when, and how a failing state differs from good ones, as text, JUnit XML and a
//! page with a picture of the flash.
//!
//! The flash alone:
//!
//! ```
//! use jffs2_tx::flash::{FlashKind, FlashMut, Geometry};
//! use nandsim::{Chip, Recorder, Walker, cuts_all};
//!
//! let geometry = Geometry::new(FlashKind::Nor, 1 << 20, 65536, 1)?;
//! let start = Chip::new(geometry, 0);
//! let mut flash = Recorder::new(start.clone());
//! flash.program(0, b"\x00")?;
//! flash.program(1, b"payload")?;
//! flash.sync()?;
//!
//! for (cut, chip) in Walker::new(start, flash.trace(), 0, cuts_all(flash.trace())) {
//!     let cells = chip.block_data(0);
//!     assert!(cells[0] == 0 || cells[1] == 0xff, "{cut}: payload without its begin");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod boot;
mod cache;
mod chip;
mod content;
mod coverage;
mod cut;
mod fault;
pub mod firmware;
mod harness;
mod judge;
mod parts;
mod plant;
mod reader;
pub mod report;
mod rng;
mod sample;
mod scenario;
mod shape;
mod shrink;
mod snapshot;
mod torture;
mod trace;
mod update;
pub mod validate;
mod verdict;
mod viewer;

pub use chip::{Chip, ChipError, Counters, OobState, Pairing, Rules};
pub use content::ContentId;
pub use coverage::{Coverage, OpKind, Tried};
pub use cut::{
    Cut, EraseDamage, ParseCutError, ProgramDamage, Tear, Walker, cuts_all, cuts_of_tier, cuts_sampled,
    cuts_sampled_up_to, cuts_up_to,
};
pub use fault::{Decay, Fault, FaultKind, FlashClass, Hazard, ParseTierError, Promise, Tier};
pub use harness::{
    Act, Counts, CutPath, Done, Eye, Failure, Harness, HarnessError, Oracle, Plan, Report, SecondCuts, Sight, Stage,
    Workload,
};
/// The flash traits that [`Chip`] and [`Recorder`] implement, for those who have no other use for the library.
pub use jffs2_tx::flash;
pub use judge::{
    Allowance, AllowanceCounts, Allowances, Expected, FirmwareSeen, Judge, LeftOut, LibraryJudge, Seen, Standard,
    StandardError, TurnError, Turns,
};
pub use parts::{PARTS, Part, PartError, Span, Times, TimesFrom};
pub use plant::{Plant, PlantError};
pub use reader::ByReader;
pub use rng::Rng;
pub use sample::{Sample, TreeTextError, parse_tree, sample, sample_large, sample_random, sample_small_change};
pub use scenario::{
    Change, ChangeKind, Given, MOST_BEFORE, Old, ParseTokenError, Scenario, ScenarioError, Token, TokenError, Trees,
    changes, with_changes,
};
pub use shape::Shape;
pub use shrink::{Shrunk, shrink};
pub use snapshot::{Contents, Snapshot, SnapshotContent, SnapshotEntry, SnapshotError};
pub use torture::{Torture, TortureError, TreeOracle};
pub use trace::{Op, Recorder, Trace, Violation};
pub use update::{First, Update};
pub use verdict::Verdict;
pub use viewer::{View, ViewError, Viewer};
