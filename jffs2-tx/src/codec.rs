//! Compression of node data: decode what stands on the flash, encode for what is written.

use alloc::vec::Vec;

use crate::wire::Compression;

#[cfg(feature = "lzma")]
mod lzma;
mod lzo;
mod rtime;
mod rubin;
mod zlib;

pub use zlib::ZlibEncoder;

/// Most bytes that one node may decode to. Linux writes at most a page (4 KiB to 64 KiB) in a node; other builders
/// write more.
pub const MAX_DECODED: usize = 1 << 20;

/// Why stored data cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The compressor is not supported.
    #[error("compressor {0} is not supported")]
    Unsupported(u8),
    /// The stored data is damaged, or does not give as many bytes as the node says.
    #[error("compressed data is damaged")]
    Damaged,
    /// The node says that it decodes to more than [`MAX_DECODED`] bytes.
    #[error("node decodes to {0} bytes, more than any writer makes")]
    TooLarge(u32),
}

/// Decodes `stored` and appends exactly `dsize` bytes to `out`. On error `out` is as before.
///
/// # Errors
/// [`CodecError`].
pub fn decode(compression: Compression, stored: &[u8], dsize: u32, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let len = dsize as usize;
    if len > MAX_DECODED {
        return Err(CodecError::TooLarge(dsize));
    }
    match compression {
        Compression::None => {
            out.extend_from_slice(stored.get(..len).ok_or(CodecError::Damaged)?);
            Ok(())
        }
        Compression::Zero => {
            out.resize(out.len() + len, 0);
            Ok(())
        }
        Compression::Rtime => rtime::decode(stored, len, out),
        Compression::Zlib => zlib::decode(stored, len, out),
        Compression::Lzo => lzo::decode(stored, len, out),
        Compression::Rubinmips => rubin::decode_mips(stored, len, out),
        Compression::Dynrubin => rubin::decode_dyn(stored, len, out),
        #[cfg(feature = "lzma")]
        Compression::Lzma => lzma::decode(stored, len, out),
        other => Err(CodecError::Unsupported(other.id())),
    }
}

/// Compresses the data of a node, if that makes it smaller.
pub trait Encode {
    /// The compressed form of `data`, only if it is smaller than `data`.
    fn encode(&mut self, data: &[u8]) -> Option<(Compression, &[u8])>;
}

/// Stores everything as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreAll;

impl Encode for StoreAll {
    fn encode(&mut self, _data: &[u8]) -> Option<(Compression, &[u8])> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_names() {
        let names = ["none", "zero", "rtime", "rubinmips", "copy", "dynrubin", "zlib", "lzo", "lzma", "unknown"];
        for id in 0..=u8::MAX {
            let kind = Compression::from_id(id);
            assert_eq!(kind.id(), id);
            assert_eq!(kind.name(), names[usize::from(id).min(9)]);
        }
    }

    #[test]
    fn limits() {
        let mut out = vec![1];
        for id in 0..=u8::MAX {
            let kind = Compression::from_id(id);
            let over = MAX_DECODED as u32 + 1;
            assert_eq!(decode(kind, &[0; 64], over, &mut out), Err(CodecError::TooLarge(over)));
            if id == Compression::Copy.id() || id > Compression::Lzma.id() {
                assert_eq!(decode(kind, &[0; 64], 64, &mut out), Err(CodecError::Unsupported(id)));
            }
        }
        assert_eq!(out, [1]);
    }

    proptest! {
        /// Nobody panics, and nobody gives another length than asked for.
        #[test]
        fn any_bytes(id in 0u8..10, stored in proptest::collection::vec(any::<u8>(), 0..300), len in 0u32..6000) {
            let mut out = vec![7];
            let right = decode(Compression::from_id(id), &stored, len, &mut out).is_ok();
            prop_assert_eq!(out.len(), if right { 1 + len as usize } else { 1 });
            prop_assert_eq!(out[0], 7);
        }
    }
}
