//! A simulated NOR or NAND chip that enforces the rules of programming and erasing.
//!
//! - A program only clears bits, in whole write units, within one eraseblock.
//! - NAND: pages in ascending order, each at most once between erases; bad eraseblocks are left alone; the OOB area takes
//!   one cleanmarker before the first page. NOR with ECC (write units above 4 bytes): each unit once, in any order.
//!   [`Rules`] says where a part is more generous or stricter.
//! - An eraseblock whose erase was interrupted is weak: later programs lose bits until it is erased completely.
//! - Cells may be unstable where an operation was interrupted: they read differently from read to read, until they are programmed or
//!   erased completely.
//!
//! Eraseblocks are shared between copies of a chip until one changes them, so copies are cheap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jffs2_tx::flash::{Ecc, Flash, FlashKind, FlashMut, Geometry};
use jffs2_tx::scan::{self, BlockScan, scan_one};

use crate::content::{ContentId, Hasher};
use crate::fault::{Fault, FaultKind, Plan};
use crate::rng::Rng;

mod block;
mod error;
mod rules;
mod scans;
#[cfg(test)]
mod tests;
mod unstable;

pub use block::OobState;
pub(crate) use block::{Block, is_blank};
pub use error::ChipError;
pub use rules::{Pairing, Rules};
use unstable::Moment;

/// About one bit in 2^5 does not stick in a weak eraseblock, or where a program loses bits.
const LOST_BITS_RARITY: u32 = 5;

/// A simulated chip.
#[derive(Debug)]
pub struct Chip {
    geometry: Geometry,
    rules: Rules,
    blocks: Vec<Arc<Block>>,
    /// What an erase makes of any of them.
    erased: Arc<Block>,
    /// How often each was erased.
    erases: Vec<u32>,
    seed: u64,
    plan: Plan,
    counters: Counters,
    reads: AtomicU64,
    power_up: u64,
    /// Reads of eraseblocks with unstable cells since then. Others are kept, and not read each time: see [`Scans`](scans::Scans).
    unstable_reads: AtomicU64,
    violation: Option<ChipError>,
}

/// What a chip has done since it was made, its copies' ancestors included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Programs.
    pub programs: u64,
    /// Bytes that they programmed.
    pub programmed_bytes: u64,
    /// Erases.
    pub erases: u64,
    /// Reads.
    pub reads: u64,
}

impl Clone for Chip {
    fn clone(&self) -> Self {
        Self {
            blocks: self.blocks.clone(),
            erased: Arc::clone(&self.erased),
            erases: self.erases.clone(),
            plan: self.plan.clone(),
            reads: AtomicU64::new(self.reads.load(Ordering::Relaxed)),
            unstable_reads: AtomicU64::new(self.unstable_reads.load(Ordering::Relaxed)),
            ..*self
        }
    }
}

impl Chip {
    /// An erased chip. `seed` picks the bits that faults and weak cells lose.
    #[must_use]
    pub fn new(geometry: Geometry, seed: u64) -> Self {
        Self::with_rules(geometry, Rules::of(&geometry), seed)
    }

    /// An erased chip that keeps the rules of a part.
    #[must_use]
    pub fn with_rules(geometry: Geometry, rules: Rules, seed: u64) -> Self {
        let erased = Arc::new(Block::erased(&geometry, &rules));
        Self {
            geometry,
            rules,
            blocks: vec![Arc::clone(&erased); geometry.blocks() as usize],
            erased,
            erases: vec![0; geometry.blocks() as usize],
            seed,
            plan: Plan::default(),
            counters: Counters::default(),
            reads: AtomicU64::new(0),
            power_up: 0,
            unstable_reads: AtomicU64::new(0),
            violation: None,
        }
    }

    /// A chip onto which `image` was programmed; NAND without cleanmarkers, pages that are blank in the image left out.
    ///
    /// # Errors
    /// [`ChipError::Range`] if the image is longer than the chip.
    pub fn with_image(geometry: Geometry, seed: u64, image: &[u8]) -> Result<Self, ChipError> {
        Self::new(geometry, seed).programmed(image)
    }

    /// This chip, if it is erased, with `image` on it as [`with_image`](Self::with_image) puts it there.
    ///
    /// # Errors
    /// [`ChipError::Range`] if the image is longer than the chip.
    pub fn programmed(mut self, image: &[u8]) -> Result<Self, ChipError> {
        let geometry = self.geometry;
        if image.len() > geometry.size() as usize {
            return Err(ChipError::Range { offset: 0, len: image.len() });
        }
        let page_len = if geometry.can_overwrite() { 256 } else { geometry.write_size() as usize };
        for (block, cells) in image.chunks(geometry.eraseblock() as usize).enumerate() {
            for (i, page) in cells.chunks(page_len).enumerate().filter(|(_, page)| !is_blank(page)) {
                let mut page = page.to_vec();
                page.resize(page_len, 0xff);
                self.block_mut(block as u32).program(i * page_len, &page, &page);
            }
        }
        Ok(self)
    }

