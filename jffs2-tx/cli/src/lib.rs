//! Command line of jffs2-tx: looks into JFFS2 images and MTD devices, and updates them in one transaction.
//!
//! Results go to stdout, one line of text or, with `--json`, one JSON object a line. Trouble goes to stderr, one line
//! each, `jffs2-tx: error: ...` or `jffs2-tx: note: ...`.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | done, nothing wrong |
//! | 1 | done as far as it goes: the file system is damaged, or the check found something |
//! | 2 | wrong arguments |
//! | 3 | input or output failed, there is no such file, no permission; the device is write-protected or gone |
//! | 4 | no space on the flash for the update, or a dry run found that there is none |
//! | 5 | the flash is in use: mounted read-write, by another update, by UBI |
//! | 6 | the file system, or what is asked for, is not supported |
//! | 7 | not a JFFS2 image, or not of the geometry that was given |
//!
//! Bytes of names, targets and labels that are not UTF-8, and control characters, are shown as `\xNN`, a backslash
//! as `\\`; in JSON too.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod apply;
mod cat;
mod check;
mod damage;
mod device;
mod diff;
mod dump;
mod extract;
mod failure;
mod find;
mod gc;
mod image;
mod info;
mod log;
mod ls;
#[cfg(feature = "mount")]
mod mount;
mod past;
mod progress;
mod recover;
mod show;
mod status;
mod target;

use failure::{Exit, Failure, complain};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 damage or findings, 2 wrong arguments, 3 input or output failed or no \
such file, 4 no space on the flash, 5 flash in use, 6 not supported, 7 not a JFFS2 image or wrong geometry.";

/// Looks into JFFS2 images and updates them in one transaction.
#[derive(Debug, Parser)]
#[command(name = "jffs2-tx", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List a directory of an image.
    Ls(ls::Args),
    /// Write a file of an image to stdout.
    Cat(cat::Args),
    /// Recreate the tree of an image in a directory.
    Extract(extract::Args),
    /// Mount an image, read-only, through FUSE.
    ///
    /// Stays in the foreground until the file system is unmounted: by fusermount3 -u, umount, Ctrl-C or SIGTERM.
    /// What is damaged is an I/O error where it is read, even if Linux would give older bytes or zeros. Names that Linux shows in no file system are left out:
    /// empty, `.` and `..`, with a slash or NUL. Devices, set-uid and set-gid bits are shown, but have no effect.
    /// Meanwhile the image cannot be updated.
    #[cfg(feature = "mount")]
    Mount(mount::Args),
    /// Show byte order, geometry, contents and space of an image.
    Info(info::Args),
    /// Check an image: exit code 1 if anything is wrong.
    Check(check::Args),
    /// List every node of an image, whoever sees it.
    Dump(dump::Args),
    /// List what differs between an image and another one, or a directory: exit code 1 if anything does.
    Diff(diff::Args),
    /// List where JFFS2 file systems stand in a file of anything: exit code 1 if there is none.
    Find(find::Args),
    /// List the transactions whose markers are on the flash.
    Log(log::Args),
    /// Make an image's tree equal to a directory or a tar archive, in one transaction.
    Apply(apply::Args),
    /// Clean up behind a transaction that was cut.
    Recover(recover::Args),
    /// Free eraseblocks by moving what lives in them together. Nothing may have the device mounted.
    Gc(gc::Args),
    /// What updates have left: clean, leftover, committed; reboot needed. Reads a few pages of each eraseblock.
    Status(status::Args),
}

/// Runs one command; `args` begin with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let exit = match parse(args) {
        Ok(command) => run(command).unwrap_or_else(|failure| failure.report()),
        Err(exit) => exit,
    };
    ExitCode::from(exit as u8)
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Ls(args) => ls::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Extract(args) => extract::run(&args),
        #[cfg(feature = "mount")]
        Command::Mount(args) => mount::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Find(args) => find::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Recover(args) => recover::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Status(args) => status::run(&args),
    }
}

/// Help and version go to stdout; what is wrong with the arguments is one line.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    // `ls -l` is the long listing: byte order has no short options there.
    let no_short = |arg: clap::Arg| arg.short(None);
    let command = Cli::command()
        .mut_subcommand("ls", |ls| ls.mut_arg("little_endian", no_short).mut_arg("big_endian", no_short))
        .mut_subcommands(|sub| sub.after_help(EXIT_CODES));
    let parsed = command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let error = match parsed {
        Ok(cli) => return Ok(cli.command),
        Err(error) => error,
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that has gone is no error.
        let _ = error.print();
        return Err(Exit::Done);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        complain("a command is missing (see --help)");
        return Err(Exit::Usage);
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    complain(&format!("{} (see --help)", words.join(" ").trim_start_matches("error: ")));
    Err(Exit::Usage)
}
