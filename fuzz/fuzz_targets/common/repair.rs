//! CRCs made right, so that inputs get past them.

use jffs2_tx::Endian;
use jffs2_tx::crc::crc32;

/// Makes the CRCs of everything right that looks like a node.
pub fn repair(endian: Endian, bytes: &mut [u8]) {
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
            0xe008 if end >= at + 32 => {
                let len = usize::from(bytes[at + 21]) + 1 + usize::from(endian.u16(bytes, at + 22));
                let data = crc32(&bytes[at + 32..(at + 32 + len).min(end)]);
                put(bytes, at + 24, data);
                let node = crc32(&bytes[at..at + 28]);
                put(bytes, at + 28, node);
            }
            0xe009 if end >= at + 28 => {
                let node = crc32(&bytes[at..at + 24]);
                put(bytes, at + 24, node);
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
