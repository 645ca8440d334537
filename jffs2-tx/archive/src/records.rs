//! Records of a pax header.

/// Keys and values; of a key that comes twice the last counts.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Records are `LENGTH KEY=VALUE\n`; the length counts all of that. Values may hold any byte. `None` if they are not
    /// so.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut records = Vec::new();
        // Some writers fill the rest of the last record with zeros that they count.
        while bytes.first().is_some_and(|byte| *byte != 0) {
            let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
            let len = usize::try_from(number(&bytes[..space])?).ok()?;
            let body = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
            let equals = body.iter().position(|byte| *byte == b'=')?;
            records.push((body[..equals].to_vec(), body[equals + 1..].to_vec()));
            bytes = &bytes[len..];
        }
        Some(Self(records))
    }

    /// The value of a key; an empty one stands for none.
    pub(super) fn find(&self, key: &str) -> Option<&[u8]> {
        let found = self.0.iter().rev().find(|(known, _)| known == key.as_bytes());
        found.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Those whose key is wanted.
    pub(super) fn filtered(mut self, wanted: impl Fn(&[u8]) -> bool) -> Self {
        self.0.retain(|(key, _)| wanted(key));
        self
    }

    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.0.iter().any(|(key, _)| key.starts_with(prefix.as_bytes()))
    }

    /// Adds records that count more than those that are there.
    pub(super) fn extend(&mut self, more: Self) {
        self.0.retain(|(key, _)| !more.0.iter().any(|(new, _)| new == key));
        self.0.extend(more.0);
    }
}

/// A decimal number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Whole seconds of a decimal time, rounded down.
pub(super) fn seconds(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (negative, digits) = whole.strip_prefix('-').map_or((false, whole), |digits| (true, digits));
    let whole = i64::try_from(number(digits.as_bytes())?).ok()?;
    let has_fraction =
        fraction.bytes().try_fold(false, |any, byte| byte.is_ascii_digit().then_some(any || byte != b'0'))?;
    Some(if negative { -whole - i64::from(has_fraction) } else { whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_newlines() {
        let records = Records::parse(b"25 SCHILY.xattr.user.a=\n\n12 path=a\nb\n12 path=\xff=c\n").unwrap();
        assert_eq!(records.find("SCHILY.xattr.user.a"), Some(&b"\n"[..]));
        assert_eq!(records.find("path"), Some(&b"\xff=c"[..]));
        assert!(records.has_prefix("SCHILY.") && !records.has_prefix("GNU."));
    }

    #[test]
    fn malformed_records_are_none() {
        for bytes in
            [&b"5 a=b"[..], b"6 a=b", b"99 a=b\n", b"6a=b\n", b" a=b\n", b"6 abc\n", b"-6 a=b\n", b"0 a=b\n", b"x"]
        {
            assert!(Records::parse(bytes).is_none(), "{}", bytes.escape_ascii());
        }
        assert!(Records::parse(b"").is_some() && Records::parse(b"6 a=b\n\0\0").is_some());
        assert_eq!(Records::parse(b"5 a=\n").unwrap().find("a"), None);
    }

    #[test]
    fn later_global_records_count() {
        let mut globals = Records::parse(b"6 a=1\n6 b=1\n").unwrap();
        globals.extend(Records::parse(b"6 a=2\n").unwrap());
        assert_eq!((globals.find("a"), globals.find("b")), (Some(&b"2"[..]), Some(&b"1"[..])));
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("1700000000.999999999", Some(1_700_000_000)),
            ("-0.5", Some(-1)),
            ("-0.0", Some(0)),
            ("-7", Some(-7)),
            ("4294967296", Some(1 << 32)),
            ("", None),
            ("-", None),
            ("1.x", None),
            ("+1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), wanted, "{text}");
        }
    }
}
