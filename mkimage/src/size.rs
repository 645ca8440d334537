//! Sizes as command lines take them.

/// `64`, `0x10000`, `64K`, `64KiB`, `8M`, `8MiB`: bytes.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (number, unit) = match lower.strip_suffix("ib").unwrap_or(&lower) {
        rest if rest.ends_with('k') => (&rest[..rest.len() - 1], 1 << 10),
        rest if rest.ends_with('m') => (&rest[..rest.len() - 1], 1 << 20),
        _ => (lower.as_str(), 1),
    };
    let value = match number.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => number.parse(),
    };
    let bytes = value.ok().filter(|_| !number.contains('+')).and_then(|value| value.checked_mul(unit));
    bytes.ok_or_else(|| "not a size: give bytes, 0x and hex digits, or a number with K, KiB, M or MiB".into())
}

/// The same below 4 GiB.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_u32(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text)?).map_err(|_| "4 GiB or more".into())
}

/// An eraseblock size: numbers below 4096 without a suffix are KiB, as mkfs.jffs2 has it.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_eraseblock(text: &str) -> Result<u32, String> {
    let size = parse_u32(text)?;
    let has_suffix = text.ends_with(['k', 'K', 'm', 'M']) || text.to_ascii_lowercase().ends_with("ib");
    Ok(if size < 4096 && !has_suffix { size * 1024 } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in
            [("0", 0), ("4096", 4096), ("0x1000", 4096), ("0XaB", 171), ("64K", 65536), ("64kib", 65536)]
        {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        assert_eq!(parse_size("8MiB"), parse_size("8M"));
        assert_eq!(parse_size("0x10K"), Ok(16384));
        for text in
            ["", "K", "-1", "+1", "0x+1", "1.5M", "64KB", "ib", "64ib", "99999999999999999999", "0xffffffffffffffffM"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!((parse_eraseblock("128"), parse_eraseblock("0x20000")), (Ok(131_072), Ok(131_072)));
        assert_eq!((parse_eraseblock("2KiB"), parse_eraseblock("0x1B")), (Ok(2048), Ok(27 << 10)));
        assert!(parse_eraseblock("4096M").is_err());
    }
}
