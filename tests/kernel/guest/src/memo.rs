//! Digests of files, remembered with the content: to compare bytes is much faster, under emulation, than SHA-256, and
//! most files are the same from case to case.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use kernel_guest::listing::{self, Entry};

/// How many bytes of files are remembered.
const CAPACITY: usize = 160 << 20;
/// How many contents of one path are remembered: an update has an old and a new one, a power cut may leave others.
const VARIANTS: usize = 4;

/// What the files held when they were last read, by path.
#[derive(Default)]
pub(crate) struct Memo {
    files: HashMap<PathBuf, VecDeque<Known>>,
    held: usize,
}

struct Known {
    content: Vec<u8>,
    digest: [u8; 32],
}

impl Memo {
    /// Lists a tree; every byte of it is read.
    pub(crate) fn walk(&mut self, root: &Path) -> Result<Vec<Entry>> {
        Ok(listing::walk_with(root, &mut |path| self.digest(path))?)
    }

    fn digest(&mut self, path: &Path) -> io::Result<[u8; 32]> {
        let content = fs::read(path)?;
        let mut known = self.files.get(path).into_iter().flatten();
        if let Some(known) = known.find(|known| known.content == content) {
            return Ok(known.digest);
        }
        let digest = listing::content_digest(&content);
        self.remember(path, Known { content, digest });
        Ok(digest)
    }

    fn remember(&mut self, path: &Path, known: Known) {
        if self.held + known.content.len() > CAPACITY {
            *self = Self::default();
        }
        self.held += known.content.len();
        let variants = self.files.entry(path.to_owned()).or_default();
        variants.push_back(known);
        if variants.len() > VARIANTS {
            let oldest = variants.pop_front();
            self.held -= oldest.map_or(0, |known| known.content.len());
        }
    }
}
