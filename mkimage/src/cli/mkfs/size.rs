//! Sizes as mkfs.jffs2 takes them: by the rules for constants in C, and with suffixes.

use std::borrow::Cow;
use std::ffi::OsStr;

use anyhow::{Result, anyhow};

/// Parses the value of an option, `what`.
pub(super) fn parse<T>(value: &OsStr, parse: fn(&str) -> Result<T, String>, what: &str) -> Result<T> {
    let text = value.to_string_lossy();
    let size = decimal(&text).and_then(|decimal| parse(&decimal));
    size.map_err(|reason| anyhow!("{what} {text}: {reason}"))
}

/// The same size without what only C has: blanks and a plus in front, octal digits behind a zero.
fn decimal(text: &str) -> Result<Cow<'_, str>, String> {
    let text = text.trim_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    match number.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => {
            let value =
                u64::from_str_radix(octal, 8).map_err(|_| "a zero in front makes it octal: not octal digits")?;
            Ok(format!("{value}{unit}").into())
        }
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jffs2_mkimage::size::parse_size;

    #[test]
    fn as_c_reads_it() {
        let size = |text: &str| parse(OsStr::new(text), parse_size, "size").ok();
        for (text, expected) in
            [("0", 0), ("0200000", 65536), ("0x10", 16), (" +64", 64), ("64KiB", 65536), ("0100K", 65536)]
        {
            assert_eq!(size(text), Some(expected), "{text}");
        }
        for text in ["", "08", "-1", "+-1", "++1", "1 ", "0x", "00000000000000000000000007777777777777777777777777"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
