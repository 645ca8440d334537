//! `nandsim shrink`: a failure made simpler.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use nandsim::{ChangeKind, Given, Shrunk, Token, shrink};
use serde::Serialize;

use super::setup::GivenArgs;
use super::{Outcome, prepare, replay, show};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Names the test and the cut, as a report does
    token: Token,

    /// The trees of the token, if it says `tree=given`
    #[command(flatten)]
    given: GivenArgs,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Json<'s> {
    token: String,
    what: &'s str,
    /// Paths that still change; nothing if they cannot be told apart.
    changes: Option<Vec<String>>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let given = prepare::given(&args.given)?;
    let mut told = |simpler: &Shrunk| {
        if io::stderr().is_terminal() {
            let changes = simpler.changes.map_or_else(String::new, |changes| format!("{changes} changes, "));
            eprint!("\r\x1b[K{changes}cut {}", simpler.token.cut);
        }
    };
    let shrunk = shrink(&args.token, given.as_ref(), &mut told)?;
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let Some(shrunk) = shrunk else {
        writeln!(io::stdout(), "nothing is wrong: there is nothing to shrink")?;
        return Ok(true);
    };
    let changes = changes_left(&shrunk.token, given.as_ref())?;
    let mut out = io::stdout().lock();
    if args.json {
        let json = Json { token: shrunk.token.to_string(), what: &shrunk.what, changes };
        writeln!(out, "{}", serde_json::to_string(&json)?)?;
        return Ok(false);
    }
    let torture = shrunk.token.record(given.as_ref())?;
    writeln!(out, "{}", show::flash(&torture))?;
    for change in changes.iter().flatten() {
        writeln!(out, "{change}")?;
    }
    writeln!(out, "cut {}, in {}", shrunk.token.cut, show::operation(&torture, shrunk.token.cut.first))?;
    writeln!(out, "FAILED: {}", shrunk.what)?;
    writeln!(out, "replay it with: {}", replay::command(&shrunk.token, &args.given))?;
    Ok(false)
}

fn changes_left(token: &Token, given: Option<&Given>) -> Result<Option<Vec<String>>> {
    let Some(all) = token.scenario.all_changes(given)? else { return Ok(None) };
    let is_left = |number: &usize| token.scenario.changes.as_ref().is_none_or(|changes| changes.contains(number));
    let lines = all.iter().enumerate().filter(|(number, _)| is_left(number)).map(|(_, change)| {
        let kind = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        };
        format!("{kind} /{}", change.path.escape_ascii())
    });
    Ok(Some(lines.collect()))
}
