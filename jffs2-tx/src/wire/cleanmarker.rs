//! Cleanmarkers and padding nodes.

use alloc::vec::Vec;

use super::{Endian, HEADER_SIZE, emit_header, nodetype};

/// The cleanmarker as NAND keeps it: in the free OOB bytes of an eraseblock's first page, with no CRC
/// (Linux fs/jffs2/wbuf.c). Here in little-endian order; [`Cleanmarker::oob`] gives either.
pub const OOB_CLEANMARKER: [u8; 8] = [0x85, 0x19, 0x03, 0x20, 8, 0, 0, 0];

/// The node that says that an eraseblock was completely erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanmarker;

impl Cleanmarker {
    /// Appends the in-band node: the first of its eraseblock, `len` bytes long (12, or the write size where that is
    /// larger).
    pub fn emit(endian: Endian, out: &mut Vec<u8>, len: u32) {
        let start = emit_header(endian, out, nodetype::CLEANMARKER, len);
        out.resize(start + (len as usize).max(HEADER_SIZE), 0xff);
    }

    /// The eight bytes in the OOB area.
    #[must_use]
    pub fn oob(endian: Endian) -> [u8; 8] {
        match endian {
            Endian::Little => OOB_CLEANMARKER,
            Endian::Big => [0x19, 0x85, 0x20, 0x03, 0, 0, 0, 8],
        }
    }
}

/// Appends filler of `len` bytes (a multiple of four): a padding node if it fits, otherwise zeros, which every
/// reader skips as a dirty bitmask. Linux's write buffer does the same.
pub fn emit_padding(endian: Endian, out: &mut Vec<u8>, len: u32) {
    let end = out.len() + len as usize;
    if len as usize > HEADER_SIZE {
        emit_header(endian, out, nodetype::PADDING, len);
    }
    out.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;

    #[test]
    fn padding_fills_exactly() {
        for len in [0, 4, 8, 12, 16, 400] {
            let mut out = Vec::new();
            emit_padding(Endian::Big, &mut out, len);
            assert_eq!(out.len(), len as usize);
            assert_eq!(Header::parse(Endian::Big, &out).is_ok(), len > 12);
        }
    }

    #[test]
    fn cleanmarker_is_twelve_bytes_or_the_write_size() {
        let mut out = Vec::new();
        Cleanmarker::emit(Endian::Little, &mut out, 12);
        assert_eq!(out, [0x85, 0x19, 0x03, 0x20, 12, 0, 0, 0, 0xb1, 0xb0, 0x1e, 0xe4]);
        Cleanmarker::emit(Endian::Little, &mut out, 32);
        assert_eq!(out.len(), 44);
    }
}
