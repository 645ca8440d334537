//! Device tables, as mkfs.jffs2 reads them: nodes that whoever builds may not make, and owners that files cannot have.
//!
//! ```text
//! # name      type mode uid gid major minor start inc count
//! /dev        d    755  0   0   -     -     -     -   -
//! /dev/ttyS   c    660  0   20  4     64    0     1   4
//! /etc/shadow f    600  0   0
//! ```
//! - `d` makes a directory or changes the one that is there. `f` changes a file that is there. `c`, `b` and `p` make a
//!   character device, a block device, a named pipe, or turn into one what is there and no directory.
//! - With a count, `c` and `b` make NAME*start*, NAME*start+1* and so on, as many; the minor number grows by inc each time.
//! - The mode is octal, other numbers are decimal. From gid on, fields may be left out or `-`, which is 0; behind a `-` there
//!   is no number, as mkfs.jffs2 would not read it. Other fields that a type has no use for count for nothing.
//! - What is made has the modification time of the directory that it is in: tables have no times, and mkfs.jffs2's choice,
//!   the time of day, makes each image another one.
//!
//! A file with more than one name is changed under all of them; mkfs.jffs2 changes it under the first or not at all. Where
//! mkfs.jffs2 wraps a number, or writes an image that Linux does not read (`d` on a file, `f` on a directory or
//! symlink, a slash behind a name), the line is refused, or right. `/` is the root directory.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use jffs2_tx::inode_kind::{Device, FileKind, Meta};
use jffs2_tx::manifest::escape;
use jffs2_tx::source::{NodeId, Refusal, SourceError, SourceKind, SourceNode, SourceTree};

/// Longest line, bytes.
const MAX_LINE: u64 = 64 << 10;
/// Most devices that one line makes: one for each minor number.
const MAX_COUNT: u64 = 1 << 20;
/// Names of the fields, in order.
const FIELDS: [&str; 10] = ["name", "type", "mode", "uid", "gid", "major", "minor", "start", "inc", "count"];
/// Fields that must be there.
const REQUIRED: usize = 4;

/// What to do with a line whose directory is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNoParent {
    /// The table is wrong.
    Refuse,
    /// Go on without it, as mkfs.jffs2 does.
    Skip,
}

/// A line that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its number, from 1.
    pub line: usize,
    /// The name in it.
    pub path: Vec<u8>,
}

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TableError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: TableReason,
}

/// What is wrong with a line of a table.
#[derive(Debug, thiserror::Error)]
pub enum TableReason {
    /// mkfs.jffs2 wants them, too.
    #[error("fewer than four fields: a line starts with name, type, mode and uid")]
    Short,
    /// More fields than there are names for.
    #[error("more than ten fields: the last is count")]
    Extra,
    /// Longer than any path with ten numbers.
    #[error("the line is over {MAX_LINE} bytes long")]
    Long,
    /// Not a number of the field's base, or over 64 bits.
    #[error("{field}: `{text}` is no {base} number")]
    Number {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        text: String,
        /// `octal` or `decimal`.
        base: &'static str,
    },
    /// Not read by mkfs.jffs2, so not what was meant.
    #[error("{field}: a number behind a `-`, which mkfs.jffs2 would ignore: write 0 for the `-`")]
    BehindDash {
        /// Name of the field.
        field: &'static str,
    },
    /// Bits that are neither permissions nor the type's own.
    #[error("mode {0:#o} has bits that are no permissions")]
    Mode(u64),
    /// A type that tables have not got.
    #[error("type `{0}`: give f, d, c, b or p")]
    Type(String),
    /// Paths start at the root.
    #[error("{0}: the name does not start with a slash")]
    Relative(String),
    /// Nothing there to change.
    #[error("{0}: there is no such file, and f makes none")]
    NoFile(String),
    /// The directory that the name is in.
    #[error("{0}: its directory is not there: make it by an earlier line of type d")]
    NoParent(String),
    /// Something else is there.
    #[error("{path}: a line for a {wanted:?}, but a {there:?} is there")]
    Other {
        /// Path, escaped.
        path: String,
        /// The line's type.
        wanted: FileKind,
        /// What is there.
        there: FileKind,
    },
    /// More than there are minor numbers.
    #[error("count {0}: at most {MAX_COUNT} devices are made by one line")]
    Count(u64),
    /// JFFS2 cannot hold it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The table cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
}

