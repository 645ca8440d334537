//! Fields in either byte order, and the CRC.

/// Order of the bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant first.
    Little,
    /// Most significant first.
    Big,
}

/// Bytes with numbers in them. What lies outside is `None`.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) order: ByteOrder,
}

impl<'a> Fields<'a> {
    pub(super) fn part(self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..)?.get(..len)
    }

    pub(super) fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn half(self, at: usize) -> Option<u16> {
        let bytes = *self.part(at, 2)?.first_chunk()?;
        Some(if self.order == ByteOrder::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    pub(super) fn word(self, at: usize) -> Option<u32> {
        let bytes = *self.part(at, 4)?.first_chunk()?;
        Some(if self.order == ByteOrder::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// Whether the word at `at` is the CRC of `bytes`.
    pub(super) fn vouches(self, at: usize, bytes: &[u8]) -> bool {
        self.word(at) == Some(crc(bytes))
    }
}

/// CRC-32 from 0, inverted at neither end; the usual one is inverted at both.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0);
    hasher.update(bytes);
    !hasher.finalize()
}

pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_has_neither_seed_nor_inversion() {
        assert_eq!(crc(b"123456789"), 0x2DFD_2D88);
        assert_eq!(crc(&[0; 9]), 0);
    }

    #[test]
    fn fields_end_with_the_bytes() {
        let fields = |order| Fields { bytes: &[1, 2, 3, 4, 5], order };
        let (little, big) = (fields(ByteOrder::Little), fields(ByteOrder::Big));
        assert_eq!((little.word(1), big.word(1)), (Some(0x0504_0302), Some(0x0203_0405)));
        assert_eq!((little.half(3), big.half(3)), (Some(0x0504), Some(0x0405)));
        assert_eq!((big.word(2), big.half(4), big.byte(5), big.part(usize::MAX, 1)), (None, None, None, None));
    }
}
