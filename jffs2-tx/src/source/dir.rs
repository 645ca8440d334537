//! A tree from a directory of the host.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::vec::Vec;

use super::refusal::printable;
use super::{Content, NodeId, ROOT, Refusal, SourceError, SourceKind, SourceNode, SourceTree};
use crate::inode_kind::{Device, FileKind, Meta};

/// Linux gives every symlink this mode.
const SYMLINK_MODE: u32 = 0o777;

impl SourceTree {
    /// The tree below the directory `path` of the host, which may itself be a symlink to one. Files with the same
    /// device and inode number become one node. File contents are read when they are needed; each file is opened
    /// once now, so that one that cannot be read is found before anything is written.
    ///
    /// # Errors
    /// [`SourceError`] for the first file, by path in byte order, that JFFS2 cannot hold or the host cannot read.
    pub fn from_dir(path: &Path) -> Result<Self, SourceError> {
        FromDir::default().read(path)
    }
}

/// What all nodes of a directory's tree have alike, whatever the host has: JFFS2 need not be able to hold that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FromDir {
    /// User and group, if not the host's.
    pub owner: Option<(u16, u16)>,
    /// Modification time, seconds since 1970, if not the host's.
    pub mtime: Option<u32>,
}

impl FromDir {
    /// The tree below the directory `path`: see [`SourceTree::from_dir`].
    ///
    /// # Errors
    /// The same.
    pub fn read(self, path: &Path) -> Result<SourceTree, SourceError> {
        self.read_wanted(path, |_, _| true)
    }

    /// The tree of what is `wanted` below the directory `path`: asked are paths from there on, and whether they are
    /// directories. What is not wanted is not opened, and JFFS2 need not be able to hold it.
    ///
    /// # Errors
    /// The same.
    pub fn read_wanted(self, path: &Path, wanted: impl Fn(&Path, bool) -> bool) -> Result<SourceTree, SourceError> {
        let mut walk = Walk::start(self, path).map_err(|reason| at(reason, path))?;
        let wanted = |at: &Path, is_directory| at.strip_prefix(path).is_ok_and(|below| wanted(below, is_directory));
        while let Some((parent, path)) = walk.todo.pop() {
            walk.visit(parent, &path, wanted).map_err(|reason| at(reason, &path))?;
        }
        Ok(walk.tree)
    }

    fn meta_of(self, host: &Metadata) -> Result<Meta, Refusal> {
        let (uid, gid) = match self.owner {
            Some(owner) => owner,
            None => (
                u16::try_from(host.uid()).map_err(|_| Refusal::Uid(host.uid().into()))?,
                u16::try_from(host.gid()).map_err(|_| Refusal::Gid(host.gid().into()))?,
            ),
        };
        let mtime = match self.mtime {
            Some(mtime) => mtime,
            None => u32::try_from(host.mtime()).map_err(|_| Refusal::Time(host.mtime()))?,
        };
        Ok(Meta { mode: host.mode() & 0o7777, uid, gid, mtime })
    }

    fn node_of(self, path: &Path, host: &Metadata) -> Result<SourceNode, Refusal> {
        let mut meta = self.meta_of(host)?;
        let kind = match FileKind::from_mode(host.mode()).ok_or(Refusal::Type(host.mode()))? {
            FileKind::Directory => SourceKind::Directory(BTreeMap::new()),
            FileKind::File => file_of(path, host)?,
            FileKind::Symlink => {
                meta.mode = SYMLINK_MODE;
                SourceKind::Symlink(fs::read_link(path)?.into_os_string().into_vec())
            }
            FileKind::CharDevice => SourceKind::CharDevice(device_of(host.rdev())),
            FileKind::BlockDevice => SourceKind::BlockDevice(device_of(host.rdev())),
            FileKind::Fifo => SourceKind::Fifo,
            FileKind::Socket => SourceKind::Socket,
        };
        Ok(SourceNode { meta, kind })
    }
}

fn at(reason: Refusal, path: &Path) -> SourceError {
    reason.at(path.as_os_str().as_bytes())
}

