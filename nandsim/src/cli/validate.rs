//! `nandsim validate`: the verdict on an update, on a page.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::thread::available_parallelism;

use nandsim::report::{Log, Sights, Totals};
use nandsim::validate::{Margins, Row, Step, Validation, Wrong, validate};
use nandsim::{CutPath, Oracle, Scenario, Token, Torture};
use serde::Serialize;

use super::prepare::{self, Prepared};
use super::progress::bar;
use super::publish::{Publish, Results};
use super::setup::Setup;
use super::{Outcome, replay, show};

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    #[command(flatten)]
    setup: Setup,

    /// Most power cuts to try; where there are more, a sample that looks hardest at the commit
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    cuts: usize,

    #[command(flatten)]
    publish: Publish,

    /// Threads [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'v> {
    survives: bool,
    second_cuts: u64,
    flash: String,
    faults: Vec<JsonRow<'v>>,
    margins: Margins,
    update: Totals,
}

#[derive(Serialize)]
struct JsonRow<'v> {
    #[serde(flatten)]
    row: &'v Row,
    /// The first that went wrong.
    what: Option<&'v str>,
    /// What replays it, if the power failed in it.
    token: Option<String>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let Prepared { scenario, torture } = prepare::torture(&args.setup)?;
    let token = |cut: &CutPath| Token::new(&scenario, &torture, cut.clone());
    let given = prepare::given(&args.setup.given)?;
    let token_of = |wrong: &Wrong| {
        let scenario = Scenario { fault: wrong.fault, ..scenario.clone() };
        let torture = scenario.record(given.as_ref()).ok()?;
        Some(Token::new(&scenario, &torture, wrong.cut.clone()?))
    };
    let Validation { rows, second_cuts } = tried(args, &torture);
    args.publish.write(&Results {
        torture: &torture,
        setup: &args.setup,
        rows: &rows,
        failures: failures(&rows),
        token: &token,
        token_of: &token_of,
    })?;
    let sights = Sights::of(&torture.start, &torture.trace, &mut torture.oracle.eye());
    let times = args.setup.part.map(|part| &part.times);
    let log = Log::of(&torture.start, &torture.trace, torture.workload.endian, times, sights.commit());
    let margins = Margins::of(&torture, &log);
    let survives = rows.iter().all(Row::is_kept);
    let mut out = io::stdout().lock();
    if args.json {
        let faults = rows.iter().map(|row| JsonRow {
            row,
            what: row.first.as_ref().map(|wrong| wrong.what.as_str()),
            token: row.first.as_ref().and_then(token_of).map(|token| token.to_string()),
        });
        let faults = faults.collect();
        let json = Json { survives, second_cuts, flash: show::flash(&torture), faults, margins, update: log.totals };
        writeln!(out, "{}", serde_json::to_string(&json)?)?;
        return Ok(survives);
    }
    writeln!(out, "{}", show::flash(&torture))?;
    writeln!(out, "{}\n", verdict(survives))?;
    write!(out, "{}", table(&rows))?;
    writeln!(out, "and {second_cuts} more cuts in recovery and in the update done again\n")?;
    write!(out, "{}\n{}", limits(&margins), log.totals.text())?;
    for row in &rows {
        let Some(wrong) = &row.first else { continue };
        writeln!(out, "\nFAILED, {}: {}", row.fault, wrong.what)?;
        if let Some(token) = token_of(wrong) {
            writeln!(out, "  replay it with: {}", replay::command(&token, &args.setup.given))?;
        }
    }
    Ok(survives)
}

/// Those in the update as it was recorded: the others met faults, or another flash.
fn failures(rows: &[Row]) -> Vec<(&CutPath, &str)> {
    let wrong = rows.iter().filter_map(|row| row.first.as_ref()).filter(|wrong| wrong.fault.is_none());
    wrong.filter_map(|wrong| Some((wrong.cut.as_ref()?, wrong.what.as_str()))).collect()
}

fn tried(args: &Args, torture: &Torture) -> Validation {
    let threads = args.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    let bar = bar("tries");
    validate(torture, args.cuts, threads, &|fault, step| match step {
        Step::Begins(tries) => {
            bar.reset();
            bar.set_length(tries);
            bar.set_message(fault);
        }
        Step::Done(n) => bar.inc(n),
    })
}

fn verdict(survives: bool) -> &'static str {
    match survives {
        true => "SURVIVES: whatever was tried, the flash held the old tree or the new one, whole.",
        false => "DOES NOT SURVIVE: after some faults the flash held neither the old tree nor the new one.",
    }
}

fn table(rows: &[Row]) -> String {
    let mut text =
        format!("{:<61} {:<9} {:>9} {:>9} {:>9} {:>7}\n", "fault", "promise", "tried", "old", "new", "wrong");
    for Row { fault, promise, tried, old, new, wrong, .. } in rows {
        let _ = writeln!(text, "{fault:<61} {promise:<9} {tried:>9} {old:>9} {new:>9} {wrong:>7}");
    }
    text
}

fn limits(margins: &Margins) -> String {
    let Margins { blocks, free_before, free_after, kernel_reserve, eraseblock, most_erases, erases, .. } = margins;
    let left = free_after.saturating_sub(*kernel_reserve);
    let commit_block = match margins.commit_block_used {
        None => "none: one dirent commits".into(),
        Some(used) => {
            format!("{used} of {eraseblock} bytes used, {} %", u64::from(used) * 100 / u64::from(*eraseblock))
        }
    };
    format!(
        "free eraseblocks  {free_before} of {blocks} before, {free_after} after; the kernel needs {kernel_reserve}: {left} to spare\n\
         commit block      {commit_block}\n\
         wear              {erases} erases, at most {most_erases} of one eraseblock\n"
    )
}
