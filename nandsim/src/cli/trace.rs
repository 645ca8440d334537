//! `nandsim trace`.

use std::io::{self, Write};

use anyhow::Result;
use nandsim::report::{Log, Sights};
use nandsim::{Oracle, Part, TimesFrom};

use super::setup::Setup;
use super::{prepare, show};

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    #[command(flatten)]
    setup: Setup,

    /// A line for each operation; otherwise programs alike are one line
    #[arg(long)]
    all: bool,

    /// Print one JSON object a line: the operations, then the totals
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let torture = prepare::setting(&args.setup)?.record()?;
    let sights = Sights::of(&torture.start, &torture.trace, &mut torture.oracle.eye());
    let times = args.setup.part.map(|part| &part.times);
    let log = Log::of(&torture.start, &torture.trace, torture.workload.endian, times, sights.commit());
    let mut out = io::stdout().lock();
    if args.json {
        for line in log.json() {
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    writeln!(out, "{}", show::flash(&torture))?;
    writeln!(out, "{}\n", about_times(args.setup.part))?;
    write!(out, "{}\n{}{sights}", log.text(args.all), log.totals.text())?;
    Ok(())
}

fn about_times(part: Option<&Part>) -> String {
    match part {
        None => "no times: give --part NAME".into(),
        Some(part) if part.times.from == TimesFrom::Datasheet => {
            format!("times: typical, from the datasheet of {}", part.name)
        }
        Some(part) => format!("times: typical, usual for parts like {}: an estimate", part.name),
    }
}
