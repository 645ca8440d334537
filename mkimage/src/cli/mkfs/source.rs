//! What the image is built from.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use jffs2_mkimage::source::devtable::{self, OnNoParent};
use jffs2_mkimage::source::host_xattrs::{self, Which};
use jffs2_mkimage::source::squash;
use jffs2_tx::source::{FromDir, SourceTree};

use super::args::Args;
use super::note;
use crate::cli::native::source_date_epoch;

pub(super) fn read(args: &Args) -> Result<SourceTree> {
    let fixed = FromDir { owner: args.squash_owners.then_some((0, 0)), mtime: args.fake_times.then_some(0) };
    let mut tree = fixed.read(&args.root)?;
    if args.xattrs != Which::default() {
        host_xattrs::read(&mut tree, &args.root, args.xattrs)?;
    }
    leave_out(&mut tree, args);
    if args.squash_permissions {
        squash::permissions(&mut tree);
    }
    if let Some(table) = &args.devtable {
        apply_table(&mut tree, table).with_context(|| table.display().to_string())?;
    }
    if let Some(latest) = source_date_epoch()? {
        tree.clamp_mtimes(latest);
    }
    Ok(tree)
}

/// Takes the image of an earlier run out of its own source: mkfs.jffs2 would read what it writes until the disk is full.
fn leave_out(tree: &mut SourceTree, args: &Args) {
    let (Ok(image), Ok(root)) = (fs::canonicalize(&args.output), fs::canonicalize(&args.root)) else { return };
    let Ok(path) = image.strip_prefix(&root) else { return };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let folder = tree.find(folder.as_os_str().as_bytes());
    if folder.is_some_and(|folder| tree.unlink(folder, name.as_bytes()).is_some()) {
        note(&format!("{}, the image itself, is left out", args.output.display()));
    }
}

fn apply_table(tree: &mut SourceTree, path: &Path) -> Result<()> {
    for line in devtable::apply(tree, BufReader::new(File::open(path)?), OnNoParent::Skip)? {
        let name = String::from_utf8_lossy(&line.path).into_owned();
        note(&format!("{}: line {}: {name} is left out, there is no such directory", path.display(), line.line));
    }
    Ok(())
}
