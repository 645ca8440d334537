//! From arguments to a recorded update.

use std::fs;

use anyhow::{Context, Result};
use jffs2_tx::flash::FlashKind;
use jffs2_tx::source::SourceTree;
use jffs2_tx::tx::TxOptions;
use jffs2_tx::wire::Endian;
use nandsim::{Sample, Shape, Torture, Update, sample, sample_large, sample_small_change};

use super::torture::{Args, Kind, SampleName};

/// Arguments that do not make sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(String);

/// Does the update once, on a flash as the arguments want it.
pub(super) fn torture(args: &Args) -> Result<Torture> {
    let shape = shape(args)?;
    let (image, tree) = trees(args, &shape)?;
    let geometry = match args.size {
        Some(size) => shape.geometry(size).map_err(usage)?,
        None => shape.geometry_for(image.len(), shape.image(&tree)?.len()).map_err(usage)?,
    };
    let start = shape.flashed(geometry, &image, args.seed).context("the old tree does not fit the flash")?;
    record(start, shape.endian, tree, args)
}

fn record(start: nandsim::Chip, endian: Endian, tree: SourceTree, args: &Args) -> Result<Torture> {
    let options = TxOptions {
        label: "nandsim".into(),
        commit_point: args.commit_point.map(Into::into),
        txid: args.seed.to_le_bytes().repeat(2).try_into().unwrap_or_default(),
        ..TxOptions::default()
    };
    Ok(Torture::record(start, Update { endian, tree, options }, args.seed)?)
}

/// The old tree as an image, and the new one.
fn trees(args: &Args, shape: &Shape) -> Result<(Vec<u8>, SourceTree)> {
    let of_dir = |path| SourceTree::from_dir(path);
    let Sample { old, new } = match (args, &args.new) {
        (Args { image: Some(image), .. }, Some(new)) => {
            let image = fs::read(image).with_context(|| image.display().to_string())?;
            return Ok((image, of_dir(new)?));
        }
        (Args { old: Some(old), .. }, Some(new)) => Sample { old: of_dir(old)?, new: of_dir(new)? },
        (Args { sample: Some(SampleName::AllKinds), .. }, _) => sample(),
        (Args { sample: Some(SampleName::Small), .. }, _) => sample_small_change(),
        (Args { sample: Some(SampleName::Large), .. }, _) => sample_large(),
        _ => return Err(usage("give --old DIR or --image IMG, and --new DIR; or --sample")),
    };
    Ok((shape.image(&old)?, new))
}

fn shape(args: &Args) -> Result<Shape> {
    let told = args.eraseblock.is_some() && (args.little_endian || args.big_endian);
    if args.image.is_some() && !told {
        return Err(usage("--image needs -e SIZE, and -l or -b"));
    }
    let (kind, eraseblock, write_size) = match args.flash {
        Kind::Nor if args.page_size.is_some() => return Err(usage("NOR has no pages: give --write-size")),
        Kind::Nor => (FlashKind::Nor, 64 << 10, args.write_size.unwrap_or(1)),
        Kind::Nand if args.write_size.is_some() => return Err(usage("NAND is written in pages: give --page-size")),
        Kind::Nand => (FlashKind::Nand, 128 << 10, args.page_size.unwrap_or(2048)),
    };
    let endian = if args.big_endian { Endian::Big } else { Endian::Little };
    Ok(Shape { kind, eraseblock: args.eraseblock.unwrap_or(eraseblock), write_size, endian })
}

fn usage(reason: impl ToString) -> anyhow::Error {
    Usage(reason.to_string()).into()
}
