//! One eraseblock: its cells, and what error correction and the OOB area add to them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use jffs2_tx::flash::{Ecc, FlashKind, Geometry};

use super::Rules;
use super::scans::Scans;
use crate::content::{ContentId, Hasher};

/// What the OOB area of a NAND eraseblock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OobState {
    /// Nothing.
    Blank,
    /// A whole cleanmarker.
    Cleanmarker,
    /// Part of one: no reader takes it for a cleanmarker, and it cannot be written again before an erase.
    Dirty,
}

/// A unit that error correction covers: a NAND page or a part of one, or a write unit of NOR with ECC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Programmed since the last erase, even if it still reads blank.
    pub(crate) programmed: bool,
    /// What a read reports.
    pub(crate) ecc: Ecc,
}

const BLANK_UNIT: Unit = Unit { programmed: false, ecc: Ecc::Clean };

/// An eraseblock.
#[derive(Debug)]
pub(crate) struct Block {
    /// Zeros where cells are unstable.
    pub(super) data: Vec<u8>,
    /// Bits that differ from read to read; empty if there are none.
    pub(super) unstable: Vec<u8>,
    /// Empty where cells may be programmed again and again: see [`Geometry::can_overwrite`].
    pub(super) units: Vec<Unit>,
    /// NAND: how often each page was programmed since the last complete erase.
    page_programs: Vec<u8>,
    pub(crate) oob: OobState,
    pub(crate) bad: bool,
    /// An interrupted erase left the cells weak: what is programmed does not all stick.
    pub(crate) weak: bool,
    /// A program or an erase failed; all further ones fail, too.
    pub(crate) broken: bool,
    pub(super) id: OnceLock<ContentId>,
    pub(super) scans: Scans,
    programmed: OnceLock<Programmed>,
}

/// What a program made of a copy.
#[derive(Debug)]
struct Programmed {
    start: usize,
    data: Vec<u8>,
    block: Arc<Block>,
}

impl Clone for Block {
    /// A copy is made to be changed, so what is known of the content is not copied.
    fn clone(&self) -> Self {
        let (data, units, page_programs) = (self.data.clone(), self.units.clone(), self.page_programs.clone());
        let unstable = self.unstable.clone();
        let (id, scans, programmed) = (OnceLock::new(), Scans::default(), OnceLock::new());
        Self { data, unstable, units, page_programs, id, scans, programmed, ..*self }
    }
}

impl Block {
    pub(crate) fn erased(geometry: &Geometry, rules: &Rules) -> Self {
        let len = geometry.eraseblock() as usize;
        let units = if geometry.can_overwrite() { 0 } else { len / rules.program_unit as usize };
        let pages = if geometry.kind() == FlashKind::Nor { 0 } else { len / geometry.write_size() as usize };
        Self {
            data: vec![0xff; len],
            unstable: Vec::new(),
            units: vec![BLANK_UNIT; units],
            page_programs: vec![0; pages],
            oob: OobState::Blank,
            bad: false,
            weak: false,
            broken: false,
            id: OnceLock::new(),
            scans: Scans::default(),
            programmed: OnceLock::new(),
        }
    }

