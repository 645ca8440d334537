//! zlib, by miniz_oxide: no unsafe code, and works without std. With feature `libdeflate` that decodes what it takes,
//! about three times as fast.

use alloc::{boxed::Box, vec::Vec};
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::{CodecError, Compression, Encode};

pub(super) fn decode(stored: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    out.resize(start + len, 0);
    #[cfg(feature = "libdeflate")]
    if libdeflater::Decompressor::new().zlib_decompress(stored, &mut out[start..]) == Ok(len) {
        return Ok(());
    }
    // What is only good enough for Linux, and what is damaged, is for the other to judge.
    let mut inflater = Box::<DecompressorOxide>::default();
    let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
        | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
        | inflate_flags::TINFL_FLAG_IGNORE_ADLER32;
    let (status, _, made) = decompress(&mut inflater, stored, &mut out[start..], 0, flags);
    // Linux's reader stops when the node's bytes are there, and does not look at the checksum: the node has its own.
    let enough = made == len && matches!(status, TINFLStatus::Done | TINFLStatus::HasMoreOutput);
    if enough {
        return Ok(());
    }
    out.truncate(start);
    Err(CodecError::Damaged)
}

/// Compresses with zlib at level 6.
pub struct ZlibEncoder {
    compressor: Box<CompressorOxide>,
    out: Vec<u8>,
}

impl core::fmt::Debug for ZlibEncoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ZlibEncoder")
    }
}

impl ZlibEncoder {
    /// A compressor, to be used for many nodes: it is large.
    #[must_use]
    pub fn new() -> Self {
        const LEVEL: i32 = 6;
        const ZLIB_HEADER: i32 = 1;
        let flags = create_comp_flags_from_zip_params(LEVEL, ZLIB_HEADER, 0);
        Self { compressor: Box::new(CompressorOxide::new(flags)), out: Vec::new() }
    }
}

impl Default for ZlibEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encode for ZlibEncoder {
    fn encode(&mut self, data: &[u8]) -> Option<(Compression, &[u8])> {
        // A buffer one byte short of the input: what does not fit is no gain.
        self.out.resize(data.len().checked_sub(1)?, 0);
        self.compressor.reset();
        let (status, _, made) = compress(&mut self.compressor, data, &mut self.out, TDEFLFlush::Finish);
        (status == TDEFLStatus::Done).then_some((Compression::Zlib, &self.out[..made]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decode as decode_any;
    use alloc::vec;

    #[test]
    fn round_trip_or_no_gain() {
        let mut encoder = ZlibEncoder::new();
        let text: Vec<u8> = (0..4096u32).map(|i| ((i * i) >> 7) as u8).collect();
        for data in [&text[..], &[0; 4096], b"abababababababababababababababab"] {
            let (kind, stored) = encoder.encode(data).expect("compresses");
            assert!(stored.len() < data.len());
            let mut out = vec![1, 2];
            decode_any(kind, stored, data.len() as u32, &mut out).unwrap();
            assert_eq!(&out[2..], data);
        }
        assert!(encoder.encode(b"").is_none());
        assert!(encoder.encode(b"xyz").is_none());
        assert!(encoder.encode(&text).is_some(), "works after a failure");
    }

    #[test]
    fn damage_is_an_error() {
        let mut out = Vec::new();
        assert_eq!(decode(b"", 10, &mut out), Err(CodecError::Damaged));
        assert_eq!(decode(&[0x78, 0x9c, 0xff, 0xff], 10, &mut out), Err(CodecError::Damaged));
        assert!(out.is_empty());
    }
}
