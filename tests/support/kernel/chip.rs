//! From the chips of this project's simulator to states that the kernel can judge.

use std::collections::HashMap;
use std::sync::Arc;

use jffs2_tx::flash::{Ecc, Flash, FlashKind, Geometry, GeometryError};
use nandsim::{Chip, ContentId, OobState};

use super::state::trim;
use super::{Block, Device, NAND_CLEANMARKER, State};

impl Device {
    /// The device's geometry as the library has it.
    pub fn geometry(self) -> Result<Geometry, GeometryError> {
        let (kind, write_size) = match self.page_size() {
            Some(page_size) => (FlashKind::Nand, page_size),
            None => (FlashKind::Nor, 1),
        };
        Geometry::new(kind, u64::from(self.blocks()) * u64::from(self.block_size()), self.block_size(), write_size)
    }
}

/// Makes states of chips of one device. Eraseblocks of equal content are converted once and shared.
#[derive(Debug)]
pub struct States {
    device: Device,
    known: HashMap<ContentId, Arc<Block>>,
}

impl States {
    /// For chips with the geometry of this device.
    pub fn new(device: Device) -> Self {
        Self { device, known: HashMap::new() }
    }

    /// The state of a chip. What the kernel's simulators don't know is lost: which pages are programmed though they
    /// read blank, and that an eraseblock is weak.
    pub fn of(&mut self, chip: &Chip) -> State {
        let blocks = (0..self.device.blocks()).map(|index| self.block(chip, index)).collect();
        State { device: self.device, blocks }
    }

    fn block(&mut self, chip: &Chip, index: u32) -> Arc<Block> {
        self.known.entry(chip.block_id(index)).or_insert_with(|| Arc::new(block(chip, index))).clone()
    }
}

fn block(chip: &Chip, index: u32) -> Block {
    Block {
        data: trim(chip.block_data(index)).to_vec(),
        oob: match chip.oob(index) {
            OobState::Blank => Vec::new(),
            OobState::Cleanmarker => NAND_CLEANMARKER.to_vec(),
            OobState::Dirty => NAND_CLEANMARKER[..3].to_vec(),
        },
        bad: chip.is_bad(index).unwrap_or(true),
        unreadable: unreadable(chip, index),
    }
}

fn unreadable(chip: &Chip, index: u32) -> Vec<u32> {
    let geometry = chip.geometry();
    if geometry.kind() == FlashKind::Nor {
        return Vec::new();
    }
    let page_size = geometry.write_size();
    let reads = |page: &u32| chip.read(geometry.offset_of(index) + page * page_size, &mut [0]);
    (0..geometry.eraseblock() / page_size).filter(|page| reads(page) == Ok(Ecc::Uncorrectable)).collect()
}
