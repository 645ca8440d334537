//! Inode numbers to paths.

use std::collections::HashMap;

use jffs2_tx::index::{Index, ROOT};
use jffs2_tx::scan::Rules;
use jffs2_tx::tree::{Tree, show_path};
use jffs2_tx::wire::Endian;

use crate::chip::Chip;

/// What inodes are called, as far as one of some flash states tells.
#[derive(Clone, Debug, Default)]
pub struct Names {
    paths: HashMap<u32, String>,
}

impl Names {
    /// The names in several states; the first that names an inode counts, and of its names the first of a walk. States
    /// that cannot be read say nothing.
    #[must_use]
    pub fn of(states: &[&Chip], endian: Endian) -> Self {
        let mut paths = HashMap::new();
        for &chip in states {
            let Ok(index) = Index::open(chip, Rules { endian, summaries: true }) else { continue };
            for step in Tree::new(chip, &index).walk(ROOT) {
                paths.entry(step.ino).or_insert_with(|| shown(&step.path));
            }
        }
        Self { paths }
    }

    /// Path of an inode, or its number.
    #[must_use]
    pub fn path(&self, ino: u32) -> String {
        self.paths.get(&ino).cloned().unwrap_or_else(|| format!("#{ino}"))
    }

    /// Path of a name in a directory.
    #[must_use]
    pub fn child(&self, pino: u32, name: &[u8]) -> String {
        let dir = self.path(pino);
        format!("{}/{}", dir.trim_end_matches('/'), name.escape_ascii())
    }
}

fn shown(path: &[u8]) -> String {
    let path = show_path(path);
    if path.starts_with('/') { path } else { format!("/{path}") }
}
