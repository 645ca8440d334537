//! A flash state as each reader sees it. Eraseblocks and files that were read before are not read again.

use std::sync::Arc;

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::{Flash, FlashKind, Geometry};
use jffs2_tx::index::IndexBuilder;
use jffs2_tx::scan::{BlockScan, BlockState, Rules, incompatible, scan_one};
use jffs2_tx::wire::{DIRENT_SIZE, Endian, INODE_SIZE};

use crate::cache::Cache;
use crate::chip::{Chip, ChipError, OobState};
use crate::content::{ContentId, Hasher};
use crate::reader::ByReader;
use crate::snapshot::{Contents, Snapshot, SnapshotError};

/// Scans that are kept for each eraseblock.
const KNOWN_SCANS: usize = 8;
/// Trees that are kept.
const KNOWN_VIEWS: usize = 64;

/// Why a reader sees no tree, or one that cannot last.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A name leads to something unreadable.
    #[error(transparent)]
    Name(#[from] SnapshotError),
    /// The mount fails.
    #[error("mount fails: {0}")]
    Mount(#[from] ReadError<ChipError>),
    /// Linux would write over what stands there.
    #[error("eraseblock {block} passes for clean and free, but is written to: the kernel would write over it")]
    Overwritable {
        /// Index of the eraseblock.
        block: u32,
    },
}

/// The tree, or why there is none.
pub type View = Result<Snapshot, ViewError>;

/// Looks at flash states through the eyes of both readers.
#[derive(Debug)]
pub struct Viewer {
    rules: ByReader<Rules>,
    scans: Cache<(u32, ContentId), ByReader<Arc<Scanned>>>,
    views: Cache<ContentId, Arc<View>>,
    contents: Contents,
    buf: Vec<u8>,
}

/// An eraseblock as one reader sees it.
#[derive(Debug)]
struct Scanned {
    found: Arc<BlockScan>,
    /// Identifies its visible nodes, their bytes included. A tree depends on nothing else.
    visible: ContentId,
}

impl Viewer {
    /// For chips of one geometry.
    #[must_use]
    pub fn new(geometry: &Geometry, endian: Endian) -> Self {
        Self {
            rules: ByReader::rules(endian),
            scans: Cache::new(KNOWN_SCANS * geometry.blocks() as usize),
            views: Cache::new(KNOWN_VIEWS),
            contents: Contents::default(),
            buf: vec![0; geometry.eraseblock() as usize],
        }
    }

    /// What each reader sees.
    pub fn views(&mut self, chip: &Chip) -> ByReader<Arc<View>> {
        let scanned: Result<Vec<_>, _> = (0..chip.geometry().blocks()).map(|block| self.scan(chip, block)).collect();
        match scanned {
            Ok(blocks) => ByReader {
                with_summaries: self.view(chip, self.rules.with_summaries, &blocks, |by| &by.with_summaries),
                without_summaries: self.view(chip, self.rules.without_summaries, &blocks, |by| &by.without_summaries),
            },
            Err(error) => {
                let failed = Arc::new(Err(error.into()));
                ByReader { with_summaries: Arc::clone(&failed), without_summaries: failed }
            }
        }
    }

    fn view(
        &mut self,
        chip: &Chip,
        rules: Rules,
        blocks: &[ByReader<Arc<Scanned>>],
        of_reader: impl Fn(&ByReader<Arc<Scanned>>) -> &Scanned,
    ) -> Arc<View> {
        let mut visible = Hasher::new();
        for (block, scanned) in (0..).zip(blocks.iter().map(&of_reader)) {
            if let Some(error) = refusal(chip, block, &scanned.found) {
                return Arc::new(Err(error));
            }
            visible.update(&scanned.visible.0.to_le_bytes());
        }
        let id = visible.finish();
        self.views.get(&id).unwrap_or_else(|| {
            let mut builder = IndexBuilder::new(*chip.geometry(), rules);
            blocks.iter().map(of_reader).for_each(|scanned| builder.add(&scanned.found));
            let view = Snapshot::of_chip(chip, &builder.finish(), &mut self.contents).map_err(ViewError::from);
            let view = Arc::new(view);
            self.views.insert(id, Arc::clone(&view));
            view
        })
    }

    fn scan(&mut self, chip: &Chip, block: u32) -> Result<ByReader<Arc<Scanned>>, ReadError<ChipError>> {
        let key = (block, chip.block_id(block));
        if let Some(known) = self.scans.get(&key) {
            return Ok(known);
        }
        let with_summaries = self.scan_by(chip, self.rules.with_summaries, block)?;
        // Readers differ only about eraseblocks with a valid summary.
        let without_summaries = match with_summaries.found.by_summary {
            true => self.scan_by(chip, self.rules.without_summaries, block)?,
            false => Arc::clone(&with_summaries),
        };
        let scans = ByReader { with_summaries, without_summaries };
        self.scans.insert(key, scans.clone());
        Ok(scans)
    }

    fn scan_by(&mut self, chip: &Chip, rules: Rules, block: u32) -> Result<Arc<Scanned>, ReadError<ChipError>> {
        // The chip keeps scans of what reads the same each time: recoveries need them, too.
        let (found, bytes) = match chip.known_scan(rules, block) {
            Some(found) => (found, chip.block_data(block)),
            None => (Arc::new(scan_one(chip, rules, block, &mut self.buf)?), &self.buf[..]),
        };
        let visible = visible(&found, chip.geometry().offset_of(block), bytes);
        Ok(Arc::new(Scanned { found, visible }))
    }
}

fn visible(found: &BlockScan, start: u32, bytes: &[u8]) -> ContentId {
    let mut hasher = Hasher::new();
    let mut add = |at: u32, len: usize| {
        hasher.update(&at.to_le_bytes());
        hasher.update(&bytes[(at - start) as usize..][..len]);
    };
    for dirent in &found.dirents {
        add(dirent.at, DIRENT_SIZE + usize::from(dirent.name_len));
    }
    for node in &found.inodes {
        // Nobody reads the data of a node in which it is bad.
        add(node.at, INODE_SIZE + if node.good { node.csize as usize } else { 0 });
    }
    hasher.finish()
}

/// Why the reader gets no tree at all, or the kernel would spoil it.
fn refusal(chip: &Chip, block: u32, found: &BlockScan) -> Option<ViewError> {
    if let Some(node) = incompatible(found) {
        return Some(ReadError::Incompatible { offset: node.at, nodetype: node.nodetype }.into());
    }
    is_overwritable(chip, block, found).then_some(ViewError::Overwritable { block })
}

/// Whether Linux would take an eraseblock for clean and free that is not blank.
fn is_overwritable(chip: &Chip, block: u32, found: &BlockScan) -> bool {
    found.state == BlockState::Hidden
        && match chip.geometry().kind() {
            FlashKind::Nand => found.head_blank && chip.oob(block) == OobState::Cleanmarker,
            // Hidden behind no blank head: behind a cleanmarker.
            FlashKind::Nor => !found.head_blank,
        }
}
