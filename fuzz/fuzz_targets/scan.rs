//! Any bytes as a flash: opened by both kinds of reader, every file read, recovered. CRCs of headers and nodes in the
//! input are repaired first, or nothing would get past them.
#![no_main]

use jffs2_tx::crc::crc32;
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::index::ROOT;
use jffs2_tx::tx::recover;
use jffs2_tx::{Endian, Index, Rules, Tree};
use libfuzzer_sys::fuzz_target;

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

/// Makes the CRCs of everything right that looks like a node.
fn repair(endian: Endian, bytes: &mut [u8]) {
    let put = |bytes: &mut [u8], at: usize, value: u32| {
        let value = if endian == Endian::Little { value.to_le_bytes() } else { value.to_be_bytes() };
        bytes[at..at + 4].copy_from_slice(&value);
    };
    let mut at = 0;
    while at + 68 <= bytes.len() {
        if endian.u16(bytes, at) != 0x1985 {
            at += 4;
            continue;
        }
        let crc = crc32(&bytes[at..at + 8]);
        put(bytes, at + 8, crc);
        let totlen = endian.u32(bytes, at + 4) as usize;
        let end = at.saturating_add(totlen).min(bytes.len());
        match endian.u16(bytes, at + 2) {
            0xe001 if end >= at + 40 => {
                let name = (at + 40 + usize::from(bytes[at + 28])).min(end);
                let (node, name) = (crc32(&bytes[at..at + 32]), crc32(&bytes[at + 40..name]));
                put(bytes, at + 32, node);
                put(bytes, at + 36, name);
            }
            0xe002 if end >= at + 68 => {
                let data = (at + 68).saturating_add(endian.u32(bytes, at + 48) as usize).min(end);
                let (node, data) = (crc32(&bytes[at..at + 60]), crc32(&bytes[at + 68..data]));
                put(bytes, at + 60, data);
                put(bytes, at + 64, node);
            }
            0x2006 if end >= at + 40 => {
                let sum = crc32(&bytes[at + 32..end]);
                put(bytes, at + 24, sum);
                let node = crc32(&bytes[at..at + 24]);
                put(bytes, at + 28, node);
            }
            _ => {}
        }
        at += totlen.next_multiple_of(4).clamp(4, 4096);
    }
}
