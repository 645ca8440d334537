//! LZMA as OpenWrt writes it: a raw stream without a header; its parameters are constants.

use alloc::vec::Vec;
use lzma_rust2::{Action, LzmaStream};

use super::CodecError;

/// lc, lp and pb, the stream's three parameters.
const LITERAL_CONTEXT_BITS: u32 = 0;
const LITERAL_POSITION_BITS: u32 = 0;
const POSITION_BITS: u32 = 0;
/// How far back a match may reach, bytes.
const DICTIONARY: u32 = 0x2000;

pub(super) fn decode(stored: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    out.resize(start + len, 0);
    if fill(stored, &mut out[start..]).is_some() {
        return Ok(());
    }
    out.truncate(start);
    Err(CodecError::Damaged)
}

/// Fills `out`, and does not mind what the stream has beyond; `None` if it ends before.
fn fill(mut stored: &[u8], mut out: &mut [u8]) -> Option<()> {
    let (lc, lp, pb) = (LITERAL_CONTEXT_BITS, LITERAL_POSITION_BITS, POSITION_BITS);
    let mut stream = LzmaStream::new(out.len() as u64, lc, lp, pb, DICTIONARY, None).ok()?;
    while !out.is_empty() {
        let step = stream.process(stored, out, Action::Finish).ok()?;
        if step.bytes_consumed == 0 && step.bytes_produced == 0 {
            return None;
        }
        stored = stored.get(step.bytes_consumed..)?;
        out = out.get_mut(step.bytes_produced..)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use lzma_rust2::{LzmaOptions, LzmaWriter};
    use proptest::prelude::*;
    use std::io::Write;

    /// As OpenWrt does, without an end mark.
    fn encode(data: &[u8], end_mark: bool) -> Vec<u8> {
        let mut options = LzmaOptions::with_preset(9);
        (options.lc, options.lp, options.pb, options.dict_size) = (0, 0, 0, DICTIONARY);
        let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, end_mark).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    const TEXT: &[u8] = b"The quick brown fox jumps over the lazy dog. ";

    /// Python's `lzma.compress(TEXT * 4, format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 0x2000,
    /// "lc": 0, "lp": 0, "pb": 0}])`: liblzma's encoder, with an end mark.
    const FROM_LIBLZMA: &[u8] =
        b"\x00\x2a\x1b\xb2\xf3\x70\xb7\xe0\x2e\x06\x44\x71\xbc\x3c\x2d\x2b\x92\x89\xed\x0f\x33\x49\xc3\x6b\x0d\
        \x9b\x94\x20\xab\x9c\x90\x4c\xf8\xd6\x1c\x0a\x12\x11\x7b\x25\xf1\x82\xd1\x80\x7d\x8a\x76\x11\xfd\xbf\
        \xfc\x30\xd8\x00";

    #[test]
    fn as_liblzma_encodes() {
        let mut out = Vec::from(*b"keep");
        decode(FROM_LIBLZMA, 180, &mut out).unwrap();
        assert_eq!((&out[..4], &out[4..]), (&b"keep"[..], &TEXT.repeat(4)[..]));
    }

    #[test]
    fn every_length() {
        let text = TEXT.repeat(1000);
        for len in (1..200).chain([4095, 4096, 4097, 8192, 45_000]) {
            for end_mark in [false, true] {
                for data in [&text[..len], &vec![0; len]] {
                    let stored = encode(data, end_mark);
                    let mut out = Vec::new();
                    decode(&stored, len, &mut out).unwrap();
                    assert!(out == data, "{len}");
                }
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let mut out = Vec::from(*b"keep");
        let stored = encode(&TEXT.repeat(4), false);
        for (bytes, len) in [(&stored[..stored.len() - 8], 180), (FROM_LIBLZMA, 181), (&[][..], 1), (&[1; 40], 40)] {
            assert_eq!(decode(bytes, len, &mut out), Err(CodecError::Damaged), "{len}");
        }
        assert_eq!(out, b"keep");
    }

    proptest! {
        #[test]
        fn round_trip(data in proptest::collection::vec(any::<u8>(), 0..600), mask: u8) {
            for data in [data.clone(), data.iter().map(|byte| byte & mask).collect()] {
                let mut out = Vec::new();
                prop_assert_eq!(decode(&encode(&data, false), data.len(), &mut out), Ok(()));
                prop_assert_eq!(out, data);
            }
        }

        #[test]
        fn any_bytes(mut stored in proptest::collection::vec(any::<u8>(), 1..300), len in 0usize..20_000) {
            stored[0] = 0;
            let mut out = vec![7];
            let right = decode(&stored, len, &mut out).is_ok();
            prop_assert_eq!(out.len(), if right { 1 + len } else { 1 });
        }
    }
}
