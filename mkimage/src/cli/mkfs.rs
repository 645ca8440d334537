//! The program as `mkfs.jffs2`: the options, defaults and exit codes of mtd-utils' mkfs.jffs2.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use jffs2_mkimage::{Pad, Report, build, verify};
use jffs2_tx::source::SourceTree;

use super::output;
use args::{Args, Command};

mod args;
mod compressors;
mod list;
mod size;
mod source;

const HELP: &str = include_str!("mkfs/help.txt");

/// Why nothing was built.
enum Failure {
    /// The command line is not as `HELP` says.
    Usage(String),
    /// `--compressor-priority` names none; mkfs.jffs2 has an exit status of its own for it.
    Compressor(String),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    fn tell(&self) -> ExitCode {
        match self {
            Self::Usage(error) => {
                eprintln!("mkfs.jffs2: error: {error}");
                let _ = print(HELP);
                ExitCode::from(1)
            }
            Self::Compressor(name) => {
                eprintln!("mkfs.jffs2: error: no compressor is called {name}: -L lists them");
                ExitCode::from(1)
            }
            Self::Other(error) => {
                eprintln!("mkfs.jffs2: error: {error:#}");
                ExitCode::from(255)
            }
        }
    }
}

/// Does what the command line, without the program's name, says.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = args::parse(lexopt::Parser::from_args(args)).and_then(|command| match command {
        Command::Print(text) => Ok(print(text).map(|()| ExitCode::SUCCESS)?),
        // Status and stream as with mkfs.jffs2, where the list is an error.
        Command::ListCompressors(list) => {
            eprint!("{list}");
            Ok(ExitCode::from(255))
        }
        Command::Build(args) => Ok(args.run().map(|()| ExitCode::SUCCESS)?),
    });
    done.unwrap_or_else(|failure| failure.tell())
}

impl Args {
    fn run(&self) -> Result<()> {
        let tree = source::read(self)?;
        if self.verbose {
            list::tree(&tree, &mut *self.beside_the_image())?;
        }
        let report = self.write(&tree)?;
        if let Pad::AtLeast(size) = self.options.pad
            && report.bytes > size.next_multiple_of(self.options.eraseblock.into())
        {
            note(&format!("the image takes {} bytes, more than the {size} of --pad", report.bytes));
        }
        if self.verbose {
            eprintln!("{}", list::report(&report));
        }
        Ok(())
    }

    fn write(&self, tree: &SourceTree) -> Result<Report> {
        let mut check = |file: &File| Ok(verify(tree, file, &self.options)?);
        let check: output::Check<'_> = if self.test { Some(&mut check) } else { None };
        output::write(&self.output, |mut out| Ok(build(tree, &self.options, &mut out)?), check)
    }

    /// Where to list files: standard output, unless the image goes there.
    fn beside_the_image(&self) -> Box<dyn Write> {
        if self.output == Path::new("-") { Box::new(io::stderr().lock()) } else { Box::new(io::stdout().lock()) }
    }
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("standard output")
}

fn note(text: &str) {
    eprintln!("mkfs.jffs2: note: {text}");
}
