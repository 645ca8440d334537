//! What the library alone would miss: states that it reads right and that boot firmware reads wrong.

use std::collections::BTreeSet;

use jffs2_mkimage::{Compress, Method, Options, build};
use jffs2_tx::flash::{Flash, FlashKind, FlashMut};
use jffs2_tx::index::Index;
use jffs2_tx::scan::Rules;
use jffs2_tx::tree::Tree;
use jffs2_tx::wire::CommitPoint::{self, Head};
use jffs2_tx::wire::{Compression, Dirent, Endian, Inode};
use nandsim::{
    Allowance, ByReader, Chip, Expected, FirmwareSeen, Judge, LeftOut, Op, Shape, Standard, StandardError, Torture,
    Verdict, Viewer, Walker, cuts_all, parse_tree, sample,
};

use crate::common::{SEED, judge, nor, recorded};

const E: Endian = Endian::Little;
const SHAPE: Shape = Shape { kind: FlashKind::Nor, eraseblock: 64 << 10, write_size: 1, endian: E };
const KERNEL: &[u8] = b"/boot/kernel";

fn update() -> Torture {
    recorded(nor(64, 1, E), sample(), Some(Head))
}

/// What the library sees of two states.
fn library(start: &Chip, end: &Chip) -> ByReader<Expected> {
    let tree = |chip: &Chip| {
        let views = Viewer::new(chip.geometry(), E).views(chip);
        (*views.with_summaries).as_ref().unwrap().clone()
    };
    let expected = Expected { old: tree(start), new: tree(end) };
    ByReader { with_summaries: expected.clone(), without_summaries: expected }
}

fn standard(start: &Chip, end: &Chip, kernel: Option<&[u8]>) -> Result<Standard, StandardError> {
    Standard::new(start, end, E, CommitPoint::Dirent, library(start, end), kernel)
}

/// Programs nodes behind all that is written.
fn append(chip: &mut Chip, nodes: &[u8]) {
    let geometry = *chip.geometry();
    let end_of = |block| chip.block_data(block).iter().rposition(|byte| *byte != 0xff).unwrap_or(0) as u32;
    let last = (0..geometry.blocks()).rev().find(|block| end_of(*block) > 32).unwrap();
    let at = geometry.offset_of(last) + (end_of(last) + 1).next_multiple_of(4);
    chip.program(at, nodes).unwrap();
}

/// Inode number of a file, its size, and the version of its newest node.
fn file(chip: &Chip, path: &[u8]) -> (u32, u32, u32) {
    let index = Index::open(chip, Rules { endian: E, summaries: true }).unwrap();
    let tree = Tree::new(chip, &index);
    let ino = tree.lookup(path).unwrap();
    (ino, tree.stat(ino).unwrap().size, index.max_version(ino))
}

/// A node with the first bytes of a file.
fn piece((ino, isize, version): (u32, u32, u32), content: &[u8]) -> Vec<u8> {
    let len = content.len() as u32;
    let mut bytes = Vec::new();
    Inode {
        ino,
        version,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        isize,
        atime: 1,
        mtime: 1,
        ctime: 1,
        offset: 0,
        csize: len,
        dsize: len,
        compression: Compression::None,
        data_crc: 0,
    }
    .emit(E, &mut bytes, content);
    bytes.resize(bytes.len().next_multiple_of(4), 0xff);
    bytes
}

/// The firmware that is wrong about a state which the library takes for old or new.
fn wrong(judge: &mut Judge, chip: &Chip) -> Vec<FirmwareSeen> {
    let seen = judge.verdicts(chip);
    assert!(seen.library.named().all(|(_, verdict)| verdict.is_fine()), "{}", seen.listed());
    let library = seen.library.with_summaries.clone();
    let is_wrong = |seen: &&FirmwareSeen| seen.tree != library || seen.kernel.as_ref().is_some_and(|is| *is != library);
    let wrong: Vec<_> = seen.firmware.iter().filter(is_wrong).cloned().collect();
    assert_eq!(seen.fine(Head).is_err(), !wrong.is_empty(), "{}", seen.listed());
    wrong
}

fn names(wrong: &[FirmwareSeen]) -> Vec<&'static str> {
    wrong.iter().map(|seen| seen.firmware.name()).collect()
}

