//! From arguments to a recorded update.

use std::fs;

use anyhow::{Context, Result};
use jffs2_tx::detect::{Survey, usual_page_size};
use jffs2_tx::flash::FlashKind;
use jffs2_tx::source::SourceTree;
use jffs2_tx::tx::TxOptions;
use jffs2_tx::wire::Endian;
use nandsim::{Chip, Sample, Shape, Torture, Update, sample, sample_large, sample_small_change};

use super::setup::{SampleName, Setup};

/// Arguments that do not make sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(String);

/// Does the update once, on a flash as the arguments want it.
pub(super) fn torture(args: &Setup) -> Result<Torture> {
    let (shape, image, tree) = match (&args.image, &args.new) {
        (Some(path), Some(new)) => {
            let image = fs::read(path).with_context(|| path.display().to_string())?;
            let shape = shape_of_image(args, &image).with_context(|| path.display().to_string())?;
            (shape, image, SourceTree::from_dir(new)?)
        }
        _ => {
            let (shape, Sample { old, new }) = (shape(args)?, trees(args)?);
            (shape, shape.image(&old)?, new)
        }
    };
    let geometry = match args.size {
        Some(size) => shape.geometry(size).map_err(usage)?,
        None => shape.geometry_for(image.len(), shape.image(&tree)?.len()).map_err(usage)?,
    };
    let erased = match args.part {
        Some(part) => part.chip(geometry, args.seed).map_err(usage)?,
        None => Chip::new(geometry, args.seed),
    };
    let start = shape.flashed_on(erased, &image).context("the old tree does not fit the flash")?;
    let options = TxOptions {
        label: "nandsim".into(),
        commit_point: args.commit_point.map(Into::into),
        txid: args.seed.to_le_bytes().repeat(2).try_into().unwrap_or_default(),
        ..TxOptions::default()
    };
    Ok(Torture::record(start, Update { endian: shape.endian, tree, options }, args.seed)?)
}

fn trees(args: &Setup) -> Result<Sample> {
    Ok(match (&args.old, &args.new, args.sample) {
        (Some(old), Some(new), _) => Sample { old: SourceTree::from_dir(old)?, new: SourceTree::from_dir(new)? },
        (_, _, Some(SampleName::AllKinds)) => sample(),
        (_, _, Some(SampleName::Small)) => sample_small_change(),
        (_, _, Some(SampleName::Large)) => sample_large(),
        _ => return Err(usage("give --old DIR or --image IMG, and --new DIR; or --sample")),
    })
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
    let survey = Survey::of(image)?;
    if let Some(given) = args.eraseblock {
        survey.check_eraseblock(given)?;
    }
    let found = survey.detect()?;
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
