//! The built-in samples: before an update, after it by each commit point, and torn in between.

use std::collections::BTreeMap;

use jffs2_mkimage::{Options, build};
use jffs2_tx::flash::FlashKind;
use jffs2_tx::index::{Index, ROOT};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::scan::Rules;
use jffs2_tx::source::SourceTree;
use jffs2_tx::tree::Tree;
use jffs2_tx::wire::CommitPoint::{Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use jffs2_tx::wire::{CommitPoint, Endian};
use nandsim::firmware::{Firmware, FirmwareContent, FirmwareEntry, FirmwareError, FirmwareKind};
use nandsim::{Chip, Cut, Recorder, Sample, Shape, Walker, cuts_all, sample, sample_large, sample_small_change};
use sha2::{Digest, Sha256};

use crate::common::{SEED, nand, nor, prepared, recorded};

const KERNEL: &[u8] = b"/boot/kernel";

type Listing = BTreeMap<Vec<u8>, FirmwareEntry>;

fn listing(firmware: Firmware, chip: &Chip, endian: Endian) -> Listing {
    without_dir_times(firmware.boot(chip, endian).unwrap().tree())
}

/// Linux takes them from dirents, too; firmware shows none.
fn without_dir_times(mut listing: Listing) -> Listing {
    for entry in listing.values_mut().filter(|entry| entry.kind == FirmwareKind::Directory) {
        entry.mtime = 0;
    }
    listing
}

/// What the library's reader says, in the firmware's words.
fn librarys(chip: &Chip, rules: Rules) -> Listing {
    let index = Index::open(chip, rules).unwrap();
    let tree = Tree::new(chip, &index);
    let entry = |ino| {
        let stat = tree.stat(ino).unwrap();
        let (kind, content) = match stat.kind {
            FileKind::Directory => (FirmwareKind::Directory, FirmwareContent::Nothing),
            FileKind::File => {
                let bytes = tree.read(ino, u32::MAX).unwrap();
                let sha256 = Sha256::digest(&bytes).into();
                (FirmwareKind::File, FirmwareContent::Bytes { size: stat.size, sha256 })
            }
            FileKind::Symlink => (FirmwareKind::Symlink, FirmwareContent::Target(tree.read_link(ino).unwrap())),
            FileKind::CharDevice => (FirmwareKind::Special(0o020_000), FirmwareContent::Nothing),
            FileKind::BlockDevice => (FirmwareKind::Special(0o060_000), FirmwareContent::Nothing),
            FileKind::Fifo => (FirmwareKind::Special(0o010_000), FirmwareContent::Nothing),
            FileKind::Socket => (FirmwareKind::Special(0o140_000), FirmwareContent::Nothing),
        };
        let (mode, uid, gid, mtime) = (stat.meta.mode, stat.meta.uid, stat.meta.gid, stat.meta.mtime);
        FirmwareEntry { kind, mode, uid, gid, mtime, content }
    };
    without_dir_times(tree.walk(ROOT).map(|step| (step.path, entry(step.ino))).collect())
}

fn library_as(firmware: Firmware, chip: &Chip, endian: Endian) -> Listing {
    librarys(chip, Rules { endian, summaries: firmware.knows_summaries() })
}

/// The library's listing with what Open Firmware cannot read: files with holes.
fn as_shown_by(firmware: Firmware, chip: &Chip, endian: Endian) -> Listing {
    let mut listing = library_as(firmware, chip, endian);
    if firmware == Firmware::OpenFirmware
        && let Some(sparse) = listing.get_mut(b"usr/lib/sparse.db".as_slice())
    {
        sparse.content = FirmwareContent::Failed(FirmwareError::Abort(1));
    }
    listing
}

fn paths(listing: &Listing) -> Vec<String> {
    listing.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
}

fn differing(is: &Listing, wanted: &Listing) -> Vec<String> {
    let all: BTreeMap<_, _> = is.iter().chain(wanted).collect();
    let differing = all.into_keys().filter(|path| is.get(*path) != wanted.get(*path));
    differing
        .map(|path| format!("{}: {:?}, wanted {:?}", path.escape_ascii(), is.get(path), wanted.get(path)))
        .collect()
}

#[track_caller]
fn assert_same(is: &Listing, wanted: &Listing, what: &str) {
    let differing = differing(is, wanted);
    assert!(differing.is_empty(), "{what}: {differing:#?}");
}

fn shapes(endian: Endian) -> [Shape; 5] {
    [nor(64, 1, endian), nor(4, 4, endian), nor(64, 32, endian), nand(16, 512, endian), nand(128, 2048, endian)]
}

fn with_summaries(shape: Shape, tree: &SourceTree) -> Chip {
    let (endian, eraseblock) = (shape.endian, shape.eraseblock);
    let options = Options { endian, eraseblock, summary: true, cleanmarkers: false, ..Options::default() };
    let mut image = Vec::new();
    build(tree, &options, &mut image).unwrap();
    shape.flashed(shape.geometry_for(image.len(), image.len()).unwrap(), &image, SEED).unwrap()
}

#[test]
fn every_firmware_reads_an_image() {
    for shape in [Little, Big].into_iter().flat_map(shapes) {
        for Sample { old, new } in [sample(), sample_small_change(), sample_large()] {
            let plain = |tree: &SourceTree| {
                let image = shape.image(tree).unwrap();
                shape.flashed(shape.geometry_for(image.len(), image.len()).unwrap(), &image, SEED).unwrap()
            };
            for chip in [plain(&old), plain(&new), with_summaries(shape, &old)] {
                for firmware in Firmware::ALL {
                    let wanted = as_shown_by(firmware, &chip, shape.endian);
                    assert!(wanted.len() > 40);
                    assert_same(&listing(firmware, &chip, shape.endian), &wanted, firmware.name());
                }
            }
        }
    }
}

/// Old and new bytes of the sample's kernel.
fn kernels(endian: Endian) -> [Vec<u8>; 2] {
    let shape = nor(64, 1, endian);
    let Sample { old, new } = sample();
    [old, new].map(|tree| {
        let image = shape.image(&tree).unwrap();
        let chip = shape.flashed(shape.geometry_for(image.len(), image.len()).unwrap(), &image, SEED).unwrap();
        let index = Index::open(&chip, Rules { endian, summaries: true }).unwrap();
        let tree = Tree::new(&chip, &index);
        tree.read(tree.lookup(b"boot/kernel").unwrap(), u32::MAX).unwrap()
    })
}

/// The flash after the update.
fn updated(shape: Shape, sample: Sample, point: CommitPoint) -> (Chip, Chip) {
    let (start, update) = prepared(shape, sample, Some(point));
    let mut flash = Recorder::new(start.clone());
    assert_eq!(update.apply(&mut flash, 0).unwrap().commit_point, Some(point));
    (start, flash.into_parts().0)
}

/// The names that U-Boot 2015 still shows after the update of the sample: deleted ones whose inodes are on the flash.
const SHOWN_THOUGH_DELETED: [&str; 6] = [
    "bin/mount",
    "etc/init.d/S40network",
    "etc/motd",
    "usr/lib/libold.so.1",
    "usr/share/doc-1.0",
    "usr/share/doc-1.0/README",
];

#[test]
fn every_firmware_sees_the_new_tree_when_it_is_committed() {
    for (shape, point) in [Little, Big].into_iter().flat_map(|endian| {
        [
            (nor(64, 1, endian), Head),
            (nor(64, 1, endian), Summary),
            (nor(64, 32, endian), Summary),
            (nand(16, 512, endian), Summary),
            (nand(128, 2048, endian), Summary),
        ]
    }) {
        let (start, end) = updated(shape, sample(), point);
        let [old_kernel, new_kernel] = kernels(shape.endian);
        for firmware in Firmware::ALL {
            let what = format!("{} {point} {shape:?}", firmware.name());
            let sees_new = point != Summary || firmware.knows_summaries();
            let mut seen = listing(firmware, &end, shape.endian);
            let wanted = as_shown_by(firmware, if sees_new { &end } else { &start }, shape.endian);
            if firmware == Firmware::UBoot2015 && sees_new {
                let extra: Vec<_> =
                    paths(&seen).into_iter().filter(|path| !wanted.contains_key(path.as_bytes())).collect();
                assert_eq!(extra, SHOWN_THOUGH_DELETED, "{what}");
                seen.retain(|path, _| wanted.contains_key(path));
            }
            assert_same(&seen, &wanted, &what);
            let kernel = firmware.boot(&end, shape.endian).unwrap().read(KERNEL);
            assert_eq!(kernel.as_ref(), Ok(if sees_new { &new_kernel } else { &old_kernel }), "{what}");
        }
    }
}

#[test]
fn one_dirent_commits_for_every_firmware() {
    for shape in [Little, Big].into_iter().flat_map(shapes) {
        let (start, end) = updated(shape, sample_small_change(), Dirent);
        for firmware in Firmware::ALL {
            let (before, after) = (listing(firmware, &start, shape.endian), listing(firmware, &end, shape.endian));
            // The directory is a new one: what was deleted has no dirent in it, so U-Boot 2015 does not show it either.
            assert_same(&after, &as_shown_by(firmware, &end, shape.endian), firmware.name());
            assert_ne!(before.get(b"etc/version".as_slice()), after.get(b"etc/version".as_slice()));
        }
    }
}

#[test]
fn links_lead_to_the_same_file() {
    let (start, _) = prepared(nor(64, 1, Little), sample(), None);
    for firmware in Firmware::ALL {
        let files = firmware.boot(&start, Little).unwrap();
        let busybox = files.read(b"/bin/busybox").unwrap();
        for path in ["bin/ping", "/bin/vi", "//bin//sh"] {
            assert_eq!(files.read(path.as_bytes()), Ok(busybox.clone()), "{} {path}", firmware.name());
        }
        for (path, error) in [
            ("/boot", FirmwareError::NotAFile),
            ("/boot/kernel/x", FirmwareError::NotADirectory),
            ("/boot/kernel2", FirmwareError::NotFound),
            ("/etc/localtime", FirmwareError::NotFound),
            ("/dev/null", FirmwareError::NotAFile),
        ] {
            assert_eq!(files.read(path.as_bytes()), Err(error), "{} {path}", firmware.name());
        }
    }
}

/// How often a firmware has seen what, over the cuts of an update.
#[derive(Debug, Default)]
struct Seen {
    old: u32,
    new: u32,
    /// The mount fails.
    none: u32,
    /// The old tree or the new one, and names that are in neither.
    more: u32,
    other: Vec<(Cut, Vec<String>)>,
}

/// The tree, and the kernel that is loaded.
type View = (Listing, Result<Vec<u8>, FirmwareError>);

fn view(firmware: Firmware, chip: &Chip, endian: Endian) -> Result<View, FirmwareError> {
    firmware.boot(chip, endian).map(|files| (files.tree(), files.read(KERNEL)))
}

fn has_all(is: &Listing, wanted: &Listing) -> bool {
    wanted.iter().all(|(path, entry)| is.get(path) == Some(entry))
}

/// What each firmware sees after every `every`th cut.
fn torn(shape: Shape, sample: Sample, point: CommitPoint, every: usize) -> Vec<(Firmware, Seen)> {
    let torture = recorded(shape, sample, Some(point));
    let end = Walker::new(torture.start.clone(), &torture.trace, SEED, cuts_all(&torture.trace)).last().unwrap().1;
    let mut seen: Vec<_> = Firmware::ALL.map(|firmware| (firmware, Seen::default())).into();
    let expected =
        Firmware::ALL.map(|firmware| [&torture.start, &end].map(|chip| view(firmware, chip, shape.endian).unwrap()));
    let cuts = cuts_all(&torture.trace).enumerate().filter(|(i, _)| i % every == 0).map(|(_, cut)| cut);
    for (cut, chip) in Walker::new(torture.start.clone(), &torture.trace, SEED, cuts) {
        for ((firmware, seen), [old, new]) in seen.iter_mut().zip(&expected) {
            match view(*firmware, &chip, shape.endian) {
                Ok(is) if is == *old => seen.old += 1,
                Ok(is) if is == *new => seen.new += 1,
                Ok(is) if [old, new].iter().any(|wanted| is.1 == wanted.1 && has_all(&is.0, &wanted.0)) => {
                    seen.more += 1
                }
                Ok(is) => seen.other.push((cut, differing(&is.0, &old.0))),
                Err(error) => {
                    assert_eq!((*firmware, error), (Firmware::Barebox, FirmwareError::Unreadable), "{cut}");
                    seen.none += 1;
                }
            }
        }
    }
    seen
}

#[test]
fn every_firmware_sees_the_old_tree_or_the_new_one() {
    for (shape, sample, point, every) in [
        (nor(64, 1, Little), sample(), Head, 97),
        (nor(64, 1, Big), sample(), Summary, 97),
        (nand(16, 512, Big), sample(), Summary, 7),
        (nand(16, 512, Little), sample_small_change(), Dirent, 1),
        (nor(64, 1, Big), sample_small_change(), Dirent, 5),
    ] {
        for (firmware, seen) in torn(shape, sample, point, every) {
            let what = format!("{} {point} {shape:?}: {seen:#?}", firmware.name());
            assert!(seen.old > 0 && seen.other.is_empty(), "{what}");
            assert!(seen.new > 0 || point == Summary, "{what}");
            // A torn page keeps barebox from mounting until recovery.
            assert_eq!(seen.none > 0, shape.kind == FlashKind::Nand && firmware == Firmware::Barebox, "{what}");
            // Open Firmware believes a dirent whose name is torn, and shows it beside the old one.
            let torn_names = point == Dirent && shape.write_size == 1 && firmware == Firmware::OpenFirmware;
            assert_eq!(seen.more > 0, torn_names, "{what}");
        }
    }
}
