//! Small trees written as text, and the sample updates made of them.
//!
//! One entry a line; a directory stands before what is in it; `#` starts a comment line:
//! ```text
//! PATH TYPE MODE UID GID MTIME [CONTENT]
//! PATH link TARGET
//! ```
//! TYPE is dir, file, symlink, char, block, fifo or socket; MODE octal; MTIME seconds since 1970. CONTENT of a symlink is
//! its target, of a device MAJOR:MINOR, of a file any of these, joined by ` + `:
//! - `text:TEXT`, `repeat:COUNT:TEXT`, where `\n` is a newline
//! - `noise:SEED:BYTES`, which nothing compresses
//! - `hole:BYTES` of zeros
//!
//! A link is one more name for a file that stands before it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::source::{Content, NodeId, SourceKind, SourceNode, SourceTree};

use crate::rng::Rng;

mod random;

pub use random::sample_random;

const OLD: &str = include_str!("../sample/old.tree");
const NEW: &str = include_str!("../sample/new.tree");

const MAX_COUNT: usize = 1 << 20;

/// A tree and what an update makes of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Before.
    pub old: SourceTree,
    /// After.
    pub new: SourceTree,
}

/// A line that is no entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TreeTextError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// An embedded root of about 45 names, and an update with every kind of change; below 100 KiB as an image.
#[must_use]
pub fn sample() -> Sample {
    Sample { old: embedded(OLD), new: embedded(NEW) }
}

/// The same root; only what is below `/etc` changes, so that one dirent can commit it.
#[must_use]
pub fn sample_small_change() -> Sample {
    let in_etc =
        |line: &&str| line.split_whitespace().next().is_some_and(|path| format!("{path}/").starts_with("/etc/"));
    let unchanged = OLD.lines().filter(|line| !in_etc(line));
    let new: Vec<&str> = unchanged.chain(NEW.lines().filter(in_etc)).collect();
    Sample { old: embedded(OLD), new: embedded(&new.join("\n")) }
}

/// A root in which 480 small files in 8 directories change: far more names than a commit block of 16 KiB holds.
#[must_use]
pub fn sample_large() -> Sample {
    Sample { old: embedded(&many_files(1)), new: embedded(&many_files(2)) }
}

fn many_files(version: u32) -> String {
    let mut text = String::from("/ dir 755 0 0 0\n/lib dir 755 0 0 0\n/lib/same file 644 0 0 0 text:same\n");
    for dir in 0..8 {
        let _ = writeln!(text, "/lib/set{dir} dir 755 0 0 {version}");
        for file in 0..60 {
            let _ = writeln!(
                text,
                "/lib/set{dir}/module{file:02}.ko file 644 0 0 {version} text:{dir}.{file} version {version}"
            );
        }
    }
    text
}

/// A tree that is part of this crate.
fn embedded(text: &str) -> SourceTree {
    parse_tree(text).unwrap_or_else(|e| unreachable!("tested: {e}"))
}

/// Makes a tree of its text.
///
/// # Errors
/// [`TreeTextError`] with the first wrong line.
pub fn parse_tree(text: &str) -> Result<SourceTree, TreeTextError> {
    let mut builder =
        Builder { tree: SourceTree::new(Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 }), ids: HashMap::new() };
    builder.ids.insert("", 0);
    for (i, line) in text.lines().enumerate() {
        if !line.trim().is_empty() && !line.starts_with('#') {
            builder.entry(line).map_err(|reason| TreeTextError { line: i + 1, reason })?;
        }
    }
    Ok(builder.tree)
}

struct Builder<'t> {
    tree: SourceTree,
    /// By path; the root's is empty.
    ids: HashMap<&'t str, NodeId>,
}

impl<'t> Builder<'t> {
    fn entry(&mut self, line: &'t str) -> Result<(), String> {
        let (path, rest) = field(line)?;
        let (kind, rest) = field(rest)?;
        let (parent, name) = path.rsplit_once('/').ok_or("path is not absolute")?;
        let parent = *self.ids.get(parent).ok_or("no such parent")?;
        if kind == "link" {
            let target = *self.ids.get(rest.trim()).ok_or("no such target")?;
            return self.tree.link(parent, name.as_bytes(), target).map_err(|e| e.to_string());
        }
        let (meta, content) = meta(rest)?;
        let node = SourceNode { meta, kind: source_kind(kind, content)? };
        if path == "/" {
            self.tree.node_mut(0).meta = meta;
            return Ok(());
        }
        let id = self.tree.add(parent, name.as_bytes(), node).map_err(|e| e.to_string())?;
        self.ids.insert(path, id);
        Ok(())
    }
}

fn meta(text: &str) -> Result<(Meta, &str), String> {
    let (mode, rest) = field(text)?;
    let (uid, rest) = field(rest)?;
    let (gid, rest) = field(rest)?;
    let (mtime, rest) = field(rest)?;
    let mode = u32::from_str_radix(mode, 8).map_err(|e| format!("mode {mode}: {e}"))?;
    Ok((Meta { mode, uid: number(uid)?, gid: number(gid)?, mtime: number(mtime)? }, rest.trim_start()))
}