    /// What it allows.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Picks the bits that faults and weak cells lose.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Lets NAND pages be programmed in any order, as some SLC parts do.
    pub fn allow_any_page_order(&mut self) {
        self.rules.any_page_order = true;
    }

    /// Plans a fault, counted from the operations done so far.
    pub fn plan(&mut self, fault: Fault) {
        self.plan.add(fault);
    }

    /// Faults that are planned do not come.
    pub fn forget_plan(&mut self) {
        self.plan = Plan::default();
    }

    /// Makes reads of the page that holds `offset` report `ecc`. Does nothing on NOR without ECC, or outside the chip.
    pub fn set_ecc(&mut self, offset: u32, ecc: Ecc) {
        if offset < self.geometry.size() {
            let start = offset % self.geometry.eraseblock();
            self.block_mut(self.geometry.block_of(offset)).set_ecc(start as usize, 1, ecc);
        }
    }

    /// The same chip when its power comes on for the `n`-th time: unstable cells read in another way.
    #[must_use]
    pub fn powered_up(&self, n: u64) -> Self {
        Self { power_up: n, unstable_reads: AtomicU64::new(0), ..self.clone() }
    }

    /// The chip as a reader sees it that now reads everything once: unstable cells are what they read as. To look at,
    /// whatever the order of reads, and not to go on with: what programs and erases would do to those cells is lost.
    #[must_use]
    pub fn as_read(&self) -> Self {
        let mut seen = self.clone();
        let read = self.unstable_reads.load(Ordering::Relaxed);
        for (index, block) in (0..).zip(&mut seen.blocks).filter(|(_, block)| block.is_unstable()) {
            *block = Arc::new(block.as_read(self.moment(index, read)));
        }
        seen
    }

    /// Whether any cells are unstable: equal ids do not promise equal reads then, unless the power has just come on.
    #[must_use]
    pub fn is_unstable(&self) -> bool {
        self.blocks.iter().any(|block| block.is_unstable())
    }

    /// Whether there are eraseblocks in which every program and erase fails, and that are not marked bad.
    #[must_use]
    pub fn has_broken_blocks(&self) -> bool {
        self.blocks.iter().any(|block| block.broken && !block.bad)
    }

    fn moment(&self, block: u32, read: u64) -> Moment {
        Moment { seed: self.seed, block, power_up: self.power_up, read }
    }

    /// The cells of an eraseblock, without a copy, unstable ones as zeros; nothing for one outside the chip.
    #[must_use]
    pub fn block_data(&self, block: u32) -> &[u8] {
        self.blocks.get(block as usize).map_or(&[], |block| block.data())
    }

    /// An eraseblock, marked bad or not.
    pub(crate) fn block(&self, block: u32) -> Option<&Block> {
        self.blocks.get(block as usize).map(|block| &**block)
    }

    /// Eraseblocks that are not marked bad, with their indexes.
    pub(crate) fn good_blocks(&self) -> impl Iterator<Item = (u32, &Block)> {
        (0..).zip(&self.blocks).filter(|(_, block)| !block.bad).map(|(i, block)| (i, &**block))
    }

