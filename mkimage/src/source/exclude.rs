//! What stays out of an image.

use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jffs2_tx::source::{SourceError, SourceKind, SourceTree};

use super::copy::Copier;

/// Patterns; what one of them matches stays out, with all that is below.
///
/// - `*` and `?` match any bytes but a slash, `**` whole names too, `[a-z]` one byte of those, `{a,b}` either.
/// - A pattern without a slash matches a name in any directory: `*.a`, `.git`.
/// - A pattern with a slash matches a path from the root, with a slash in front or without: `usr/share/doc`, `/*.txt`.
/// - With a slash at its end it matches directories only: `doc/`.
#[derive(Clone, Debug)]
pub struct Excludes {
    all: GlobSet,
    directories: GlobSet,
}

/// Why patterns cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExcludeError {
    /// Not a pattern.
    #[error(transparent)]
    Pattern(#[from] globset::Error),
    /// It would match the root, or nothing.
    #[error("pattern `{0}`: no name in it")]
    Nameless(String),
}

impl Excludes {
    /// Reads patterns.
    ///
    /// # Errors
    /// [`ExcludeError`] for the first that is wrong.
    pub fn new<P: AsRef<str>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, ExcludeError> {
        let (mut all, mut directories) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let path = pattern.trim_end_matches('/');
            let from_root = path.trim_start_matches('/');
            if from_root.is_empty() {
                return Err(ExcludeError::Nameless(pattern.into()));
            }
            let glob = if path.contains('/') { from_root.to_owned() } else { format!("**/{from_root}") };
            let glob = GlobBuilder::new(&glob).literal_separator(true).build()?;
            let set = if pattern.ends_with('/') { &mut directories } else { &mut all };
            set.add(glob);
        }
        Ok(Self { all: all.build()?, directories: directories.build()? })
    }

    /// Whether nothing stays out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.directories.is_empty()
    }

    /// The tree without what the patterns match.
    ///
    /// # Errors
    /// None but of trees that hold what the format cannot.
    pub fn apply(&self, tree: &SourceTree) -> Result<SourceTree, SourceError> {
        Copier::new(tree).all(|path, id| {
            let is_directory = matches!(tree.node(id).kind, SourceKind::Directory(_));
            !self.matches(Path::new(OsStr::from_bytes(path)), is_directory)
        })
    }

    /// Whether a path, without a slash in front, stays out.
    #[must_use]
    pub fn matches(&self, path: &Path, is_directory: bool) -> bool {
        self.all.is_match(path) || is_directory && self.directories.is_match(path)
    }
}

/// Patterns of a file: one a line, but for empty lines and those that start with `#`.
///
/// # Errors
/// The host's; also for what is not UTF-8.
pub fn patterns(file: impl BufRead) -> io::Result<Vec<String>> {
    let lines =
        file.lines().filter(|line| line.as_ref().map_or(true, |line| !line.is_empty() && !line.starts_with('#')));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::walk::walk;
    use jffs2_tx::inode_kind::Meta;
    use jffs2_tx::source::{ROOT, SourceNode};

    fn left(patterns: &[&str]) -> String {
        let meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 1 };
        let mut tree = SourceTree::new(meta);
        for path in
            ["doc/", "doc/a.txt", "usr/", "usr/doc", "usr/lib/", "usr/lib/doc/", "usr/lib/doc/b.txt", "usr/lib/x"]
        {
            let (parent, name) =
                path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path.trim_end_matches('/')));
            let parent = tree.find(parent.as_bytes()).unwrap();
            let directory = SourceKind::Directory(Default::default());
            let kind = if path.ends_with('/') { directory } else { SourceKind::Fifo };
            tree.add(parent, name.as_bytes(), SourceNode { meta, kind }).unwrap();
        }
        let odd = tree.add(ROOT, b"\xff.txt", SourceNode { meta, kind: SourceKind::Fifo }).unwrap();
        tree.link(ROOT, b"\xff.z", odd).unwrap();
        let tree = Excludes::new(patterns).unwrap().apply(&tree).unwrap();
        let words: Vec<_> = walk(&tree).skip(1).map(|(path, _)| path.escape_ascii().to_string()).collect();
        assert_eq!(tree.nodes().len(), words.len() + 1);
        words.join(" ")
    }

    #[test]
    fn names_paths_and_directories() {
        let all = r"doc doc/a.txt usr usr/doc usr/lib usr/lib/doc usr/lib/doc/b.txt usr/lib/x \xff.txt";
        assert_eq!(left(&["none", "/lib", "lib/doc", "b.txt/", "usr*doc"]), all);
        assert_eq!(left(&["doc"]), r"usr usr/lib usr/lib/x \xff.txt");
        assert_eq!(left(&["/doc"]), r"usr usr/doc usr/lib usr/lib/doc usr/lib/doc/b.txt usr/lib/x \xff.txt");
        assert_eq!(left(&["doc/"]), r"usr usr/doc usr/lib usr/lib/x \xff.txt");
        assert_eq!(left(&["*.txt"]), "doc usr usr/doc usr/lib usr/lib/doc usr/lib/x \\xff.z", "a second name is left");
        assert_eq!(left(&["/*.txt", "usr/*/*"]), r"doc doc/a.txt usr usr/doc usr/lib \xff.z");
        assert_eq!(left(&["usr/**/b.txt", "[x-z]", "{usr/doc,doc}"]), r"usr usr/lib usr/lib/doc \xff.txt");
        assert_eq!(left(&["usr/doc/", "*"]), "");
    }

    #[test]
    fn wrong_patterns() {
        assert!(Excludes::new(["[a"]).unwrap_err().to_string().contains("[a"));
        for nameless in ["", "/", "//"] {
            assert!(matches!(Excludes::new([nameless]), Err(ExcludeError::Nameless(_))));
        }
        assert_eq!(patterns(&b"a\n\n# b\n c \n"[..]).unwrap(), ["a", " c "]);
        assert!(patterns(&b"\xff"[..]).is_err());
    }
}
