//! Data of inode nodes.

use lzokay::decompress::decompress as unlzo;
use miniz_oxide::inflate::decompress_slice_iter_to_slice as inflate;

use super::node::Inode;
use super::{Firmware, FirmwareError};

/// Bytes that a node decodes to at most; stock writers put at most a page in one.
const MAX_DECODED: u32 = 1 << 20;

pub(super) const NONE: u8 = 0;
pub(super) const HOLE: u8 = 1;
const RTIME: u8 = 2;
const ZLIB: u8 = 6;
const LZO: u8 = 7;

impl Firmware {
    /// Bytes of a node; `None` for a hole.
    pub(super) fn decoded(self, node: &Inode) -> Result<Option<Vec<u8>>, FirmwareError> {
        let stored = node.data.as_deref().ok_or(FirmwareError::Damaged)?;
        match node.compressor {
            abort @ (HOLE | LZO) if self == Self::OpenFirmware => return Err(FirmwareError::Abort(abort)),
            HOLE => return Ok(None),
            NONE | RTIME | ZLIB | LZO => {}
            unknown => return Err(FirmwareError::Compressor(unknown)),
        }
        if node.decoded > MAX_DECODED {
            return Err(FirmwareError::TooLarge(node.decoded));
        }
        let mut bytes = vec![0; node.decoded as usize];
        let len = match node.compressor {
            NONE => copied(stored, &mut bytes),
            RTIME => unrtime(stored, &mut bytes),
            ZLIB => inflate(&mut bytes, std::iter::once(stored), true, true).ok(),
            _ => unlzo(stored, &mut bytes).ok(),
        };
        if len == Some(bytes.len()) { Ok(Some(bytes)) } else { Err(FirmwareError::Undecodable) }
    }
}

fn copied(stored: &[u8], bytes: &mut [u8]) -> Option<usize> {
    (stored.len() == bytes.len()).then(|| {
        bytes.copy_from_slice(stored);
        stored.len()
    })
}

/// Pairs of a byte and how many bytes behind its last occurrence come again behind it.
fn unrtime(stored: &[u8], bytes: &mut [u8]) -> Option<usize> {
    let mut behind_last = [0; 256];
    let (mut filled, mut pairs) = (0, stored.as_chunks::<2>().0.iter());
    while filled < bytes.len() {
        let [value, count] = *pairs.next()?;
        *bytes.get_mut(filled)? = value;
        filled += 1;
        let from = std::mem::replace(&mut behind_last[usize::from(value)], filled);
        // Byte by byte: what is copied may overlap what is made.
        for i in 0..usize::from(count).min(bytes.len() - filled) {
            bytes[filled + i] = bytes[from + i];
        }
        filled = (filled + usize::from(count)).min(bytes.len());
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtime_repeats_what_followed() {
        let mut bytes = [0; 9];
        // a, b, a + the two behind the first a ("b", "a"), then c four times over by overlap.
        assert_eq!(unrtime(&[b'a', 0, b'b', 0, b'a', 2, b'c', 0, b'c', 9], &mut bytes), Some(9));
        assert_eq!(&bytes, b"ababacccc");
        assert_eq!(unrtime(b"a\0b", &mut bytes), None);
    }
}
