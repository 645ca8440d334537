//! LZO1X, which stock kernels choose for what they write when they have it.

use alloc::vec::Vec;

use super::CodecError;

pub(super) fn decode(stored: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    out.resize(start + len, 0);
    if lzokay::decompress::decompress(stored, &mut out[start..]) == Ok(len) {
        return Ok(());
    }
    out.truncate(start);
    Err(CodecError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let text: Vec<u8> = (0..4096u32).map(|i| ((i * i) >> 9) as u8).collect();
        let stored = lzokay::compress::compress(&text).expect("compresses");
        assert!(stored.len() < text.len());
        let mut out = Vec::from(*b"keep");
        decode(&stored, text.len(), &mut out).expect("decodes");
        assert_eq!((&out[..4], &out[4..]), (&b"keep"[..], &text[..]));
        for (bytes, len) in
            [(&stored[..stored.len() / 2], 4096), (&stored[..], 4095), (&stored[..], 4097), (&[][..], 4)]
        {
            assert_eq!(decode(bytes, len, &mut out), Err(CodecError::Damaged));
        }
        assert_eq!(out.len(), 4100);
    }
}
