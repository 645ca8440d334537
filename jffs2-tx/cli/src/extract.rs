//! `extract`: recreates the tree of an image in a directory of the host, or as a tar archive.
//!
//! The image may come from anyone. Names that could lead elsewhere are refused ([`plan`]); every name is created new,
//! relative to an open directory, and no symlink is ever followed ([`host`]).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use jffs2_tx::check::Code;

use crate::damage;
use crate::failure::{Exit, Failure, complain, note};
use crate::image::{Image, ImageArgs};
use crate::{ls, show};

mod contents;
mod deleted;
mod host;
mod left_out;
mod manifest;
mod outcome;
mod plan;
mod progress;
mod source;
mod to_dir;
mod to_tar;

use host::Dir;
use outcome::Outcome;
use plan::Plan;
use source::Source;
use to_dir::Job;
use to_tar::ToTar;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Directory to extract to: empty, or to be created.
    #[arg(value_name = "DIR", required_unless_present_any = ["tar", "manifest"])]
    dir: Option<PathBuf>,
    /// Write a tar archive (POSIX pax) instead, `-` for stdout.
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    tar: Option<PathBuf>,
    /// Write what `jffs2-mkimage --manifest` needs to build the image again from DIR, `-` for stdout: JSON lines.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Only what is at or below this path of the image; may be given several times.
    #[arg(long, value_name = "PATH")]
    only: Vec<OsString>,
    /// What is gone from the tree and still on the flash, instead of the tree: `deleted/PATH~INO`, `orphans/INO` and
    /// `uncommitted/TXID/PATH` (see `ls --deleted`). Extended attributes of what is gone are not known.
    #[arg(long, conflicts_with_all = ["manifest", "only"])]
    deleted: bool,
    /// Leave extended attributes out.
    #[arg(long)]
    no_xattrs: bool,
    /// One JSON object for each name that is missing or not whole, and one with counts.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    one_stdout(args)?;
    let image = Image::open(&args.image)?;
    let only = only(args, &image)?;
    let root = args.dir.as_deref().map(|dir| Dir::create_empty(dir).map_err(|failure| failure.about(dir.display())));
    let root = root.transpose()?;
    if args.deleted {
        return deleted::run(args, &image, root.as_ref());
    }
    let mut refused = 0;
    let plan = Plan::of_tree(image.tree(), &only, |path, why| {
        refused += 1;
        complain(&format!("{}: {why}", show::path(path)));
    })?;
    let manifest = args.manifest.as_deref().map(Output::create).transpose()?;
    let outcome = extract(args, &image, &plan, root.as_ref())?;
    if let Some(mut out) = manifest {
        let written = manifest::write(&mut out.to, &image, &plan, &outcome, !args.no_xattrs);
        written.map_err(|error| out.failed(error))?;
    }
    let said = [Code::LostData, Code::NoNode, Code::BadInode, Code::LostXattr];
    let damage = damage::say(&image, b"", &said)? as u64;
    outcome.say(&plan, refused + damage, args.json)
}

/// Extracts to where it is to go; with a manifest, also hashes.
fn extract(args: &Args, image: &Image, plan: &Plan<'_>, root: Option<&Dir>) -> Result<Outcome, Failure> {
    let (tree, xattrs) = (image.tree(), !args.no_xattrs);
    let hash_until = if args.manifest.is_some() { manifest::hash_until(plan, tree) } else { 0 };
    if args.manifest.is_some() && hash_until < plan.items.len() {
        let path = show::path(&plan.path(hash_until));
        note(&format!("{path} and what follows: no sha256, more than {} bytes in all", manifest::MAX_HASHED));
    }
    let Some(tar) = &args.tar else {
        return Job { plan, source: Source::Tree(tree), root, xattrs, hash_until }.run();
    };
    let Output { path, to } = Output::create(tar)?;
    let result = ToTar::new(to, plan, Source::Tree(tree), xattrs, hash_until).run();
    result.map_err(|error| failed(path, error))
}

/// Stdout takes one thing.
fn one_stdout(args: &Args) -> Result<(), Failure> {
    let is_stdout = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    let wanted = [is_stdout(&args.tar), is_stdout(&args.manifest), args.json];
    if wanted.iter().filter(|wanted| **wanted).count() > 1 {
        return Err(Failure::new(Exit::Usage, "only one of --tar -, --manifest - and --json can go to stdout"));
    }
    Ok(())
}

/// The paths that were asked for, all of which exist.
fn only(args: &Args, image: &Image) -> Result<Vec<Vec<u8>>, Failure> {
    let paths: Vec<Vec<u8>> = args.only.iter().map(|path| ls::trimmed(path.as_bytes())).collect();
    for path in &paths {
        image.tree().lookup(path)?;
    }
    Ok(paths)
}

/// A file of the user's, or stdout.
struct Output<'a> {
    path: &'a Path,
    to: Box<dyn Write>,
}

impl<'a> Output<'a> {
    fn create(path: &'a Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self { path, to: Box::new(show::stdout()) });
        }
        let file = File::create(path).map_err(|error| failed(path, error))?;
        Ok(Self { path, to: Box::new(BufWriter::with_capacity(1 << 16, file)) })
    }

    fn failed(&self, error: io::Error) -> Failure {
        failed(self.path, error)
    }
}

fn failed(path: &Path, error: io::Error) -> Failure {
    if path == Path::new("-") {
        return Failure::Stdout(error);
    }
    Failure::new(Exit::Io, error).about(path.display())
}
