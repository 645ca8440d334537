//! What the format cannot hold, and the path where it was found.

use std::io;
use std::string::{String, ToString};

use super::{SourceKind, SourceNode};
use crate::acl;
use crate::inode_kind::Device;
use crate::tree::Attribute;
use crate::wire::{Endian, MAX_NAME, MAX_XATTR_VALUE, split_xattr_name, xprefix};

/// Longest symlink target, bytes (Linux limits it like a name).
const MAX_TARGET: usize = MAX_NAME;
const MAX_MODE: u32 = 0o7777;

/// Why a tree cannot be written to a JFFS2 file system: `path: reason`, on one line.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct SourceError {
    /// Which file, with control characters escaped.
    pub path: String,
    /// What is wrong with it.
    pub reason: Refusal,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Names are 1 to 254 bytes long.
    #[error("the name is {0} bytes long, JFFS2 holds 1 to 254: rename it")]
    NameLength(usize),
    /// `/`, NUL, `.` and `..` are no names.
    #[error("not a name: it holds a slash or a NUL, or is `.` or `..`")]
    NameBytes,
    /// Two nodes with one name.
    #[error("the directory has this name already")]
    NameTaken,
    /// Readers do not enter paths over 4096 bytes.
    #[error("the path is {0} bytes long, readers enter at most 4096: shorten it")]
    PathLength(usize),
    /// A directory cannot be replaced once there are names in it.
    #[error("came before as a directory, and there are names in it by now")]
    Occupied,
    /// A hard link leads to something that came before.
    #[error("hard link to {0}, but no file came before under that path")]
    LinkTarget(String),
    /// The parent, or the root of the host's tree, is no directory.
    #[error("not a directory")]
    NotADirectory,
    /// Directories are added empty and have one name only: that keeps out cycles.
    #[error("a directory has one name only, and is empty when it is added")]
    Directory,
    /// Symlink targets are 1 to 254 bytes long.
    #[error("the symlink's target is {0} bytes long, JFFS2 holds 1 to 254: shorten it")]
    TargetLength(usize),
    /// A NUL in a symlink's target.
    #[error("the symlink's target holds a NUL")]
    TargetNul,
    /// Files are at most 4 GiB - 1 bytes long.
    #[error("the file is {0} bytes long, JFFS2 holds at most 4294967295: split it")]
    FileSize(u64),
    /// The content is not as long as the file is said to be.
    #[error("the content is {0} bytes long, its size says otherwise")]
    ContentSize(usize),
    /// Bits outside 0o7777.
    #[error("mode {0:#o} has bits that are no permissions")]
    Mode(u32),
    /// Owners are 0 to 65535.
    #[error("uid {0} is over 65535, the most that JFFS2 holds: change the owner")]
    Uid(u64),
    /// Groups are 0 to 65535.
    #[error("gid {0} is over 65535, the most that JFFS2 holds: change the group")]
    Gid(u64),
    /// Modification times are 0 to 2^32 - 1 seconds since 1970.
    #[error("the modification time, {0} s since 1970, is outside 1970 to 2106: touch it")]
    Time(i64),
    /// Majors are at most 4095, minors at most 1048575.
    #[error("device number {}:{} is over 4095:1048575, the most that JFFS2 holds", .0.major, .0.minor)]
    DeviceNumber(Device),
    /// An extended attribute in a namespace that JFFS2 has not got, with too long a name or value, twice, or a POSIX ACL
    /// that Linux would not read back.
    #[error("JFFS2 cannot hold the extended attribute {0}")]
    Xattr(String),
    /// A type of file that JFFS2 has not got.
    #[error("file of unknown type, mode {0:#o}")]
    Type(u32),
    /// A directory of the host that is one of those above it, by a bind mount: there is no end to it.
    #[error("the same directory as {0}, which it is in: unmount it, or build from elsewhere")]
    Loop(String),
    /// The host cannot read it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Refusal {
    pub(crate) fn at(self, path: &[u8]) -> SourceError {
        SourceError { path: printable(path), reason: self }
    }
}

/// `path` as a message shows it: on one line, whatever its bytes.
pub(crate) fn printable(path: &[u8]) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(path).chars() {
        if c.is_control() {
            shown.push_str(&c.escape_default().to_string());
        } else {
            shown.push(c);
        }
    }
    shown
}

pub(crate) fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Refusal::NameLength(name.len()));
    }
    if name == b"." || name == b".." || name.iter().any(|&b| b == b'/' || b == 0) {
        return Err(Refusal::NameBytes);
    }
    Ok(())
}

pub(crate) fn check_node(node: &SourceNode) -> Result<(), Refusal> {
    if node.meta.mode > MAX_MODE {
        return Err(Refusal::Mode(node.meta.mode));
    }
    match &node.kind {
        SourceKind::Directory(names) if !names.is_empty() => Err(Refusal::Directory),
        SourceKind::Symlink(target) => check_target(target),
        SourceKind::CharDevice(device) | SourceKind::BlockDevice(device) if !device.is_valid() => {
            Err(Refusal::DeviceNumber(*device))
        }
        SourceKind::File { size, content: super::Content::Bytes(bytes) } if bytes.len() as u64 != u64::from(*size) => {
            Err(Refusal::ContentSize(bytes.len()))
        }
        _ => Ok(()),
    }
}

/// Checks attributes that are sorted by name.
pub(super) fn check_xattrs(xattrs: &[Attribute]) -> Result<(), Refusal> {
    let twice = xattrs.windows(2).find(|pair| pair[0].name == pair[1].name).map(|pair| &pair[0]);
    match xattrs.iter().find(|xattr| !can_hold(xattr)).or(twice) {
        Some(xattr) => Err(Refusal::Xattr(printable(&xattr.name))),
        None => Ok(()),
    }
}

fn can_hold(xattr: &Attribute) -> bool {
    let Some((prefix, _)) = split_xattr_name(&xattr.name) else { return false };
    let is_acl = matches!(prefix, xprefix::ACL_ACCESS | xprefix::ACL_DEFAULT);
    xattr.value.len() <= MAX_XATTR_VALUE && (!is_acl || acl::stored(Endian::Little, &xattr.value).is_some())
}

fn check_target(target: &[u8]) -> Result<(), Refusal> {
    if target.is_empty() || target.len() > MAX_TARGET {
        return Err(Refusal::TargetLength(target.len()));
    }
    if target.contains(&0) {
        return Err(Refusal::TargetNul);
    }
    Ok(())
}
