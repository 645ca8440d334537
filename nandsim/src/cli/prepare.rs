//! From arguments to a recorded update.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use jffs2_mkimage::source::tar;
use jffs2_tx::detect::{Survey, usual_page_size};
use jffs2_tx::flash::FlashKind;
use jffs2_tx::source::SourceTree;
use jffs2_tx::wire::Endian;
use nandsim::{Given, Old, Scenario, ScenarioError, Shape, Torture, Trees};

use super::setup::{GivenArgs, Setup};

/// Arguments that do not make sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(String);

/// A test, and the update in it done once.
pub(super) struct Prepared {
    pub(super) scenario: Scenario,
    pub(super) torture: Torture,
}

/// Does the update once, on a flash as the arguments want it.
pub(super) fn torture(args: &Setup) -> Result<Prepared> {
    let given = given(&args.given)?;
    let (shape, trees) = match (&given, args.sample) {
        (Some(Given { old: Old::Image(image), .. }), _) => (shape_of_image(args, image)?, Trees::Given),
        (Some(_), _) => (shape(args)?, Trees::Given),
        (None, Some(sample)) => (shape(args)?, sample),
        (None, None) => return Err(usage("give --old DIR or --image IMG, and --new DIR; or --sample")),
    };
    let scenario = Scenario {
        part: args.part,
        shape,
        blocks: args.size.map(|size| blocks(shape, size)).transpose()?,
        trees,
        before: args.before,
        first: args.first.map(Into::into).unwrap_or_default(),
        changes: None,
        point: args.commit_point.map(Into::into),
        fault: None,
        plant: args.plant,
        seed: args.seed,
    };
    let torture = scenario.record(given.as_ref()).map_err(|error| match error {
        ScenarioError::Geometry(_) | ScenarioError::Part(_) => usage(error),
        error => error.into(),
    })?;
    Ok(Prepared { scenario, torture })
}

/// The trees from outside, if there are any.
pub(super) fn given(args: &GivenArgs) -> Result<Option<Given>> {
    let Some(new) = &args.new else { return Ok(None) };
    let old = match (&args.old, &args.image) {
        (Some(old), _) => Old::Tree(tree(old)?),
        (None, Some(image)) => Old::Image(fs::read(image).with_context(|| image.display().to_string())?),
        (None, None) => return Err(usage("give --old DIR or --image IMG with --new")),
    };
    Ok(Some(Given { old, new: tree(new)? }))
}

/// What a directory holds, or a tar archive.
fn tree(path: &Path) -> Result<SourceTree> {
    let name = || path.display().to_string();
    match fs::metadata(path).with_context(name)?.is_dir() {
        true => Ok(SourceTree::from_dir(path)?),
        false => Ok(tar::read(File::open(path).with_context(name)?, None).with_context(name)?.tree),
    }
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

fn usage(reason: impl ToString) -> anyhow::Error {
    Usage(reason.to_string()).into()
}
