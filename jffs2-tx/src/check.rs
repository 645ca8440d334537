//! Checks a file system: everything that a reader could stumble over, as findings. Nothing is changed.

use alloc::{collections::BTreeSet, format, string::String, vec, vec::Vec};
use core::fmt;

use crate::codec::CodecError;
use crate::error::ReadError;
use crate::flash::Flash;
use crate::index::{Index, NameRecord, ROOT};
use crate::inode_kind::FileKind;
use crate::scan::{BlockScan, BlockState, MAX_DAMAGE, scan};
use crate::tree::Tree;

/// Linux mounts no flash with fewer eraseblocks.
pub const MIN_BLOCKS: u32 = 5;
/// Longest path that is followed, bytes; Linux takes none that is longer. Without a limit a chain of directories in a
/// small image could keep any reader busy for days.
pub const MAX_PATH: usize = 4096;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Something was lost or left over; the tree can be read.
    Warning,
    /// A part of the tree cannot be read.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing that the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Flash offset, bytes, where there is one.
    pub offset: Option<u32>,
    /// Path from the root, no slash in front, if it is about one; empty for the root.
    pub path: Option<Vec<u8>>,
    /// Inode number, if it is about one.
    pub ino: Option<u32>,
    /// What was found, and what becomes of it.
    pub text: String,
}

/// Checks what `index` knows of `flash`, and reads all data of all files. Findings about the flash come first, then
/// those about the tree, in the order of its paths.
///
/// # Errors
/// [`ReadError::Device`] if an eraseblock cannot be read at all.
pub fn check<F: Flash>(flash: &F, index: &Index) -> Result<Vec<Finding>, ReadError<F::Error>> {
    let mut checker = Checker { tree: Tree::new(flash, index), index, found: Vec::new(), entered: BTreeSet::new() };
    checker.check_space();
    checker.check_blocks(flash)?;
    checker.check_tree();
    Ok(checker.found)
}

struct Checker<'a, F> {
    tree: Tree<'a, F>,
    index: &'a Index,
    found: Vec<Finding>,
    entered: BTreeSet<u32>,
}

