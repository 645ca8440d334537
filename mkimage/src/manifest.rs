//! Trees from a manifest, as [`jffs2_tx::manifest`] describes it, and a directory with the files' contents.
//!
//! The manifest says which names there are, and everything about them but what is in the files: that comes from the
//! directory, as it is now. Owners, modes, devices and attributes in the directory do not count.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::manifest::{Entry, Header, Type, VERSION, escape, from_hex, to_hex, unescape};
use jffs2_tx::source::{Content, Extra, NodeId, ROOT, SourceError, SourceKind, SourceNode, SourceTree};
use jffs2_tx::tree::Attribute;
use sha2::{Digest, Sha256};

/// What a manifest describes.
#[derive(Debug)]
pub struct Described {
    /// What the image was like.
    pub header: Header,
    /// What is in it.
    pub tree: SourceTree,
    /// Paths in the directory that the manifest does not name, sorted. They are not in the tree.
    pub unnamed: Vec<String>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ManifestError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a line of a manifest.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Not the JSON object that belongs there.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A later version of the format.
    #[error("manifest version {0}, this program knows {VERSION}: take a newer one")]
    Version(u32),
    /// The manifest has no header, or no root behind it.
    #[error("the manifest ends before {0}")]
    Ends(&'static str),
    /// A field is missing or makes no sense.
    #[error("{path}: {what}")]
    Field {
        /// Path, as the manifest has it.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// JFFS2 cannot hold it, or the name is there already.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file's content is not to be had.
    #[error("{path}: {error}")]
    Content {
        /// Path in the directory.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The file's content is not that of the manifest, and must be.
    #[error("{path}: not the content that the manifest has: its SHA-256 is {sha256}")]
    Differs {
        /// Path in the directory.
        path: String,
        /// What it is.
        sha256: String,
    },
    /// The manifest cannot be read.
    #[error("{0}")]
    Read(io::Error),
}

/// Reads a manifest; contents of files are below `dir`. With `verify` they must be those that the manifest has.
///
/// # Errors
/// [`ManifestError`] for the first line that is wrong.
pub fn read(manifest: impl BufRead, dir: Option<&Path>, verify: bool) -> Result<Described, ManifestError> {
    let mut lines = manifest.lines().enumerate().map(|(at, line)| (at + 1, line));
    let (line, first) = lines.next().ok_or(at(1)(Reason::Ends("its header")))?;
    let header = header(first).map_err(at(line))?;
    let (line, root) = lines.next().ok_or(at(2)(Reason::Ends("the root")))?;
    let root = root.map_err(Reason::Read).and_then(|root| Ok(serde_json::from_str(&root)?)).map_err(at(line))?;
    let mut reader = Reader::start(dir, verify, &root).map_err(at(line))?;
    for (line, text) in lines {
        let entry = text.map_err(Reason::Read).and_then(|text| Ok(serde_json::from_str(&text)?));
        entry.and_then(|entry| reader.add(&entry)).map_err(at(line))?;
    }
    let unnamed = reader.unnamed().map_err(at(1))?;
    Ok(Described { header, tree: reader.tree, unnamed })
}

fn at(line: usize) -> impl Fn(Reason) -> ManifestError {
    move |reason| ManifestError { line, reason }
}

fn header(line: io::Result<String>) -> Result<Header, Reason> {
    let line = line.map_err(Reason::Read)?;
    let version: VersionOnly = serde_json::from_str(&line)?;
    if version.manifest != VERSION {
        return Err(Reason::Version(version.manifest));
    }
    Ok(serde_json::from_str(&line)?)
}

/// What every version of a header has.
#[derive(serde::Deserialize)]
struct VersionOnly {
    manifest: u32,
}

struct Reader<'d> {
    dir: Option<&'d Path>,
    verify: bool,
    tree: SourceTree,
    /// Nodes by path, no slash in front.
    ids: HashMap<Vec<u8>, NodeId>,
}

impl<'d> Reader<'d> {
    fn start(dir: Option<&'d Path>, verify: bool, root: &Entry) -> Result<Self, Reason> {
        if root.path != "/" || root.r#type != Type::Directory {
            return Err(wrong(root, "the root directory comes first"));
        }
        let ids = HashMap::from([(Vec::new(), ROOT)]);
        let mut reader = Self { dir, verify, tree: SourceTree::new(meta(root)?), ids };
        reader.tree.set_extra(ROOT, extra(root)?)?;
        Ok(reader)
    }

    fn add(&mut self, entry: &Entry) -> Result<(), Reason> {
        let path = path(entry, &entry.path)?;
        let split = path.iter().rposition(|byte| *byte == b'/');
        let (parent, name) = split.map_or((&[][..], &path[..]), |slash| (&path[..slash], &path[slash + 1..]));
        let parent = *self.ids.get(parent).ok_or_else(|| wrong(entry, "its directory does not come before it"))?;
        let id = if entry.r#type == Type::Link {
            let to = entry.to.as_deref().ok_or_else(|| wrong(entry, "no `to`"))?;
            let first = self.ids.get(&self::path(entry, to)?);
            let first = *first.ok_or_else(|| wrong(entry, "`to` is no path that comes before it"))?;
            self.tree.link(parent, name, first)?;
            first
        } else {
            let node = SourceNode { meta: meta(entry)?, kind: self.kind(entry, &path)? };
            let id = self.tree.add(parent, name, node)?;
            self.tree.set_extra(id, extra(entry)?)?;
            id
        };
        self.ids.insert(path, id);
        Ok(())
    }