/// Changes `tree` as the table says, line by line; returns what was left out.
///
/// # Errors
/// [`TableError`] for the first line that is wrong. Those before it have been done by then.
pub fn apply(
    tree: &mut SourceTree,
    mut table: impl BufRead,
    on_no_parent: OnNoParent,
) -> Result<Vec<Skipped>, TableError> {
    let mut skipped = Vec::new();
    let mut text = Vec::new();
    for line in 1.. {
        let wrong = |reason| TableError { line, reason };
        text.clear();
        match (&mut table).take(MAX_LINE).read_until(b'\n', &mut text) {
            Ok(0) => break,
            Ok(len) if len as u64 == MAX_LINE => return Err(wrong(TableReason::Long)),
            Ok(_) => {}
            Err(error) => return Err(wrong(error.into())),
        }
        match Row::parse(&text).and_then(|row| row.map_or(Ok(()), |row| row.apply(tree))) {
            Err(TableReason::NoParent(_)) if on_no_parent == OnNoParent::Skip => {
                let path = fields(&text).next().unwrap_or_default().to_vec();
                skipped.push(Skipped { line, path });
            }
            done => done.map_err(wrong)?,
        }
    }
    Ok(skipped)
}

/// Up to a comment.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    fields.take_while(|field| !field.starts_with(b"#"))
}

/// A line that says something.
struct Row<'t> {
    path: &'t [u8],
    kind: FileKind,
    /// The time is that of what is there, or of its directory.
    meta: Meta,
    device: Device,
    inc: u64,
    /// None without a count.
    numbers: Option<std::ops::Range<u64>>,
}

impl<'t> Row<'t> {
    fn parse(line: &'t [u8]) -> Result<Option<Self>, TableReason> {
        let fields: Vec<&[u8]> = fields(line).collect();
        match fields.len() {
            0 => return Ok(None),
            len if len < REQUIRED => return Err(TableReason::Short),
            len if len > FIELDS.len() => return Err(TableReason::Extra),
            _ => {}
        }
        let path = fields[0];
        if !path.starts_with(b"/") {
            return Err(TableReason::Relative(escape(path)));
        }
        let kind = kind(fields[1])?;
        let mode = mode(number(&fields, 2, 8)?, kind)?;
        let [uid, gid, major, minor, start, inc, count] = numbers(&fields)?;
        let refused = |reason| SourceError { path: escape(path), reason };
        let meta = Meta {
            mtime: 0,
            mode,
            uid: u16::try_from(uid).map_err(|_| refused(Refusal::Uid(uid)))?,
            gid: u16::try_from(gid).map_err(|_| refused(Refusal::Gid(gid)))?,
        };
        if count > MAX_COUNT {
            return Err(TableReason::Count(count));
        }
        let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        let numbers = (is_device && count > 0).then(|| start..start.saturating_add(count));
        Ok(Some(Self { path, kind, meta, device: device(major, minor), inc, numbers }))
    }

    fn apply(self, tree: &mut SourceTree) -> Result<(), TableReason> {
        let Some(numbers) = self.numbers.clone() else {
            return self.put(tree, self.path, self.device);
        };
        for (at, number) in numbers.enumerate() {
            let path = [self.path, number.to_string().as_bytes()].concat();
            let minor = (at as u64).saturating_mul(self.inc).saturating_add(self.device.minor.into());
            self.put(tree, &path, device(self.device.major.into(), minor))?;
        }
        Ok(())
    }

