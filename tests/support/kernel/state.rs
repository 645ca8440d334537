//! What a flash holds, eraseblock by eraseblock, with equal eraseblocks shared between states.

use std::sync::Arc;

use super::{Device, Error};

/// The cleanmarker that jffs2 keeps in the spare area of a NAND eraseblock's first page.
pub const NAND_CLEANMARKER: [u8; 8] = [0x85, 0x19, 0x03, 0x20, 0x08, 0x00, 0x00, 0x00];

/// What one eraseblock holds. The default is an erased one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Block {
    /// The bytes from the eraseblock's start; what is missing at its end is erased. On NAND, pages that are all 0xFF
    /// are left unprogrammed.
    pub data: Vec<u8>,
    /// NAND only: what the free part of the first page's spare area begins with, such as [`NAND_CLEANMARKER`].
    pub oob: Vec<u8>,
    /// NAND only: whether the eraseblock is marked bad.
    pub bad: bool,
    /// NAND only: pages that the error correction must give up on; their bytes read as they are all the same.
    pub unreadable: Vec<u32>,
}

impl Block {
    /// A block with this content.
    pub fn new(data: Vec<u8>) -> Self {
        Self { data, ..Self::default() }
    }

    /// A marked bad block.
    pub fn bad() -> Self {
        Self { bad: true, ..Self::default() }
    }

    /// The same block with a cleanmarker in its spare area.
    #[must_use]
    pub fn with_cleanmarker(self) -> Self {
        Self { oob: NAND_CLEANMARKER.to_vec(), ..self }
    }
}

/// What the whole flash holds. Clones are cheap: they share the eraseblocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(super) device: Device,
    pub(super) blocks: Vec<Arc<Block>>,
}

impl State {
    /// An erased flash.
    pub fn erased(device: Device) -> Self {
        let block = Arc::new(Block::default());
        Self { device, blocks: vec![block; device.blocks() as usize] }
    }

    /// A flash that begins with the bytes of an image and is erased behind it.
    pub fn from_image(device: Device, image: &[u8]) -> Result<Self, Error> {
        Self::erased(device).changed_to(image)
    }

    /// The same flash with other bytes in it: eraseblocks that hold them already stay shared. Spare areas, bad and
    /// unreadable marks stay. What the image doesn't reach is erased.
    pub fn changed_to(&self, image: &[u8]) -> Result<Self, Error> {
        let block_size = self.device.block_size() as usize;
        if image.len() > self.blocks.len() * block_size {
            return Err(Error::Geometry(format!(
                "an image of {} bytes is too large for {:?}",
                image.len(),
                self.device
            )));
        }
        let contents = image.chunks(block_size).chain(std::iter::repeat(&[][..])).map(trim);
        let blocks = self.blocks.iter().zip(contents).map(|(block, data)| {
            if trim(&block.data) == data {
                block.clone()
            } else {
                Arc::new(Block { data: data.to_vec(), ..(**block).clone() })
            }
        });
        Ok(Self { device: self.device, blocks: blocks.collect() })
    }

    /// The same flash but for one eraseblock.
    ///
    /// # Panics
    ///
    /// If the device has no such eraseblock.
    #[must_use]
    pub fn with(&self, index: u32, block: Block) -> Self {
        let mut state = self.clone();
        state.blocks[index as usize] = Arc::new(block);
        state
    }

    /// The same flash with a cleanmarker in the spare area of every good eraseblock, as a NAND flash is erased for jffs2.
    /// A NOR flash has its cleanmarkers in the data and stays as it is.
    #[must_use]
    pub fn with_cleanmarkers(&self) -> Self {
        let nand = self.device.page_size().is_some();
        let mark = |block: &Arc<Block>| {
            if block.bad || !nand { block.clone() } else { Arc::new((**block).clone().with_cleanmarker()) }
        };
        Self { device: self.device, blocks: self.blocks.iter().map(mark).collect() }
    }

    /// The eraseblock at an index.
    pub fn block(&self, index: u32) -> Option<&Block> {
        self.blocks.get(index as usize).map(|block| &**block)
    }
}

/// The bytes without what is erased at their end.
pub(super) fn trim(data: &[u8]) -> &[u8] {
    let end = data.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1);
    &data[..end]
}