    fn kind(&self, entry: &Entry, path: &[u8]) -> Result<SourceKind, Reason> {
        Ok(match entry.r#type {
            Type::Directory => SourceKind::Directory(BTreeMap::new()),
            Type::File => self.file(entry, path)?,
            Type::Symlink => {
                let target = entry.target.as_deref().and_then(unescape);
                SourceKind::Symlink(target.ok_or_else(|| wrong(entry, "no `target`, or one with a wrong escape"))?)
            }
            Type::Char => SourceKind::CharDevice(device(entry)?),
            Type::Block => SourceKind::BlockDevice(device(entry)?),
            Type::Fifo => SourceKind::Fifo,
            Type::Socket => SourceKind::Socket,
            Type::Link => return Err(wrong(entry, "a link")),
        })
    }

    /// A file as it is in the directory now.
    fn file(&self, entry: &Entry, path: &[u8]) -> Result<SourceKind, Reason> {
        let dir = self.dir.ok_or_else(|| wrong(entry, "there is no directory to take its content from"))?;
        let host = dir.join(OsStr::from_bytes(path));
        let failed = |error| Reason::Content { path: escape(host.as_os_str().as_bytes()), error };
        let metadata = self.inside(dir, path).and_then(|()| fs::symlink_metadata(&host)).map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let too_large = |_| failed(io::Error::other("4 GiB or more, which JFFS2 does not hold"));
        let size = u32::try_from(metadata.len()).map_err(too_large)?;
        let file = File::open(&host).map_err(failed)?;
        if let Some(wanted) = entry.sha256.as_ref().filter(|_| self.verify) {
            let sha256 = sha256(file).map_err(failed)?;
            if sha256 != *wanted {
                return Err(Reason::Differs { path: escape(host.as_os_str().as_bytes()), sha256 });
            }
        }
        Ok(SourceKind::File { size, content: Content::Path(host) })
    }

    /// Whether the path stays in the directory: plain names, none but the last a symlink.
    fn inside(&self, dir: &Path, path: &[u8]) -> io::Result<()> {
        let mut at = dir.to_path_buf();
        let mut names = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            if matches!(name, b"" | b"." | b"..") {
                return Err(io::Error::other("not a plain name"));
            }
            at.push(OsStr::from_bytes(name));
            if names.peek().is_some() && !fs::symlink_metadata(&at)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(())
    }

    /// What is in the directory and not in the manifest; of a directory, not what is below it.
    fn unnamed(&self) -> Result<Vec<String>, Reason> {
        let mut found = Vec::new();
        let mut entered = HashSet::new();
        let mut todo: Vec<(PathBuf, Vec<u8>)> =
            self.dir.map(|dir| (dir.to_path_buf(), Vec::new())).into_iter().collect();
        while let Some((host, path)) = todo.pop() {
            let failed = |error| Reason::Content { path: escape(host.as_os_str().as_bytes()), error };
            for entry in fs::read_dir(&host).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().into_vec();
                let path = if path.is_empty() { name } else { [&path[..], b"/", &name].concat() };
                if !self.ids.contains_key(&path) {
                    found.push(format!("/{}", escape(&path)));
                } else if entry.file_type().map_err(failed)?.is_dir() && entered.insert(path.clone()) {
                    todo.push((entry.path(), path));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

fn wrong(entry: &Entry, what: &'static str) -> Reason {
    Reason::Field { path: entry.path.clone(), what }
}

/// A path as bytes, without its slash in front.
fn path(entry: &Entry, text: &str) -> Result<Vec<u8>, Reason> {
    let path = text.strip_prefix('/').filter(|path| !path.is_empty()).and_then(unescape);
    path.ok_or_else(|| wrong(entry, "a path starts with a slash, and has \\xNN for odd bytes and \\\\ for a backslash"))
}

fn meta(entry: &Entry) -> Result<Meta, Reason> {
    let mode = entry.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
    Ok(Meta {
        mode: mode.ok_or_else(|| wrong(entry, "no `mode` in octal digits"))?,
        uid: entry.uid.ok_or_else(|| wrong(entry, "no `uid`"))?,
        gid: entry.gid.ok_or_else(|| wrong(entry, "no `gid`"))?,
        mtime: entry.mtime.ok_or_else(|| wrong(entry, "no `mtime`"))?,
    })
}

fn extra(entry: &Entry) -> Result<Extra, Reason> {
    let times = entry.atime.zip(entry.ctime);
    let times = times.filter(|times| Some(times.0) != entry.mtime || Some(times.1) != entry.mtime);
    let attribute =
        |(name, value): (&String, &String)| Some(Attribute { name: unescape(name)?, value: from_hex(value)? });
    let xattrs = entry.xattrs.iter().map(attribute).collect::<Option<Vec<_>>>();
    Ok(Extra { times, xattrs: xattrs.ok_or_else(|| wrong(entry, "an extended attribute is not in hexadecimal"))? })
}

fn device(entry: &Entry) -> Result<Device, Reason> {
    let number = entry.major.zip(entry.minor).map(|(major, minor)| Device { major, minor });
    number.ok_or_else(|| wrong(entry, "no `major` or no `minor`"))
}

fn sha256(mut file: File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 17];
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(to_hex(&hash.finalize())),
            len => hash.update(&buf[..len]),
        }
    }
}