impl<F: Flash> Checker<'_, F> {
    fn check_space(&mut self) {
        let geometry = self.index.geometry();
        let count = |states: &[BlockState]| {
            self.index.blocks().iter().filter(|block| states.contains(&block.state)).count() as u32
        };
        let free = count(&[BlockState::Clean, BlockState::Blank]);
        let (blocks, reserve) = (geometry.blocks(), geometry.kernel_reserve());
        if blocks < MIN_BLOCKS {
            self.note(format!("{blocks} eraseblocks: Linux mounts a flash of at least {MIN_BLOCKS}"));
        } else if free < reserve {
            self.note(format!("{free} free eraseblocks: Linux wants {reserve} before it lets anyone write"));
        }
    }

    fn check_blocks(&mut self, flash: &F) -> Result<(), ReadError<F::Error>> {
        let (geometry, rules) = (*flash.geometry(), self.index.rules());
        let mut inos = BTreeSet::new();
        scan(flash, rules, |block, found| {
            self.check_block(block, geometry.offset_of(block), &found);
            inos.extend(found.inodes.iter().map(|node| node.ino));
        })?;
        let unreachable: Vec<u32> = inos.into_iter().filter(|ino| self.index.links(*ino) == 0).collect();
        if let [first, ..] = unreachable[..] {
            let text = format!("{} inodes, no name leads to them: Linux drops them when it mounts", unreachable.len());
            self.found.push(Finding { ino: Some(first), ..about(Severity::Note, text) });
        }
        Ok(())
    }

    fn check_block(&mut self, block: u32, start: u32, found: &BlockScan) {
        let mut say = |severity, offset, text| {
            self.found.push(Finding { offset: Some(offset), ..about(severity, text) });
        };
        match found.state {
            BlockState::Hidden => say(
                Severity::Warning,
                start,
                format!("eraseblock {block} is hidden but not blank, left by a transaction that was cut: run recover"),
            ),
            BlockState::Used if found.summary_only() => {
                say(Severity::Note, start, format!("eraseblock {block} is seen only by readers that believe summaries"))
            }
            _ => {}
        }
        if found.uncorrectable {
            say(Severity::Warning, start, format!("eraseblock {block} has pages that ECC cannot correct"));
        }
        // What nobody sees can do no harm.
        let severity = if found.state == BlockState::Hidden { Severity::Note } else { Severity::Warning };
        for damage in &found.damage {
            say(severity, damage.at, format!("damaged: {}; readers skip it", damage.reason));
        }
        let more = found.damage_count as usize - found.damage.len();
        if more > 0 {
            say(severity, start, format!("{more} more damaged places in eraseblock {block} (over {MAX_DAMAGE})"));
        }
    }

    fn check_tree(&mut self) {
        self.entered.insert(ROOT);
        let mut pending = vec![(Vec::new(), ROOT)];
        self.check_inode(&[], ROOT);
        while let Some((path, dir)) = pending.pop() {
            let first = pending.len();
            for name in self.index.dirents(dir).iter().filter(|name| name.ino != 0) {
                let path = join(&path, self.index.name(name));
                if self.check_name(&path, name) {
                    pending.push((path, name.ino));
                }
            }
            pending[first..].reverse();
        }
    }

    /// Checks a name and, the first time, what it leads to; whether that is a directory to go into.
    fn check_name(&mut self, path: &[u8], name: &NameRecord) -> bool {
        let bytes = self.index.name(name);
        if matches!(bytes, b"." | b"..") || bytes.contains(&b'/') {
            self.about_name(Severity::Error, path, name, "name cannot be: no path leads to it".into());
        }
        if !self.index.exists(name.ino) {
            self.about_name(Severity::Warning, path, name, "name leads to nothing: Linux drops it".into());
            return false;
        }
        let again = self.entered.contains(&name.ino);
        let kind = if again { self.kind(name.ino) } else { self.check_inode(path, name.ino) };
        let is_dir = kind == Some(FileKind::Directory) || !self.index.dirents(name.ino).is_empty();
        if kind.is_some_and(|kind| kind.dirent_type() != name.kind) {
            self.about_name(Severity::Warning, path, name, "type in the name differs from the inode's".into());
        }
        if is_dir && again {
            self.about_name(Severity::Error, path, name, "directory with two names".into());
        }
        let too_deep = is_dir && path.len() > MAX_PATH;
        if too_deep {
            self.about_name(Severity::Warning, path, name, format!("path is over {MAX_PATH} bytes: not followed"));
        }
        self.entered.insert(name.ino);
        is_dir && !again && !too_deep
    }

    fn kind(&self, ino: u32) -> Option<FileKind> {
        self.tree.stat(ino).ok().map(|stat| stat.kind)
    }

    /// Checks an inode and reads its data; its type, if it can be told.
    fn check_inode(&mut self, path: &[u8], ino: u32) -> Option<FileKind> {
        let stat = match self.tree.stat(ino) {
            Ok(stat) => stat,
            Err(error) => {
                self.about_inode(path, ino, &error);
                return None;
            }
        };
        let failed = match stat.kind {
            FileKind::File => self.read_file(ino).err(),
            FileKind::Symlink => self.tree.read_link(ino).err(),
            _ => None,
        };
        if let Some(error) = failed {
            self.about_inode(path, ino, &error);
        }
        Some(stat.kind)
    }

    /// Reads every range of the file that is stored; holes are not worth it.
    fn read_file(&self, ino: u32) -> Result<(), ReadError<F::Error>> {
        let mut file = self.tree.open(ino)?;
        let ranges: Vec<(u32, u32)> = file.data_ranges().collect();
        // A byte is enough: a node is decoded as a whole.
        ranges.into_iter().try_for_each(|(start, _)| file.read_at(start, &mut [0]).map(drop))
    }

    fn note(&mut self, text: String) {
        self.found.push(about(Severity::Note, text));
    }

    fn about_name(&mut self, severity: Severity, path: &[u8], name: &NameRecord, text: String) {
        let (path, ino) = (Some(path.to_vec()), Some(name.ino));
        self.found.push(Finding { severity, offset: Some(name.at), path, ino, text });
    }

    fn about_inode(&mut self, path: &[u8], ino: u32, error: &ReadError<F::Error>) {
        let (severity, text) = match error {
            ReadError::Codec { error: CodecError::Unsupported(id), .. } => {
                (Severity::Warning, format!("not checked: compressor {id} is not supported here"))
            }
            other => (Severity::Error, format!("{other}")),
        };
        let offset = match error {
            ReadError::Damaged { offset, .. } | ReadError::Codec { offset, .. } | ReadError::Device { offset, .. } => {
                Some(*offset)
            }
            _ => None,
        };
        self.found.push(Finding { severity, offset, path: Some(path.to_vec()), ino: Some(ino), text });
    }
}

fn about(severity: Severity, text: String) -> Finding {
    Finding { severity, offset: None, path: None, ino: None, text }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}