    /// Makes or changes one node.
    fn put(&self, tree: &mut SourceTree, path: &[u8], device: Device) -> Result<(), TableReason> {
        let kind = match self.kind {
            FileKind::CharDevice => SourceKind::CharDevice(device),
            FileKind::BlockDevice => SourceKind::BlockDevice(device),
            FileKind::Directory => SourceKind::Directory(BTreeMap::new()),
            _ => SourceKind::Fifo,
        };
        if matches!(kind, SourceKind::CharDevice(_) | SourceKind::BlockDevice(_)) && !device.is_valid() {
            return Err(SourceError { path: escape(path), reason: Refusal::DeviceNumber(device) }.into());
        }
        match tree.find(path) {
            Some(id) => self.change(tree, id, path, kind),
            None if self.kind == FileKind::File => Err(TableReason::NoFile(escape(path))),
            None => self.make(tree, path, kind),
        }
    }

    fn change(&self, tree: &mut SourceTree, id: NodeId, path: &[u8], kind: SourceKind) -> Result<(), TableReason> {
        let node = tree.node_mut(id);
        let there = node.kind.file_kind();
        let is_made = !matches!(self.kind, FileKind::File | FileKind::Directory);
        if there != self.kind && (!is_made || there == FileKind::Directory) {
            return Err(TableReason::Other { path: escape(path), wanted: self.kind, there });
        }
        if is_made {
            node.kind = kind;
        }
        node.meta = Meta { mtime: node.meta.mtime, ..self.meta };
        Ok(())
    }

    fn make(&self, tree: &mut SourceTree, path: &[u8], kind: SourceKind) -> Result<(), TableReason> {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let slash = path[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let (parent, name) = (&path[..slash], &path[slash + 1..end]);
        let parent = tree.find(parent).ok_or_else(|| TableReason::NoParent(escape(path)))?;
        let meta = Meta { mtime: tree.node(parent).meta.mtime, ..self.meta };
        let made = tree.add(parent, name, SourceNode { meta, kind });
        made.map_err(|error| SourceError { path: escape(path), ..error })?;
        Ok(())
    }
}

fn kind(text: &[u8]) -> Result<FileKind, TableReason> {
    Ok(match text {
        b"f" => FileKind::File,
        b"d" => FileKind::Directory,
        b"c" => FileKind::CharDevice,
        b"b" => FileKind::BlockDevice,
        b"p" => FileKind::Fifo,
        _ => return Err(TableReason::Type(escape(text))),
    })
}

/// Permissions; the type's own bits may be there, too.
fn mode(mode: u64, kind: FileKind) -> Result<u32, TableReason> {
    let permissions = (mode & 0o7777) as u32;
    let rest = mode & !0o7777;
    if rest == 0 || rest == u64::from(kind.mode_bits()) { Ok(permissions) } else { Err(TableReason::Mode(mode)) }
}

/// The fields from uid on.
fn numbers(fields: &[&[u8]]) -> Result<[u64; 7], TableReason> {
    let mut numbers = [0; 7];
    let mut dash = false;
    for (at, value) in numbers.iter_mut().enumerate().take(fields.len().saturating_sub(REQUIRED - 1)) {
        let at = at + REQUIRED - 1;
        if fields[at] == b"-" && at >= REQUIRED {
            dash = true;
        } else if dash {
            return Err(TableReason::BehindDash { field: FIELDS[at] });
        } else {
            *value = number(fields, at, 10)?;
        }
    }
    Ok(numbers)
}

fn number(fields: &[&[u8]], at: usize, base: u32) -> Result<u64, TableReason> {
    let text = fields[at];
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| u64::from_str_radix(digits, base).ok()).ok_or_else(|| TableReason::Number {
        field: FIELDS[at],
        text: escape(text),
        base: if base == 8 { "octal" } else { "decimal" },
    })
}

/// Numbers over 32 bits are none that JFFS2 holds, nor is the largest.
fn device(major: u64, minor: u64) -> Device {
    let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Device { major: number(major), minor: number(minor) }
}

#[cfg(test)]
mod tests;
