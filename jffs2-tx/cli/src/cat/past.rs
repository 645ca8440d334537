//! `cat --version` and `cat --ino`: a file as it was.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use jffs2_tx::history::{History, PastInode, Recovery};
use jffs2_tx::tree::{File, Loss};

use super::{Args, check_kind};
use crate::failure::{Exit, Failure, complain};
use crate::image::Image;
use crate::target::Target;
use crate::{past, show};

/// Writes what is left; exit code 1 if some of it is missing, or may be older than what was asked for.
pub(super) fn run(image: &Image, args: &Args) -> Result<Exit, Failure> {
    let history = past::history(image)?;
    let (what, inode) = wanted(image, &history, args)?;
    let about = |failure: Failure| failure.about(&what);
    let tree = image.tree();
    let nodes = history.nodes_until(inode, args.version.unwrap_or(u32::MAX));
    if !nodes.iter().any(|node| node.good) {
        return Err(about(Failure::new(Exit::Io, "no node of it is left up to that version")));
    }
    if inode.recovery == Recovery::Mixed {
        let text = format!("nodes of several inodes of number {} cannot be told apart", inode.ino);
        return Err(about(Failure::new(Exit::Findings, text)));
    }
    let stat = tree.stat_nodes(inode.ino, nodes).map_err(|error| about(error.into()))?;
    check_kind(stat.kind, || tree.read_link_nodes(inode.ino, nodes)).map_err(about)?;
    let lost = copy_out(tree.open_nodes(nodes)).map_err(about)?;
    for loss in &lost {
        complain(&format!("{what}: {}", past::loss(loss)));
    }
    // What is in the tree is as its newest nodes say: no newer version of a byte can be missing.
    let is_now = inode.alive && nodes.len() == history.nodes(inode).len();
    let unsure = !is_now && Recovery::of(nodes) == Recovery::Likely;
    if unsure {
        complain(&format!("{what}: versions are missing: some bytes may be older than this version"));
    }
    Ok(if unsure || !lost.is_empty() { Exit::Findings } else { Exit::Done })
}

/// What to call it, and the inode.
fn wanted<'h>(image: &Image, history: &'h History, args: &Args) -> Result<(String, &'h PastInode), Failure> {
    let none = |what: &str| Failure::new(Exit::Io, format!("{what}: no node of it is on the flash"));
    if let Some(ino) = args.ino {
        let what = format!("inode {ino}");
        let found = past::inode(history, ino, args.former).ok_or_else(|| none(&what))?;
        return Ok((what, found));
    }
    let path = args.path.as_deref().unwrap_or_default().as_bytes();
    let what = show::text(path);
    let missing = match image.tree().lookup(path) {
        Ok(ino) => {
            return past::inode(history, ino, false).map(|inode| (what.clone(), inode)).ok_or_else(|| none(&what));
        }
        Err(missing) => missing,
    };
    let mut found: Vec<_> = history.lost_at(path).filter_map(|lost| history.inode(lost.ino, lost.life)).collect();
    found.dedup();
    match found[..] {
        [] => Err(missing.into()),
        [one] => Ok((what, one)),
        _ => {
            let inos: Vec<String> = found.iter().map(|inode| inode.ino.to_string()).collect();
            let text = format!("{what}: several files had this name: choose with --ino {}", inos.join(", "));
            Err(Failure::new(Exit::Io, text))
        }
    }
}

/// All of a file to stdout, zeros for what is lost; what that is.
fn copy_out(mut file: File<'_, Target>) -> Result<Vec<Loss>, Failure> {
    let mut lost = file.losses();
    let mut out = io::stdout().lock();
    let mut buf = vec![0; 1 << 17];
    let mut offset = 0;
    while offset < file.size() {
        let len = file.salvage_at(offset, &mut buf, &mut lost)?;
        out.write_all(&buf[..len]).map_err(Failure::Stdout)?;
        offset += len as u32;
    }
    out.flush().map_err(Failure::Stdout)?;
    lost.sort_by_key(|loss| (loss.start, loss.end));
    Ok(lost)
}
