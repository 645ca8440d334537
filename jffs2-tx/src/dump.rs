//! Everything that stands on the flash, byte for byte: nodes with what they are to readers, and what lies between.
//!
//! [`Dump::block`] reads an eraseblock, [`BlockDump::items`] is all of it: items follow each other without a gap, so
//! their lengths add up to the eraseblock's. Memory: one eraseblock and 4 bytes for each live node.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use crate::error::ReadError;
use crate::flash::Flash;
use crate::history::{TxState, transactions};
use crate::index::Index;
use crate::scan::{BlockScan, BlockState, scan_one};
use crate::wire::Endian;

mod items;
mod node;
mod space;

pub use items::{Item, Items};
pub use node::{DumpedNode, Fields, Standing};
pub use space::Space;

/// Reads eraseblocks to dump them.
#[derive(Debug)]
pub struct Dump<'a, F> {
    flash: &'a F,
    index: &'a Index,
    live: Vec<u32>,
    /// Transactions that readers see.
    in_effect: BTreeSet<[u8; 16]>,
}

/// One eraseblock.
#[derive(Debug)]
pub struct BlockDump<'a> {
    /// Index of the eraseblock.
    pub block: u32,
    /// What it is to the reader.
    pub state: BlockState,
    /// Its pages cannot all be corrected: what is shown is what was read.
    pub uncorrectable: bool,
    start: u32,
    endian: Endian,
    bytes: Vec<u8>,
    found: BlockScan,
    live: &'a [u32],
    /// It holds a marker of a transaction that was not committed.
    uncommitted: bool,
}

impl<'a, F: Flash> Dump<'a, F> {
    /// `flash` must hold what it held when `index` was made of it.
    ///
    /// # Errors
    /// [`ReadError::Device`].
    pub fn new(flash: &'a F, index: &'a Index) -> Result<Self, ReadError<F::Error>> {
        Ok(Self { flash, index, live: index.live_nodes(), in_effect: in_effect(flash, index)? })
    }

    /// Reads an eraseblock. The bytes of one that is marked bad are not looked at.
    ///
    /// # Errors
    /// [`ReadError::Device`].
    pub fn block(&self, block: u32) -> Result<BlockDump<'_>, ReadError<F::Error>> {
        let (geometry, rules) = (*self.flash.geometry(), self.index.rules());
        let start = geometry.offset_of(block);
        let mut bytes = vec![0xff; geometry.eraseblock() as usize];
        let found = scan_one(self.flash, rules, block, &mut bytes)?;
        let cut = |txid: &[u8; 16]| !self.in_effect.contains(txid);
        Ok(BlockDump {
            block,
            state: found.state,
            uncorrectable: found.uncorrectable,
            start,
            endian: rules.endian,
            bytes,
            live: &self.live,
            uncommitted: found.markers.iter().any(|record| cut(&record.marker.txid)),
            found,
        })
    }

    /// Reads eraseblocks one after the other; see [`Dump::block`].
    pub fn blocks(&self) -> impl Iterator<Item = Result<BlockDump<'_>, ReadError<F::Error>>> {
        (0..self.index.geometry().blocks()).map(|block| self.block(block))
    }
}

impl BlockDump<'_> {
    /// All that stands in it, ascending.
    #[must_use]
    pub fn items(&self) -> Items<'_> {
        Items::new(self)
    }
}

/// A transaction is in effect if readers see its commit, or if the tree needs a node of its payload: the kernel drops
/// commit markers when it cleans.
fn in_effect<F: Flash>(flash: &F, index: &Index) -> Result<BTreeSet<[u8; 16]>, ReadError<F::Error>> {
    let needed = |block: &u32| index.blocks().get(*block as usize).is_some_and(|info| info.live > 0);
    let all = transactions(flash, index)?;
    let seen = all.iter().filter(|tx| tx.state != TxState::Leftover || tx.payload_blocks.iter().any(needed));
    Ok(seen.map(|tx| tx.fields().txid).collect())
}
