//! `cat`: a file's bytes to stdout.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use jffs2_tx::inode_kind::FileKind;

use crate::failure::{Exit, Failure};
use crate::image::{Image, ImageArgs};
use crate::show;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Path in the image.
    #[arg(value_name = "PATH")]
    path: OsString,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let tree = image.tree();
    let path = args.path.as_bytes();
    let ino = tree.lookup(path)?;
    let about = |failure: Failure| failure.about(show::text(path));
    let stat = tree.stat(ino).map_err(|error| about(error.into()))?;
    let no_file = match stat.kind {
        FileKind::File => None,
        FileKind::Symlink => {
            let target = tree.read_link(ino).map_err(|error| about(error.into()))?;
            Some(format!("is a symlink to {}", show::text(&target)))
        }
        FileKind::Directory => Some("is a directory".into()),
        _ => Some("is not a regular file".into()),
    };
    if let Some(what) = no_file {
        return Err(about(Failure::new(Exit::Io, what)));
    }
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
    Ok(Exit::Done)
}
