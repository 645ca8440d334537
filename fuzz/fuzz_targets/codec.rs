//! Decoders on any bytes: one byte for the compressor, two for the length, the rest is what is stored.
#![no_main]

use jffs2_tx::codec::decode;
use jffs2_tx::wire::Compression;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [compression, low, high, stored @ ..] = data else { return };
    let dsize = u16::from_le_bytes([*low, *high]);
    let mut out = vec![7];
    let right = decode(Compression::from_id(*compression), stored, u32::from(dsize), &mut out).is_ok();
    assert_eq!(out.len(), if right { 1 + usize::from(dsize) } else { 1 });
    assert_eq!(out[0], 7);
});
