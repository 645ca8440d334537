//! The commands, and what they exit with.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

mod demo;
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

/// Some state was mixed or unreadable.
const FAILED: u8 = 1;
/// The arguments do not make sense.
const USAGE: u8 = 2;
/// The test could not be run: a file cannot be read, say, or the update does not fit.
const NOT_RUN: u8 = 3;

/// Cut the power of a JFFS2 update at every write offset of simulated flash, and see the old tree or the new one.
#[derive(Parser)]
#[command(name = "nandsim", version, after_long_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 every state was old or new, 1 one was not, 2 wrong usage, 3 the test could not be run.";

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
    // The reader of a pipe has seen enough.
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("nandsim: error: {error:#}");
    ExitCode::from(NOT_RUN)
}

/// Whether every state was old or new; or the test could not be run.
type Outcome = Result<bool>;
