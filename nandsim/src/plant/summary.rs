//! A summary that is wrong about its eraseblock.

use jffs2_tx::crc::crc32;
use jffs2_tx::wire::{Endian, SUMMARY_SIZE, Summary, SummaryEntry, nodetype};

use super::Mistake::Trace;
use super::Plant;
use super::edit::{Cells, overwrite};
use super::scene::NOR_SUMMARY;
use crate::torture::Torture;
use crate::trace::Op;

pub(super) const PLANTS: &[Plant] = &[
    Plant {
        name: "summary-wrong-count",
        what: "the summary says that it has one entry more than it has",
        scene: NOR_SUMMARY,
        mistake: Trace(|torture| change_summary(torture, |_| {}, one_more)),
    },
    Plant {
        name: "summary-lost-node",
        what: "the summary does not list the last node of the body",
        scene: NOR_SUMMARY,
        mistake: Trace(|torture| change_summary(torture, |entries| entries.truncate(entries.len() - 1), |_, _| {})),
    },
    Plant {
        name: "summary-wrong-offset",
        what: "the summary lists a dirent four bytes behind where it stands",
        scene: NOR_SUMMARY,
        mistake: Trace(|torture| change_summary(torture, |entries| move_on(&mut entries[0]), |_, _| {})),
    },
    Plant {
        name: "marker-in-summary",
        what: "the summary lists the commit marker, a type that readers do not know in one",
        scene: NOR_SUMMARY,
        mistake: Trace(|torture| change_summary(torture, |entries| entries.insert(0, MARKER), first_is_marker)),
    },
];

/// What becomes the entry of the marker; there is none for its type.
const MARKER: SummaryEntry<'_> = SummaryEntry::Inode { ino: 0, version: 0, offset: 0, totlen: 0 };

/// Changes the entries of the first summary written, and then its bytes; the CRCs are right in the end. `entries` gets
/// at least one.
fn change_summary(
    torture: &mut Torture,
    entries: impl FnOnce(&mut Vec<SummaryEntry<'_>>),
    bytes: impl FnOnce(Endian, &mut [u8]),
) -> Option<()> {
    let (endian, geometry) = (torture.workload.endian, torture.trace.geometry);
    let cells = Cells::written(torture);
    let (at, node) = cells.of_type(nodetype::SUMMARY).next()?;
    let mut summary = Summary::parse(endian, node).ok().filter(|summary| !summary.entries.is_empty())?;
    entries(&mut summary.entries);
    let needed = Summary::flash_size(summary.entries.iter().map(SummaryEntry::size).sum());
    let len = needed.next_multiple_of(geometry.write_size() as usize).max(node.len());
    let mut changed = Vec::new();
    summary.emit(endian, &mut changed, len, geometry.eraseblock());
    bytes(endian, &mut changed);
    put(endian, &mut changed, 24, |node| crc32(&node[SUMMARY_SIZE..]));
    put(endian, &mut changed, 28, |node| crc32(&node[..24]));
    grow_down(&mut torture.trace.ops, at, (len - node.len()) as u32)?;
    overwrite(&mut torture.trace, at - (len - node.len()) as u32, &changed);
    Some(())
}

/// Makes the program that starts at `at` start earlier.
fn grow_down(ops: &mut [Op], at: u32, by: u32) -> Option<()> {
    ops.iter_mut().find_map(|op| match op {
        Op::Program { offset, data } if *offset == at => {
            *offset -= by;
            data.splice(..0, std::iter::repeat_n(0xff, by as usize));
            Some(())
        }
        _ => None,
    })
}

fn put(endian: Endian, node: &mut [u8], at: usize, value: impl FnOnce(&[u8]) -> u32) {
    let mut bytes = Vec::new();
    endian.put_u32(&mut bytes, value(node));
    node[at..at + bytes.len()].copy_from_slice(&bytes);
}

fn one_more(endian: Endian, node: &mut [u8]) {
    put(endian, node, 12, |node| endian.u32(node, 12) + 1);
}

fn first_is_marker(endian: Endian, node: &mut [u8]) {
    let mut marker = Vec::new();
    endian.put_u16(&mut marker, nodetype::TX_MARKER);
    node[SUMMARY_SIZE..SUMMARY_SIZE + marker.len()].copy_from_slice(&marker);
}

fn move_on(entry: &mut SummaryEntry<'_>) {
    if let SummaryEntry::Dirent { offset, .. } | SummaryEntry::Inode { offset, .. } = entry {
        *offset += 4;
    }
}
