//! A recovery that takes away what it should keep, shows what it should hide, or does not end.

use jffs2_tx::Index;
use jffs2_tx::flash::{Flash, FlashMut};
use jffs2_tx::log::{free_block, reusable};
use jffs2_tx::scan::Rules;
use jffs2_tx::tx::recover;
use jffs2_tx::wire::{Marker, MarkerKind};

use super::Mistake::{Recover, Trace};
use super::Plant;
use super::scene::{Act, NAND_REPLACED, NAND_SUMMARY, NOR_DIRENT, NOR_HEAD, Scene};
use crate::chip::is_blank;
use crate::harness::Done;
use crate::torture::Torture;
use crate::trace::{Op, Recorder};
use crate::update::Update;

/// The body of the commit block is written, its head is not.
const UNCOMMITTED: Scene = Scene { act: Act::Recovery(2), ..NOR_HEAD };
/// More operations than a recovery may take.
const NEVER: u32 = 1 << 20;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "hidden-erased-at-once",
        what: "recovery erases a hidden eraseblock without zeros over it: an erase that is cut shows half of it",
        scene: UNCOMMITTED,
        mistake: Trace(erased_at_once),
    },
    Plant {
        name: "recovery-erases-committed",
        what: "recovery erases the commit block of a committed transaction",
        scene: NOR_HEAD,
        mistake: Recover(|update, flash| erase_marked(update, flash, MarkerKind::Commit)),
    },
    Plant {
        name: "recovery-erases-payload",
        what: "recovery takes the payload of a committed transaction for a leftover",
        scene: NOR_DIRENT,
        mistake: Recover(|update, flash| erase_marked(update, flash, MarkerKind::Begin)),
    },
    Plant {
        name: "recovery-commits",
        what: "recovery seals a transaction that was not committed",
        scene: NOR_HEAD,
        mistake: Recover(commit),
    },
    Plant {
        name: "recovery-forgets-others",
        what: "recovery erases what only readers without summaries still need",
        scene: NAND_REPLACED,
        mistake: Recover(forget_others),
    },
    Plant {
        name: "recovery-marks-first",
        what: "recovery marks an eraseblock clean and erases it then",
        scene: NAND_SUMMARY,
        mistake: Recover(mark_first),
    },
    Plant {
        name: "recovery-always-erases",
        what: "recovery erases a free eraseblock every time: it has always something to do",
        scene: NOR_HEAD,
        mistake: Recover(|update, flash| {
            recover(flash, update.endian)?;
            erase_free(update, flash)
        }),
    },
    Plant {
        name: "recovery-never-ends",
        what: "recovery does the same over and over",
        scene: NAND_SUMMARY,
        mistake: Recover(|update, flash| (0..NEVER).try_for_each(|_| erase_free(update, flash))),
    },
    Plant {
        name: "recovery-gives-up",
        what: "recovery fails on a node that is torn",
        scene: NOR_HEAD,
        mistake: Recover(give_up),
    },
];

fn erased_at_once(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let is_zeros = |op: &Op| matches!(op, Op::Program { data, .. } if data.iter().all(|byte| *byte == 0));
    let before = ops.len();
    ops.retain(|op| !is_zeros(op));
    (ops.len() < before).then_some(())
}

/// Bytes of the eraseblocks that hold anything.
fn used(flash: &Recorder) -> Vec<(u32, Vec<u8>)> {
    let blocks = (0..flash.geometry().blocks()).map(|block| (block, flash.chip().block_data(block)));
    blocks.filter(|(_, cells)| !is_blank(cells)).map(|(block, cells)| (block, cells.to_vec())).collect()
}

/// Where the first marker of a kind stands in an eraseblock.
fn marker(update: &Update, cells: &[u8], kind: MarkerKind) -> Option<Marker> {
    let at = (0..cells.len()).step_by(4);
    at.filter_map(|at| Marker::parse(update.endian, &cells[at..]).ok()).find(|marker| marker.kind == kind)
}

fn erase_marked(update: &Update, flash: &mut Recorder, kind: MarkerKind) -> Done {
    for (block, cells) in used(flash) {
        if marker(update, &cells, kind).is_some() {
            free_block(flash, update.endian, block)?;
        }
    }
    Ok(recover(flash, update.endian).map(drop)?)
}

fn commit(update: &Update, flash: &mut Recorder) -> Done {
    for (block, cells) in used(flash) {
        let head = marker(update, &cells, MarkerKind::Commit).map(|marker| marker.head(update.endian));
        if let Some(head) = head.filter(|head| is_blank(&cells[..head.len()])) {
            flash.program(flash.geometry().offset_of(block), &head)?;
        }
    }
    Ok(recover(flash, update.endian).map(drop)?)
}

fn forget_others(update: &Update, flash: &mut Recorder) -> Done {
    let index = Index::open(flash, Rules { endian: update.endian, summaries: true })?;
    for (block, _) in used(flash) {
        if reusable(&index, block) {
            free_block(flash, update.endian, block)?;
        }
    }
    Ok(())
}

fn mark_first(update: &Update, flash: &mut Recorder) -> Done {
    let index = Index::open(flash, Rules { endian: update.endian, summaries: true })?;
    for (block, _) in used(flash) {
        if reusable(&index, block) {
            flash.write_oob_cleanmarker(block)?;
            flash.erase(block)?;
        }
    }
    Ok(())
}

fn give_up(update: &Update, flash: &mut Recorder) -> Done {
    let index = Index::open(flash, Rules { endian: update.endian, summaries: true })?;
    for (block, cells) in used(flash) {
        if reusable(&index, block) && marker(update, &cells, MarkerKind::Begin).is_none() {
            return Err(format!("eraseblock {block}: no begin marker").into());
        }
    }
    Ok(recover(flash, update.endian).map(drop)?)
}

/// Erases the highest eraseblock that nothing needs.
fn erase_free(update: &Update, flash: &mut Recorder) -> Done {
    let index = Index::open(flash, Rules { endian: update.endian, summaries: true })?;
    match (0..flash.geometry().blocks()).rev().find(|block| reusable(&index, *block)) {
        Some(block) => Ok(free_block(flash, update.endian, block)?),
        None => Ok(()),
    }
}
