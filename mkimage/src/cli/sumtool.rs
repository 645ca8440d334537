//! The program as `sumtool`: the options, defaults and exit codes of mtd-utils' sumtool.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use jffs2_mkimage::size::{parse_eraseblock, parse_u32};
use jffs2_mkimage::sumtool::{Cleanmarkers, Options, Report, summarize};
use jffs2_tx::wire::Endian;
use lexopt::Arg::{Long, Short, Value};
use lexopt::Parser;

use super::getopt::{letter_of, once};
use super::output;

const HELP: &str = "\
Usage: sumtool [OPTIONS] -i IMG -o IMG

Add summaries to a JFFS2 image: kernels with CONFIG_JFFS2_SUMMARY mount it faster. Each eraseblock of the new image ends
in one; what readers see of the old image is in it as it was, in the same order.

  -i, --input=IMG         image to read, `-` for standard input
  -o, --output=IMG        image to write, `-` for standard output; it appears, or is replaced, when it is complete
  -e, --eraseblock=SIZE   eraseblock size of the flash; a number below 4096 is in KiB (default: 64KiB)
  -l, --littleendian      the image is little-endian (default: this host's byte order)
  -b, --bigendian         the image is big-endian
  -c, --cleanmarker=SIZE  start each eraseblock with a cleanmarker of SIZE bytes (default: as in the image that is read)
  -n, --no-cleanmarkers   write no cleanmarkers: for NAND and UBI
  -p, --pad               pad with 0xFF to the end of the last eraseblock, if that has no summary
  -v, --verbose           say what was done
  -h, --help              print this help
  -V, --version           print the version

Sizes are bytes, hex with 0x, or have a suffix K, KiB, M or MiB.
";

/// Exit status of wrong usage.
const USAGE: u8 = 1;
/// Exit status of anything else that goes wrong.
const FAILED: u8 = 255;

const LONG: [(&str, char); 11] = [
    ("input", 'i'),
    ("output", 'o'),
    ("eraseblock", 'e'),
    ("littleendian", 'l'),
    ("bigendian", 'b'),
    ("cleanmarker", 'c'),
    ("no-cleanmarkers", 'n'),
    ("pad", 'p'),
    ("verbose", 'v'),
    ("help", 'h'),
    ("version", 'V'),
];

/// Does what the command line, without the program's name, says.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = match parse(Parser::from_args(args)) {
        Ok(Command::Run(args)) => args.run(),
        Ok(Command::Print(text)) => print(text),
        Err(error) if error.is::<lexopt::Error>() => {
            eprintln!("sumtool: {error}");
            let _ = print(HELP);
            return ExitCode::from(USAGE);
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sumtool: error!: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

enum Command {
    Print(&'static str),
    Run(Args),
}

struct Args {
    input: PathBuf,
    output: PathBuf,
    options: Options,
    verbose: bool,
}

fn parse(mut parser: Parser) -> Result<Command> {
    let (mut input, mut output, mut cleanmarker, mut no_cleanmarkers, mut verbose) = (None, None, None, false, false);
    let endian = if cfg!(target_endian = "little") { Endian::Little } else { Endian::Big };
    let mut options = Options { endian, eraseblock: 64 << 10, cleanmarkers: Cleanmarkers::AsRead, pad: false };
    while let Some(arg) = parser.next()? {
        let letter = match arg {
            Short(letter) => letter,
            Long(name) => letter_of(&LONG, name)?,
            Value(value) => {
                warn(&format!("{} is no option and not used", value.to_string_lossy()));
                continue;
            }
        };
        match letter {
            'i' => once(&mut input, parser.value()?, "input")?,
            'o' => once(&mut output, parser.value()?, "output")?,
            'e' => options.eraseblock = size(&parser.value()?, parse_eraseblock, "eraseblock")?,
            'c' => cleanmarker = Some(size(&parser.value()?, parse_u32, "cleanmarker")?),
            'l' => options.endian = Endian::Little,
            'b' => options.endian = Endian::Big,
            'n' => no_cleanmarkers = true,
            'p' => options.pad = true,
            'v' => verbose = true,
            'h' => return Ok(Command::Print(HELP)),
            'V' => return Ok(Command::Print(concat!("sumtool (jffs2-mkimage) ", env!("CARGO_PKG_VERSION"), "\n"))),
            letter => return Err(Short(letter).unexpected().into()),
        }
    }
    options.cleanmarkers = match cleanmarker {
        _ if no_cleanmarkers => Cleanmarkers::None,
        Some(size) => Cleanmarkers::Of(size),
        None => Cleanmarkers::AsRead,
    };
    let (Some(input), Some(output)) = (input, output) else { bail!("give an input (-i) and an output (-o)") };
    Ok(Command::Run(Args { input, output, options, verbose }))
}

fn size(value: &OsStr, parse: fn(&str) -> Result<u32, String>, what: &str) -> Result<u32> {
    let text = value.to_string_lossy();
    parse(&text).map_err(|reason| anyhow!("{what} size {text}: {reason}"))
}

impl Args {
    fn run(&self) -> Result<()> {
        let input = open(&self.input).with_context(|| self.input.display().to_string())?;
        let summarize = |mut out: &mut dyn Write| {
            summarize(&input, &self.options, &mut out).with_context(|| self.input.display().to_string())
        };
        let report = output::write(&self.output, summarize, None)?;
        for warning in warnings(&report) {
            warn(&warning);
        }
        if self.verbose {
            let Report { bytes, eraseblocks, nodes, .. } = report;
            eprintln!("image {bytes} bytes, {eraseblocks} eraseblocks with {nodes} nodes");
        }
        Ok(())
    }
}

/// The image, which is read twice: what comes from a pipe is copied to a temporary file.
fn open(path: &Path) -> io::Result<File> {
    let mut file = File::open(if path == Path::new("-") { Path::new("/dev/stdin") } else { path })?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if file.stream_position().is_ok() {
        return Ok(file);
    }
    let mut copy = tempfile::tempfile()?;
    io::copy(&mut file, &mut copy)?;
    Ok(copy)
}

/// What somebody who trusts the new image should know.
fn warnings(report: &Report) -> Vec<String> {
    let Report { nodes, unlisted_blocks, left_out, damage, .. } = *report;
    let mut warnings = Vec::new();
    if nodes == 0 {
        warnings.push("the image has no nodes: the new one is empty".into());
    }
    if let Some(at) = report.first_damage {
        warnings.push(format!("{damage} damaged places, the first at {at:#x}: see jffs2-tx check for what they were"));
    }
    if left_out > 0 {
        warnings.push(format!("{left_out} nodes left out: transactions' markers, or unknown and to be dropped"));
    }
    if unlisted_blocks > 0 {
        warnings.push(format!(
            "{unlisted_blocks} eraseblocks without a summary: a node in them leaves no room or cannot be listed"
        ));
    }
    if let Some(at) = report.end_mark {
        warnings.push(format!("an end mark at {at:#x} ends the image: it and all behind it are left out"));
    }
    warnings
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("standard output")
}

fn warn(text: &str) {
    eprintln!("sumtool: warning!: {text}");
}
