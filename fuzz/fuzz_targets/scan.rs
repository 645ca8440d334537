//! Any bytes as a flash: opened by both kinds of reader, every file read, recovered. CRCs of headers and nodes in the
//! input are repaired first, or nothing would get past them.
#![no_main]

#[path = "common/repair.rs"]
mod repair;

use jffs2_tx::crc::crc32;
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::index::ROOT;
use jffs2_tx::tx::recover;
use jffs2_tx::{Endian, Index, Rules, Tree};
use libfuzzer_sys::fuzz_target;
use repair::repair;

const ERASEBLOCK: u32 = 4096;
const BLOCKS: usize = 4;
/// Most bytes of a file that are read.
const LIMIT: u32 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let kind = if first & 1 == 0 { FlashKind::Nor } else { FlashKind::Nand };
    let write_size = if first & 1 == 0 { 1 } else { 512 };
    let endian = if first & 2 == 0 { Endian::Little } else { Endian::Big };
    let size = u64::from(ERASEBLOCK) * BLOCKS as u64;
    let geometry = Geometry::new(kind, size, ERASEBLOCK, write_size).expect("valid");
    let mut bytes = data.to_vec();
    bytes.resize(size as usize, 0xff);
    repair(endian, &mut bytes);
    let mut flash = MemFlash::with_data(geometry, bytes);
    let before = [true, false].map(|summaries| look(&flash, Rules { endian, summaries }));
    if recover(&mut flash, endian).is_ok() {
        let after = [true, false].map(|summaries| look(&flash, Rules { endian, summaries }));
        assert_eq!(before, after, "recovery changed the tree");
    }
});

/// Everything that a reader sees, in one number.
fn look(flash: &MemFlash, rules: Rules) -> Option<Vec<(Vec<u8>, String)>> {
    let index = Index::open(flash, rules).ok()?;
    let tree = Tree::new(flash, &index);
    Some(
        tree.walk(ROOT)
            .map(|entry| {
                let content = tree.read(entry.ino, LIMIT).map(|all| crc32(&all)).map_err(|_| ());
                let target = tree.read_link(entry.ino).map_err(|_| ());
                let stat =
                    tree.stat(entry.ino).map(|stat| (stat.kind, stat.meta, stat.size, stat.links)).map_err(|_| ());
                (entry.path, format!("{stat:?} {content:?} {target:?}"))
            })
            .collect(),
    )
}
