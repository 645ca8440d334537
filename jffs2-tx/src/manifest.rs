//! What a tree and its image are, as JSON lines: enough to build the image again from the files' contents.
//!
//! `jffs2-tx extract --manifest` writes it, `jffs2-mkimage --manifest` reads it. The first line is a [`Header`], each
//! other line an [`Entry`]: the root first, directories before what is in them, names in byte order. Readers ignore
//! fields that they do not know; what they must not ignore comes with another [`VERSION`].
//!
//! ```text
//! {"manifest":1,"endian":"little","eraseblock":65536,"flash":"nor","page_size":1,"size":1048576,"cleanmarkers":true,"summaries":false}
//! {"path":"/","type":"directory","mode":"0755","uid":0,"gid":0,"mtime":1700000000,"atime":1700000000,"ctime":1700000000}
//! {"path":"/greeting","type":"file","mode":"0644",...,"size":6,"data":[[0,6]],"sha256":"5891b5b5...","xattrs":{"user.lang":"656e"}}
//! {"path":"/same","type":"link","to":"/greeting"}
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::string::String;
use std::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::flash::FlashKind;
use crate::inode_kind::FileKind;
use crate::wire::Endian;

/// Version of the format.
pub const VERSION: u32 = 1;

/// The first line: what the image is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub manifest: u32,
    /// `little` or `big`.
    pub endian: ByteOrder,
    /// Eraseblock size, bytes.
    pub eraseblock: u32,
    /// `nor` or `nand`.
    pub flash: Flash,
    /// NAND page size, or write unit of NOR, bytes.
    pub page_size: u32,
    /// Size of the image, bytes.
    pub size: u64,
    /// Eraseblocks start with cleanmarkers.
    pub cleanmarkers: bool,
    /// Eraseblocks end in summaries.
    pub summaries: bool,
}

/// A line for each name. Fields that do not apply are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path from the root, with a slash in front, as [`escape`] writes it.
    pub path: String,
    /// What the name leads to.
    pub r#type: Type,
    /// Permissions, four octal digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<String>,
    /// Owner.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<u16>,
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gid: Option<u16>,
    /// Modification time, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mtime: Option<u32>,
    /// Access time, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub atime: Option<u32>,
    /// Change time, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ctime: Option<u32>,
    /// Size of a file, bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u32>,
    /// Ranges of a file that hold data, ascending: start and end, bytes. The rest is holes, which read as zeros.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<Vec<(u32, u32)>>,
    /// Ranges of a file that could not be read, and are zeros instead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<Vec<(u32, u32)>>,
    /// SHA-256 of a file with its holes, hexadecimal. Left out where hashing would take too long.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
    /// Target of a symlink, escaped like paths.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// Number of a device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub major: Option<u32>,
    /// Number of a device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub minor: Option<u32>,
    /// Extended attributes: names, escaped like paths, and values in hexadecimal, as `getxattr` gives them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub xattrs: BTreeMap<String, String>,
    /// The earlier path that this is a hard link to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Type {
    #[default]
    File,
    Directory,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
    /// What an earlier path leads to, too.
    Link,
}

impl From<FileKind> for Type {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::File => Self::File,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink => Self::Symlink,
            FileKind::CharDevice => Self::Char,
            FileKind::BlockDevice => Self::Block,
            FileKind::Fifo => Self::Fifo,
            FileKind::Socket => Self::Socket,
        }
    }
}

/// [`Endian`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ByteOrder {
    Little,
    Big,
}

impl From<Endian> for ByteOrder {
    fn from(endian: Endian) -> Self {
        match endian {
            Endian::Little => Self::Little,
            Endian::Big => Self::Big,
        }
    }
}

impl From<ByteOrder> for Endian {
    fn from(order: ByteOrder) -> Self {
        match order {
            ByteOrder::Little => Self::Little,
            ByteOrder::Big => Self::Big,
        }
    }
}

/// [`FlashKind`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Flash {
    Nor,
    Nand,
}

impl From<FlashKind> for Flash {
    fn from(kind: FlashKind) -> Self {
        match kind {
            FlashKind::Nor => Self::Nor,
            FlashKind::Nand => Self::Nand,
        }
    }
}

/// Bytes as text: UTF-8 stays, control characters and all other bytes become `\xNN`, a backslash `\\`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escaped(&mut out, byte)),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| escaped(&mut out, *byte));
    }
    out
}

fn escaped(out: &mut String, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

/// The bytes that [`escape`] was given; `None` for a backslash that it would not have written.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        rest = if let Some(rest) = behind.strip_prefix('\\') {
            out.push(b'\\');
            rest
        } else {
            let digits = behind.strip_prefix('x')?;
            out.extend(digits.get(..2).and_then(from_hex)?);
            &digits[2..]
        };
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The bytes of hexadecimal digits; `None` if it is something else.
#[must_use]
pub fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| (*digit as char).to_digit(16).map(|value| value as u8);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_shown_unambiguously() {
        assert_eq!(escape("grün".as_bytes()), "grün");
        assert_eq!(escape(b"a\\x\n\xff\x7f"), r"a\\x\x0a\xff\x7f");
        for wrong in [r"\", r"\n", r"\x", r"\x1", r"\xgg", r"\x+1", r"\xé"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
        assert_eq!((from_hex("0"), from_hex("0g"), from_hex("+1")), (None, None, None));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&escape(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        }
    }
}
