//! Extended attributes and ACLs in records of a pax header.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jffs2_tx::manifest::escape;
use jffs2_tx::tree::Attribute;
use percent_encoding::percent_decode;

use super::records::{self, Records};

/// Attributes as GNU tar, star, bsdtar, Python and Go write them: names, in which GNU tar writes `=` and `%` as `%3D` and
/// `%25`, and values as they are.
const PLAIN: &str = "SCHILY.xattr.";
/// Attributes as bsdtar writes them, too: names percent-encoded, values in base64.
const ENCODED: &str = "LIBARCHIVE.xattr.";
/// ACLs as text.
const ACL: &str = "SCHILY.acl.";
/// An SELinux label, as GNU tar writes it: without the NUL that ends it in the attribute.
const LABEL: &str = "RHT.security.selinux";
/// Others of that writer.
const LABELS: &str = "RHT.security.";

/// Writers leave out the padding, or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A record of an extended attribute or ACL that does not say what the attribute is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{record}: {what}")]
pub struct AttributeError {
    /// Key of the record, escaped.
    pub record: String,
    /// What is wrong.
    pub what: &'static str,
}

pub(super) fn is_one(key: &[u8]) -> bool {
    [PLAIN, ENCODED, ACL, LABELS].iter().any(|prefix| key.starts_with(prefix.as_bytes()))
}

/// The attributes that records hold. Where bsdtar says one twice, the plain one counts.
pub(super) fn decode(records: &Records) -> Result<Vec<Attribute>, AttributeError> {
    let mut plain = BTreeMap::new();
    let mut encoded = BTreeMap::new();
    for (key, value) in records.iter() {
        let wrong = |what| AttributeError { record: escape(key), what };
        if let Some(name) = key.strip_prefix(PLAIN.as_bytes()) {
            plain.insert(unescaped(name), value.to_vec());
        } else if let Some(name) = key.strip_prefix(ENCODED.as_bytes()) {
            let value = BASE64.decode(value).map_err(|_| wrong("its value is no base64"))?;
            encoded.insert(percent_decode(name).collect(), value);
        } else if let Some(which) = key.strip_prefix(ACL.as_bytes()) {
            if let Some(Attribute { name, value }) = acl(which, value).map_err(wrong)? {
                plain.insert(name, value);
            }
        } else if key == LABEL.as_bytes() {
            let label = value.strip_suffix(b"\0").unwrap_or(value);
            plain.entry(b"security.selinux".to_vec()).or_insert_with(|| [label, b"\0"].concat());
        } else {
            return Err(wrong("not supported: archive with --xattrs instead"));
        }
    }
    encoded.append(&mut plain);
    Ok(encoded.into_iter().map(|(name, value)| Attribute { name, value }).collect())
}

/// A name as GNU tar meant it.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match rest.get(..3) {
            Some(b"%3D") => (b'=', &rest[3..]),
            Some(b"%25") => (b'%', &rest[3..]),
            _ => (byte, behind),
        };
        out.push(byte);
        rest = behind;
    }
    out
}

/// An ACL's attribute; `None` for one that says no more than the mode.
fn acl(which: &[u8], text: &[u8]) -> Result<Option<Attribute>, &'static str> {
    let name = match which {
        b"access" => b"system.posix_acl_access".to_vec(),
        b"default" => b"system.posix_acl_default".to_vec(),
        _ => return Err("an ACL of another kind than POSIX's access and default"),
    };
    let mut entries = BTreeMap::new();
    for entry in text.split(|byte| matches!(byte, b',' | b'\n')).filter(|entry| !entry.is_empty()) {
        let (place, permissions) = acl_entry(entry)?;
        if entries.insert(place, permissions).is_some() {
            return Err("the ACL has an entry twice");
        }
    }
    if entries.is_empty() || (which == b"access" && entries.len() == 3) {
        return Ok(None);
    }
    let mut value = 2_u32.to_le_bytes().to_vec();
    for ((tag, id), permissions) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Ok(Some(Attribute { name, value }))
}