/// 256 bytes are enough for Linux, U-Boot as of 2026 and barebox.
#[test]
fn a_short_blank_head() {
    let mut torture = update();
    let block = torture.trace.ops.iter().rev().find_map(|op| op.block(&torture.trace.geometry)).unwrap();
    let start = torture.trace.geometry.offset_of(block);
    let moved = torture.trace.geometry.blank_head() - 256;
    for op in &mut torture.trace.ops {
        match op {
            Op::Program { offset, .. } if *offset >= start + 4096 => *offset -= moved,
            _ => {}
        }
    }
    let mut judge = judge(&torture);
    let mut found = BTreeSet::new();
    let count = cuts_all(&torture.trace).count();
    let cuts = cuts_all(&torture.trace).skip(count - 2000).step_by(3);
    for (_, chip) in Walker::new(torture.start.clone(), &torture.trace, SEED, cuts) {
        found.extend(names(&wrong(&mut judge, &chip)));
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["Open Firmware", "U-Boot 2015"]);
}

/// U-Boot joins a file as its nodes stand, whatever their versions.
#[test]
fn a_kernel_out_of_order() {
    let torture = update();
    let (ino, size, _) = file(&torture.start, KERNEL);
    let mut chip = torture.start.clone();
    append(&mut chip, &piece((ino, size, 0), b"older than all else"));
    let wrong = wrong(&mut judge(&torture), &chip);
    assert_eq!(names(&wrong), ["U-Boot 2026", "U-Boot 2015"]);
    for seen in &wrong {
        assert!(matches!(&seen.tree, Verdict::Mixed(how) if how.contains("boot/kernel: other content of 20480 bytes")));
        assert!(matches!(&seen.kernel, Some(Verdict::Mixed(_))), "{seen:?}");
    }
}

#[test]
fn an_update_that_leaves_nodes_out_of_order() {
    let start = update().start;
    let (ino, size, version) = file(&start, b"/etc/hostname");
    let mut end = start.clone();
    append(&mut end, &piece((ino, size, version + 2), b"new\n"));
    append(&mut end, &piece((ino, size, version + 1), b"not\n"));
    let error = standard(&start, &end, None).map(drop).unwrap_err();
    assert_eq!(
        error.to_string(),
        "U-Boot 2026 sees another tree than the library after the update: etc/hostname: other content of 4 bytes"
    );
}

/// Linux takes the later one, Open Firmware the first, unless they are neighbours.
#[test]
fn equal_versions() {
    let start = update().start;
    let index = Index::open(&start, Rules { endian: E, summaries: true }).unwrap();
    let boot = Tree::new(&start, &index).lookup(b"/boot").unwrap();
    let version = index.max_version(boot) + 1;
    let dirent = |pino, path: &[u8]| {
        let mut bytes = Vec::new();
        let ino = file(&start, path).0;
        Dirent { pino, version, ino, mctime: 0, kind: 8, name: b"kernel" }.emit(E, &mut bytes);
        bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        bytes
    };
    let mut end = start.clone();
    append(&mut end, &dirent(boot, b"/boot/cmdline"));
    // In a directory that does not exist.
    append(&mut end, &dirent(index.max_ino() + 1, b"/etc/motd"));
    append(&mut end, &dirent(boot, b"/etc/motd"));
    let error = standard(&start, &end, None).map(drop).unwrap_err();
    let one = |differences: &[String]| differences.len() == 1 && differences[0].starts_with("boot/kernel: ");
    assert!(
        matches!(&error, StandardError::Differs { firmware: "Open Firmware", differences } if one(differences)),
        "{error}"
    );
}

/// The flash with a tree of its text, compressed by one method.
fn flashed(tree: &str, compress: Compress) -> Chip {
    let options = Options { endian: E, eraseblock: 64 << 10, cleanmarkers: true, compress, ..Options::default() };
    let mut image = Vec::new();
    build(&parse_tree(tree).unwrap(), &options, &mut image).unwrap();
    SHAPE.flashed(SHAPE.geometry(16 << 16).unwrap(), &image, SEED).unwrap()
}

const OLD: &str = "/ dir 755 0 0 1\n/boot dir 755 0 0 1\n/boot/kernel file 644 0 0 1 repeat:900:kernel\n";

#[test]
fn a_kernel_that_open_firmware_cannot_load() {
    let zlib = || Compress::only(Method::Zlib(9));
    let start = flashed(OLD, zlib());
    let sparse = OLD.replace("repeat:900:kernel", "repeat:900:kernel + hole:65536 + text:end");
    for (end, compressor) in [(flashed(&sparse, zlib()), 1), (flashed(OLD, Compress::only(Method::Lzo)), 7)] {
        let error = standard(&start, &end, None).map(drop).unwrap_err().to_string();
        let wanted =
            "Open Firmware cannot load the kernel after the update: the firmware aborts on a node with compressor";
        assert_eq!(error, format!("{wanted} {compressor}"));
    }
    // Elsewhere it is allowed, and said.
    let beside = OLD.to_owned() + "/sparse file 644 0 0 1 hole:65536 + text:end\n";
    let end = flashed(&beside, zlib());
    let mut judge = Judge::new(standard(&start, &end, None).unwrap().into());
    let allowed = |chip: &Chip, judge: &mut Judge| judge.verdicts(chip).allowances().iter().collect::<Vec<_>>();
    assert_eq!(allowed(&start, &mut judge), []);
    assert_eq!(allowed(&end, &mut judge), [Allowance::OpenFirmwareAborts]);
}

