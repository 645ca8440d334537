//! Reports, for people and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write;

use jffs2_tx::flash::{Flash, FlashKind, Geometry};
use jffs2_tx::wire::Endian;
use nandsim::{Coverage, Cut, CutPath, FlashClass, Report, Token, Torture};
use serde::Serialize;

use super::prepare::{Setting, SizeFrom};
use super::setup::Kind;

/// Characters of what went wrong, where it is told of several cuts; `replay` tells all.
const MOST_TOLD: usize = 240;

/// A report and what it is about. Serializes to one flat object.
#[derive(Serialize)]
pub(super) struct Json<'r> {
    #[serde(flatten)]
    report: &'r Report,
    flash: Kind,
    size: u32,
    eraseblock: u32,
    write_size: u32,
    endian: &'static str,
    commit_point: String,
    threads: usize,
    size_from: SizeFrom,
    damage: &'r [String],
    failures: Vec<JsonFailure<'r>>,
}

#[derive(Serialize)]
struct JsonFailure<'r> {
    cut: String,
    what: &'r str,
    token: String,
}

impl<'r> Json<'r> {
    pub(super) fn new(
        setting: &'r Setting,
        torture: &Torture,
        report: &'r Report,
        threads: usize,
        token: &dyn Fn(&CutPath) -> Token,
    ) -> Self {
        let geometry = torture.start.geometry();
        Self {
            report,
            flash: geometry.kind().into(),
            size: geometry.size(),
            eraseblock: geometry.eraseblock(),
            write_size: geometry.write_size(),
            endian: endian_name(torture.workload.endian),
            commit_point: torture.oracle.point.to_string(),
            threads,
            size_from: setting.size_from,
            damage: &setting.damage,
            failures: report
                .failures
                .iter()
                .map(|failure| JsonFailure {
                    cut: failure.cut.to_string(),
                    what: &failure.what,
                    token: token(&failure.cut).to_string(),
                })
                .collect(),
        }
    }
}

/// The flash and the update in a line.
pub(super) fn flash(torture: &Torture) -> String {
    let text = blank_flash(torture.start.geometry(), torture.workload.endian);
    format!("{text}; commit point {}", torture.oracle.point)
}

/// The same without an update.
pub(super) fn blank_flash(geometry: &Geometry, endian: Endian) -> String {
    let (kind, unit) = match geometry.kind() {
        FlashKind::Nor => ("NOR", "write units"),
        FlashKind::Nand => ("NAND", "pages"),
    };
    format!(
        "{kind} flash, {} eraseblocks of {} KiB, {unit} of {} B, {}-endian",
        geometry.blocks(),
        geometry.eraseblock() >> 10,
        geometry.write_size(),
        endian_name(endian),
    )
}

/// The kind of flash that faults are told apart by.
pub(super) fn class(torture: &Torture) -> FlashClass {
    FlashClass::of(torture.start.geometry().kind(), torture.start.rules())
}

/// The whole report, in lines.
pub(super) fn report(torture: &Torture, report: &Report, threads: usize) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", flash(torture));
    let _ = writeln!(text, "update: {} operations, {} bytes programmed", report.ops, report.bytes_programmed);
    let _ = writeln!(text, "{}", report.counts);
    if report.unpromised > 0 {
        let _ = writeln!(text, "wrong where nothing, or only detection, is promised: {}", report.unpromised);
    }
    for (reader, saw) in &report.readers {
        let _ = write!(text, "{reader} saw old: {}  new: {}", saw.old, saw.new);
        for (what, count) in [("mixed", saw.mixed), ("unreadable", saw.unreadable)] {
            if count > 0 {
                let _ = write!(text, "  {what}: {count}");
            }
        }
        let _ = writeln!(text);
    }
    for (firmware, why) in torture.oracle.standard.left_out() {
        let _ = writeln!(text, "{} is not asked: {why}", firmware.name());
    }
    for (allowed, count) in &report.allowed {
        let _ = writeln!(text, "allowed by design, {allowed}: {count}");
    }
    let _ = writeln!(
        text,
        "different states: {}; recovered: {}; second cuts: {}, different states: {}",
        report.states, report.recovered_states, report.second_cuts, report.second_states
    );
    let not_tried = not_tried(&report.coverage);
    if !not_tried.is_empty() {
        let _ = writeln!(text, "not tried: {not_tried}");
    }
    if let Some(turn) = turn(torture, report) {
        let _ = writeln!(text, "{turn}");
    }
    let _ = writeln!(
        text,
        "{:.1} s on {threads} threads, {:.0} cuts a second; seed {}",
        report.seconds, report.cuts_per_second, report.seed
    );
    failures(&mut text, report);
    text
}

/// The first failure in each operation: its others differ in the cut, hardly in what went wrong.
fn failures(text: &mut String, report: &Report) {
    let mut ops = BTreeSet::new();
    for failure in report.failures.iter().filter(|failure| ops.insert(failure.cut.first.op)) {
        let _ = writeln!(text, "FAILED at {}: {}", failure.cut, shortened(&failure.what));
    }
    if let Some(more @ 1..) = report.failures.len().checked_sub(ops.len()) {
        let _ = writeln!(text, "and {more} more in the same operations");
    }
}

fn shortened(what: &str) -> String {
    match what.char_indices().nth(MOST_TOLD) {
        None => what.into(),
        Some((end, _)) => format!("{} ...", &what[..end]),
    }
}

/// Where old turns to new.
pub(super) fn turn(torture: &Torture, report: &Report) -> Option<String> {
    let first = report.first_new?;
    Some(format!("new from cut {first} on, in {}", operation(torture, first)))
}

/// The operation that a cut is in.
pub(super) fn operation(torture: &Torture, cut: Cut) -> String {
    let Some(op) = torture.trace.ops.get(cut.op) else { return "no operation: after the last".into() };
    format!("operation {} of {}: {op}", cut.op, torture.trace.ops.len())
}

/// Faults that could have been tried and were not, with the operations, in a line.
pub(super) fn not_tried(coverage: &Coverage) -> String {
    coverage.not_tried().collect::<Vec<_>>().join("; ")
}

pub(super) fn endian_name(endian: Endian) -> &'static str {
    match endian {
        Endian::Little => "little",
        Endian::Big => "big",
    }
}
