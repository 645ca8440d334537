//! The commands, and what they exit with.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

mod damage;
mod demo;
mod effort;
mod failure;
mod faults;
mod parts;
mod plants;
mod prepare;
mod progress;
mod publish;
mod replay;
mod setup;
mod show;
mod shrink;
mod torture;
mod trace;
mod validate;

use prepare::Usage;

/// Some state was mixed or unreadable; or the update that was to be validated does not fit.
const FAILED: u8 = 1;
/// The arguments do not make sense.
const USAGE: u8 = 2;
/// The test could not be run, or not be told of: a file cannot be read or written, say, or there is nothing to update.
const NOT_RUN: u8 = 3;

/// Cut the power of a JFFS2 update at every write offset of simulated flash, and see the old tree or the new one.
#[derive(Parser)]
#[command(name = "nandsim", version, after_long_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 every state was old or new, 1 one was not, or what `validate` was given does not fit the flash, 2 wrong
usage, 3 the test could not be run, or a report not be written. 1 wins over 3.";

#[derive(Subcommand)]
enum Command {
    /// Run the built-in samples, and say what is to be seen
    Demo,
    /// Cut the power of one update, and judge the whole tree after each cut
    Torture(Box<torture::Args>),
    /// List what an update writes, operation by operation
    Trace(Box<trace::Args>),
    /// Try every kind of fault on an update of an image, and give a verdict with what there is to spare
    Validate(Box<validate::Args>),
    /// Look at one cut that a report names
    Replay(replay::Args),
    /// Make a failure simpler: fewer changes in the update, fewer cuts, the simplest tear
    Shrink(shrink::Args),
    /// List the parts that --part knows, with geometry and times
    Parts(parts::Args),
    /// List the mistakes that --plant makes
    Plants,
    /// List the kinds of faults, how often they are tried, and what is promised
    Faults(faults::Args),
}

pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.command {
        Command::Demo => demo::run(),
        Command::Torture(args) => torture::run(&args),
        Command::Trace(args) => trace::run(&args).map(|()| true),
        Command::Validate(args) => validate::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Shrink(args) => shrink::run(&args),
        Command::Parts(args) => parts::run(&args).map(|()| true),
        Command::Plants => plants::run().map(|()| true),
        Command::Faults(args) => faults::run(&args).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<Usage>() {
        let _ = Args::command().error(clap::error::ErrorKind::ArgumentConflict, usage).print();
        return ExitCode::from(USAGE);
    }
    match complain(error) {
        true => ExitCode::from(NOT_RUN),
        false => ExitCode::SUCCESS,
    }
}

/// Says what went wrong, unless it is that the reader of a pipe has seen enough; whether it did.
fn complain(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    let is_wrong = io.is_none_or(|error| error.kind() != io::ErrorKind::BrokenPipe);
    if is_wrong {
        eprintln!("nandsim: error: {error:#}");
    }
    is_wrong
}

/// What was found wins over how telling of it went.
fn outcome(is_fine: bool, told: Result<()>) -> Outcome {
    match told {
        Err(error) if !is_fine => {
            complain(&error);
            Ok(false)
        }
        told => told.map(|()| is_fine),
    }
}

/// Whether every state was old or new; or the test could not be run.
type Outcome = Result<bool>;