    /// All cells, unstable ones as zeros.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|block| block.data()).copied().collect()
    }

    /// What the OOB area of an eraseblock holds; blank for one outside the chip.
    #[must_use]
    pub fn oob(&self, block: u32) -> OobState {
        self.blocks.get(block as usize).map_or(OobState::Blank, |block| block.oob)
    }

    /// How often an eraseblock was erased, interrupted erases included.
    #[must_use]
    pub fn erase_count(&self, block: u32) -> u32 {
        self.erases.get(block as usize).copied().unwrap_or(0)
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { reads: self.reads.load(Ordering::Relaxed), ..self.counters }
    }

    /// The last program, erase or the like that broke a rule since this was asked for. Callers may take a refusal for a
    /// fault of the device and go on; whoever tests them wants to know.
    pub fn take_violation(&mut self) -> Option<ChipError> {
        self.violation.take()
    }

    fn noted(&mut self, result: Result<(), ChipError>) -> Result<(), ChipError> {
        self.violation = result.err().filter(ChipError::is_violation).or(self.violation);
        result
    }

    /// Identifies an eraseblock's content, ECC, OOB and health, and the power-up where cells are unstable: equal ids behave
    /// alike. Computed once per content. The id of nothing for an eraseblock outside the chip.
    #[must_use]
    pub fn block_id(&self, block: u32) -> ContentId {
        self.blocks.get(block as usize).map_or(Hasher::new().finish(), |block| self.id_now(block))
    }

    fn id_now(&self, block: &Block) -> ContentId {
        if !block.is_unstable() {
            return block.id();
        }
        let mut hasher = Hasher::new();
        hasher.update(&block.id().0.to_le_bytes());
        hasher.update(&self.power_up.to_le_bytes());
        hasher.finish()
    }

    /// Identifies the content of the whole chip.
    #[must_use]
    pub fn content_id(&self) -> ContentId {
        let mut hasher = Hasher::new();
        for block in &self.blocks {
            hasher.update(&self.id_now(block).0.to_le_bytes());
        }
        hasher.finish()
    }

    /// Counts an erase that was interrupted.
    pub(crate) fn count_erase(&mut self, block: u32) {
        self.erases[block as usize] += 1;
    }

    /// For interrupted operations, which keep no rules. `block` is one of the chip's.
    pub(crate) fn block_mut(&mut self, block: u32) -> &mut Block {
        Arc::make_mut(&mut self.blocks[block as usize])
    }

    /// Eraseblock and start within it of bytes that stay within one.
    fn locate(&self, offset: u32, len: usize) -> Result<(u32, usize), ChipError> {
        let start = (offset % self.geometry.eraseblock()) as usize;
        let fits = offset < self.geometry.size() && len <= self.geometry.eraseblock() as usize - start;
        if fits { Ok((self.geometry.block_of(offset), start)) } else { Err(ChipError::Range { offset, len }) }
    }

    fn good(&self, block: u32) -> Result<&Block, ChipError> {
        match self.blocks.get(block as usize) {
            Some(good) if !good.bad => Ok(good),
            Some(_) => Err(ChipError::Bad(block)),
            None => Err(ChipError::Range { offset: self.geometry.size(), len: 0 }),
        }
    }

    /// Whether the rules allow a program; where.
    fn check_program(&self, offset: u32, data: &[u8]) -> Result<(u32, usize), ChipError> {
        let (unit, page) = (self.rules.program_unit, self.geometry.write_size() as usize);
        if !offset.is_multiple_of(unit) || !data.len().is_multiple_of(unit as usize) {
            return Err(ChipError::Range { offset, len: data.len() });
        }
        let (index, start) = self.locate(offset, data.len())?;
        let block = self.good(index)?;
        if let Some(i) = block.units(start, data.len()).iter().position(|unit| unit.programmed) {
            return Err(ChipError::Reprogram { offset: offset + i as u32 * unit });
        }
        if self.geometry.kind() == FlashKind::Nand {
            let in_order = block.last_programmed().is_none_or(|last| last * unit as usize / page <= start / page);
            if !self.rules.any_page_order && !in_order {
                return Err(ChipError::PageOrder { offset });
            }
            let limit = self.rules.page_programs;
            if let Some(full) = block.page_programs(start, data.len()).iter().position(|&programs| programs >= limit) {
                let offset = (offset as usize / page + full) * page;
                return Err(ChipError::PagePrograms { offset: offset as u32, limit });
            }
        }
        match block.programmable(start, data.len()).zip(data).position(|(cell, new)| cell & new != *new) {
            Some(at) => Err(ChipError::Overwrite { offset: offset + at as u32 }),
            None => Ok((index, start)),
        }
    }

    /// `data` with some of the bits that it clears left alone.
    fn with_lost_bits(&self, block: u32, data: &[u8]) -> Vec<u8> {
        let mut lost = vec![0; data.len()];
        Rng::keyed(&[self.seed, u64::from(block), self.counters.programs]).fill_sparse(&mut lost, LOST_BITS_RARITY);
        data.iter().zip(lost).map(|(byte, lost)| byte | lost).collect()
    }
}

