//! A flash state as each reader sees it. Eraseblocks and files that were read before are not read again.

use std::sync::Arc;

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::{Flash, FlashKind, Geometry};
use jffs2_tx::index::IndexBuilder;
use jffs2_tx::scan::{BlockScan, BlockState, Rules, incompatible, scan_one};
use jffs2_tx::wire::Endian;

use crate::cache::Cache;
use crate::chip::{Chip, ChipError, OobState};
use crate::content::ContentId;
use crate::reader::ByReader;
use crate::snapshot::{Contents, Snapshot, SnapshotError};

/// Scans that are kept for each eraseblock.
const KNOWN_SCANS: usize = 8;

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
    scans: Cache<(u32, ContentId), ByReader<Arc<BlockScan>>>,
    contents: Contents,
    buf: Vec<u8>,
}

impl Viewer {
    /// For chips of one geometry.
    #[must_use]
    pub fn new(geometry: &Geometry, endian: Endian) -> Self {
        Self {
            rules: ByReader::rules(endian),
            scans: Cache::new(KNOWN_SCANS * geometry.blocks() as usize),
            contents: Contents::default(),
            buf: vec![0; geometry.eraseblock() as usize],
        }
    }

    /// What each reader sees.
    pub fn views(&mut self, chip: &Chip) -> ByReader<Arc<View>> {
        let blocks =
            match (0..chip.geometry().blocks()).map(|block| self.scan(chip, block)).collect::<Result<Vec<_>, _>>() {
                Ok(blocks) => blocks,
                Err(error) => {
                    let failed = Arc::new(Err(error.into()));
                    return ByReader { with_summaries: Arc::clone(&failed), without_summaries: failed };
                }
            };
        let rules = self.rules;
        let with = blocks.iter().map(|scans| &*scans.with_summaries);
        let with_summaries = Arc::new(self.view(chip, rules.with_summaries, with));
        // Readers differ only about eraseblocks with a valid summary.
        let alike = blocks.iter().all(|scans| Arc::ptr_eq(&scans.with_summaries, &scans.without_summaries));
        let without = blocks.iter().map(|scans| &*scans.without_summaries);
        let without_summaries = match alike {
            true => Arc::clone(&with_summaries),
            false => Arc::new(self.view(chip, rules.without_summaries, without)),
        };
        ByReader { with_summaries, without_summaries }
    }

    fn view<'s>(&mut self, chip: &Chip, rules: Rules, blocks: impl Iterator<Item = &'s BlockScan>) -> View {
        let mut builder = IndexBuilder::new(*chip.geometry(), rules);
        for (block, scan) in (0..).zip(blocks) {
            if let Some(node) = incompatible(scan) {
                return Err(ReadError::Incompatible { offset: node.at, nodetype: node.nodetype }.into());
            }
            if is_overwritable(chip, block, scan) {
                return Err(ViewError::Overwritable { block });
            }
            builder.add(scan);
        }
        Ok(Snapshot::of_chip(chip, &builder.finish(), &mut self.contents)?)
    }

    fn scan(&mut self, chip: &Chip, block: u32) -> Result<ByReader<Arc<BlockScan>>, ReadError<ChipError>> {
        let key = (block, chip.block_id(block));
        if let Some(known) = self.scans.get(&key) {
            return Ok(known);
        }
        let with_summaries = Arc::new(scan_one(chip, self.rules.with_summaries, block, &mut self.buf)?);
        let without_summaries = match with_summaries.by_summary {
            true => Arc::new(scan_one(chip, self.rules.without_summaries, block, &mut self.buf)?),
            false => Arc::clone(&with_summaries),
        };
        let scans = ByReader { with_summaries, without_summaries };
        self.scans.insert(key, scans.clone());
        Ok(scans)
    }
}

/// Whether Linux would take an eraseblock for clean and free that is not blank.
fn is_overwritable(chip: &Chip, block: u32, scan: &BlockScan) -> bool {
    scan.state == BlockState::Hidden
        && match chip.geometry().kind() {
            FlashKind::Nand => scan.head_blank && chip.oob(block) == OobState::Cleanmarker,
            // Hidden behind no blank head: behind a cleanmarker.
            FlashKind::Nor => !scan.head_blank,
        }
}
