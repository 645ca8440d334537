//! From arguments to a recorded update.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use jffs2_mkimage::source::tar;
use jffs2_tx::detect::{Survey, usual_page_size};
use jffs2_tx::flash::FlashKind;
use jffs2_tx::source::SourceTree;
use jffs2_tx::wire::Endian;
use nandsim::{Given, Old, Scenario, ScenarioError, Shape, Torture, Trees};
use serde::Serialize;

use super::setup::{GivenArgs, Setup};
use super::show::endian_name;
use super::{damage, show};

/// The most that a flash holds, bytes.
const LARGEST_IMAGE: u64 = u32::MAX as u64;
/// What gzip, bzip2, xz and zstd put at the start of a file.
const COMPRESSED: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];

/// Arguments that do not make sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(String);

/// A test as the arguments want it.
pub(super) struct Setting {
    pub(super) scenario: Scenario,
    pub(super) given: Option<Given>,
    /// Where the size of the flash is from.
    pub(super) size_from: SizeFrom,
    /// What is wrong with the image before the update.
    pub(super) damage: Vec<String>,
}

/// Where the size of the flash is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SizeFrom {
    /// `--size`.
    Given,
    /// All of the part.
    Part,
    /// The image's own, rounded up to eraseblocks.
    Image,
    /// No flash that exists: room for the old tree, the new one and a few eraseblocks.
    Update,
}

impl SizeFrom {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Given => "as given",
            Self::Part => "the part's",
            Self::Image => "the image's",
            Self::Update => "room for both trees: give --size to test a flash as it is",
        }
    }
}

/// A flash as the arguments want it, with an update on it.
pub(super) fn setting(args: &Setup) -> Result<Setting> {
    let given = given(&args.given)?;
    let (shape, trees) = match (&given, args.sample) {
        (Some(Given { old: Old::Image(image), .. }), _) => (shape_of_image(args, image)?, Trees::Given),
        (Some(_), _) => (shape(args)?, Trees::Given),
        (None, Some(sample)) => (shape(args)?, sample),
        (None, None) => return Err(usage("give --old DIR or --image IMG, and --new DIR; or --sample")),
    };
    let image = match &given {
        Some(Given { old: Old::Image(image), .. }) => Some(image.as_slice()),
        _ => None,
    };
    let (size, size_from) = size(args, shape, given.is_some(), image);
    let blocks = size.map(|size| blocks(shape, size)).transpose()?;
    check_room(shape, blocks, image)?;
    let scenario = Scenario {
        part: args.part,
        shape,
        blocks,
        trees,
        before: args.before,
        first: args.first.map(Into::into).unwrap_or_default(),
        changes: None,
        point: args.commit_point.map(Into::into),
        fault: None,
        plant: args.plant,
        seed: args.seed,
    };
    let damage = image.map_or(Ok(Vec::new()), |image| damage::of_image(shape, image))?;
    Ok(Setting { scenario, given, size_from, damage })
}

impl Setting {
    /// The flash in words, for an update that is refused.
    pub(super) fn flash(&self) -> Result<String> {
        let Shape { eraseblock, endian, .. } = self.scenario.shape;
        let Some(blocks) = self.scenario.blocks else { return Ok("flash with room for both trees".into()) };
        let geometry = self.scenario.shape.geometry(u64::from(blocks) * u64::from(eraseblock))?;
        Ok(show::blank_flash(&geometry, endian))
    }

    /// Does the update once.
    pub(super) fn record(&self) -> Result<Torture> {
        self.scenario.record(self.given.as_ref()).map_err(|error| match error {
            ScenarioError::Geometry(_) | ScenarioError::Part(_) => usage(error),
            error => error.into(),
        })
    }
}

/// Size of the flash, and where it is from; none if it is what the update needs. A sample takes no whole part.
fn size(args: &Setup, shape: Shape, is_given: bool, image: Option<&[u8]>) -> (Option<u64>, SizeFrom) {
    let whole = |image: &[u8]| (image.len() as u64).next_multiple_of(u64::from(shape.eraseblock));
    match (args.size, args.part, image) {
        (Some(size), _, _) => (Some(size), SizeFrom::Given),
        (None, Some(part), _) if is_given => (Some(part.size), SizeFrom::Part),
        (None, _, Some(image)) => (Some(whole(image)), SizeFrom::Image),
        (None, _, None) => (None, SizeFrom::Update),
    }
}

fn check_room(shape: Shape, blocks: Option<u32>, image: Option<&[u8]>) -> Result<()> {
    let (Some(blocks), Some(image)) = (blocks, image) else { return Ok(()) };
    let (size, len) = (u64::from(blocks) * u64::from(shape.eraseblock), image.len());
    match len as u64 > size {
        true => Err(usage(format!("the image has {len} bytes, the flash {size}"))),
        false => Ok(()),
    }
}

