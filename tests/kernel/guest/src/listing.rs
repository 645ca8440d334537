//! A directory tree as text, one line per path, the same on the host and in the guest.
//!
//! A line is `path|mode uid gid size mtime nlink major:minor|sha256|target`: the mode in hex, the size 0 for
//! directories, `-` instead of a digest for everything but regular files. The root is `.`, all else begins with `./`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The bits of a mode that tell the type of file.
pub const TYPE_MASK: u32 = 0o170_000;
/// The type of a directory.
pub const DIRECTORY: u32 = 0o040_000;
/// The type of a regular file.
pub const REGULAR: u32 = 0o100_000;
/// The type of a symbolic link.
pub const SYMLINK: u32 = 0o120_000;

/// One path of a tree and all that is compared of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `.` for the root, else `./` and the names, as raw bytes.
    pub path: Vec<u8>,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes; listed as 0 for a directory.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Number of names, with the kernel's way to count a directory's (see [`Entry::directory_links`]).
    pub nlink: u64,
    /// Major and minor number of a device, else zeros.
    pub rdev: (u32, u32),
    /// Digest of a regular file's content.
    pub sha256: Option<[u8; 32]>,
    /// Where a symbolic link points, else empty.
    pub target: Vec<u8>,
}

impl Entry {
    /// The entry's line, without a line end.
    pub fn line(&self) -> String {
        format!(
            "{}|{:x} {} {} {} {} {} {}:{}|{}|{}",
            escape(&self.path),
            self.mode,
            self.uid,
            self.gid,
            if self.is_directory() { 0 } else { self.size },
            self.mtime,
            self.nlink,
            self.rdev.0,
            self.rdev.1,
            self.sha256.map_or_else(|| "-".to_owned(), |digest| hex(&digest)),
            escape(&self.target),
        )
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & TYPE_MASK == DIRECTORY
    }

    /// The link count that Linux's jffs2 shows for a directory: 2 and one for each directory in it, and one more for
    /// the root.
    pub fn directory_links(path: &[u8], subdirectories: u64) -> u64 {
        subdirectories + if path == b"." { 3 } else { 2 }
    }
}

/// Digest of a regular file's content, as an [`Entry`] holds it.
pub fn content_digest(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

/// The whole listing: all lines sorted by path, each with a line end.
pub fn text(entries: &[Entry]) -> String {
    lines(entries).iter().fold(String::new(), |text, line| text + line + "\n")
}

/// The lines of all entries, sorted by path.
pub fn lines(entries: &[Entry]) -> Vec<String> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    sorted.into_iter().map(Entry::line).collect()
}

/// The digest by which two trees are compared: SHA-256, in hex, of the whole listing.
pub fn digest(entries: &[Entry]) -> String {
    hex(&content_digest(text(entries).as_bytes()))
}

/// Lists the tree under `root` as the running kernel shows it.
pub fn walk(root: &Path) -> Result<Vec<Entry>, WalkError> {
    walk_with(root, &mut file_digest)
}

/// What tells the digest of the file at a path.
pub type FileDigest<'a> = dyn FnMut(&Path) -> io::Result<[u8; 32]> + 'a;