#[test]
fn a_name_that_crashes_a_listing() {
    let zlib = || Compress::only(Method::Zlib(9));
    let start = flashed(OLD, zlib());
    let end = flashed(&format!("{OLD}/{} file 644 0 0 1 text:x\n", "n".repeat(217)), zlib());
    let mut judge = Judge::new(standard(&start, &end, None).unwrap().into());
    let seen = judge.verdicts(&end);
    let by: Vec<_> =
        seen.firmware.iter().filter(|seen| seen.allowances.contains(Allowance::UBootLongName)).cloned().collect();
    assert_eq!(names(&by), ["U-Boot 2026", "U-Boot 2015"]);
    seen.fine(CommitPoint::Dirent).unwrap();
}

/// What was wrong before the update is no fault of it; it is said all the same.
#[test]
fn wrong_before() {
    let mut torture = update();
    let (ino, size, _) = file(&torture.start, b"/bin/busybox");
    append(&mut torture.start, &piece((ino, size, 0), b"older than all else"));
    let torture = Torture::record(torture.start, torture.workload, SEED).unwrap();
    let mut judge = judge(&torture);
    let seen = judge.verdicts(&torture.start);
    let by: Vec<_> =
        seen.firmware.iter().filter(|seen| seen.allowances.contains(Allowance::WrongBefore)).cloned().collect();
    assert_eq!(names(&by), ["U-Boot 2026", "U-Boot 2015"]);
    seen.fine(Head).unwrap();
}

#[test]
fn the_kernel_by_its_path() {
    let torture = update();
    let start = &torture.start;
    let (_, end) = cuts_all(&torture.trace)
        .last()
        .and_then(|cut| Walker::new(start.clone(), &torture.trace, SEED, [cut].into_iter()).next())
        .unwrap();
    let error = standard(start, &end, Some(b"/boot/none")).map(drop).unwrap_err();
    assert!(matches!(error, StandardError::NoKernel(path) if path.contains("boot/none")));
    let by_path = standard(start, &end, Some(b"//bin/busybox")).unwrap();
    assert_eq!(by_path.left_out(), &[] as &[(_, LeftOut)]);
    let seen = Judge::new(by_path.into()).verdicts(&end);
    assert!(seen.firmware.iter().all(|seen| seen.kernel == Some(Verdict::New)), "{seen:?}");
}

/// The tree is right, and a link that stands in a directory long gone too leads U-Boot elsewhere.
#[test]
fn a_kernel_behind_a_link() {
    let tree = |kernel: &str| {
        format!(
            "/ dir 755 0 0 1\n/boot dir 755 0 0 1\n/boot/kernel symlink 777 0 0 1 {kernel}\n/boot/one file 644 0 0 1 text:1\n/boot/two file 644 0 0 1 text:2\n"
        )
    };
    let [start, end] = ["one", "two"].map(|kernel| flashed(&tree(kernel), Compress::only(Method::Zlib(9))));
    let mut judge = Judge::new(standard(&start, &end, None).unwrap().into());
    assert!(wrong(&mut judge, &start).is_empty());
    let index = Index::open(&start, Rules { endian: E, summaries: true }).unwrap();
    let ino = Tree::new(&start, &index).lookup(b"/boot/kernel").unwrap();
    let mut dirent = Vec::new();
    Dirent { pino: index.max_ino() + 1, version: 1000, ino, mctime: 0, kind: 10, name: b"kernel" }.emit(E, &mut dirent);
    let mut chip = start.clone();
    append(&mut chip, &dirent);
    let wrong = wrong(&mut judge, &chip);
    assert_eq!(names(&wrong), ["U-Boot 2026", "U-Boot 2015"]);
    let unreadable = |seen: &FirmwareSeen| matches!(&seen.kernel, Some(Verdict::Unreadable(_)));
    assert!(wrong.iter().all(|seen| seen.tree == Verdict::Old && unreadable(seen)), "{wrong:?}");
}