/// The trees from outside, if there are any.
pub(super) fn given(args: &GivenArgs) -> Result<Option<Given>> {
    let Some(new) = &args.new else { return Ok(None) };
    let old = match (&args.old, &args.image) {
        (Some(old), _) => Old::Tree(tree(old)?),
        (None, Some(image)) => Old::Image(image_file(image).with_context(|| image.display().to_string())?),
        (None, None) => return Err(usage("give --old DIR or --image IMG with --new")),
    };
    Ok(Some(Given { old, new: tree(new)? }))
}

/// No more than a flash holds, whatever the file.
fn image_file(path: &Path) -> Result<Vec<u8>> {
    let mut image = Vec::new();
    File::open(path)?.take(LARGEST_IMAGE + 1).read_to_end(&mut image)?;
    match image.len() as u64 > LARGEST_IMAGE {
        true => Err(anyhow!("4 GiB or more: no flash that JFFS2 knows is so large")),
        false => Ok(image),
    }
}

/// What a directory holds, or a tar archive.
fn tree(path: &Path) -> Result<SourceTree> {
    let name = || path.display().to_string();
    if fs::metadata(path).with_context(name)?.is_dir() {
        return Ok(SourceTree::from_dir(path)?);
    }
    let mut archive = File::open(path).with_context(name)?;
    let mut magic = [0; 6];
    let len = archive.read(&mut magic).with_context(name)?;
    if COMPRESSED.iter().any(|of| magic[..len].starts_with(of)) {
        return Err(anyhow!("a compressed archive is not read: unpack it first, to a tar archive or a directory"))
            .with_context(name);
    }
    archive.rewind().with_context(name)?;
    Ok(tar::read(archive, None).with_context(name)?.tree)
}

fn blocks(shape: Shape, size: u64) -> Result<u32> {
    Ok(shape.geometry(size).map_err(usage)?.blocks())
}

/// As given; what is not given is usual.
fn shape(args: &Setup) -> Result<Shape> {
    let endian = endian_given(args).unwrap_or(Endian::Little);
    if let Some(part) = args.part {
        return part.shape(args.eraseblock, endian).map_err(usage);
    }
    let kind = args.flash.map_or(FlashKind::Nor, Into::into);
    let (eraseblock, unit) = match kind {
        FlashKind::Nor => (64 << 10, 1),
        FlashKind::Nand => (128 << 10, 2048),
    };
    possible(Shape {
        kind,
        eraseblock: args.eraseblock.unwrap_or(eraseblock),
        write_size: unit_given(args, kind)?.unwrap_or(unit),
        endian,
    })
}

/// As given; what is not given the image shows.
fn shape_of_image(args: &Setup, image: &[u8]) -> Result<Shape> {
    let survey = Survey::of(image).context("--image")?;
    if let Some(given) = args.eraseblock {
        survey.check_eraseblock(given)?;
    }
    let found = survey.detect().context("--image")?;
    let eraseblock = args.eraseblock.unwrap_or(found.eraseblock);
    let endian = endian_given(args).unwrap_or(found.endian);
    if endian != found.endian {
        let (name, nodes) = (endian_name(found.endian), survey.nodes(endian));
        return Err(anyhow!("--image: the image is {name}-endian: {nodes} nodes in the other byte order"));
    }
    if let Some(part) = args.part {
        return part.shape(Some(eraseblock), endian).map_err(usage);
    }
    let kind = args.flash.map_or(survey.kind(eraseblock)?.0, Into::into);
    let write_size = unit_given(args, kind)?.unwrap_or_else(|| usual_page_size(kind, eraseblock));
    possible(Shape { kind, eraseblock, write_size, endian })
}

/// Refuses sizes that no flash has.
fn possible(shape: Shape) -> Result<Shape> {
    shape.geometry(u64::from(shape.eraseblock)).map_err(usage)?;
    Ok(shape)
}

fn unit_given(args: &Setup, kind: FlashKind) -> Result<Option<u32>> {
    match kind {
        FlashKind::Nor if args.page_size.is_some() => Err(usage("NOR has no pages: give --write-size")),
        FlashKind::Nand if args.write_size.is_some() => Err(usage("NAND is written in pages: give --page-size")),
        _ => Ok(args.page_size.or(args.write_size)),
    }
}

fn endian_given(args: &Setup) -> Option<Endian> {
    match (args.little_endian, args.big_endian) {
        (true, _) => Some(Endian::Little),
        (_, true) => Some(Endian::Big),
        _ => None,
    }
}

pub(super) fn usage(reason: impl ToString) -> anyhow::Error {
    Usage(reason.to_string()).into()
}
