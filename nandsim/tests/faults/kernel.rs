//! What a kernel writes after a recovery stays: nothing that reads differently later can take it back.

use jffs2_tx::Index;
use jffs2_tx::flash::{Flash, FlashMut, Geometry};
use jffs2_tx::scan::{BlockState, Rules};
use jffs2_tx::wire::CommitPoint::{self, Dirent as ByDirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use jffs2_tx::wire::{Dirent, Endian, emit_padding};
use nandsim::{Chip, Shape, Viewer};

use crate::common::{nand, nor};
use crate::looks::{Looks, POWER_UPS, states};
use crate::unstable::{late_cuts, torture};

/// Writes the first name of every directory anew, with the next version, and deletes the last, as a kernel would that mounts the
/// flash now.
fn use_it(chip: &mut Chip, endian: Endian) {
    let geometry = *chip.geometry();
    let index = Index::open(&*chip, Rules { endian, summaries: true }).unwrap();
    let mut nodes = Vec::new();
    emit_padding(endian, &mut nodes, 16);
    let dirs: Vec<u32> = index.reachable().filter(|ino| index.is_directory(*ino)).collect();
    for pino in dirs {
        let names: Vec<_> = index.names(pino).collect();
        let (Some(first), Some(last)) = (names.first(), names.last()) else { continue };
        let version = index.max_version(pino) + 1;
        let name = index.name(first);
        Dirent { pino, version, ino: first.ino, mctime: 0, kind: first.kind, name }.emit(endian, &mut nodes);
        let name = index.name(last);
        Dirent { pino, version: version + 1, ino: 0, mctime: 1_700_000_000, kind: 0, name }.emit(endian, &mut nodes);
    }
    let pad = nodes.len().next_multiple_of(geometry.write_size() as usize) - nodes.len();
    emit_padding(endian, &mut nodes, pad as u32);
    let block = free_block(&index, &geometry);
    chip.erase(block).unwrap();
    chip.program(geometry.offset_of(block), &nodes).unwrap();
}

fn free_block(index: &Index, geometry: &Geometry) -> u32 {
    let is_free = |block: &u32| matches!(index.blocks()[*block as usize].state, BlockState::Blank | BlockState::Clean);
    (0..geometry.blocks()).find(is_free).unwrap()
}

fn stays(shape: Shape, point: CommitPoint) {
    let torture = torture(shape, point);
    let looks = Looks::new(&torture);
    let mut viewer = Viewer::new(torture.start.geometry(), shape.endian);
    let mut tried = 0;
    for (cut, chip) in states(&torture.start, &torture.trace, torture.seed, late_cuts(&torture).into_iter()) {
        for n in 0..2 {
            let (recovered, ..) = looks.recovered(&chip, n).unwrap();
            let mut used = recovered.powered_up(n + 1);
            use_it(&mut used, shape.endian);
            let seen = |n: u64, viewer: &mut Viewer| viewer.views(&used.powered_up(n).as_read()).with_summaries;
            let first = seen(0, &mut viewer);
            let first = (*first).as_ref().unwrap_or_else(|error| panic!("{cut}: {error}")).clone();
            for later in 1..POWER_UPS {
                let tree = seen(later, &mut viewer);
                let tree = (*tree).as_ref().unwrap_or_else(|error| panic!("{cut}: {error}"));
                assert!(*tree == first, "{cut}, power-up {later}: {:?}", tree.differences(&first, 4));
            }
            // And a later recovery leaves it alone.
            let (again, ..) = looks.recovered(&used, n + 2).unwrap();
            let tree = viewer.views(&again.powered_up(0).as_read()).with_summaries;
            assert!((*tree).as_ref().unwrap() == &first, "{cut}, recovered again");
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} states are few");
}

#[test]
fn after_dirent() {
    stays(nor(64, 1, Little), ByDirent);
    stays(nor(64, 32, Big), ByDirent);
    stays(nand(16, 512, Big), ByDirent);
}

#[test]
fn after_head() {
    stays(nor(64, 1, Big), Head);
}

#[test]
fn after_summary() {
    stays(nor(64, 1, Little), Summary);
    stays(nand(16, 512, Little), Summary);
}
