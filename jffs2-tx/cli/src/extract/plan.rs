//! What is extracted: every name once, directories before what is in them, names in byte order. Names that could lead
//! elsewhere are refused here, before anything is created.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::ops::Range;

use jffs2_tx::check::MAX_PATH;
use jffs2_tx::index::{NameRecord, ROOT};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::tree::Tree;

use crate::failure::Failure;
use crate::target::Target;

/// A name that is to be created.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    /// The directory that it is in: an earlier item.
    pub(super) parent: u32,
    /// One plain name; empty for the root alone.
    pub(super) name: &'a [u8],
    pub(super) ino: u32,
    pub(super) kind: FileKind,
    /// The earlier item that has the inode's first name: this one is a hard link to it.
    pub(super) first: Option<NonZeroU32>,
}

/// All that is to be created; the root is item 0. Takes a fixed number of bytes a name.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) items: Vec<Item<'a>>,
}

/// Items that one thread creates in one go: neighbours in one directory.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) parent: usize,
    pub(super) items: Range<usize>,
    /// Size of the files among them, bytes.
    pub(super) bytes: u64,
}

/// A unit is full with so many bytes of files, or so many names.
const UNIT_BYTES: u64 = 1 << 20;
const UNIT_ITEMS: usize = 64;

impl<'a> Plan<'a> {
    /// The tree below the root; of that only what is at or below the paths in `only`, if there are any, and the
    /// directories that lead there. `refuse` gets the path of each name that is not extracted, and why.
    pub(super) fn of_tree(
        tree: Tree<'a, Target>,
        only: &[Vec<u8>],
        refuse: impl FnMut(&[u8], String),
    ) -> Result<Self, Failure> {
        tree.stat(ROOT)?;
        // Whatever its node says it is.
        let root = Item { parent: 0, name: &[], ino: ROOT, kind: FileKind::Directory, first: None };
        let (first, entered) = (HashMap::new(), HashSet::from([ROOT]));
        let mut planner = Planner { tree, only, refuse, plan: Self { items: vec![root] }, first, entered };
        planner.run();
        Ok(planner.plan)
    }

    /// Path from the root, no slash in front.
    pub(super) fn path(&self, item: usize) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = item;
        while at != 0 {
            names.push(self.items[at].name);
            at = self.items[at].parent as usize;
        }
        names.reverse();
        names.join(&b'/')
    }

    pub(super) fn directories(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.of_kind(|item| item.kind == FileKind::Directory)
    }

    pub(super) fn hard_links(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.of_kind(|item| item.first.is_some())
    }

    fn of_kind(&self, wanted: impl Fn(&Item<'_>) -> bool) -> impl DoubleEndedIterator<Item = usize> {
        self.items.iter().enumerate().filter(move |(_, item)| wanted(item)).map(|(at, _)| at)
    }

    /// Everything but directories and hard links, the longest first: that way no thread is left alone with it at the
    /// end.
    pub(super) fn units(&self, size: impl Fn(&Item<'_>) -> u32) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        for at in self.of_kind(|item| item.kind != FileKind::Directory && item.first.is_none()) {
            let item = &self.items[at];
            let (parent, bytes) = (item.parent as usize, u64::from(size(item)));
            match units.last_mut() {
                Some(unit)
                    if unit.parent == parent
                        && unit.items.end == at
                        && unit.items.len() < UNIT_ITEMS
                        && unit.bytes + bytes <= UNIT_BYTES =>
                {
                    unit.items.end += 1;
                    unit.bytes += bytes;
                }
                _ => units.push(Unit { parent, items: at..at + 1, bytes }),
            }
        }
        units.sort_by_key(|unit| std::cmp::Reverse(unit.bytes));
        units
    }
}

struct Planner<'a, 'o, R> {
    tree: Tree<'a, Target>,
    only: &'o [Vec<u8>],
    refuse: R,
    plan: Plan<'a>,
    /// First names of inodes that have several.
    first: HashMap<u32, NonZeroU32>,
    entered: HashSet<u32>,
}

/// A directory whose names are being taken.
struct Open<'a> {
    item: u32,
    path: Vec<u8>,
    names: Box<dyn Iterator<Item = (&'a [u8], &'a NameRecord)> + 'a>,
}

impl<'a, R: FnMut(&[u8], String)> Planner<'a, '_, R> {
    fn run(&mut self) {
        let tree = self.tree;
        let open = |item, path, ino| Open { item, path, names: Box::new(read_dir(tree, ino)) };
        // No deeper than the longest path has names.
        let mut stack = vec![open(0, Vec::new(), ROOT)];
        while let Some(dir) = stack.last_mut() {
            let Some((name, record)) = dir.names.next() else {
                stack.pop();
                continue;
            };
            let path = crate::ls::join(&dir.path, name);
            if let Some(item) = self.take(dir.item, &path, name, record.ino) {
                stack.push(open(item, path, record.ino));
            }
        }
    }

    /// Plans a name; its item if it is a directory to go into.
    fn take(&mut self, parent: u32, path: &[u8], name: &'a [u8], ino: u32) -> Option<u32> {
        if !self.only.is_empty() && !self.only.iter().any(|only| is_below(path, only) || is_below(only, path)) {
            return None;
        }
        let kind = match self.kind(path, name, ino) {
            Ok(kind) => kind,
            Err(why) => {
                (self.refuse)(path, why);
                return None;
            }
        };
        let at = self.plan.items.len() as u32;
        let first = self.first.get(&ino).copied();
        self.plan.items.push(Item { parent, name, ino, kind, first });
        if kind == FileKind::Directory {
            return Some(at);
        }
        if first.is_none() && self.tree.index().inode(ino).names > 1 {
            self.first.extend(NonZeroU32::new(at).map(|at| (ino, at)));
        }
        None
    }

    /// What a name leads to, or why it is not extracted.
    fn kind(&mut self, path: &[u8], name: &[u8], ino: u32) -> Result<FileKind, String> {
        if !is_plain(name) {
            return Err("name refused".into());
        }
        let kind = self.tree.stat(ino).map_err(|error| error.to_string())?.kind;
        if kind != FileKind::Directory {
            return Ok(kind);
        }
        if path.len() > MAX_PATH {
            return Err("path is too long".into());
        }
        if !self.entered.insert(ino) {
            return Err("directory with two names: extracted once".into());
        }
        Ok(kind)
    }
}

/// Whether it is one name, and leads nowhere else.
pub(super) fn is_plain(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Whether a path is `dir` or below it.
fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| dir.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
}

fn read_dir<'a>(tree: Tree<'a, Target>, ino: u32) -> impl Iterator<Item = (&'a [u8], &'a NameRecord)> {
    let index = tree.index();
    index.names(ino).map(move |record| (index.name(record), record))
}
