//! Trees in the firmware's words, and where they differ.

use std::collections::{BTreeMap, BTreeSet};

use jffs2_tx::error::ReadError;
use jffs2_tx::index::{Index, ROOT};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::scan::Rules;
use jffs2_tx::tree::{Tree, show_path};
use sha2::{Digest, Sha256};

use crate::chip::{Chip, ChipError};
use crate::firmware::{Contents, Files, FirmwareContent, FirmwareEntry, FirmwareKind, MAX_FILE};

/// What each name leads to; the root's is empty, others have no slash in front.
pub(super) type Listing = BTreeMap<Vec<u8>, FirmwareEntry>;

/// As a firmware shows it.
pub(super) fn by_firmware(files: &Files, contents: &mut Contents) -> Listing {
    without_directory_times(files.tree_with(contents))
}

/// As the library's reader shows it.
pub(super) fn by_library(chip: &Chip, rules: Rules) -> Result<Listing, ReadError<ChipError>> {
    let index = Index::open(chip, rules)?;
    let tree = Tree::new(chip, &index);
    let entries: Result<_, _> = tree.walk(ROOT).map(|step| Ok((step.path, entry(&tree, step.ino)?))).collect();
    Ok(without_directory_times(entries?))
}

fn entry(tree: &Tree<'_, Chip>, ino: u32) -> Result<FirmwareEntry, ReadError<ChipError>> {
    let stat = tree.stat(ino)?;
    let (kind, content) = match stat.kind {
        FileKind::Directory => (FirmwareKind::Directory, FirmwareContent::Nothing),
        FileKind::File => {
            let sha256 = Sha256::digest(tree.read(ino, MAX_FILE)?).into();
            (FirmwareKind::File, FirmwareContent::Bytes { size: stat.size, sha256 })
        }
        FileKind::Symlink => (FirmwareKind::Symlink, FirmwareContent::Target(tree.read_link(ino)?)),
        FileKind::CharDevice => (FirmwareKind::Special(0o020_000), FirmwareContent::Nothing),
        FileKind::BlockDevice => (FirmwareKind::Special(0o060_000), FirmwareContent::Nothing),
        FileKind::Fifo => (FirmwareKind::Special(0o010_000), FirmwareContent::Nothing),
        FileKind::Socket => (FirmwareKind::Special(0o140_000), FirmwareContent::Nothing),
    };
    let meta = stat.meta;
    Ok(FirmwareEntry { kind, mode: meta.mode, uid: meta.uid, gid: meta.gid, mtime: meta.mtime, content })
}

/// Linux takes them from dirents, too; firmware shows none.
fn without_directory_times(mut listing: Listing) -> Listing {
    for entry in listing.values_mut().filter(|entry| entry.kind == FirmwareKind::Directory) {
        entry.mtime = 0;
    }
    listing
}

/// Names that lead to different things, or to something in one of the two only.
pub(super) fn differing<'l>(a: &'l Listing, b: &'l Listing) -> BTreeSet<&'l Vec<u8>> {
    a.keys().chain(b.keys()).filter(|path| a.get(*path) != b.get(*path)).collect()
}

/// At most `most` lines on names that lead to something else than is wanted.
pub(super) fn differences(is: &Listing, wanted: &Listing, most: usize) -> Vec<String> {
    let paths = differing(is, wanted);
    let more = paths.len().saturating_sub(most);
    let rest = (more > 0).then(|| format!("and {more} more"));
    paths.iter().take(most).map(|path| difference(path, is.get(*path), wanted.get(*path))).chain(rest).collect()
}

/// What a name leads to instead of what is wanted.
pub(super) fn difference(path: &[u8], is: Option<&FirmwareEntry>, wanted: Option<&FirmwareEntry>) -> String {
    let path = show_path(path);
    match (is, wanted) {
        (None, _) => format!("{path}: missing"),
        (_, None) => format!("{path}: should not be there"),
        (Some(FirmwareEntry { content: FirmwareContent::Failed(error), .. }), _) => format!("{path}: {error}"),
        (Some(is), Some(wanted)) if is.kind != wanted.kind => {
            format!("{path}: {:?}, wanted {:?}", is.kind, wanted.kind)
        }
        (Some(is), Some(wanted)) if is.content == wanted.content => format!("{path}: other mode, owner or time"),
        (Some(FirmwareEntry { content: FirmwareContent::Bytes { size, .. }, .. }), _) => {
            format!("{path}: other content of {size} bytes")
        }
        _ => format!("{path}: other content"),
    }
}
