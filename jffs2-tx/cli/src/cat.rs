//! `cat`: a file's bytes to stdout.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use jffs2_tx::error::ReadError;
use jffs2_tx::inode_kind::FileKind;

use crate::damage;
use crate::failure::{Exit, Failure};
use crate::image::{Image, ImageArgs};
use crate::ls::trimmed;
use crate::show;
use crate::target::TargetError;

mod past;

type ReadResult<T> = Result<T, ReadError<TargetError>>;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Path in the image.
    #[arg(value_name = "PATH", required_unless_present = "ino", conflicts_with = "ino")]
    path: Option<OsString>,
    /// The file as it was at this version (`ls --all-versions` lists them), also one that is deleted.
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// An inode instead of a path, with a name or without.
    #[arg(long, value_name = "N")]
    ino: Option<u32>,
    /// An earlier inode of that number, which the kernel has given away again since.
    #[arg(long, requires = "ino")]
    former: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    match &args.path {
        Some(path) if args.version.is_none() => live(&image, path.as_bytes()),
        _ => past::run(&image, args),
    }
}

/// A file of the tree.
fn live(image: &Image, path: &[u8]) -> Result<Exit, Failure> {
    let tree = image.tree();
    let ino = tree.lookup(path)?;
    let about = |failure: Failure| failure.about(show::text(path));
    let stat = tree.stat(ino).map_err(|error| about(error.into()))?;
    check_kind(stat.kind, || tree.read_link(ino)).map_err(about)?;
    let mut file = tree.open(ino).map_err(|error| about(error.into()))?;
    let mut out = io::stdout().lock();
    let mut buf = vec![0; 1 << 17];
    let mut offset = 0;
    while offset < file.size() {
        let len = file.read_at(offset, &mut buf).map_err(|error| about(error.into()))?;
        out.write_all(&buf[..len]).map_err(Failure::Stdout)?;
        offset += len as u32;
    }
    out.flush().map_err(Failure::Stdout)?;
    let damaged = damage::say(image, &trimmed(path), &[])? > 0;
    Ok(if damaged { Exit::Findings } else { Exit::Done })
}

/// Says what there is instead of a regular file.
fn check_kind(kind: FileKind, target: impl FnOnce() -> ReadResult<Vec<u8>>) -> Result<(), Failure> {
    let what = match kind {
        FileKind::File => return Ok(()),
        FileKind::Symlink => format!("is a symlink to {}", show::text(&target()?)),
        FileKind::Directory => "is a directory".into(),
        _ => "is not a regular file".into(),
    };
    Err(Failure::new(Exit::Io, what))
}
