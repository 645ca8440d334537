//! The CRC-32 that JFFS2 uses: the usual polynomial, seed 0, neither end inverted (`FORMAT.md` section 2).

/// CRC of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    // The common CRC-32 starts from all ones and inverts its result: undo both.
    let mut hasher = crc32fast::Hasher::new_with_initial(!0);
    hasher.update(bytes);
    !hasher.finalize()
}

/// The polynomial, least significant bit first.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// Which single bit of `bytes` is flipped, if `crc` is their CRC as it was before: as byte and mask. `None` if it takes
/// more than one bit, or one in `crc` itself, to explain the difference.
pub(crate) fn flipped_bit(bytes: &[u8], crc: u32) -> Option<(usize, u8)> {
    // With seed 0 the CRC is linear: the difference is the CRC of the flipped bit alone.
    let difference = crc32(bytes) ^ crc;
    let mut syndrome = POLYNOMIAL;
    for bit in (0..bytes.len() * 8).rev() {
        if syndrome == difference {
            return Some((bit / 8, 1 << (bit % 8)));
        }
        syndrome = (syndrome >> 1) ^ if syndrome & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{crc32, flipped_bit};

    #[test]
    fn finds_every_flipped_bit() {
        let bytes: [u8; 60] = core::array::from_fn(|at| (at * 7) as u8);
        for bit in 0..480 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(flipped_bit(&flipped, crc32(&bytes)), Some((bit / 8, 1 << (bit % 8))));
        }
        assert_eq!(flipped_bit(&bytes, crc32(&bytes)), None);
        assert_eq!(flipped_bit(&[1, 2, 3], crc32(&[1, 2, 0])), None);
    }

    #[test]
    fn matches_the_kernel() {
        assert_eq!(crc32(b"123456789"), 0x2dfd_2d88);
        assert_eq!(crc32(b""), 0);
    }
}
