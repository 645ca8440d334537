//! Where in a tree the space of its image went.

use std::cmp::Reverse;

use jffs2_tx::source::{NodeId, ROOT, SourceKind, SourceTree};
use jffs2_tx::tree::show_path;
use serde::Serialize;

use crate::Built;

/// How many files are listed.
pub const LARGEST: usize = 20;

/// Space by file and by directory. Serializes to an object with these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The files that take most of the flash, at most [`LARGEST`], the largest first.
    pub largest_files: Vec<Used>,
    /// All directories, each with everything below it, by path.
    pub directories: Vec<Used>,
}

/// What a path takes. An inode counts under the first of its names only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Used {
    /// The path; odd bytes as in [`show_path`].
    pub path: String,
    /// Bytes in files.
    pub bytes: u64,
    /// Bytes of nodes on the flash.
    pub flash_bytes: u64,
}

/// Adds up what [`build_with`](crate::build_with) counted for the tree.
#[must_use]
pub fn usage(tree: &SourceTree, built: &Built) -> Usage {
    let mut sums =
        Sums { tree, built, counted: vec![false; tree.nodes().len()], open: vec![], files: vec![], done: vec![] };
    sums.walk();
    let Sums { mut files, mut done, .. } = sums;
    files.sort_by(|a, b| (Reverse(a.flash_bytes), &a.path).cmp(&(Reverse(b.flash_bytes), &b.path)));
    files.truncate(LARGEST);
    done.sort_by(|a, b| a.path.cmp(&b.path));
    let shown = |sums: Vec<Sum>| sums.into_iter().map(Used::from).collect();
    Usage { largest_files: shown(files), directories: shown(done) }
}

struct Sum {
    path: Vec<u8>,
    bytes: u64,
    flash_bytes: u64,
}

impl From<Sum> for Used {
    fn from(Sum { path, bytes, flash_bytes }: Sum) -> Self {
        Self { path: show_path(&path), bytes, flash_bytes }
    }
}

struct Sums<'t> {
    tree: &'t SourceTree,
    built: &'t Built,
    counted: Vec<bool>,
    /// The directories on the way down.
    open: Vec<Sum>,
    files: Vec<Sum>,
    /// Directories that are through.
    done: Vec<Sum>,
}

enum Step {
    Enter(NodeId, Vec<u8>),
    Leave,
}

impl Sums<'_> {
    fn walk(&mut self) {
        let mut todo = vec![Step::Enter(ROOT, Vec::new())];
        while let Some(step) = todo.pop() {
            match step {
                Step::Leave => self.leave(),
                Step::Enter(id, _) if std::mem::replace(&mut self.counted[id], true) => {}
                Step::Enter(id, path) => {
                    let first = todo.len();
                    self.enter(id, &path, &mut todo);
                    todo[first..].reverse();
                }
            }
        }
    }

    fn enter(&mut self, id: NodeId, path: &[u8], todo: &mut Vec<Step>) {
        let sum = |bytes| Sum { path: path.to_vec(), bytes, flash_bytes: self.built.flash_bytes[id] };
        match self.tree.node(id).kind {
            SourceKind::Directory(_) => {
                self.open.push(sum(0));
                let below = self.tree.children(id);
                todo.extend(below.map(|(name, child)| Step::Enter(child, [path, b"/", name].concat())));
                todo.push(Step::Leave);
            }
            SourceKind::File { size, .. } => {
                let sum = sum(size.into());
                self.add(&sum);
                self.files.push(sum);
            }
            _ => {
                let sum = sum(0);
                self.add(&sum);
            }
        }
    }

    /// A directory is through: it counts for the one that it is in.
    fn leave(&mut self) {
        if let Some(sum) = self.open.pop() {
            self.add(&sum);
            self.done.push(sum);
        }
    }

    fn add(&mut self, sum: &Sum) {
        if let Some(directory) = self.open.last_mut() {
            directory.bytes += sum.bytes;
            directory.flash_bytes += sum.flash_bytes;
        }
    }
}
