//! A transaction on a simulated flash: the chip before it and after it, and what was done in between.

use anyhow::Result;
use jffs2_mkimage::{Options, build};
use jffs2_tx::flash::{FlashKind, FlashMut};
use jffs2_tx::source::SourceTree;
use jffs2_tx::wire::{Cleanmarker, CommitPoint};
use jffs2_tx::{Endian, Transaction, TxOptions};
use nandsim::{Chip, Recorder, Sample, Trace, sample, sample_small_change};

use crate::kernel::Device;

/// A transaction that was committed.
#[derive(Debug)]
pub struct Scene {
    /// Before it.
    pub before: Chip,
    /// After it.
    pub after: Chip,
    /// What led there.
    pub trace: Trace,
}

impl Scene {
    /// Updates nandsim's sample to its new tree; with a smaller change where one dirent must do.
    pub fn of_sample(device: Device, point: CommitPoint, summaries: bool) -> Result<Self> {
        let Sample { old, new } = match point {
            CommitPoint::Dirent => sample_small_change(),
            CommitPoint::Head | CommitPoint::Summary => sample(),
        };
        Self::of(device, point, summaries, &old, &new)
    }

    /// Updates one tree to another, in one transaction.
    pub fn of(device: Device, point: CommitPoint, summaries: bool, old: &SourceTree, new: &SourceTree) -> Result<Self> {
        let before = chip_with(device, old, summaries)?;
        let mut flash = Recorder::new(before.clone());
        let options =
            TxOptions { label: format!("by {point}"), commit_point: Some(point), txid: [7; 16], ..Default::default() };
        let mut tx = Transaction::begin(&mut flash, Endian::Little, options)?;
        tx.replace_tree(new, &mut |_, _| {})?;
        tx.commit()?;
        let (after, trace) = flash.into_parts();
        Ok(Self { before, after, trace })
    }
}

/// A chip with the image of a tree. Of the eraseblocks behind it every second one has a cleanmarker on NOR, all of
/// them on NAND.
pub fn chip_with(device: Device, tree: &SourceTree, summaries: bool) -> Result<Chip> {
    let geometry = device.geometry()?;
    let is_nor = geometry.kind() == FlashKind::Nor;
    let options =
        Options { eraseblock: device.block_size(), cleanmarkers: is_nor, summary: summaries, ..Default::default() };
    let mut image = Vec::new();
    build(tree, &options, &mut image)?;
    let mut chip = Chip::with_image(geometry, 0, &image)?;
    let mut marker = Vec::new();
    Cleanmarker::emit(Endian::Little, &mut marker, geometry.cleanmarker_size());
    for block in (image.len() as u32).div_ceil(device.block_size())..geometry.blocks() {
        if !is_nor {
            chip.write_oob_cleanmarker(block)?;
        } else if block % 2 == 0 {
            chip.program(geometry.offset_of(block), &marker)?;
        }
    }
    Ok(chip)
}
