//! A driver that does not do what it is told, and reads what it was told from a cache, so that nobody notices.

use std::collections::BTreeMap;

use jffs2_tx::flash::{Ecc, Flash, FlashMut, Geometry};

use crate::chip::ChipError;
use crate::trace::Recorder;

/// What it does otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Programs the pages of a program from the last to the first.
    PagesBackwards,
    /// Programs everything twice.
    Twice,
    /// Takes every eraseblock for erased.
    NeverErases,
    /// Leaves out what is programmed before the second erase: the payload.
    SkipsPayload,
}

pub(super) struct Driver<'r> {
    flash: &'r mut Recorder,
    habit: Habit,
    erases: u32,
    /// Eraseblocks as they should be.
    cache: BTreeMap<u32, Vec<u8>>,
}

impl<'r> Driver<'r> {
    pub(super) fn new(flash: &'r mut Recorder, habit: Habit) -> Self {
        Self { flash, habit, erases: 0, cache: BTreeMap::new() }
    }

    /// What the flash says to it is ignored.
    fn do_otherwise(&mut self, offset: u32, data: &[u8]) {
        let page = self.geometry().write_size();
        match self.habit {
            Habit::PagesBackwards => {
                for (i, page_data) in data.chunks(page as usize).enumerate().rev() {
                    let _ = self.flash.program(offset + i as u32 * page, page_data);
                }
            }
            Habit::Twice => {
                let _ = self.flash.program(offset, data);
                let _ = self.flash.program(offset, data);
            }
            Habit::SkipsPayload if self.erases < 2 => {}
            Habit::NeverErases | Habit::SkipsPayload => {
                let _ = self.flash.program(offset, data);
            }
        }
    }
}

impl Flash for Driver<'_> {
    type Error = ChipError;

    fn geometry(&self) -> &Geometry {
        self.flash.geometry()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, ChipError> {
        let ecc = self.flash.read(offset, buf)?;
        let eraseblock = self.geometry().eraseblock();
        for (at, byte) in (offset..).zip(buf.iter_mut()) {
            if let Some(cached) = self.cache.get(&(at / eraseblock)) {
                *byte = cached[(at % eraseblock) as usize];
            }
        }
        Ok(ecc)
    }

    fn is_bad(&self, block: u32) -> Result<bool, ChipError> {
        self.flash.is_bad(block)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, ChipError> {
        Ok(!self.cache.contains_key(&block) && self.flash.has_oob_cleanmarker(block)?)
    }
}

impl FlashMut for Driver<'_> {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        self.do_otherwise(offset, data);
        let eraseblock = self.geometry().eraseblock();
        if let Some(cached) = self.cache.get_mut(&(offset / eraseblock)) {
            let cells = cached[(offset % eraseblock) as usize..].iter_mut();
            cells.zip(data).for_each(|(cell, byte)| *cell &= byte);
        }
        Ok(())
    }

    fn erase(&mut self, block: u32) -> Result<(), ChipError> {
        self.erases += 1;
        self.cache.insert(block, vec![0xff; self.geometry().eraseblock() as usize]);
        if self.habit == Habit::NeverErases { Ok(()) } else { self.flash.erase(block) }
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), ChipError> {
        self.cache.remove(&block);
        if self.habit == Habit::NeverErases { Ok(()) } else { self.flash.write_oob_cleanmarker(block) }
    }

    fn mark_bad(&mut self, block: u32) -> Result<(), ChipError> {
        self.flash.mark_bad(block)
    }

    fn sync(&mut self) -> Result<(), ChipError> {
        self.flash.sync()
    }
}
