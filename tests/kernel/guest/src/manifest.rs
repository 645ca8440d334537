//! All that a mounted tree shows of itself: the lines of a [`listing`], each with its extended attributes behind it, and
//! what cannot be read as well.
//!
//! A line is a [`listing`]'s, `|`, and `name=value` for each extended attribute, by name, separated by commas: names
//! escaped, values in hex. A path that cannot be read has the line `path|unreadable`. Lines are sorted by their text.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr};

use crate::listing::{self, Entry, escape, hex};

/// Most bytes of a value, or of a list of names (Linux: XATTR_SIZE_MAX).
const MAX_XATTR: usize = 65536;

/// What is said of a path that cannot be read.
pub const UNREADABLE: &str = "unreadable";

/// The lines of the tree under `root`.
#[must_use]
pub fn lines(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![b".".to_vec()];
    while let Some(path) = pending.pop() {
        let Some((entry, line)) = read(root, &path) else {
            lines.push(format!("{}|{UNREADABLE}", escape(&path)));
            continue;
        };
        lines.push(line);
        if entry.is_directory() {
            match listing::names(root, &path) {
                Ok(names) => pending.extend(names.into_iter().map(|name| [&path[..], b"/", &name].concat())),
                Err(_) => lines.push(format!("{}/|{UNREADABLE}", escape(&path))),
            }
        }
    }
    lines.sort();
    lines
}

fn read(root: &Path, path: &[u8]) -> Option<(Entry, String)> {
    let entry = listing::read_entry(root, path.to_vec(), &mut listing::file_digest).ok()?;
    let line = line(&entry, &xattrs(&listing::on_disk(root, path)).ok()?);
    Some((entry, line))
}

/// The line of an entry with these extended attributes, in any order.
#[must_use]
pub fn line(entry: &Entry, xattrs: &[(Vec<u8>, Vec<u8>)]) -> String {
    let mut pairs: Vec<String> =
        xattrs.iter().map(|(name, value)| format!("{}={}", escape(name), hex(value))).collect();
    pairs.sort();
    format!("{}|{}", entry.line(), pairs.join(","))
}

/// Names and values of the extended attributes of what stands at a path, whatever it is.
pub fn xattrs(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let c_path = CString::new(path.as_os_str().as_bytes())?;
    let mut names = vec![0; MAX_XATTR];
    let len = llistxattr(&*c_path, &mut names[..])?;
    names.truncate(len);
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut value = vec![0; MAX_XATTR];
    names
        .map(|name| {
            let len = lgetxattr(&*c_path, CString::new(name)?.as_c_str(), &mut value[..])?;
            Ok((name.to_vec(), value[..len].to_vec()))
        })
        .collect()
}
