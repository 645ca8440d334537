//! `nandsim validate`: the verdict on an update, on a page.

use std::fmt::Write as _;
use std::io::{self, Write};

use anyhow::Result;
use jffs2_tx::tx::TxError;
use nandsim::report::{Log, Sights, Totals};
use nandsim::validate::{Margins, Row, Step, Validation, Wrong, validate};
use nandsim::{CutPath, Hazard, Oracle, Scenario, ScenarioError, Token, Torture, TortureError};
use serde::Serialize;

use super::effort::{Cuts, parse_cuts, parse_threads, threads};
use super::prepare::{Setting, SizeFrom};
use super::progress::bar;
use super::publish::{Publish, Results};
use super::setup::Setup;
use super::{Outcome, damage, outcome, prepare, replay, show};

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    #[command(flatten)]
    setup: Setup,

    /// Power cuts of tiers 1 and 2: `all`, or about so many, up to twice that; a sample looks hardest at the commit
    #[arg(long, value_name = "all|N", default_value = "20000", value_parser = parse_cuts)]
    cuts: Cuts,

    #[command(flatten)]
    publish: Publish,

    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'v> {
    survives: bool,
    /// Why the update is refused, if it is.
    refused: Option<String>,
    second_cuts: u64,
    flash: String,
    size_from: SizeFrom,
    damage: &'v [String],
    faults: Vec<JsonRow<'v>>,
    not_tried: Vec<&'static str>,
    margins: Option<Margins>,
    update: Option<Totals>,
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
    let setting = prepare::setting(&args.setup)?;
    let torture = match setting.record() {
        Ok(torture) => torture,
        Err(error) => return refused(args, &setting, error),
    };
    args.publish.begin()?;
    let Setting { scenario, given, .. } = &setting;
    let token = |cut: &CutPath| Token::new(scenario, &torture, cut.clone());
    let token_of = |wrong: &Wrong| {
        let scenario = Scenario { fault: wrong.fault, ..scenario.clone() };
        let torture = scenario.record(given.as_ref()).ok()?;
        Some(Token::new(&scenario, &torture, wrong.cut.clone()?))
    };
    let validation = tried(args, &torture);
    let rows = &validation.rows;
    let printed = print(args, &setting, &torture, &validation, &token_of);
    let published = args.publish.write(&Results {
        torture: &torture,
        setting: &setting,
        setup: &args.setup,
        rows,
        not_tried: words(&validation.not_tried, &torture),
        failures: failures(rows),
        token: &token,
        token_of: &token_of,
    });
    outcome(rows.iter().all(Row::is_kept), published.and(printed))
}

/// An update that does not fit is an answer; anything else is not.
fn refused(args: &Args, setting: &Setting, error: anyhow::Error) -> Outcome {
    let why = match error.downcast_ref() {
        Some(ScenarioError::Torture(TortureError::Update(
            why @ (TxError::NoSpace { .. } | TxError::CommitBlockFull { .. }),
        ))) => why.to_string(),
        _ => return Err(error),
    };
    args.publish.begin()?;
    let flash = setting.flash()?;
    let printed = match args.json {
        true => {
            let json = Json {
                survives: false,
                refused: Some(why.clone()),
                second_cuts: 0,
                flash: flash.clone(),
                size_from: setting.size_from,
                damage: &setting.damage,
                faults: Vec::new(),
                not_tried: Vec::new(),
                margins: None,
                update: None,
            };
            serde_json::to_string(&json)? + "\n"
        }
        false => format!("{}\nDOES NOT FIT: {why}.\n", about(setting, &flash)),
    };
    let printed = write!(io::stdout(), "{printed}").map_err(Into::into);
    outcome(false, args.publish.write_refused(&flash, &why).and(printed))
}