impl Flash for Chip {
    type Error = ChipError;

    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, ChipError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let size = self.geometry.size() as usize;
        if offset as usize > size || buf.len() > size - offset as usize {
            return Err(ChipError::Range { offset, len: buf.len() });
        }
        let eraseblock = self.geometry.eraseblock() as usize;
        let (mut at, mut rest, mut worst) = (offset as usize, buf, Ecc::Clean);
        while !rest.is_empty() {
            let (index, start) = (at / eraseblock, at % eraseblock);
            let len = rest.len().min(eraseblock - start);
            let (part, more) = rest.split_at_mut(len);
            let block = &self.blocks[index];
            let read = if block.is_unstable() { self.unstable_reads.fetch_add(1, Ordering::Relaxed) } else { 0 };
            worst = worst.max(block.read(start, part, self.moment(index as u32, read)));
            (at, rest) = (at + len, more);
        }
        Ok(worst)
    }

    fn is_bad(&self, block: u32) -> Result<bool, ChipError> {
        match self.good(block) {
            Ok(_) => Ok(false),
            Err(ChipError::Bad(_)) => Ok(true),
            Err(e) => Err(e),
        }
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, ChipError> {
        Ok(self.oob(block) == OobState::Cleanmarker)
    }

    fn known_scan(&self, rules: scan::Rules, block: u32) -> Option<Arc<BlockScan>> {
        let content = self.blocks.get(block as usize).filter(|content| !content.is_unstable())?;
        content.scans.get(scans::Key { content: content.id(), block, rules }, || {
            scan_one(self, rules, block, &mut vec![0; self.geometry.eraseblock() as usize]).ok()
        })
    }
}

impl Chip {
    fn try_program(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        let (index, start) = self.check_program(offset, data)?;
        self.counters.programs += 1;
        self.counters.programmed_bytes += data.len() as u64;
        let fault = match self.plan.strike_program() {
            None if self.blocks[index as usize].broken => Some(FaultKind::ProgramFails),
            None if self.blocks[index as usize].weak => Some(FaultKind::ProgramLosesBits),
            fault => fault,
        };
        match fault {
            None => self.program_whole(index, start, data),
            Some(FaultKind::ProgramIgnored | FaultKind::WriteProtect) => {}
            Some(kind) => {
                let actual = self.with_lost_bits(index, data);
                self.block_mut(index).program(start, data, &actual);
                if kind == FaultKind::ProgramFails {
                    self.block_mut(index).changed().broken = true;
                    return Err(ChipError::ProgramFailed { offset });
                }
            }
        }
        Ok(())
    }

    fn program_whole(&mut self, index: u32, start: usize, data: &[u8]) {
        let block = &mut self.blocks[index as usize];
        // The cleanmarker, or zeros over what is of no use.
        let is_usual = Arc::ptr_eq(block, &self.erased) || data.iter().all(|byte| *byte == 0);
        match Arc::get_mut(block) {
            None if is_usual => *block = block.with_programmed(start, data),
            _ => Arc::make_mut(block).program(start, data, data),
        }
    }

    fn try_erase(&mut self, block: u32) -> Result<(), ChipError> {
        let broken = self.good(block)?.broken;
        self.counters.erases += 1;
        match self.plan.strike_erase() {
            Some(FaultKind::EraseIgnored | FaultKind::WriteProtect) => Ok(()),
            fault if broken || fault.is_some() => {
                self.block_mut(block).changed().broken = true;
                Err(ChipError::EraseFailed(block))
            }
            _ => {
                self.blocks[block as usize] = Arc::clone(&self.erased);
                self.erases[block as usize] += 1;
                Ok(())
            }
        }
    }

    fn try_write_oob_cleanmarker(&mut self, block: u32) -> Result<(), ChipError> {
        let good = self.good(block)?;
        if self.geometry.kind() == FlashKind::Nor {
            return Ok(());
        }
        if self.plan.is_write_protected() {
            return Ok(());
        }
        if good.oob != OobState::Blank || good.units(0, 1).iter().any(|unit| unit.programmed) {
            return Err(ChipError::NotErased(block));
        }
        // 8 bytes seldom all stick in weak cells.
        let written = if good.weak { OobState::Dirty } else { OobState::Cleanmarker };
        let counts = self.rules.oob_counts;
        self.block_mut(block).write_oob(written, counts);
        Ok(())
    }

    fn try_mark_bad(&mut self, block: u32) -> Result<(), ChipError> {
        self.good(block)?;
        if self.geometry.kind() == FlashKind::Nand && !self.plan.is_write_protected() {
            self.block_mut(block).changed().bad = true;
        }
        Ok(())
    }
}

impl FlashMut for Chip {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        let result = self.try_program(offset, data);
        self.noted(result)
    }

    fn erase(&mut self, block: u32) -> Result<(), ChipError> {
        let result = self.try_erase(block);
        self.noted(result)
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), ChipError> {
        let result = self.try_write_oob_cleanmarker(block);
        self.noted(result)
    }

    fn mark_bad(&mut self, block: u32) -> Result<(), ChipError> {
        let result = self.try_mark_bad(block);
        self.noted(result)
    }

    fn sync(&mut self) -> Result<(), ChipError> {
        Ok(())
    }
}
