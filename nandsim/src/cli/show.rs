//! Reports, for people and as JSON.

use std::fmt::Write;

use jffs2_tx::flash::{Flash, FlashKind};
use jffs2_tx::wire::Endian;
use nandsim::{Cut, CutPath, FlashClass, Report, Token, Torture};
use serde::Serialize;

use super::setup::Kind;

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
            endian: endian(torture),
            commit_point: torture.oracle.point.to_string(),
            threads,
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
    let geometry = torture.start.geometry();
    let (kind, unit) = match geometry.kind() {
        FlashKind::Nor => ("NOR", "write units"),
        FlashKind::Nand => ("NAND", "pages"),
    };
    format!(
        "{kind} flash, {} eraseblocks of {} KiB, {unit} of {} B, {}-endian; commit point {}",
        geometry.blocks(),
        geometry.eraseblock() >> 10,
        geometry.write_size(),
        endian(torture),
        torture.oracle.point,
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
        let _ = writeln!(text, "wrong where nothing is promised: {}", report.unpromised);
    }
    for (reader, saw) in &report.readers {
        let _ = write!(text, "{reader} saw old: {}  new: {}", saw.old, saw.new);
        let _ = match saw.unreadable {
            0 => writeln!(text),
            unreadable => writeln!(text, "  unreadable: {unreadable}"),
        };
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
    if let Some(turn) = turn(torture, report) {
        let _ = writeln!(text, "{turn}");
    }
    let _ = writeln!(
        text,
        "{:.1} s on {threads} threads, {:.0} cuts a second; seed {}",
        report.seconds, report.cuts_per_second, report.seed
    );
    for failure in &report.failures {
        let _ = writeln!(text, "FAILED at {}: {}", failure.cut, failure.what);
    }
    text
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

fn endian(torture: &Torture) -> &'static str {
    match torture.workload.endian {
        Endian::Little => "little",
        Endian::Big => "big",
    }
}
