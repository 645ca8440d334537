//! `jffs2-mkimage` under its own name.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use jffs2_mkimage::size::{parse_eraseblock, parse_size, parse_u32};
use jffs2_mkimage::{BuildError, Built, Options, Pad, build_with, data_bytes, verify};
use jffs2_tx::flash::OobLayout;
use jffs2_tx::manifest::Header;
use jffs2_tx::source::SourceTree;
use jffs2_tx::wire::Endian;

use super::compress_args::CompressArgs;
use super::output;
use super::progress::Progress;
use super::report_args::{ReportArgs, Seconds};
use super::source_args::SourceArgs;

/// Build a JFFS2 image from directories, tar archives, manifests and device tables.
#[derive(Parser)]
#[command(name = "jffs2-mkimage", version, after_long_help = AFTER_HELP)]
struct Args {
    #[command(flatten)]
    sources: SourceArgs,

    /// Refuse files whose contents are not those that the manifest has
    #[arg(long, requires = "manifest")]
    verify_contents: bool,

    /// Read the image back before it gets its name, and compare it with the source
    #[arg(long)]
    verify: bool,

    /// Image to write, `-` for standard output
    #[arg(short, long, value_name = "IMG")]
    output: PathBuf,

    /// Eraseblock size of the flash; a number below 4096 is in KiB [default: 64KiB]
    #[arg(short, long, value_name = "SIZE", value_parser = parse_eraseblock)]
    eraseblock: Option<u32>,

    /// Image for a little-endian CPU [default: this host's byte order]
    #[arg(short, long)]
    little_endian: bool,

    /// Image for a big-endian CPU
    #[arg(short, long, conflicts_with = "little_endian")]
    big_endian: bool,

    /// Pad with 0xFF: to SIZE, or to the end of the last eraseblock
    #[arg(short, long, value_name = "SIZE", num_args = 0..=1, value_parser = parse_size)]
    pad: Option<Option<u64>>,

    /// Write no cleanmarkers: for NAND and UBI
    #[arg(short, long)]
    no_cleanmarkers: bool,

    /// Image for a NAND programmer: OOB spare bytes behind each page, as in 2048+64, with the cleanmarkers in them, up to
    /// the end of the last eraseblock; ECC bytes stay 0xFF, for the programmer
    #[arg(long, value_name = "PAGE+OOB", requires = "eraseblock")]
    nand: Option<OobLayout>,

    /// Page size of the CPU: most bytes of a file in one node
    #[arg(short = 's', long = "pagesize", value_name = "SIZE", default_value = "4KiB", value_parser = parse_u32)]
    page_size: u32,

    /// End each eraseblock in a summary, for kernels with CONFIG_JFFS2_SUMMARY: faster mounts
    #[arg(long)]
    summary: bool,

    /// Put directories, symlinks and devices first, then the contents of files
    #[arg(long)]
    sort: bool,

    #[command(flatten)]
    compress: CompressArgs,

    /// Put these files first in the image, one behind the other in this order: what a boot loader reads. Of directories all
    /// that is in them
    #[arg(long, value_name = "PATH", num_args = 1..)]
    first: Vec<OsString>,

    #[command(flatten)]
    report: ReportArgs,
}

const AFTER_HELP: &str = "\
Sizes are bytes, hex with 0x, or have a suffix K, KiB, M or MiB.

The same directory gives the same image on any host. If SOURCE_DATE_EPOCH is set (seconds since 1970), later \
modification times are lowered to it. Access and change times are written equal to modification times.

What JFFS2 cannot hold is refused before anything is written: names and symlink targets over 254 bytes, files of \
4 GiB or more, owners over 65535, modification times outside 1970 to 2106. IMG appears, or is replaced, when it is \
complete.

Several sources are laid one over the other in the order in which they are given: of directories with one path the \
contents are merged, anything else replaces what has its path. A device table changes what the sources before it have; \
what it makes has the modification time of its directory.

With --manifest the contents of files come from DIR, the --root right behind it or else right before it, as they are \
there now, and everything else from the manifest: DIR may have been extracted without root. A file that DIR has not \
got is an error; what is in DIR and not in the manifest is left out, and said. Inodes get new numbers, symlinks the mode that Linux gives them.

