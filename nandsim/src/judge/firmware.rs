//! What each firmware makes of a flash state. Eraseblocks and trees that were looked at before are not looked at again.

use std::hash::Hash;
use std::sync::Arc;

use super::fit::Fit;
use super::seen::FirmwareSeen;
use super::standard::{ByFirmware, Standard};
use crate::cache::Cache;
use crate::chip::{Block, Chip};
use crate::content::{ContentId, Hasher};
use crate::firmware::{Contents, Firmware, FirmwareError, Part, Scan};
use crate::reader::ByReader;
use crate::verdict::Verdict;

/// Scans that are kept beside one for each eraseblock. They hold what is in the nodes.
const MORE_SCANS: usize = 64;
/// Trees of each firmware whose fit is kept.
const KNOWN_FITS: usize = 1 << 12;

/// The eyes of all firmware.
#[derive(Debug)]
pub(super) struct FirmwareJudge {
    standard: Arc<Standard>,
    /// By an eraseblock's id, and the id of the one that is read before it where that matters.
    scans: Cache<(ContentId, Option<ContentId>), Arc<Scans>>,
    /// By the ids of what is visible in each eraseblock.
    fits: Cache<(Firmware, ContentId), Arc<Fit>>,
    contents: [Contents; Firmware::ALL.len()],
    buf: Vec<u8>,
}

/// An eraseblock as each firmware sees it.
#[derive(Debug)]
struct Scans {
    /// It has pages that cannot be read: U-Boot then sees what it has read before.
    needs_before: bool,
    each: [Result<Scanned, FirmwareError>; Firmware::ALL.len()],
}

#[derive(Clone, Debug)]
struct Scanned {
    scan: Arc<Scan>,
    /// Identifies what is visible.
    id: ContentId,
}

impl FirmwareJudge {
    pub(super) fn new(standard: Arc<Standard>) -> Self {
        let blocks = standard.geometry.blocks() as usize;
        let (scans, fits) = (Cache::new(blocks + MORE_SCANS), Cache::new(KNOWN_FITS));
        Self { standard, scans, fits, contents: Default::default(), buf: Vec::new() }
    }

    /// What each firmware sees, where the library's readers see `library`.
    pub(super) fn seen(&mut self, chip: &Chip, library: &ByReader<Verdict>) -> Vec<FirmwareSeen> {
        let blocks = self.scans(chip);
        let unreadable = blocks.iter().any(|block| block.needs_before);
        let standard = Arc::clone(&self.standard);
        let fits = standard.firmware.iter().map(|wanted| (wanted.firmware, self.fit(wanted, &blocks)));
        fits.map(|(firmware, fit)| fit.seen(firmware, library, unreadable)).collect()
    }

    fn scans(&mut self, chip: &Chip) -> Vec<Arc<Scans>> {
        let mut before = None;
        let good = chip.good_blocks().map(|(_, block)| self.scans_of(block, before.replace(block)));
        good.collect()
    }

    fn scans_of(&mut self, block: &Block, before: Option<&Block>) -> Arc<Scans> {
        let id = (block.id(), None);
        let behind = (block.id(), Some(before.map_or(ContentId(0), Block::id)));
        let known = match self.scans.get(&id) {
            Some(scans) if scans.needs_before => self.scans.get(&behind),
            known => known,
        };
        known.unwrap_or_else(|| {
            let scans = Arc::new(self.scan(block, before));
            if scans.needs_before {
                self.scans.insert(behind, Arc::clone(&scans));
            }
            self.scans.insert(id, Arc::clone(&scans));
            scans
        })
    }

    fn scan(&mut self, block: &Block, before: Option<&Block>) -> Scans {
        let part = Part::of(&self.standard.geometry, self.standard.endian);
        let (raw, before) = (block.raw(), before.map_or(&[][..], Block::data));
        let mut known: Vec<Scanned> = Vec::new();
        let each = Firmware::scan_by_each(&part, &raw, before).map(|scan| {
            let scan = scan?;
            if let Some(same) = known.iter().find(|known| Arc::ptr_eq(&known.scan, &scan)) {
                return Ok(same.clone());
            }
            let scanned = Scanned { id: visible(&scan, &mut self.buf), scan };
            known.push(scanned.clone());
            Ok(scanned)
        });
        Scans { needs_before: !raw.unreadable.is_empty(), each }
    }

    fn fit(&mut self, wanted: &ByFirmware, blocks: &[Arc<Scans>]) -> Arc<Fit> {
        let mut hasher = Hasher::new();
        let mut scans = Vec::with_capacity(blocks.len());
        for block in blocks {
            match &block.each[wanted.firmware as usize] {
                Ok(scanned) => {
                    hasher.update(&scanned.id.0.to_le_bytes());
                    scans.push(&*scanned.scan);
                }
                Err(error) => return Arc::new(Fit::Fails(error.clone())),
            }
        }
        let key = (wanted.firmware, hasher.finish());
        self.fits.get(&key).unwrap_or_else(|| {
            let torn_names = scans.iter().any(|scan| scan.has_torn_names());
            let files = wanted.firmware.files(scans.into_iter());
            let contents = &mut self.contents[wanted.firmware as usize];
            let fit = Arc::new(Fit::of(wanted, &files, contents, torn_names));
            self.fits.insert(key, Arc::clone(&fit));
            fit
        })
    }
}

/// Gathers what is hashed.
struct Gathered<'b>(&'b mut Vec<u8>);

impl std::hash::Hasher for Gathered<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Not asked for.
    fn finish(&self) -> u64 {
        0
    }
}

fn visible(scan: &Scan, buf: &mut Vec<u8>) -> ContentId {
    buf.clear();
    scan.hash(&mut Gathered(buf));
    let mut hasher = Hasher::new();
    hasher.update(buf);
    hasher.finish()
}
