//! The file that boot firmware loads.

use jffs2_tx::tree::show_path;
use sha2::{Digest, Sha256};

use super::listing::Listing;
use crate::firmware::{Files, FirmwareContent, FirmwareError, FirmwareKind};
use crate::verdict::Verdict;

/// Where kernels usually stand; an asterisk ends a name that goes on.
const USUAL: [&str; 16] = [
    "boot/kernel",
    "boot/uImage",
    "boot/zImage",
    "boot/Image",
    "boot/bzImage",
    "boot/fitImage",
    "boot/kernel.img",
    "boot/vmlinuz*",
    "boot/vmlinux*",
    "kernel",
    "uImage",
    "zImage",
    "Image",
    "kernel.img",
    "vmlinuz*",
    "vmlinux*",
];

/// A kernel image as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) path: Vec<u8>,
    sha256: [u8; 32],
}

impl Kernel {
    /// The one that a firmware loads.
    pub(super) fn loaded(files: &Files, path: &[u8]) -> Result<Self, FirmwareError> {
        Ok(Self { path: path.to_vec(), sha256: Sha256::digest(files.read(path)?).into() })
    }

    /// The one of a tree; `None` unless the path leads to a file without a link at its end.
    pub(super) fn listed(listing: &Listing, path: &[u8]) -> Option<Self> {
        match listing.get(path)?.content {
            FirmwareContent::Bytes { sha256, .. } => Some(Self { path: path.to_vec(), sha256 }),
            _ => None,
        }
    }

    /// Whether it is what the firmware loads.
    pub(super) fn compared(&self, loaded: &Result<Self, FirmwareError>) -> Result<(), Verdict> {
        let path = || show_path(&self.path);
        match loaded {
            Ok(loaded) if loaded == self => Ok(()),
            Ok(_) => Err(Verdict::Mixed(format!("{} is neither the old kernel nor the new one", path()))),
            Err(error) => Err(Verdict::Unreadable(format!("{}: {error}", path()))),
        }
    }
}

/// Path of the kernel in a tree: the one given, or the first of the usual ones.
pub(super) fn path(listing: &Listing, given: Option<&[u8]>) -> Option<Vec<u8>> {
    let loads = |path: &[u8]| {
        let kind = listing.get(path).map(|entry| entry.kind);
        matches!(kind, Some(FirmwareKind::File | FirmwareKind::Symlink))
    };
    if let Some(given) = given {
        let given: Vec<&[u8]> = given.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        return Some(given.join(&b'/')).filter(|path| loads(path));
    }
    USUAL.iter().find_map(|usual| match usual.strip_suffix('*') {
        None => Some(usual.as_bytes().to_vec()).filter(|path| loads(path)),
        Some(start) => {
            let mut candidates = listing.range(start.as_bytes().to_vec()..).map(|(path, _)| path);
            let goes_on = |path: &&Vec<u8>| path.starts_with(start.as_bytes());
            let rest = |path: &Vec<u8>| path[start.len()..].contains(&b'/');
            candidates.by_ref().take_while(goes_on).find(|path| loads(path) && !rest(path)).cloned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::FirmwareEntry;

    fn tree(paths: &[&str]) -> Listing {
        let entry = |path: &&str| {
            let kind = if path.ends_with('/') { FirmwareKind::Directory } else { FirmwareKind::File };
            let content = FirmwareContent::Nothing;
            let path = path.trim_end_matches('/').as_bytes().to_vec();
            (path, FirmwareEntry { kind, mode: 0, uid: 0, gid: 0, mtime: 0, content })
        };
        paths.iter().map(entry).collect()
    }

    #[test]
    fn usual_names() {
        let found = |paths: &[&str]| path(&tree(paths), None).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(
            found(&["boot/", "boot/kernel/", "boot/vmlinuz-6.1", "kernel"]).as_deref(),
            Some("boot/vmlinuz-6.1")
        );
        assert_eq!(found(&["boot/vmlinuz/", "boot/vmlinuz/a", "boot/vmlinuz1"]).as_deref(), Some("boot/vmlinuz1"));
        assert_eq!(found(&["boot/uImage", "boot/kernel"]).as_deref(), Some("boot/kernel"));
        assert_eq!(found(&["zImage"]).as_deref(), Some("zImage"));
        assert_eq!(found(&["etc/kernel"]), None);
    }

    #[test]
    fn given_names() {
        let tree = tree(&["boot/", "boot/kernel", "fw"]);
        assert_eq!(path(&tree, Some(b"/fw")).as_deref(), Some(&b"fw"[..]));
        assert_eq!(path(&tree, Some(b"//boot/kernel")).as_deref(), Some(&b"boot/kernel"[..]));
        assert_eq!(path(&tree, Some(b"/boot")), None);
    }
}
