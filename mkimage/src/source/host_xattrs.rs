//! Extended attributes of the host's files, which [`SourceTree::from_dir`] does not read.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use jffs2_tx::manifest::escape;
use jffs2_tx::source::{Extra, SourceError, SourceTree};
use jffs2_tx::tree::Attribute;

use super::walk::walk;

/// Which attributes are read, by name; those that any of them names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// All of them.
    pub all: bool,
    /// `security.*`, SELinux labels among them.
    pub security: bool,
    /// `system.posix_acl_access` and `system.posix_acl_default`.
    pub acls: bool,
}

impl Which {
    fn has(self, name: &[u8]) -> bool {
        let is = |prefix: &[u8]| name.starts_with(prefix);
        self.all || (self.security && is(b"security.")) || (self.acls && is(b"system.posix_acl_"))
    }
}

/// Gives what is in `tree`, which is that of `dir`, the attributes that it has there. Symlinks have their own. A file system
/// without attributes has none.
///
/// # Errors
/// [`SourceError`] with the path on the host for the first attribute, by path in byte order, that JFFS2 cannot hold or the
/// host cannot read.
pub fn read(tree: &mut SourceTree, dir: &Path, which: Which) -> Result<(), SourceError> {
    let places: Vec<_> = walk(tree).collect();
    for (path, id) in places {
        // A slash behind the directory: it may be a symlink.
        let host = dir.join(OsStr::from_bytes(&path));
        let at = |reason| SourceError { path: escape(host.as_os_str().as_bytes()), reason };
        let xattrs = of_file(&host, which).map_err(|error| at(error.into()))?;
        if !xattrs.is_empty() {
            let times = tree.extra(id).and_then(|extra| extra.times);
            tree.set_extra(id, Extra { times, xattrs }).map_err(|error| at(error.reason))?;
        }
    }
    Ok(())
}

fn of_file(path: &Path, which: Which) -> io::Result<Vec<Attribute>> {
    let names = match xattr::list(path) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(Vec::new()),
        names => names?,
    };
    let wanted = names.filter(|name| which.has(name.as_bytes()));
    let read = |name: std::ffi::OsString| {
        // One that goes away in between has never been there.
        let value = xattr::get(path, &name).transpose()?;
        Some(value.map(|value| Attribute { name: name.into_vec(), value }))
    };
    wanted.filter_map(read).collect()
}