struct Walk {
    alike: FromDir,
    tree: SourceTree,
    /// Where files with more than one name are in the tree, by device and inode number.
    links: BTreeMap<(u64, u64), NodeId>,
    /// Paths still to visit, the next one last, with their parents.
    todo: Vec<(NodeId, PathBuf)>,
    /// The directories that the current path is in, with device and inode number, the outermost first.
    above: Vec<(PathBuf, (u64, u64))>,
}

impl Walk {
    fn start(alike: FromDir, path: &Path) -> Result<Self, Refusal> {
        let host = fs::metadata(path)?;
        if !host.is_dir() {
            return Err(Refusal::NotADirectory);
        }
        let tree = SourceTree::new(alike.meta_of(&host)?);
        let mut walk = Self { alike, tree, links: BTreeMap::new(), todo: Vec::new(), above: Vec::new() };
        walk.enter(ROOT, path, key_of(&host))?;
        Ok(walk)
    }

    fn visit(&mut self, parent: NodeId, path: &Path, wanted: impl Fn(&Path, bool) -> bool) -> Result<(), Refusal> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let host = fs::symlink_metadata(path)?;
        if !wanted(path, host.is_dir()) {
            return Ok(());
        }
        let key = key_of(&host);
        if let Some(&id) = self.links.get(&key) {
            return self.tree.try_link(parent, name, id);
        }
        let id = self.tree.try_add(parent, name, self.alike.node_of(path, &host)?)?;
        if host.is_dir() {
            return self.enter(id, path, key);
        }
        if host.nlink() > 1 {
            self.links.insert(key, id);
        }
        Ok(())
    }

    /// Puts what is in a directory on the list of paths to visit.
    fn enter(&mut self, id: NodeId, path: &Path, key: (u64, u64)) -> Result<(), Refusal> {
        self.above.truncate(self.above.iter().take_while(|(above, _)| path.starts_with(above)).count());
        if let Some((above, _)) = self.above.iter().find(|(_, above)| *above == key) {
            return Err(Refusal::Loop(printable(above.as_os_str().as_bytes())));
        }
        self.above.push((path.to_path_buf(), key));
        let mut paths = Vec::new();
        for entry in fs::read_dir(path)? {
            paths.push((id, entry?.path()));
        }
        paths.sort_by(|(_, a), (_, b)| b.file_name().cmp(&a.file_name()));
        self.todo.append(&mut paths);
        Ok(())
    }
}

/// Device and inode number.
fn key_of(host: &Metadata) -> (u64, u64) {
    (host.dev(), host.ino())
}

fn file_of(path: &Path, host: &Metadata) -> Result<SourceKind, Refusal> {
    let size = u32::try_from(host.len()).map_err(|_| Refusal::FileSize(host.len()))?;
    File::open(path)?;
    Ok(SourceKind::File { size, content: Content::Path(path.to_path_buf()) })
}

