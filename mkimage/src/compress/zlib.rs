//! zlib streams by libdeflate.

use std::ops::RangeInclusive;

use libdeflater::{CompressionLvl, Compressor};

use super::Codec;

pub(super) const LEVELS: RangeInclusive<u8> = 1..=12;

pub(super) struct Zlib(Compressor);

impl Zlib {
    /// At one of [`LEVELS`].
    pub(super) fn new(level: u8) -> Self {
        Self(Compressor::new(CompressionLvl::new(level.into()).unwrap_or_default()))
    }
}

impl Codec for Zlib {
    fn encode(&mut self, data: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0.zlib_compress(data, out).ok()
    }
}
