//! A transaction on a simulated flash: the chip before it and after it, and what was done in between.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use jffs2_mkimage::{Options, build};
use jffs2_tx::flash::{Flash, FlashKind, FlashMut};
use jffs2_tx::source::SourceTree;
use jffs2_tx::tx::recover;
use jffs2_tx::wire::{Cleanmarker, CommitPoint};
use jffs2_tx::{Endian, TxOptions};
use nandsim::{
    ByReader, Chip, Expected, Judge, Recorder, Rules, Sample, Snapshot, Standard, Trace, Update, Viewer, sample,
    sample_small_change,
};

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
    /// What commits it.
    pub point: CommitPoint,
    update: Update,
}

/// What a device does with a state that a power cut left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Recovery.
    Recovery,
    /// The update, without a recovery before it.
    Update,
}

impl Scene {
    /// Updates nandsim's sample to its new tree; with a smaller change where one dirent must do.
    pub fn of_sample(device: Device, point: CommitPoint, summaries: bool) -> Result<Self> {
        let Sample { old, new } = sample_for(point);
        Self::of(device, point, summaries, &old, &new)
    }

    /// Likewise, on a flash that keeps the rules of a part.
    pub fn of_sample_by(device: Device, point: CommitPoint, rules: impl FnOnce(&mut Rules)) -> Result<Self> {
        let Sample { old, new } = sample_for(point);
        let geometry = device.geometry()?;
        let mut of_part = Rules::of(&geometry);
        rules(&mut of_part);
        Self::on(flashed(Chip::with_rules(geometry, of_part, 0), device, &old, false)?, point, &new)
    }

    /// Updates one tree to another, in one transaction.
    pub fn of(device: Device, point: CommitPoint, summaries: bool, old: &SourceTree, new: &SourceTree) -> Result<Self> {
        Self::on(chip_with(device, old, summaries)?, point, new)
    }

    fn on(before: Chip, point: CommitPoint, new: &SourceTree) -> Result<Self> {
        let options =
            TxOptions { label: format!("by {point}"), commit_point: Some(point), txid: [7; 16], ..Default::default() };
        let update = Update::new(Endian::Little, new.clone(), options);
        let mut flash = Recorder::new(before.clone());
        update.apply(&mut flash, 0)?;
        let (after, trace) = flash.into_parts();
        Ok(Self { before, after, trace, point, update })
    }

    /// What is done to the flash in a state that a power cut left.
    pub fn again(&self, chip: &Chip, again: Again) -> Result<Trace> {
        let mut flash = Recorder::new(chip.clone());
        match again {
            Again::Recovery => recover(&mut flash, self.update.endian).map(|_| ())?,
            Again::Update => self.update.apply(&mut flash, 1).map(|_| ())?,
        }
        Ok(flash.into_parts().1)
    }

    /// Who says what the library's readers and boot firmware see of its states.
    pub fn judge(&self) -> Result<Judge> {
        let endian = self.update.endian;
        let mut viewer = Viewer::new(self.before.geometry(), endian);
        let mut trees = |chip: &Chip| -> Result<ByReader<Snapshot>> {
            let views = viewer.views(chip);
            let tree = |view: &Result<Snapshot, _>| view.as_ref().cloned().map_err(|error| anyhow!("{error}"));
            let (with_summaries, without_summaries) = (tree(&views.with_summaries)?, tree(&views.without_summaries)?);
            Ok(ByReader { with_summaries, without_summaries })
        };
        let (old, new) = (trees(&self.before)?, trees(&self.after)?.with_summaries);
        let library = old.map(|old| Expected { old, new: new.clone() });
        let standard = Standard::new(&self.before, &self.after, endian, self.point, library, None)?;
        Ok(Judge::new(Arc::new(standard)))
    }
}

fn sample_for(point: CommitPoint) -> Sample {
    match point {
        CommitPoint::Dirent => sample_small_change(),
        CommitPoint::Head | CommitPoint::Summary => sample(),
    }
}

/// A chip with the image of a tree. Of the eraseblocks behind it every second one has a cleanmarker on NOR, all of
/// them on NAND.
pub fn chip_with(device: Device, tree: &SourceTree, summaries: bool) -> Result<Chip> {
    flashed(Chip::new(device.geometry()?, 0), device, tree, summaries)
}

fn flashed(erased: Chip, device: Device, tree: &SourceTree, summaries: bool) -> Result<Chip> {
    let geometry = *erased.geometry();
    let is_nor = geometry.kind() == FlashKind::Nor;
    let options =
        Options { eraseblock: device.block_size(), cleanmarkers: is_nor, summary: summaries, ..Default::default() };
    let mut image = Vec::new();
    build(tree, &options, &mut image)?;
    let mut chip = erased.programmed(&image)?;
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