/// Like [`walk`], with another way to get the digests of files.
pub fn walk_with(root: &Path, digest: &mut FileDigest<'_>) -> Result<Vec<Entry>, WalkError> {
    let mut entries = vec![read_entry(root, b".".to_vec(), digest)?];
    let mut directories = vec![b".".to_vec()];
    while let Some(directory) = directories.pop() {
        for name in names(root, &directory)? {
            let path = [&directory[..], b"/", &name].concat();
            let entry = read_entry(root, path, digest)?;
            if entry.is_directory() {
                directories.push(entry.path.clone());
            }
            entries.push(entry);
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Replaces the link counts of directories by those that Linux's jffs2 will show: file systems of a host count them in
/// ways of their own.
pub fn count_links_as_jffs2(entries: &mut [Entry]) {
    let mut subdirectories: HashMap<Vec<u8>, u64> = HashMap::new();
    for parent in entries.iter().filter(|e| e.is_directory()).filter_map(|e| parent(&e.path)) {
        *subdirectories.entry(parent.to_vec()).or_default() += 1;
    }
    for entry in entries.iter_mut().filter(|e| e.is_directory()) {
        let count = subdirectories.get(&entry.path).copied().unwrap_or(0);
        entry.nlink = Entry::directory_links(&entry.path, count);
    }
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    Some(&path[..slash])
}

/// A path of the tree that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {source}")]
pub struct WalkError {
    action: &'static str,
    path: String,
    source: io::Error,
}

impl WalkError {
    fn at(action: &'static str, path: &[u8]) -> impl Fn(io::Error) -> Self + use<> {
        let path = escape(path);
        move |source| Self { action, path: path.clone(), source }
    }
}

pub(crate) fn names(root: &Path, directory: &[u8]) -> Result<Vec<Vec<u8>>, WalkError> {
    let fail = WalkError::at("list", directory);
    fs::read_dir(on_disk(root, directory))
        .map_err(&fail)?
        .map(|item| item.map(|item| item.file_name().into_vec()).map_err(&fail))
        .collect()
}

pub(crate) fn read_entry(root: &Path, path: Vec<u8>, digest: &mut FileDigest<'_>) -> Result<Entry, WalkError> {
    let place = on_disk(root, &path);
    let meta = fs::symlink_metadata(&place).map_err(WalkError::at("stat", &path))?;
    let mut entry = from_metadata(path, &meta);
    match entry.mode & TYPE_MASK {
        REGULAR => entry.sha256 = Some(digest(&place).map_err(WalkError::at("read", &entry.path))?),
        SYMLINK => {
            let target = fs::read_link(&place).map_err(WalkError::at("readlink", &entry.path))?;
            entry.target = target.into_os_string().into_vec();
        }
        _ => {}
    }
    Ok(entry)
}

pub(crate) fn on_disk(root: &Path, path: &[u8]) -> std::path::PathBuf {
    root.join(OsStr::from_bytes(path))
}

fn from_metadata(path: Vec<u8>, meta: &Metadata) -> Entry {
    Entry {
        path,
        mode: meta.mode(),
        uid: meta.uid(),
        gid: meta.gid(),
        size: meta.size(),
        mtime: meta.mtime(),
        nlink: meta.nlink(),
        rdev: (libc::major(meta.rdev()), libc::minor(meta.rdev())),
        sha256: None,
        target: Vec::new(),
    }
}

pub(crate) fn file_digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&chunk[..count]);
    }
}

/// Writes bytes so that they fit into a field of a line: printable ASCII stays, but for `|` and the backslash.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if matches!(byte, b' '..=b'~') && byte != b'|' && byte != b'\\' {
            text.push(byte.into());
        } else {
            push(&mut text, format_args!("\\x{byte:02x}"));
        }
    }
    text
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        push(&mut text, format_args!("{byte:02x}"));
    }
    text
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a String has no way to fail.
    let _ = text.write_fmt(piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &[u8], mode: u32) -> Entry {
        Entry {
            path: path.to_vec(),
            mode,
            uid: 1,
            gid: 2,
            size: 3,
            mtime: 4,
            nlink: 5,
            rdev: (6, 7),
            sha256: None,
            target: Vec::new(),
        }
    }

    #[test]
    fn a_line_escapes_what_would_break_it() {
        let mut link = entry(b"./a|b\\c\n\xff", SYMLINK | 0o777);
        link.target = b"x y".to_vec();
        assert_eq!(link.line(), r"./a\x7cb\x5cc\x0a\xff|a1ff 1 2 3 4 5 6:7|-|x y");
    }

    #[test]
    fn a_directory_has_no_size() {
        assert_eq!(entry(b".", DIRECTORY | 0o755).line(), ".|41ed 1 2 0 4 5 6:7|-|");
    }

    #[test]
    fn lines_are_sorted_by_the_bytes_of_the_whole_path() {
        let tree = [entry(b"./a/b", 0), entry(b"./a-b", 0), entry(b"./a", 0), entry(b".", 0)];
        let paths: Vec<String> = lines(&tree).iter().map(|line| line.split('|').next().unwrap().to_owned()).collect();
        assert_eq!(paths, [".", "./a", "./a-b", "./a/b"]);
    }

    #[test]
    fn links_of_directories_are_counted_as_jffs2_does() {
        let directory = DIRECTORY | 0o755;
        let mut tree = [entry(b".", directory), entry(b"./a", directory), entry(b"./a/f", REGULAR)];
        count_links_as_jffs2(&mut tree);
        assert_eq!(tree.map(|e| e.nlink), [4, 2, 5]);
    }
}