/// From `st_rdev` as Linux hosts give it: 12 + 20 bits of major and 8 + 24 bits of minor number, interleaved.
fn device_of(rdev: u64) -> Device {
    Device {
        major: ((rdev >> 8) as u32 & 0xfff) | ((rdev >> 32) as u32 & !0xfff),
        minor: (rdev as u32 & 0xff) | ((rdev >> 12) as u32 & !0xff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::format;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixListener;
    use std::string::{String, ToString};
    use std::time::{Duration, SystemTime};

    fn host() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    /// The error, without the host's own part of the path.
    fn refusal(dir: &tempfile::TempDir) -> String {
        let error = SourceTree::from_dir(dir.path()).unwrap_err().to_string();
        assert!(!error.contains('\n'));
        error.strip_prefix(dir.path().to_str().unwrap()).unwrap().into()
    }

    fn set_mtime(path: &Path, time: SystemTime) {
        File::options().read(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn reads_every_type_it_can_make() {
        let dir = host();
        let odd = OsStr::from_bytes(b"\xff\x01\n ");
        fs::write(dir.path().join(odd), b"content").unwrap();
        fs::set_permissions(dir.path().join(odd), fs::Permissions::from_mode(0o4711)).unwrap();
        set_mtime(&dir.path().join(odd), SystemTime::UNIX_EPOCH + Duration::from_millis(7900));
        fs::create_dir(dir.path().join("sub")).unwrap();
        symlink(OsStr::from_bytes(b"to \xff"), dir.path().join("link")).unwrap();
        let _socket = UnixListener::bind(dir.path().join("sub/socket")).unwrap();

        let tree = SourceTree::from_dir(dir.path()).unwrap();
        let names: Vec<_> = tree.children(ROOT).map(|(name, _)| name).collect();
        assert_eq!(names, [&b"link"[..], b"sub", odd.as_bytes()], "in byte order");
        let by_name = |name: &[u8]| tree.node(tree.children(ROOT).find(|(n, _)| *n == name).unwrap().1);
        let file = by_name(odd.as_bytes());
        assert_eq!((file.meta.mode, file.meta.mtime), (0o4711, 7));
        assert!(matches!(&file.kind, SourceKind::File { size: 7, .. }));
        let link = by_name(b"link");
        assert_eq!(link.meta.mode, 0o777);
        assert!(matches!(&link.kind, SourceKind::Symlink(target) if target == b"to \xff"));
        assert_eq!(tree.nodes().last().unwrap().kind.file_kind(), FileKind::File);
        assert!(tree.nodes().iter().any(|node| matches!(node.kind, SourceKind::Socket)));
    }

    #[test]
    fn hard_links_are_one_node() {
        let dir = host();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/a"), b"x").unwrap();
        fs::hard_link(dir.path().join("d/a"), dir.path().join("z")).unwrap();
        symlink("t", dir.path().join("s1")).unwrap();
        fs::hard_link(dir.path().join("s1"), dir.path().join("s2")).unwrap();
        let tree = SourceTree::from_dir(dir.path()).unwrap();
        assert_eq!(tree.nodes().len(), 4);
        let ids: Vec<_> = tree.children(ROOT).map(|(_, id)| id).collect();
        assert_eq!(ids[1], ids[2]);
        assert_eq!(tree.children(ids[0]).next().unwrap().1, ids[3]);
    }

    #[test]
    fn refuses_names_targets_and_sizes() {
        let dir = host();
        fs::write(dir.path().join("n".repeat(255)), b"").unwrap();
        assert!(refusal(&dir).ends_with("n: the name is 255 bytes long, JFFS2 holds 1 to 254: rename it"));

        let dir = host();
        symlink("t".repeat(255), dir.path().join("s")).unwrap();
        assert!(refusal(&dir).starts_with("/s: the symlink's target is 255 bytes long"));

        let dir = host();
        fs::create_dir(dir.path().join("a")).unwrap();
        File::create(dir.path().join("a/big")).unwrap().set_len(u64::from(u32::MAX)).unwrap();
        assert!(SourceTree::from_dir(dir.path()).is_ok());
        File::create(dir.path().join("a/big")).unwrap().set_len(1 << 32).unwrap();
        assert!(refusal(&dir).starts_with("/a/big: the file is 4294967296 bytes long"));
    }

    #[test]
    fn refuses_times_outside_32_bits_and_reports_the_first_path() {
        let dir = host();
        for name in ["a", "b\n", "c"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 32);
        set_mtime(&dir.path().join("c"), far);
        set_mtime(&dir.path().join("b\n"), SystemTime::UNIX_EPOCH - Duration::from_millis(1));
        assert!(refusal(&dir).starts_with("/b\\n: the modification time, -1 s since 1970"));
        set_mtime(&dir.path().join("b\n"), SystemTime::UNIX_EPOCH);
        assert!(refusal(&dir).starts_with("/c: the modification time, 4294967296 s"));
        set_mtime(&dir.path().join("c"), far - Duration::from_millis(1));
        assert!(SourceTree::from_dir(dir.path()).is_ok());
        set_mtime(dir.path(), far);
        assert!(refusal(&dir).starts_with(": the modification time"), "the root counts too");
        let tree = FromDir { mtime: Some(9), owner: None }.read(dir.path()).unwrap();
        assert!(tree.nodes().iter().all(|node| node.meta.mtime == 9));
    }

    #[test]
    fn refuses_owners_over_16_bits() {
        let dir = host();
        let path = dir.path().join("f");
        fs::write(&path, b"").unwrap();
        // Only root may give files away.
        if chown(&path, Some(65536), None).is_ok() {
            assert!(refusal(&dir).starts_with("/f: uid 65536 is over 65535"));
            chown(&path, Some(65535), Some(70_000)).unwrap();
            assert!(refusal(&dir).starts_with("/f: gid 70000 is over 65535"));
            let tree = FromDir { owner: Some((1, 2)), mtime: None }.read(dir.path()).unwrap();
            assert!(tree.nodes().iter().all(|node| (node.meta.uid, node.meta.gid) == (1, 2)));
        }
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let dir = host();
        let missing = SourceTree::from_dir(&dir.path().join("none")).unwrap_err();
        assert!(matches!(missing.reason, Refusal::Io(_)) && missing.path.ends_with("/none"));
        let path = dir.path().join("secret");
        fs::write(&path, b"").unwrap();
        assert!(matches!(SourceTree::from_dir(&path).unwrap_err().reason, Refusal::NotADirectory));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        // Root may read everything.
        if File::open(&path).is_err() {
            assert!(refusal(&dir).starts_with("/secret: "));
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
            assert!(refusal(&dir).starts_with("/secret: "));
        }
    }

    #[test]
    fn what_is_not_wanted_may_be_what_cannot_be_held() {
        let dir = host();
        fs::create_dir_all(dir.path().join("kept/out")).unwrap();
        fs::write(dir.path().join("kept/out").join("n".repeat(255)), b"").unwrap();
        File::create(dir.path().join("big")).unwrap().set_len(1 << 32).unwrap();
        fs::write(dir.path().join("out"), b"").unwrap();
        let wanted = |path: &Path, is_directory| path != Path::new("big") && !(is_directory && path.ends_with("out"));
        let tree = FromDir::default().read_wanted(dir.path(), wanted).unwrap();
        let names: Vec<_> = tree.children(ROOT).map(|(name, _)| name).collect();
        assert_eq!(names, [&b"kept"[..], b"out"]);
        assert_eq!(tree.nodes().len(), 3);
    }

    #[test]
    fn only_directories_above_are_a_loop() {
        let dir = host();
        for path in ["a/b", "a/c", "b"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let mut walk = Walk::start(FromDir::default(), dir.path()).unwrap();
        walk.todo.clear();
        let at = |path: &str| dir.path().join(path);
        let key = |path: &Path| key_of(&fs::metadata(path).unwrap());
        let mut enter = |path: &str, of: &Path| walk.enter(ROOT, &at(path), key(of)).map_err(|error| error.to_string());
        enter("a", &at("a")).unwrap();
        enter("a/b", &at("a/b")).unwrap();
        enter("a/c", &at("a/b")).unwrap();
        enter("b", &at("a")).unwrap();
        enter("a", &at("a")).unwrap();
        for above in [dir.path(), &at("a")] {
            let error = enter("a/c", above).unwrap_err();
            assert!(error.starts_with(&format!("the same directory as {}, which", above.display())), "{error}");
        }
    }

    #[test]
    fn decodes_the_hosts_device_numbers() {
        assert_eq!(device_of(0x0501), Device { major: 5, minor: 1 });
        assert_eq!(device_of(0x1231_2c45), Device { major: 300, minor: 74_565 });
        assert_eq!(device_of(0x0000_1000_0000_0000), Device { major: 4096, minor: 0 });
        assert_eq!(device_of(0x0000_0001_0000_0000), Device { major: 0, minor: 1 << 20 });
    }
}