fn print(
    args: &Args,
    setting: &Setting,
    torture: &Torture,
    Validation { rows, second_cuts, not_tried }: &Validation,
    token_of: &dyn Fn(&Wrong) -> Option<Token>,
) -> Result<()> {
    let sights = Sights::of(&torture.start, &torture.trace, &mut torture.oracle.eye());
    let times = args.setup.part.map(|part| &part.times);
    let log = Log::of(&torture.start, &torture.trace, torture.workload.endian, times, sights.commit());
    let margins = Margins::of(torture, &log);
    let flash = show::flash(torture);
    let mut out = io::stdout().lock();
    if args.json {
        let faults = rows.iter().map(|row| JsonRow {
            row,
            what: row.first.as_ref().map(|wrong| wrong.what.as_str()),
            token: row.first.as_ref().and_then(token_of).map(|token| token.to_string()),
        });
        let json = Json {
            survives: rows.iter().all(Row::is_kept),
            refused: None,
            second_cuts: *second_cuts,
            flash,
            size_from: setting.size_from,
            damage: &setting.damage,
            faults: faults.collect(),
            not_tried: not_tried.iter().map(|hazard| hazard.name()).collect(),
            margins: Some(margins),
            update: Some(log.totals),
        };
        writeln!(out, "{}", serde_json::to_string(&json)?)?;
        return Ok(());
    }
    writeln!(out, "{}", about(setting, &flash))?;
    writeln!(out, "{}\n", verdict(rows))?;
    write!(out, "{}", table(rows))?;
    writeln!(out, "and {second_cuts} more cuts in recovery and in the update done again")?;
    if !not_tried.is_empty() {
        writeln!(out, "not tried: {}", words(not_tried, torture))?;
    }
    write!(out, "\n{}\n{}", limits(&margins), log.totals.text())?;
    for row in rows {
        let Some(wrong) = &row.first else { continue };
        let word = if row.is_kept() { "wrong, but not promised" } else { "FAILED" };
        writeln!(out, "\n{word}, {}: {}", row.fault, wrong.what)?;
        if let Some(token) = token_of(wrong) {
            writeln!(out, "  replay it with: {}", replay::command(&token, &args.setup.given))?;
        }
    }
    Ok(())
}

/// What stands above a verdict.
fn about(setting: &Setting, flash: &str) -> String {
    let warning = damage::warning(&setting.damage).map_or(String::new(), |warning| format!("\n{warning}"));
    format!("{flash}\nsize of the flash: {}{warning}", setting.size_from.words())
}

/// Faults by name, with their tiers.
fn words(hazards: &[Hazard], torture: &Torture) -> String {
    let tier = |hazard: &Hazard| hazard.tier(show::class(torture)).map_or(0, u8::from);
    hazards.iter().map(|hazard| format!("{hazard} (tier {})", tier(hazard))).collect::<Vec<_>>().join(", ")
}

/// Those in the update as it was recorded: the others met faults, or another flash.
fn failures(rows: &[Row]) -> Vec<(&CutPath, &str)> {
    let broken = rows.iter().filter(|row| !row.is_kept());
    let wrong = broken.filter_map(|row| row.first.as_ref()).filter(|wrong| wrong.fault.is_none());
    wrong.filter_map(|wrong| Some((wrong.cut.as_ref()?, wrong.what.as_str()))).collect()
}

fn tried(args: &Args, torture: &Torture) -> Validation {
    let most = match args.cuts {
        Cuts::All => usize::MAX,
        Cuts::Sample(n) => n,
    };
    let bar = bar("tries");
    validate(torture, most, threads(args.threads), &|fault, step| match step {
        Step::Begins(tries) => {
            bar.reset();
            bar.set_length(tries);
            bar.set_message(fault);
        }
        Step::Done(n) => bar.inc(n),
    })
}

fn verdict(rows: &[Row]) -> String {
    let wrong: u64 = rows.iter().map(|row| row.wrong).sum();
    match (rows.iter().all(Row::is_kept), wrong) {
        (false, _) => "DOES NOT SURVIVE: after some faults the flash held neither the old tree nor the new one.".into(),
        (true, 0) => "SURVIVES: whatever was tried, the flash held the old tree or the new one, whole.".into(),
        (true, _) => {
            format!("SURVIVES what is promised; {wrong} wrong where nothing, or only detection, is promised.")
        }
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