--json prints an object with bytes (of the image), eraseblocks (with nodes in them), nodes (inodes' and names'), \
inodes, data_bytes (in files), hole_bytes (of those, in runs of zeros of 32 KiB and more, not stored), stored_bytes \
(what the rest is compressed to), compressors (none, zlib, lzo, rtime, lzma, each with nodes, bytes in files and bytes \
stored); with --flash-size or --free also room (eraseblocks of the flash, free, kernel_reserve, transaction_eraseblocks, \
transaction_bytes). --report writes these and largest_files and directories (each with path, bytes in files and \
flash_bytes, what nodes take on the flash; directories with all that is below them) and seconds (sources, build, verify).

Exit status: 0 for success, 1 for an error in the directory or in reading or writing, 2 for wrong usage.";

pub(crate) fn main() -> ExitCode {
    let args = Args::parse();
    if args.output == Path::new("-") && args.report.json {
        let reason = "--json prints to standard output, so the image cannot go there: give -o a file";
        Args::command().error(ErrorKind::ArgumentConflict, reason).exit();
    }
    if args.report.wants_flash_size() && !matches!(args.pad, Some(Some(_))) {
        let reason = "--free has to know the size of the flash: give --flash-size or --pad=SIZE";
        Args::command().error(ErrorKind::MissingRequiredArgument, reason).exit();
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jffs2-mkimage: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let mut seconds = Seconds::default();
    let (mut tree, header) = timed(&mut seconds.sources, || args.sources.read(args.verify_contents))?;
    if let Some(latest) = source_date_epoch()? {
        tree.clamp_mtimes(latest);
    }
    let options = args.options(header.as_ref());
    let mut verifying = 0.0;
    let mut check = |file: &File| timed(&mut verifying, || Ok(verify(&tree, file, &options)?));
    let check: output::Check<'_> = if args.verify { Some(&mut check) } else { None };
    let write = |out: &mut dyn Write| {
        let built =
            timed(&mut seconds.build, || build_shown(&tree, &options, out)).map_err(|error| args.name(error))?;
        let room = args.report.room(&built.report, &options)?;
        Ok((built, room))
    };
    let (built, room) = output::write(&args.output, write, check)?;
    seconds.verify = verifying;
    args.report.tell(&tree, &built, room, seconds)
}

/// Does it and notes how many seconds it took.
fn timed<T>(seconds: &mut f64, act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = act();
    *seconds = started.elapsed().as_millis() as f64 / 1000.0;
    done
}

fn build_shown(tree: &SourceTree, options: &Options, mut out: &mut dyn Write) -> Result<Built, BuildError> {
    let progress = Progress::new(data_bytes(tree));
    build_with(tree, options, &mut out, &mut |done| progress.set(done))
}

pub(crate) fn source_date_epoch() -> Result<Option<u32>> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let seconds = text.to_str().and_then(|text| text.parse::<u64>().ok());
    let seconds = seconds.context("SOURCE_DATE_EPOCH is not a number of seconds since 1970: correct or unset it")?;
    Ok(Some(u32::try_from(seconds).unwrap_or(u32::MAX)))
}

impl Args {
    /// Names the image in the error of its own file; others have a path of the source.
    fn name(&self, error: BuildError) -> anyhow::Error {
        match error {
            BuildError::Write(_) => anyhow::Error::from(error).context(self.output.display().to_string()),
            error => error.into(),
        }
    }

    /// What is not given is as in the manifest's header.
    fn options(&self, header: Option<&Header>) -> Options {
        let of_host = if cfg!(target_endian = "little") { Endian::Little } else { Endian::Big };
        let endian = match (self.little_endian, self.big_endian) {
            (true, _) => Endian::Little,
            (_, true) => Endian::Big,
            _ => header.map_or(of_host, |header| header.endian.into()),
        };
        Options {
            endian,
            eraseblock: self.eraseblock.or(header.map(|header| header.eraseblock)).unwrap_or(64 << 10),
            cleanmarkers: !self.no_cleanmarkers
                && (self.nand.is_some() || header.is_none_or(|header| header.cleanmarkers)),
            nand: self.nand,
            page_size: self.page_size,
            pad: match self.pad {
                None => Pad::None,
                Some(None) => Pad::Eraseblock,
                Some(Some(size)) => Pad::To(size),
            },
            summary: self.summary || header.is_some_and(|header| header.summaries),
            first: self.first.iter().map(|path| path.as_bytes().to_vec()).collect(),
            sort: self.sort,
            compress: self.compress.compress(),
            threads: self.compress.threads(),
            ..Options::default()
        }
    }
}
