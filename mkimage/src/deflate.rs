//! Compression of a node's data.

use jffs2_tx::wire::Compression;
use libdeflater::{CompressionLvl, Compressor};

/// libdeflate's level 9: about 3 % smaller than mkfs.jffs2's zlib in about its time.
const LEVEL: i32 = 9;

pub(crate) struct Deflate {
    compressor: Compressor,
    out: Vec<u8>,
}

impl Deflate {
    pub(crate) fn new() -> Self {
        Self { compressor: Compressor::new(CompressionLvl::new(LEVEL).unwrap_or_default()), out: Vec::new() }
    }

    /// `data` as a node stores it in at most `room` bytes: compressed if that saves flash, which counts in words of
    /// four bytes; `None` if it does not fit.
    pub(crate) fn encode<'a>(&'a mut self, data: &'a [u8], room: usize) -> Option<(Compression, &'a [u8])> {
        let gain = data.len().next_multiple_of(4).saturating_sub(4);
        self.out.resize(gain.min(room), 0);
        match self.compressor.zlib_compress(data, &mut self.out) {
            Ok(len) => Some((Compression::Zlib, &self.out[..len])),
            Err(_) if data.len() <= room => Some((Compression::None, data)),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jffs2_tx::codec::decode;

    #[test]
    fn compresses_only_for_a_gain_and_into_the_room() {
        let mut deflate = Deflate::new();
        let text = b"a text that repeats, repeats, repeats, repeats, repeats itself".as_slice();
        let (kind, stored) = deflate.encode(text, 4096).unwrap();
        let mut out = Vec::new();
        decode(kind, stored, text.len() as u32, &mut out).unwrap();
        assert_eq!((kind, out.as_slice()), (Compression::Zlib, text));
        let len = stored.len();
        assert!(deflate.encode(text, len).is_some());
        assert!(deflate.encode(text, len - 1).is_none());
        for short in [&b""[..], b"x", b"xyz", b"0123456789"] {
            assert_eq!(deflate.encode(short, 12), Some((Compression::None, short)));
        }
        assert!(deflate.encode(b"0123456789", 8).is_none());
    }
}
