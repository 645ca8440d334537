//! The CRC-32 that JFFS2 uses: the usual polynomial, seed 0, neither end inverted (`FORMAT.md` section 2).

/// CRC of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    // The common CRC-32 starts from all ones and inverts its result: undo both.
    let mut hasher = crc32fast::Hasher::new_with_initial(!0);
    hasher.update(bytes);
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn matches_the_kernel() {
        assert_eq!(crc32(b"123456789"), 0x2dfd_2d88);
        assert_eq!(crc32(b""), 0);
    }
}
