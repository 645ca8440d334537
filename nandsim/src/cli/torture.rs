//! `nandsim torture`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use jffs2_mkimage::size::{parse_eraseblock, parse_size, parse_u32};
use jffs2_tx::flash::FlashKind;
use jffs2_tx::wire::CommitPoint;
use nandsim::{CutPath, Part, Report, Torture, cuts_all, cuts_sampled};
use serde::Serialize;

use super::{Outcome, prepare, replay, show};

/// Traces with more cuts than this are sampled unless all are asked for.
const MANY_CUTS: usize = 2_000_000;
/// Cuts of a sample.
const SAMPLE_CUTS: usize = 2000;

#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    /// Directory with the old tree
    #[arg(long, value_name = "DIR", requires = "new")]
    pub(super) old: Option<PathBuf>,

    /// Image that holds the old tree
    #[arg(long, value_name = "IMG", conflicts_with = "old", requires = "new")]
    pub(super) image: Option<PathBuf>,

    /// Directory with the new tree
    #[arg(long, value_name = "DIR")]
    pub(super) new: Option<PathBuf>,

    /// Take a built-in sample: every kind of change, changes below one directory only, or many files
    #[arg(long, value_name = "WHICH", num_args = 0..=1, default_missing_value = "all-kinds",
        conflicts_with_all = ["old", "image", "new"])]
    pub(super) sample: Option<SampleName>,

    /// Kind of flash [default: the image's, or nor]
    #[arg(long, value_name = "KIND")]
    pub(super) flash: Option<Kind>,

    /// Take geometry and rules of a part by name: see `nandsim parts`
    #[arg(long, value_name = "NAME", value_parser = Part::by_name,
        conflicts_with_all = ["flash", "page_size", "write_size"])]
    pub(super) part: Option<&'static Part>,

    /// Eraseblock size; a number below 4096 is in KiB [default: the image's, or 64KiB on NOR, 128KiB on NAND]
    #[arg(short, long, value_name = "SIZE", value_parser = parse_eraseblock)]
    pub(super) eraseblock: Option<u32>,

    /// Page size of NAND [default: what is usual for an image's eraseblocks, or 2048]
    #[arg(long, value_name = "SIZE", value_parser = parse_u32)]
    pub(super) page_size: Option<u32>,

    /// Write unit of NOR: above 4 bytes each can be programmed only once [default: 1]
    #[arg(long, value_name = "SIZE", value_parser = parse_u32, conflicts_with = "page_size")]
    pub(super) write_size: Option<u32>,

    /// Size of the flash [default: what the update needs]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(super) size: Option<u64>,

    /// Little-endian file system [default, unless an image is another]
    #[arg(short, long)]
    pub(super) little_endian: bool,

    /// Big-endian file system
    #[arg(short, long, conflicts_with = "little_endian")]
    pub(super) big_endian: bool,

    /// What is to make the update visible [default: the library chooses]
    #[arg(long, value_name = "POINT")]
    pub(super) commit_point: Option<Point>,

    /// Cuts: `all`, or a number to sample [default: all, or 2000 where there are over two million]
    #[arg(long, value_name = "all|N", value_parser = parse_cuts)]
    pub(super) cuts: Option<Cuts>,

    /// Picks the sample, and what is random in the cuts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,

    /// Try one cut only, named as in a report, and tell what each reader sees
    #[arg(long, value_name = "CUT", conflicts_with_all = ["cuts", "json"])]
    replay: Option<CutPath>,

    /// Threads [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SampleName {
    /// Every kind of change
    AllKinds,
    /// Changes below one directory, which one dirent can commit
    Small,
    /// Far more changed names than a small eraseblock holds
    Large,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Nor,
    Nand,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Point {
    Dirent,
    Head,
    Summary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cuts {
    All,
    Sample(usize),
}

fn parse_cuts(text: &str) -> Result<Cuts, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Cuts::All),
        (_, Ok(n @ 1..)) => Ok(Cuts::Sample(n)),
        _ => Err("give `all` or a number from 1 on".into()),
    }
}

impl From<Kind> for FlashKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Nor => Self::Nor,
            Kind::Nand => Self::Nand,
        }
    }
}

impl From<FlashKind> for Kind {
    fn from(kind: FlashKind) -> Self {
        match kind {
            FlashKind::Nor => Self::Nor,
            FlashKind::Nand => Self::Nand,
        }
    }
}

impl From<Point> for CommitPoint {
    fn from(point: Point) -> Self {
        match point {
            Point::Dirent => Self::Dirent,
            Point::Head => Self::Head,
            Point::Summary => Self::Summary,
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let torture = prepare::torture(args)?;
    if let Some(path) = &args.replay {
        return replay::run(&torture, path);
    }
    let threads = args.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    let report = try_cuts(&torture, args.cuts, threads);
    match args.json {
        true => writeln!(io::stdout(), "{}", serde_json::to_string(&show::Json::new(&torture, &report, threads))?)?,
        false => write!(io::stdout(), "{}", show::report(&torture, &report, threads))?,
    }
    if let Some(failure) = report.failures.first() {
        eprintln!("nandsim: seed {}, cut {}: {}", torture.seed, failure.cut, failure.what);
        eprintln!("nandsim: replay it with: {}", replay::command(torture.seed, &failure.cut));
    }
    Ok(report.counts.is_fine())
}

/// Tries the cuts asked for, or as many as is reasonable.
pub(super) fn try_cuts(torture: &Torture, cuts: Option<Cuts>, threads: usize) -> Report {
    let all = || cuts_all(&torture.trace);
    let cuts = cuts.unwrap_or_else(|| match all().nth(MANY_CUTS) {
        None => Cuts::All,
        Some(_) => Cuts::Sample(SAMPLE_CUTS),
    });
    match cuts {
        Cuts::All => {
            let bar = progress(all().count() as u64);
            torture.run(all(), threads, &|n| bar.inc(n))
        }
        Cuts::Sample(n) => {
            let sample = cuts_sampled(&torture.trace, n, torture.seed);
            let bar = progress(sample.len() as u64);
            torture.run(sample.into_iter(), threads, &|n| bar.inc(n))
        }
    }
}

/// A bar on a terminal, nothing in a pipe.
fn progress(cuts: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} cuts, {eta} left");
    ProgressBar::new(cuts).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