fn source_kind(kind: &str, content: &str) -> Result<SourceKind, String> {
    Ok(match kind {
        "dir" => SourceKind::Directory(BTreeMap::new()),
        "file" => {
            let bytes = file_content(content)?;
            SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes) }
        }
        "symlink" => SourceKind::Symlink(content.as_bytes().to_vec()),
        "char" => SourceKind::CharDevice(device(content)?),
        "block" => SourceKind::BlockDevice(device(content)?),
        "fifo" => SourceKind::Fifo,
        "socket" => SourceKind::Socket,
        _ => return Err(format!("no type {kind}")),
    })
}

fn device(text: &str) -> Result<Device, String> {
    let (major, minor) = text.split_once(':').ok_or("a device needs MAJOR:MINOR")?;
    Ok(Device { major: number(major)?, minor: number(minor)? })
}

fn file_content(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for piece in text.split(" + ").filter(|piece| !piece.is_empty()) {
        let (kind, rest) = piece.split_once(':').ok_or("content needs KIND:")?;
        let (first, second) = rest.split_once(':').unwrap_or((rest, ""));
        match kind {
            "text" => bytes.extend(unescaped(rest)),
            "repeat" => bytes.extend(unescaped(second).repeat(count(first)?)),
            "hole" => bytes.resize(bytes.len() + count(first)?, 0),
            "noise" => {
                let start = bytes.len();
                bytes.resize(start + count(second)?, 0);
                Rng::new(number(first)?).fill(&mut bytes[start..]);
            }
            _ => return Err(format!("no content {kind}")),
        }
    }
    Ok(bytes)
}

fn unescaped(text: &str) -> Vec<u8> {
    text.replace("\\n", "\n").into_bytes()
}

/// The first word, and what follows it.
fn field(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim_start();
    if text.is_empty() {
        return Err("too few fields".into());
    }
    Ok(text.split_once(char::is_whitespace).unwrap_or((text, "")))
}

/// A number of bytes or repetitions; bounded, since it becomes memory.
fn count(text: &str) -> Result<usize, String> {
    let count = number(text)?;
    if count <= MAX_COUNT { Ok(count) } else { Err(format!("{count} is above {MAX_COUNT}")) }
}

fn number<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e| format!("{text}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every path with all that can differ.
    fn listed(tree: &SourceTree) -> BTreeMap<String, String> {
        let mut list = BTreeMap::from([(String::new(), format!("{:?}", tree.node(0).meta))]);
        let mut todo = vec![(0, String::new())];
        while let Some((dir, path)) = todo.pop() {
            for (name, id) in tree.children(dir) {
                let path = format!("{path}/{}", String::from_utf8_lossy(name));
                let node = tree.node(id);
                let is_dir = matches!(node.kind, SourceKind::Directory(_));
                let kind = if is_dir { "dir".into() } else { format!("{:?}", node.kind) };
                list.insert(path.clone(), format!("{:?} {kind}", node.meta));
                todo.push((id, path));
            }
        }
        list
    }

    fn changed(sample: &Sample) -> Vec<String> {
        let (old, new) = (listed(&sample.old), listed(&sample.new));
        old.keys()
            .chain(new.keys().filter(|path| !old.contains_key(*path)))
            .filter(|path| old.get(*path) != new.get(*path))
            .cloned()
            .collect()
    }

    #[test]
    fn samples_are_what_they_say() {
        let whole = sample();
        assert_eq!((listed(&whole.old).len(), listed(&whole.new).len()), (45, 49));
        assert!(changed(&whole).len() > 30);
        let small = changed(&sample_small_change());
        assert!(small.len() > 5 && small.iter().all(|path| path.starts_with("/etc")), "{small:?}");
        assert_eq!(changed(&sample_large()).len(), 8 * 61);
        assert_eq!(changed(&Sample { new: whole.old.clone(), ..whole }).len(), 0);
    }

    #[test]
    fn links_and_contents() {
        let tree = parse_tree(
            "/ dir 700 1 2 3\n# comment\n\n/a file 4755 0 0 9 text:a b\\n + repeat:2:xy + hole:3 + noise:5:4\n/d dir 755 0 0 0\n/d/b link /a\n",
        )
        .unwrap();
        assert_eq!(tree.node(0).meta, Meta { mode: 0o700, uid: 1, gid: 2, mtime: 3 });
        let (a, d) = (tree.children(0).next().unwrap().1, tree.children(0).nth(1).unwrap().1);
        assert_eq!(tree.children(d).next().unwrap(), (b"b".as_slice(), a));
        let SourceKind::File { size: 15, content: Content::Bytes(bytes) } = &tree.node(a).kind else { panic!() };
        assert_eq!(bytes[..11], *b"a b\nxyxy\0\0\0");
        assert_eq!(tree.node(a).meta.mode, 0o4755);
    }

    #[test]
    fn wrong_lines_are_named() {
        for wrong in [
            "/a/b file 644 0 0 0",
            "a file 644 0 0 0",
            "/a file 648 0 0 0",
            "/a file 644 0 0",
            "/a file 644 0 70000 0",
            "/a file 644 0 0 0 hole:x",
            "/a file 644 0 0 0 hole:99999999999",
            "/a file 644 0 0 0 nothing",
            "/a char 644 0 0 0 5",
            "/a door 644 0 0 0",
            "/a link /b",
            "/",
        ] {
            let error = parse_tree(&format!("# comment\n{wrong}\n")).unwrap_err();
            assert_eq!(error.line, 2, "{wrong}: {error}");
        }
    }
}