    /// What a program makes of it that does all that it should. The first one is remembered: a recovery does the same to the
    /// same eraseblocks, whatever the state of the others.
    pub(super) fn with_programmed(&self, start: usize, data: &[u8]) -> Arc<Self> {
        let make = || {
            let mut block = self.clone();
            block.program(start, data, data);
            Arc::new(block)
        };
        let first = self.programmed.get_or_init(|| Programmed { start, data: data.to_vec(), block: make() });
        if first.start == start && first.data == data { Arc::clone(&first.block) } else { make() }
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// The units that bytes from `start` on are in; none where units are not kept.
    pub(crate) fn units(&self, start: usize, len: usize) -> &[Unit] {
        &self.units[covered(self.data.len(), self.units.len(), start, len)]
    }

    /// NAND: how often the pages that bytes from `start` on are in were programmed since the last complete erase.
    pub(crate) fn page_programs(&self, start: usize, len: usize) -> &[u8] {
        &self.page_programs[covered(self.data.len(), self.page_programs.len(), start, len)]
    }

    /// Replaces what the OOB area holds; `counts` as a program of the first page.
    pub(crate) fn write_oob(&mut self, oob: OobState, counts: bool) {
        self.changed();
        self.oob = oob;
        if let (true, Some(programs)) = (counts, self.page_programs.first_mut()) {
            *programs = programs.saturating_add(1);
        }
    }

    /// What error correction gives up on.
    pub(crate) fn unreadable(&self) -> Vec<Range<usize>> {
        let units = self.units.iter().enumerate().filter(|(_, unit)| unit.ecc == Ecc::Uncorrectable);
        units.map(|(i, _)| i * self.unit_len()..(i + 1) * self.unit_len()).collect()
    }

    /// The last unit that is programmed.
    pub(crate) fn last_programmed(&self) -> Option<usize> {
        self.units.iter().rposition(|unit| unit.programmed)
    }

    /// Clears the bits that are zero in `actual`, of which `wanted` has no more; a unit that did not become what was
    /// wanted is uncorrectable, unless nothing of it is to be seen. `start` and length are whole units.
    pub(crate) fn program(&mut self, start: usize, wanted: &[u8], actual: &[u8]) {
        self.changed();
        self.settle(start, actual.iter().copied());
        let cells = &mut self.data[start..start + actual.len()];
        for (cell, new) in cells.iter_mut().zip(actual) {
            *cell &= new;
        }
        let pages = covered(self.data.len(), self.page_programs.len(), start, actual.len());
        self.page_programs[pages].iter_mut().for_each(|programs| *programs = programs.saturating_add(1));
        if self.units.is_empty() {
            return;
        }
        let len = self.unit_len();
        for (i, wanted) in wanted.chunks(len).enumerate() {
            let cells = &self.data[start + i * len..][..len];
            let looks_right = cells == wanted || is_blank(cells);
            let ecc = if looks_right { Ecc::Clean } else { Ecc::Uncorrectable };
            self.units[start / len + i] = Unit { programmed: true, ecc };
        }
    }

    /// Replaces the cells, as an interrupted erase does. Units that changed are uncorrectable, unless they read blank.
    pub(crate) fn set_cells(&mut self, cells: Vec<u8>) {
        self.changed();
        let before = std::mem::replace(&mut self.data, cells);
        let kept: Vec<u8> = before.iter().zip(&self.data).map(|(old, new)| !(old ^ new)).collect();
        self.settle(0, kept.into_iter());
        if self.units.is_empty() {
            return;
        }
        let len = self.unit_len();
        for ((unit, old), new) in self.units.iter_mut().zip(before.chunks(len)).zip(self.data.chunks(len)) {
            if is_blank(new) {
                *unit = BLANK_UNIT;
            } else if old != new {
                *unit = Unit { programmed: true, ecc: Ecc::Uncorrectable };
            }
        }
    }

    /// Sets what reads of the units report that bytes from `start` on are in.
    pub(crate) fn set_ecc(&mut self, start: usize, len: usize, ecc: Ecc) {
        self.changed();
        let units = covered(self.data.len(), self.units.len(), start, len);
        self.units[units].iter_mut().for_each(|unit| unit.ecc = ecc);
    }

    /// To change it: what is known of the content is forgotten.
    pub(crate) fn changed(&mut self) -> &mut Self {
        (self.id, self.programmed) = (OnceLock::new(), OnceLock::new());
        self
    }

    /// Identifies all that a reader or writer could tell apart; wear is not part of it.
    pub(crate) fn id(&self) -> ContentId {
        *self.id.get_or_init(|| {
            let mut hasher = Hasher::new();
            hasher.update(&self.data);
            if self.is_unstable() {
                hasher.update(&self.unstable);
            }
            let units: Vec<u8> =
                self.units.iter().map(|unit| u8::from(unit.programmed) | (unit.ecc as u8) << 1).collect();
            hasher.update(&units);
            hasher.update(&self.page_programs);
            hasher.update(&[self.oob as u8, u8::from(self.bad), u8::from(self.weak), u8::from(self.broken)]);
            hasher.finish()
        })
    }

    /// Bytes; only where units are kept.
    pub(super) fn unit_len(&self) -> usize {
        self.data.len() / self.units.len().max(1)
    }
}

/// Of `parts` equal parts of `whole` bytes, those that `len` bytes from `start` on are in.
fn covered(whole: usize, parts: usize, start: usize, len: usize) -> Range<usize> {
    if parts == 0 || len == 0 {
        return 0..0;
    }
    let part = whole / parts;
    start / part..(start + len - 1) / part + 1
}

/// Whether all bits are ones.
pub(crate) fn is_blank(cells: &[u8]) -> bool {
    cells.iter().all(|&byte| byte == 0xff)
}
