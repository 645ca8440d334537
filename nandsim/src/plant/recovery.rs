//! A recovery that takes away what it should keep.

use jffs2_tx::wire::{Marker, MarkerKind, nodetype};

use super::Plant;
use super::edit::Cells;
use super::scene::{Act, NOR_DIRENT, NOR_HEAD, Scene};
use crate::torture::Torture;
use crate::trace::Op;

/// The body of the commit block is written, its head is not.
const UNCOMMITTED: Scene = Scene { act: Act::Recovery(2), ..NOR_HEAD };

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "hidden-erased-at-once",
        what: "recovery erases a hidden eraseblock without zeros over it: an erase that is cut shows half of it",
        scene: UNCOMMITTED,
        change: erased_at_once,
    },
    Plant {
        name: "committed-erased",
        what: "recovery erases the commit block of a head commit that is not sealed",
        scene: Scene { act: Act::Recovery(1), ..NOR_HEAD },
        change: |torture| erase_marked(torture, MarkerKind::Commit),
    },
    Plant {
        name: "payload-erased",
        what: "recovery takes the payload of a committed transaction for dead",
        scene: Scene { act: Act::Recovery(1), ..NOR_DIRENT },
        change: |torture| erase_marked(torture, MarkerKind::Begin),
    },
];

fn erased_at_once(torture: &mut Torture) -> Option<()> {
    let ops = &mut torture.trace.ops;
    let is_zeros = |op: &Op| matches!(op, Op::Program { data, .. } if data.iter().all(|byte| *byte == 0));
    let before = ops.len();
    ops.retain(|op| !is_zeros(op));
    (ops.len() < before).then_some(())
}

/// Erases the eraseblock that holds a marker of that kind at the end.
fn erase_marked(torture: &mut Torture, kind: MarkerKind) -> Option<()> {
    let geometry = torture.trace.geometry;
    let endian = torture.update.endian;
    let before = Cells::before(torture);
    let mut markers = before.of_type(nodetype::TX_MARKER);
    let (at, _) = markers.find(|(_, node)| Marker::parse(endian, node).is_ok_and(|marker| marker.kind == kind))?;
    torture.trace.ops.extend([Op::Erase { block: geometry.block_of(at) }, Op::Sync]);
    Some(())
}
