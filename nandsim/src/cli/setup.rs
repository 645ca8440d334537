//! Which update on which flash: what commands that record one are told.

use std::path::PathBuf;

use clap::{ValueEnum, value_parser};
use jffs2_mkimage::size::{parse_eraseblock, parse_size, parse_u32};
use jffs2_tx::flash::FlashKind;
use jffs2_tx::wire::CommitPoint;
use nandsim::{First, MOST_BEFORE, Part, Plant, Trees};
use serde::Serialize;

#[derive(clap::Args)]
pub(super) struct Setup {
    #[command(flatten)]
    pub(super) given: GivenArgs,

    /// Take a built-in sample: all-kinds (every kind of change), small (changes below one directory, which one dirent can
    /// commit), large (far more changed names than a small eraseblock holds) or random:N (trees and changes of a seed)
    #[arg(long, value_name = "WHICH", num_args = 0..=1, default_missing_value = "all-kinds", value_parser = parse_sample,
        conflicts_with_all = ["old", "image", "new"])]
    pub(super) sample: Option<Trees>,

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

    /// Size of the flash, less than 4 GiB [default: with trees from outside the part's, else the image's, else what the update
    /// needs]
    #[arg(long, value_name = "SIZE", value_parser = parse_flash_size)]
    pub(super) size: Option<u64>,

    /// Little-endian file system [default, unless an image is another]
    #[arg(short, long)]
    pub(super) little_endian: bool,

    /// Big-endian file system
    #[arg(short, long, conflicts_with = "little_endian")]
    pub(super) big_endian: bool,

    /// Updates before the one that is tested, each with some of its changes, some of them cut; between them the flash is
    /// used as a kernel does
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(..=i64::from(MOST_BEFORE)))]
    pub(super) before: u32,

    /// What is done right before the update, and cut as well: the same update given up before it commits (abort), or a
    /// garbage collection (gc)
    #[arg(long, value_name = "WHAT")]
    pub(super) first: Option<FirstName>,

    /// What is to make the update visible [default: the library chooses]
    #[arg(long, value_name = "POINT")]
    pub(super) commit_point: Option<Point>,

    /// Make a mistake in the update, or in the recovery from it, to see that it is found: see `nandsim plants`
    #[arg(long, value_name = "NAME", value_parser = parse_plant)]
    pub(super) plant: Option<&'static Plant>,

    /// Picks the sample, and what is random in the cuts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
}

/// Trees from outside.
#[derive(clap::Args)]
pub(super) struct GivenArgs {
    /// Directory or tar archive with the old tree
    #[arg(long, value_name = "DIR|TAR", requires = "new")]
    pub(super) old: Option<PathBuf>,

    /// Image that holds the old tree
    #[arg(long, value_name = "IMG", conflicts_with = "old", requires = "new")]
    pub(super) image: Option<PathBuf>,

    /// Directory or tar archive with the new tree
    #[arg(long, visible_alias = "update", value_name = "DIR|TAR")]
    pub(super) new: Option<PathBuf>,
}

fn parse_flash_size(text: &str) -> Result<u64, String> {
    const LIMIT: &str = "JFFS2 flash is smaller than 4 GiB";
    let size = parse_size(text).map_err(|reason| format!("{reason}; {LIMIT}"))?;
    if size >> 32 == 0 { Ok(size) } else { Err(LIMIT.into()) }
}

fn parse_plant(name: &str) -> Result<&'static Plant, String> {
    Plant::by_name(name).ok_or_else(|| "no such mistake; `nandsim plants` lists them".into())
}

fn parse_sample(text: &str) -> Result<Trees, String> {
    match text.parse() {
        Ok(Trees::Given) | Err(_) => Err("give all-kinds, small, large or random:N".into()),
        Ok(trees) => Ok(trees),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Nor,
    Nand,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FirstName {
    Abort,
    Gc,
}

impl From<FirstName> for First {
    fn from(first: FirstName) -> Self {
        match first {
            FirstName::Abort => Self::Abort,
            FirstName::Gc => Self::Collection,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Point {
    Dirent,
    Head,
    Summary,
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
