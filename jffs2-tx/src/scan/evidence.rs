//! Who wrote a summary: image builders do, and kernels with CONFIG_JFFS2_SUMMARY.

use super::BlockScan;
use crate::inode_kind::FileKind;
use crate::wire::MarkerKind;

/// Whether the eraseblock has a summary that only a kernel can have written. It lists what no image builder writes: a
/// deletion, or new metadata of a file; or it closes an eraseblock that a transaction had begun. Our own commit blocks,
/// known by their commit marker, do not count.
pub(super) fn kernel_wrote_summary(found: &BlockScan) -> bool {
    let has = |kind| found.markers.iter().any(|seen| seen.marker.kind == kind);
    let deletion = || found.dirents.iter().any(|dirent| dirent.ino == 0);
    let new_metadata = || {
        let is_file = |mode: u16| FileKind::from_mode(u32::from(mode)) == Some(FileKind::File);
        found.inodes.iter().any(|node| node.version > 1 && node.dsize == 0 && is_file(node.mode))
    };
    let ours = found.markers.iter().any(|seen| seen.marker.kind != MarkerKind::Begin);
    found.by_summary && !ours && (has(MarkerKind::Begin) || deletion() || new_metadata())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::{Rules, scan_block};
    use super::*;
    use crate::flash::{FlashKind, Geometry};
    use crate::wire::{Dirent, Endian, Marker, Summary, SummaryEntry};

    const EB: usize = 8192;

    /// An eraseblock of one dirent, behind a marker if wanted, closed by a summary.
    fn judged(endian: Endian, ino: u32, marker: Option<MarkerKind>) -> bool {
        let mut bytes = Vec::new();
        if let Some(kind) = marker {
            let commit_point = (kind == MarkerKind::Commit).then_some(crate::wire::CommitPoint::Summary);
            let (txid, digest) = ([1; 16], [0; 32]);
            let label = alloc::string::String::new();
            Marker {
                kind,
                commit_point,
                sequence: 1,
                txid,
                commit_block: 0,
                nodes: 0,
                bytes: 0,
                time: 0,
                digest,
                label,
            }
            .emit(endian, &mut bytes);
        }
        let offset = bytes.len() as u32;
        Dirent { pino: 1, version: 3, ino, mctime: 9, kind: 8, name: b"name" }.emit(endian, &mut bytes);
        let entry = SummaryEntry::Dirent { totlen: 44, offset, pino: 1, version: 3, ino, kind: 8, name: b"name" };
        let len = Summary::flash_size(entry.size());
        bytes.resize(EB - len, 0xff);
        Summary { cleanmarker: 0, padded: 0, entries: Vec::from([entry]) }.emit(endian, &mut bytes, len, EB as u32);
        let geometry = Geometry::new(FlashKind::Nor, 8 * EB as u64, EB as u32, 1).unwrap();
        let found = scan_block(&geometry, Rules { endian, summaries: true }, 0, &bytes, false);
        assert!(found.by_summary && found.dirents.len() == 1);
        kernel_wrote_summary(&found)
    }

    #[test]
    fn only_what_no_builder_writes_is_evidence() {
        for endian in [Endian::Little, Endian::Big] {
            assert!(!judged(endian, 7, None));
            assert!(judged(endian, 0, None));
            assert!(judged(endian, 7, Some(MarkerKind::Begin)));
            assert!(!judged(endian, 0, Some(MarkerKind::Commit)));
        }
    }
}