/// Tag, id and permissions of `TAG:WHO:PERMISSIONS` or, as star writes it, `TAG:NAME:PERMISSIONS:ID`.
fn acl_entry(entry: &[u8]) -> Result<((u16, u32), u16), &'static str> {
    const NO_ID: u32 = u32::MAX;
    let fields: Vec<&[u8]> = entry.split(|byte| *byte == b':').map(<[u8]>::trim_ascii).collect();
    let (tag, who, permissions, id) = match fields[..] {
        [tag, who, permissions] => (tag, who, permissions, who),
        [tag, who, permissions, id] => (tag, who, permissions, id),
        _ => return Err("not an ACL: entries are TAG:WHO:PERMISSIONS"),
    };
    let number = || {
        let id = records::number(id).and_then(|id| u32::try_from(id).ok());
        id.ok_or("the ACL names someone without a number: archive with --numeric-owner")
    };
    let place = match (tag, who.is_empty()) {
        (b"user" | b"u", true) => (0x01, NO_ID),
        (b"user" | b"u", false) => (0x02, number()?),
        (b"group" | b"g", true) => (0x04, NO_ID),
        (b"group" | b"g", false) => (0x08, number()?),
        (b"mask" | b"m", true) => (0x10, NO_ID),
        (b"other" | b"o", true) => (0x20, NO_ID),
        _ => return Err("not an ACL: entries are for user, group, mask or other"),
    };
    let mut bits = 0;
    for letter in permissions {
        bits |= match letter {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return Err("not an ACL: permissions are r, w, x and -"),
        };
    }
    Ok((place, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(records: &[(&str, &[u8])]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut bytes = Vec::new();
        for (key, value) in records {
            // Long enough that the length has two digits, short enough that it has no more.
            let len = key.len() + value.len() + 5 + usize::from(key.len() + value.len() + 5 > 99);
            bytes.extend([format!("{len} {key}=").as_bytes(), value, b"\n"].concat());
        }
        let found = decode(&Records::parse(&bytes).unwrap()).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|xattr| (escape(&xattr.name), xattr.value)).collect())
    }

    fn one(name: &str, value: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        Ok(vec![(name.into(), value.into())])
    }

    #[test]
    fn writers_of_every_kind() {
        assert_eq!(decoded(&[("SCHILY.xattr.user.a%3Db%25%41", b"\0\n=")]), one("user.a=b%%41", b"\0\n="));
        assert_eq!(decoded(&[("LIBARCHIVE.xattr.user.%c3%a9%3D", b"AP8")]), one("user.é=", b"\0\xff"));
        assert_eq!(decoded(&[("LIBARCHIVE.xattr.user.a", b"AP8=")]), one("user.a", b"\0\xff"));
        let twice: [(&str, &[u8]); 2] = [("SCHILY.xattr.user.a", b"plain"), ("LIBARCHIVE.xattr.user.a", b"AP8")];
        assert_eq!(decoded(&twice), one("user.a", b"plain"));
        assert_eq!(decoded(&[("RHT.security.selinux", b"a:b:c")]), one("security.selinux", b"a:b:c\0"));
        let both: [(&str, &[u8]); 2] = [("SCHILY.xattr.security.selinux", b"x\0"), ("RHT.security.selinux", b"y")];
        assert_eq!(decoded(&both), one("security.selinux", b"x\0"));
        assert_eq!(
            decoded(&[("LIBARCHIVE.xattr.user.a", b"*")]),
            Err("LIBARCHIVE.xattr.user.a: its value is no base64".into())
        );
        assert!(decoded(&[("RHT.security.other", b"a")]).unwrap_err().contains("archive with --xattrs"));
    }

    #[test]
    fn acls() {
        let acl = |text: &str| decoded(&[("SCHILY.acl.access", text.as_bytes())]);
        let entry = |tag: u8, bits: u8, id: u32| [&[tag, 0, bits, 0][..], &id.to_le_bytes()].concat();
        let none = u32::MAX;
        let entries = [
            entry(1, 6, none),
            entry(2, 7, 1000),
            entry(4, 4, none),
            entry(8, 5, 7),
            entry(16, 7, none),
            entry(32, 0, none),
        ];
        let value = [vec![2, 0, 0, 0], entries.concat()].concat();
        let wanted = one("system.posix_acl_access", &value);
        assert_eq!(acl("user::rw-,user:1000:rwx,group::r--,group:7:r-x,mask::rwx,other::---"), wanted);
        assert_eq!(acl("o::\nu::rw\ng:7:rx\nm::rwx\nu:1000:xwr\ng::r\n"), wanted);
        assert_eq!(acl("user::rw-,user:joe:rwx:1000,group::r--,group:joes:r-x:7,mask::rwx,other::---"), wanted);
        assert_eq!(acl("user::rw-,group::r--,other::---"), Ok(vec![]), "the mode says that");
        let default = decoded(&[("SCHILY.acl.default", b"user::rw-,group::r--,other::---")]).unwrap();
        assert_eq!((default.len(), default[0].0.as_str()), (1, "system.posix_acl_default"));
        for (text, what) in [
            ("user:joe:rwx", "--numeric-owner"),
            ("user:4294967296:rwx", "--numeric-owner"),
            ("group:joe:rwx:", "--numeric-owner"),
            ("user::rwx,user::r--", "twice"),
            ("user::rwz", "permissions are"),
            ("user", "entries are TAG:"),
            ("owner@:rwx::allow:x", "entries are TAG:"),
            ("mask:5:rwx", "entries are for"),
            ("user::rwx\t#effective:r--", "permissions are"),
        ] {
            assert!(acl(text).unwrap_err().contains(what), "{text}");
        }
        assert!(decoded(&[("SCHILY.acl.ace", b"owner@:rw::allow")]).unwrap_err().contains("another kind"));
    }
}
