//! `ls --all-versions`: every state of a file that is on the flash.
//!
//! Each node of an inode is a version. Neighbours that say the same of size, time and mode are one line: a write of
//! many pages makes as many nodes.

use std::collections::HashSet;
use std::io::Write;

use jffs2_tx::history::{History, Life, NodeNote, PastInode, Standing};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::scan::InodeRecord;
use jffs2_tx::tree::Tree;
use serde::Serialize;

use super::{join, trimmed, type_name};
use crate::failure::{Exit, Failure};
use crate::image::Image;
use crate::target::Target;
use crate::{past, show};

/// Versions of an inode, as `--json` shows them.
#[derive(Debug, Serialize)]
struct Row {
    /// Path, as `--deleted` shows it.
    path: String,
    /// Inode number.
    ino: u32,
    /// An earlier inode of that number, which the kernel has given away again since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    former: bool,
    /// First and last version that the line is about.
    first_version: u32,
    last_version: u32,
    /// Nodes on the flash; versions between may be gone.
    nodes: u32,
    /// Standing of the last one: `current` (the newest of an inode in the tree), `superseded`, `deleted`, `obsolete`
    /// (marked so on the flash), `hidden` (no reader sees it), `uncommitted` or `orphan`.
    standing: &'static str,
    /// `file`, `directory`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    /// Permissions, four octal digits.
    mode: String,
    /// Size of the file, bytes.
    size: u32,
    /// Modification time, seconds since 1970.
    mtime: u32,
    /// Flash offset of the last node.
    offset: u32,
}

pub(super) fn run(image: &Image, path: &[u8], recursive: bool, json: bool) -> Result<Exit, Failure> {
    let history = past::history(image)?;
    let mut out = show::stdout();
    let mut print = |path: &str, inode: &PastInode| {
        Row::all(&history, path, inode).iter().try_for_each(|row| {
            if json { show::json(&mut out, row) } else { writeln!(out, "{}", row.text()).map_err(Failure::Stdout) }
        })
    };
    for Wanted { path, ino, life } in wanted(image, &history, path, recursive)? {
        let lives = history.lives(ino).iter().filter(|inode| life.is_none_or(|life| inode.life == life));
        lives.into_iter().try_for_each(|inode| print(&path, inode))?;
    }
    out.flush().map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

/// An inode to list, in one of its lives or in all.
struct Wanted {
    path: String,
    ino: u32,
    life: Option<Life>,
}

/// What is at a path in the tree: of a directory all that is in it. Otherwise what was there once.
fn wanted(image: &Image, history: &History, path: &[u8], recursive: bool) -> Result<Vec<Wanted>, Failure> {
    let tree = image.tree();
    let ino = match tree.lookup(path) {
        Ok(ino) => ino,
        Err(missing) => {
            let shown = show::path(&trimmed(path));
            let lost = history.lost_at(path);
            let found: Vec<_> =
                lost.map(|lost| Wanted { path: shown.clone(), ino: lost.ino, life: Some(lost.life) }).collect();
            return if found.is_empty() { Err(missing.into()) } else { Ok(found) };
        }
    };
    let path = trimmed(path);
    if image.index.names(ino).next().is_none() {
        return Ok(vec![Wanted { path: show::path(&path), ino, life: None }]);
    }
    Ok(in_directory(tree, &path, ino, recursive))
}

/// Each inode once, by its first name.
fn in_directory(tree: Tree<'_, Target>, path: &[u8], ino: u32, recursive: bool) -> Vec<Wanted> {
    let mut listed = HashSet::new();
    let names: Box<dyn Iterator<Item = (Vec<u8>, u32)>> = if recursive {
        Box::new(tree.walk(ino).skip(1).map(|entry| (entry.path, entry.ino)))
    } else {
        Box::new(tree.read_dir(ino).map(|(name, record)| (name.to_vec(), record.ino)))
    };
    let first = names.filter(|(_, ino)| listed.insert(*ino));
    first.map(|(name, ino)| Wanted { path: show::path(&join(path, &name)), ino, life: None }).collect()
}

impl Row {
    /// The versions of an inode, oldest first.
    fn all(history: &History, path: &str, inode: &PastInode) -> Vec<Self> {
        let (nodes, notes) = (history.nodes(inode), history.notes(inode));
        let states: Vec<(&InodeRecord, &NodeNote)> = nodes.iter().zip(notes).filter(|(node, _)| node.good).collect();
        let newest = states.last().map(|(node, _)| node.at);
        let same = |a: &(&InodeRecord, &NodeNote), b: &(&InodeRecord, &NodeNote)| {
            (a.0.isize, a.0.mode, a.1.mtime) == (b.0.isize, b.0.mode, b.1.mtime)
        };
        let runs = states.chunk_by(same);
        runs.map(|run| {
            let ((first, _), (last, note)) = (run[0], run[run.len() - 1]);
            // An old node that still gives bytes is not the file's current state.
            let is_old = note.standing == Standing::Current && newest != Some(last.at);
            Self {
                path: path.into(),
                ino: inode.ino,
                former: inode.life == Life::Former,
                first_version: first.version,
                last_version: last.version,
                nodes: run.len() as u32,
                standing: past::standing(if is_old { Standing::Superseded } else { note.standing }),
                r#type: FileKind::from_mode(u32::from(last.mode)).map(type_name),
                mode: format!("{:04o}", last.mode & 0o7777),
                size: last.isize,
                mtime: note.mtime,
                offset: last.at,
            }
        })
        .collect()
    }

    /// Versions, standing, mode, size, time, flash offset, inode number, path.
    fn text(&self) -> String {
        let versions = match (self.first_version, self.last_version) {
            (first, last) if first == last => format!("v{last}"),
            (first, last) => format!("v{first}-v{last}"),
        };
        let former = if self.former { " (an earlier inode of this number)" } else { "" };
        format!(
            "{versions:<12} {:<11} {} {:>10} {} {:#010x} {:>7} {}{former}",
            self.standing,
            self.mode,
            self.size,
            show::time(self.mtime.into()),
            self.offset,
            self.ino,
            self.path
        )
    }
}
