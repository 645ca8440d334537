//! A log in lines, and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::{Log, Role, Step, Totals};

/// Steps that are one line.
struct Line<'l> {
    steps: &'l [Step],
    /// A sync follows.
    synced: bool,
}

/// A step as JSON.
#[derive(Serialize)]
struct Json<'l> {
    op: usize,
    operation: &'static str,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    takes_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<u32>,
    len: u32,
    commit: bool,
    failed: bool,
    what: &'l str,
}

impl Step {
    /// Whether it programs cells of the main area.
    pub(super) fn is_program(&self) -> bool {
        self.operation() == "program"
    }

    /// What is done, in a word.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self.role {
            Role::EraseFree | Role::EraseUsed => "erase",
            Role::Cleanmarker if self.len == 0 => "cleanmarker",
            Role::Bad => "mark bad",
            Role::Sync => "sync",
            _ => "program",
        }
    }

    fn joins(&self, next: &Self) -> bool {
        self.is_program() && next.is_program() && (self.block, self.role) == (next.block, next.role)
    }
}

impl Log {
    /// The log in aligned lines. Programs alike and one after the other are one line and a sync is told with the line
    /// before it, unless `all`.
    #[must_use]
    pub fn text(&self, all: bool) -> String {
        let timed = self.totals.us.is_some();
        let mut text = String::new();
        let ms = if timed { format!("{:>10}  ", "at ms") } else { String::new() };
        let _ = writeln!(text, "{:>9}  {ms}{:<12} {:>10} {:>5} {:>7}", "op", "operation", "offset", "block", "bytes");
        for line in self.lines(all) {
            let _ = writeln!(text, "{}", self.row(&line, timed).trim_end());
            if line.steps.iter().any(|step| Some(step.op) == self.commit) {
                let _ = writeln!(text, "{:-^100}", " COMMIT: power may fail from here on, the new tree stands ");
            }
        }
        text
    }

    fn lines(&self, all: bool) -> Vec<Line<'_>> {
        let is_commit = |step: &Step| Some(step.op) == self.commit;
        let alike = |a: &Step, b: &Step| !all && a.joins(b) && !is_commit(a) && !is_commit(b);
        let mut lines: Vec<Line<'_>> = Vec::new();
        for steps in self.steps.chunk_by(alike) {
            match lines.last_mut() {
                Some(last) if !all && steps[0].role == Role::Sync => last.synced = true,
                _ => lines.push(Line { steps, synced: false }),
            }
        }
        lines
    }

    fn row(&self, line: &Line<'_>, timed: bool) -> String {
        let (Some(first), Some(last)) = (line.steps.first(), line.steps.last()) else { return String::new() };
        let ops = if line.steps.len() > 1 { format!("{}-{}", first.op, last.op) } else { first.op.to_string() };
        let ms = match first.time {
            Some((at, _)) if timed => format!("{:>10.1}  ", at as f64 / 1000.0),
            _ => String::new(),
        };
        let operation = match line.steps.len() {
            1 => first.operation().into(),
            n => format!("{} x{n}", first.operation()),
        };
        let offset = first.offset.map(|offset| format!("{offset:#x}")).unwrap_or_default();
        let block = first.block.map(|block| block.to_string()).unwrap_or_default();
        let len: u64 = line.steps.iter().map(|step| u64::from(step.len)).sum();
        let len = if len > 0 { len.to_string() } else { String::new() };
        let synced = if line.synced { "; sync" } else { "" };
        let what = self.words(line.steps);
        format!("{ops:>9}  {ms}{operation:<12} {offset:>10} {block:>5} {len:>7}  {what}{synced}")
    }

    /// One JSON object a step, and one with the totals: `{"totals": ...}`.
    #[must_use]
    pub fn json(&self) -> Vec<serde_json::Value> {
        let step = |step: &Step| {
            let what = self.words(std::slice::from_ref(step));
            serde_json::json!(Json {
                op: step.op,
                operation: step.operation(),
                role: step.role,
                at_us: step.time.map(|(at, _)| at),
                takes_us: step.time.map(|(_, takes)| takes),
                offset: step.offset,
                block: step.block,
                len: step.len,
                commit: Some(step.op) == self.commit,
                failed: step.failed,
                what: &what,
            })
        };
        self.steps.iter().map(step).chain([serde_json::json!({ "totals": self.totals })]).collect()
    }
}

impl Totals {
    /// In lines.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} operations: {} programs of {} bytes, {} erases",
            self.ops, self.programs, self.programmed_bytes, self.erases
        );
        if let Some(amplification) = self.write_amplification {
            let _ = writeln!(
                text,
                "write amplification {amplification:.2}: bytes programmed for each of {} bytes of file data as stored",
                self.data_bytes
            );
        }
        if let Some(us) = self.us {
            let longest = self.longest_us.map(|us| format!(", at most {}", show_us(us))).unwrap_or_default();
            let _ = writeln!(text, "time {}{longest}", show_us(us));
        }
        if let Some(us) = self.read_back_us {
            let _ = writeln!(text, "reading back each page once takes {} more, without the bus", show_us(us));
        }
        if let Some(ops) = self.ops_after_commit {
            let time = self.us_after_commit.map(|us| format!(", {}", show_us(us))).unwrap_or_default();
            let _ = writeln!(text, "after the commit until the update returns: {ops} operations{time}");
        }
        text
    }
}

fn show_us(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}
