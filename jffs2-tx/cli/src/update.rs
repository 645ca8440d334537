//! `apply` and `recover`: what changes an image.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::image::{Image, ImageArgs};
use crate::show;

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// Directory that the tree is to be equal to.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// What the log calls this transaction, say the new version: at most 64 bytes.
    #[arg(long, default_value = "", value_parser = parse_label)]
    label: String,
    /// What makes the new tree visible; chosen by the change and the flash if not given.
    #[arg(long, value_name = "KIND")]
    commit_point: Option<Point>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Point {
    Dirent,
    Head,
    Summary,
}

/// A transaction that was committed, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Applied {
    /// Transaction id, 32 hexadecimal digits.
    txid: String,
    /// Sequence number.
    sequence: u64,
    /// Label, escaped as the crate's documentation says.
    label: String,
    /// `dirent`, `head` or `summary`.
    commit_point: String,
    /// Names and inodes that changed; 0: the tree was equal already, and nothing was written.
    changes: u64,
    /// Nodes written.
    nodes: u64,
    /// Bytes written.
    bytes: u64,
    /// Eraseblocks written.
    blocks: u32,
}

/// What was cleaned up, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Recovered {
    /// Eraseblocks that were erased.
    erased: u32,
    /// Commits that were sealed.
    sealed: u32,
}

pub(crate) fn apply(args: &ApplyArgs) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let applied = update(image, args)?;
    let text = || {
        format!(
            "transaction {} ({} {}): {} changes, {} bytes in {} eraseblocks",
            applied.txid, applied.commit_point, applied.sequence, applied.changes, applied.bytes, applied.blocks
        )
    };
    show::line(args.json, &applied, text)?;
    Ok(Exit::Done)
}

pub(crate) fn recover(args: &RecoverArgs) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let recovered = clean_up(image)?;
    let text = || format!("{} eraseblocks erased, {} commits sealed", recovered.erased, recovered.sealed);
    show::line(args.json, &recovered, text)?;
    Ok(Exit::Done)
}

/// Makes the image's tree equal to `args.root`.
fn update(_image: Image, args: &ApplyArgs) -> Result<Applied, Failure> {
    let _ = (&args.root, &args.label, args.commit_point);
    Err(Failure::new(Exit::Unsupported, "apply is not built yet"))
}

/// Erases leftovers and seals commits.
fn clean_up(_image: Image) -> Result<Recovered, Failure> {
    Err(Failure::new(Exit::Unsupported, "recover is not built yet"))
}

fn parse_label(text: &str) -> Result<String, String> {
    let fits = text.len() <= jffs2_tx::wire::MAX_LABEL;
    if fits { Ok(text.into()) } else { Err(format!("over {} bytes", jffs2_tx::wire::MAX_LABEL)) }
}
