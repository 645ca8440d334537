//! A device that goes away: no eraseblock is to blame for that.

use super::*;
use crate::flash::{Ecc, Flash, FlashMut, MemError};
use crate::log::WriteError;

/// Answers so many programs and erases, and none after them.
pub(super) struct Leaving {
    pub(super) flash: MemFlash,
    pub(super) left: u32,
    pub(super) marked: u32,
    pub(super) asked: u32,
    /// An eraseblock that cannot be erased.
    pub(super) stubborn: Option<u32>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum LeavingError {
    #[error("gone")]
    Gone,
    #[error("{0}")]
    Mem(MemError),
}

impl Leaving {
    pub(super) fn after(left: u32, flash: &MemFlash) -> Self {
        Self { flash: flash.clone(), left, marked: 0, asked: 0, stubborn: None }
    }

    fn step(&mut self) -> core::result::Result<(), LeavingError> {
        self.asked += u32::from(self.left == 0);
        self.left = self.left.checked_sub(1).ok_or(LeavingError::Gone)?;
        Ok(())
    }
}

impl Flash for Leaving {
    type Error = LeavingError;

    fn geometry(&self) -> &Geometry {
        self.flash.geometry()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> core::result::Result<Ecc, LeavingError> {
        self.flash.read(offset, buf).map_err(LeavingError::Mem)
    }

    fn is_bad(&self, block: u32) -> core::result::Result<bool, LeavingError> {
        self.flash.is_bad(block).map_err(LeavingError::Mem)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> core::result::Result<bool, LeavingError> {
        self.flash.has_oob_cleanmarker(block).map_err(LeavingError::Mem)
    }
}

impl FlashMut for Leaving {
    fn program(&mut self, offset: u32, data: &[u8]) -> core::result::Result<(), LeavingError> {
        self.step()?;
        self.flash.program(offset, data).map_err(LeavingError::Mem)
    }

    fn erase(&mut self, block: u32) -> core::result::Result<(), LeavingError> {
        self.step()?;
        if self.stubborn == Some(block) {
            return Err(LeavingError::Mem(MemError::Bad(block)));
        }
        self.flash.erase(block).map_err(LeavingError::Mem)
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> core::result::Result<(), LeavingError> {
        self.step()?;
        self.flash.write_oob_cleanmarker(block).map_err(LeavingError::Mem)
    }

    fn mark_bad(&mut self, _: u32) -> core::result::Result<(), LeavingError> {
        self.marked += 1;
        Ok(())
    }

    fn sync(&mut self) -> core::result::Result<(), LeavingError> {
        Ok(())
    }

    fn is_lasting(&self, error: &LeavingError) -> bool {
        *error == LeavingError::Gone
    }
}

/// Wherever it happens, the error is the device's, nothing is marked bad, and nothing is tried again in a row.
#[test]
fn it_ends_the_transaction() {
    for mut flash in flashes() {
        populate(&mut flash, Endian::Little);
        let before = list(&flash, rules(Endian::Little, true));
        for left in 0.. {
            let mut leaving = Leaving::after(left, &flash);
            let mut update = || {
                let mut tx = Transaction::begin(&mut leaving, Endian::Little, options(None, 2))?;
                tx.create_file(b"/etc/new", META, &noise(40_000, 1))?;
                tx.utimes(b"/", 7)?;
                tx.commit()
            };
            let outcome = update();
            assert_eq!(leaving.marked, 0);
            let after = list(&leaving.flash, rules(Endian::Little, true));
            match outcome {
                Ok(_) => break,
                Err(TxError::Uncertain { .. }) => {}
                Err(TxError::Write(WriteError::Device { error: LeavingError::Gone, .. })) => assert_eq!(after, before),
                Err(error) => panic!("after {left} operations: {error}"),
            }
            // The operation that met it, and one for each eraseblock to be given back.
            assert!(leaving.asked <= 8, "asked {} times after {left}", leaving.asked);
        }
    }
}
