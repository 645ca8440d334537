//! A flash that has been in use: updates, some of them cut and done again, and between them what a kernel does.

use std::collections::BTreeSet;
use std::io;

use jffs2_tx::flash::{Flash, FlashMut};
use jffs2_tx::index::{Index, ROOT};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::scan::{BlockState, Rules};
use jffs2_tx::source::SourceTree;
use jffs2_tx::tree::Tree;
use jffs2_tx::tx::{GcOptions, TxOptions, gc, recover};
use jffs2_tx::wire::{Compression, Endian, Inode, emit_padding};

use super::changes::{changes, with_changes};
use crate::chip::Chip;
use crate::cut::{Walker, cuts_sampled};
use crate::harness::{Done, Workload};
use crate::rng::Rng;
use crate::trace::Recorder;
use crate::update::Update;

/// Cuts that one is picked from.
const CUTS: usize = 200;
/// Inodes that the kernel writes to between two updates, at most.
const TOUCHED: u64 = 6;

/// What a flash goes through before the update under test.
pub(super) struct History<'t> {
    pub(super) endian: Endian,
    pub(super) old: &'t SourceTree,
    pub(super) new: &'t SourceTree,
    pub(super) updates: u32,
    pub(super) seed: u64,
}

impl History<'_> {
    /// Lives through it. The tree is another one then. Each update makes some of the changes from the old tree to the new one.
    pub(super) fn of(&self, mut chip: Chip) -> io::Result<Chip> {
        let all = changes(self.old, self.new)?.len() as u64;
        for number in 0..self.updates {
            let mut rng = Rng::keyed(&[self.seed, u64::from(number), u64::from_le_bytes(*b"history ")]);
            let some: BTreeSet<usize> = (0..all).filter(|_| rng.below(2) == 0).map(|number| number as usize).collect();
            let options = TxOptions { label: format!("{number}"), txid: [number as u8; 16], ..TxOptions::default() };
            let tree = with_changes(self.old, self.new, &some)?;
            let update = Update::new(self.endian, tree, options);
            chip = updated(chip, &update, &mut rng);
            chip = used(chip, &update, &mut rng);
        }
        chip.take_violation();
        Ok(chip)
    }
}

/// The update done, perhaps after one that was cut; and, if there is no room, after a collection, or not at all.
fn updated(chip: Chip, update: &Update, rng: &mut Rng) -> Chip {
    let chip = match rng.below(3) {
        0 => cut(chip, update, rng),
        _ => chip,
    };
    done(chip.clone(), |flash| update.run(flash, 1)).unwrap_or_else(|| {
        let collected = collected(chip, update.endian);
        done(collected.clone(), |flash| update.run(flash, 2)).unwrap_or(collected)
    })
}

/// What a power cut leaves of an update; half of them are recovered from.
fn cut(chip: Chip, update: &Update, rng: &mut Rng) -> Chip {
    let mut recorder = Recorder::new(chip.clone());
    if update.run(&mut recorder, 0).is_err() {
        return chip;
    }
    let (_, trace) = recorder.into_parts();
    let cuts = cuts_sampled(&trace, CUTS, rng.next_u64());
    let cut = cuts[rng.below(cuts.len() as u64) as usize];
    let torn = Walker::new(chip.clone(), &trace, rng.next_u64(), std::iter::once(cut)).last();
    let torn = torn.map_or(chip, |(_, torn)| torn);
    match rng.below(2) {
        0 => torn,
        _ => done(torn.clone(), |flash| Ok(recover(flash, update.endian).map(drop)?)).unwrap_or(torn),
    }
}

fn collected(chip: Chip, endian: Endian) -> Chip {
    let collect = |flash: &mut Recorder| Ok(gc(flash, endian, &GcOptions::default(), &mut |_, _| {}).map(drop)?);
    done(chip.clone(), collect).unwrap_or(chip)
}

/// The chip after an act that succeeds.
fn done(chip: Chip, act: impl FnOnce(&mut Recorder) -> Done) -> Option<Chip> {
    let mut recorder = Recorder::new(chip);
    act(&mut recorder).ok().map(|()| recorder.into_parts().0)
}

/// A mount for writing: leftovers go, free eraseblocks are marked clean, the times of some inodes change; now and then it
/// collects garbage.
fn used(chip: Chip, update: &Update, rng: &mut Rng) -> Chip {
    let chip = done(chip.clone(), |flash| update.recover(flash)).unwrap_or(chip);
    let mut chip = done(chip.clone(), |flash| update.settle(flash)).unwrap_or(chip);
    for _ in 0..rng.below(TOUCHED) {
        // Where there is no room for a node it is not written.
        let _ = touch(&mut chip, update.endian, rng);
    }
    match rng.below(4) {
        0 => collected(chip, update.endian),
        _ => chip,
    }
}

/// Gives an inode another modification time, as the kernel does: a node without data, behind the last one of an eraseblock
/// that has room.
fn touch(chip: &mut Chip, endian: Endian, rng: &mut Rng) -> Option<()> {
    let index = Index::open(chip, Rules { endian, summaries: true }).ok()?;
    let tree = Tree::new(chip, &index);
    let inodes: Vec<u32> = tree.walk(ROOT).map(|step| step.ino).collect();
    let ino = inodes[rng.below(inodes.len() as u64) as usize];
    let newest = index.latest(ino)?;
    let stat = tree.stat(ino).ok()?;
    if !matches!(stat.kind, FileKind::File | FileKind::Directory) {
        return None;
    }
    let geometry = *chip.geometry();
    let unit = geometry.write_size().max(4);
    let mut node = Vec::new();
    let fields = Inode {
        ino,
        version: index.max_version(ino).checked_add(1)?,
        mode: newest.mode.into(),
        uid: stat.meta.uid,
        gid: stat.meta.gid,
        isize: stat.size,
        atime: stat.atime,
        mtime: rng.below(1 << 31) as u32,
        ctime: 0,
        offset: 0,
        csize: 0,
        dsize: 0,
        compression: Compression::None,
        data_crc: 0,
    };
    fields.emit(endian, &mut node, &[]);
    let pad = node.len().next_multiple_of(unit as usize) - node.len();
    emit_padding(endian, &mut node, pad as u32);
    let at = room(&index, chip, unit, node.len() as u32)?;
    chip.program(at, &node).ok()
}

/// Where a node can be written: behind what is programmed in an eraseblock whose nodes are visible. The chip refuses pages
/// that are programmed and read blank.
fn room(index: &Index, chip: &Chip, unit: u32, len: u32) -> Option<u32> {
    let geometry = chip.geometry();
    let blocks = index.blocks().iter().enumerate().filter(|(_, info)| info.state == BlockState::Used);
    blocks.map(|(block, _)| block as u32).find_map(|block| {
        let written = chip.block_data(block).iter().rposition(|cell| *cell != 0xff)? as u32 + 1;
        let at = written.next_multiple_of(unit);
        (at + len <= geometry.eraseblock()).then_some(geometry.offset_of(block) + at)
    })
}
