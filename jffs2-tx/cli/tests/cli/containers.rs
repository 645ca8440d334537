//! Images inside other files and between spare bytes: they read as the plain image does.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use jffs2_tx::flash::OobLayout;
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::wire::{Cleanmarker, Endian};

use crate::common::{Bench, Builder, Layout, NOR, Run, big, run, sample};

const NAND: Layout = Layout { cleanmarkers: false, eraseblock: 32768, ..NOR };
/// An eraseblock of NAND in [`sample`] that holds nodes, and one that is blank.
const USED: usize = 2;
const FREE: usize = 30;

fn noise(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(n >> 3) >> 40) as u8).collect()
}

/// Where the layouts of controllers put a cleanmarker in the spare bytes.
fn marker_place(oob: OobLayout) -> usize {
    if oob.page() == 512 { 8 } else { 2 }
}

/// The dump of an image: cleanmarkers in blank eraseblocks; other spare bytes look like ECC where pages are written.
fn dump(image: &[u8], layout: Layout, oob: OobLayout) -> Vec<u8> {
    let mut dump = Vec::new();
    let (page, place) = (oob.page() as usize, marker_place(oob));
    for (number, data) in image.chunks(page).enumerate() {
        let blank = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xff);
        let mut spare = vec![0xff; oob.spare() as usize];
        let start = number * page;
        let rest = &image[start..image.len().min(start + layout.eraseblock)];
        if start.is_multiple_of(layout.eraseblock) && blank(rest) {
            spare[place..place + 8].copy_from_slice(&Cleanmarker::oob(layout.endian));
        }
        let ecc = if oob.page() == 512 { 0..4 } else { 40..spare.len() };
        if !blank(data) {
            for (at, byte) in spare[ecc].iter_mut().enumerate() {
                *byte = noise(number + at + 1)[number + at];
            }
        }
        dump.extend_from_slice(data);
        dump.extend(spare);
    }
    dump
}

fn layout(text: &str) -> OobLayout {
    text.parse().unwrap()
}

/// Stdout and exit code of a command, the same for both images.
#[track_caller]
fn same(command: &str, one: (&Path, &[&str]), other: (&Path, &[&str]), args: &[&str]) {
    let runs = [one, other].map(|(image, options)| {
        let all: Vec<&dyn AsRef<OsStr>> = args.iter().chain(options).map(|arg| arg as &dyn AsRef<OsStr>).collect();
        let Run { code, out, err } = run(command, image, &all);
        assert!(code == 0 && err.is_empty(), "{command} {}: {code} {err}", image.display());
        let lines = String::from_utf8_lossy(&out).lines().map(String::from).collect::<Vec<_>>();
        // That one of them ends in a blank page is no difference.
        lines.into_iter().filter(|line| !line.contains("short-image")).collect::<Vec<_>>()
    });
    assert_eq!(runs[0], runs[1], "{command}");
}

/// What every command that reads says of an image elsewhere is what it says of the plain one.
#[track_caller]
fn reads_alike(bench: &Bench, plain: (&Path, &[&str]), other: (&Path, &[&str])) {
    same("ls", plain, other, &["-R", "--json"]);
    same("cat", plain, other, &["big"]);
    same("check", plain, other, &["--json"]);
    let root = bench.path("root");
    let all: Vec<&dyn AsRef<OsStr>> =
        [&root as &dyn AsRef<OsStr>].into_iter().chain(other.1.iter().map(|arg| arg as &dyn AsRef<OsStr>)).collect();
    assert_eq!(run("extract", other.0, &all).code, 0);
    assert_eq!(fs::read(root.join("big")).unwrap(), big());
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn dumps_read_as_the_plain_image() {
    let bench = Bench::new();
    for endian in [Endian::Little, Endian::Big] {
        for summaries in [false, true] {
            let nand = Layout { endian, summaries, ..NAND };
            let plain = bench.file("plain", &sample(nand));
            for oob in ["512+16", "2048+64", "4096+128", "4096+224", "4096+218", "8192+448"] {
                let image = bench.file("dump", &dump(&sample(nand), nand, layout(oob)));
                let page = format!("--page-size={}", layout(oob).page());
                reads_alike(&bench, (&plain, &[&page, "--flash=nand"]), (&image, &[]));
                let info = &run("info", &image, &[&"--json"]).json()[0];
                let keys = ["oob", "flash", "page_size", "eraseblock", "blocks"].map(|key| info[key].to_string());
                let (page, oob) = (layout(oob).page().to_string(), format!("{oob:?}"));
                assert_eq!(keys, [oob.as_str(), "\"nand\"", &page, "32768", "40"]);
            }
        }
    }
}

#[test]
fn a_layout_that_is_not_known_can_be_given() {
    let bench = Bench::new();
    let plain = bench.file("plain", &sample(NAND));
    let image = bench.file("dump", &dump(&sample(NAND), NAND, layout("1024+44")));
    reads_alike(&bench, (&plain, &["--page-size=1k", "--flash=nand"]), (&image, &["--oob=1024+44"]));
    // And what is plain stays plain.
    reads_alike(&bench, (&plain, &[]), (&plain, &["--oob=none"]));
}

#[test]
fn marks_in_spare_bytes_count() {
    let bench = Bench::new();
    for (oob, mark) in [("512+16", 5), ("2048+64", 0), ("4096+224", 0)] {
        let oob = layout(oob);
        let whole = dump(&sample(NAND), NAND, oob);
        let counts = |image: &[u8]| {
            let info = &run("info", &bench.file("dump", image), &[&"--json"]).json()[0];
            ["blocks_bad", "blocks_clean", "blocks_blank"].map(|key| info[key].as_u64().unwrap())
        };
        let [bad, clean, blank] = counts(&whole);
        assert_eq!((bad, blank), (0, 0));
        assert!(clean > 30, "{clean}");
        let block = oob.dump_len(NAND.eraseblock as u64) as usize;
        let spare =
            |block_number: usize, page: usize| block_number * block + page * oob.unit() as usize + oob.page() as usize;
        let mut marked = whole.clone();
        marked[spare(FREE, 0) + mark] = 0;
        marked[spare(FREE + 1, 1) + mark] = 0;
        // Neither another page nor another byte is a mark.
        marked[spare(FREE + 2, 2) + mark] = 0;
        marked[spare(FREE + 3, 0) + oob.spare() as usize - 1] = 0;
        assert_eq!(counts(&marked), [2, clean - 2, 0]);
        let place = spare(FREE, 0) + marker_place(oob);
        let mut unmarked = whole.clone();
        unmarked[place..place + 8].fill(0xff);
        assert_eq!(counts(&unmarked), [0, clean - 1, 1]);
        // The data of a bad eraseblock is not looked at.
        let mut lost = whole.clone();
        lost[spare(USED, 0) + mark] = 0;
        assert_eq!(counts(&lost), [1, clean, 0]);
        assert_ne!(run("cat", &bench.file("dump", &lost), &[&"big"]).out, big());
    }
}

#[test]
fn a_dump_that_is_cut_short_reads_as_far_as_it_goes() {
    let bench = Bench::new();
    let oob = layout("2048+64");
    let whole = dump(&sample(NAND), NAND, oob);
    let plain = bench.file("plain", &sample(NAND));
    let block = oob.dump_len(NAND.eraseblock as u64) as usize;
    // In a blank page and in spare bytes: nothing is missing.
    for len in [whole.len() - 7, whole.len() - 64 - 7, 20 * block + 2100] {
        let image = bench.file("dump", &whole[..len]);
        reads_alike(&bench, (&plain, &["--flash=nand"]), (&image, &[]));
    }
    let image = bench.file("dump", &whole[..block + 5000]);
    let cut = run("ls", &image, &[]);
    assert!(cut.err.contains("truncated: the file ends in the node at "), "{}", cut.err);
}

#[test]
fn a_dump_is_not_written() {
    let bench = Bench::new();
    let image = bench.file("dump", &dump(&sample(NAND), NAND, layout("2048+64")));
    let before = fs::read(&image).unwrap();
    let text = "a dump with spare bytes cannot be written: its ECC bytes would have to be computed";
    let root = bench.path("new");
    fs::create_dir(&root).unwrap();
    for tried in [run("apply", &image, &[&"--root", &root]), run("recover", &image, &[])] {
        assert_eq!((tried.code, tried.err), (6, format!("jffs2-tx: error: {}: {text}\n", image.display())));
    }
    assert_eq!(fs::read(&image).unwrap(), before);
}

/// The options that a line of `find` starts with.
fn options(line: &str) -> Vec<&str> {
    line.split_once(": ").unwrap().0.split(' ').collect()
}

#[test]
fn what_find_finds_can_be_read() {
    let bench = Bench::new();
    let oob = layout("2048+64");
    let plain = [NOR, Layout { endian: Endian::Big, ..NOR }, NAND].map(sample);
    let dumped = dump(&plain[2], NAND, oob);
    let parts: [&[u8]; 7] =
        [&noise(100_001), &plain[0], &plain[1], &[0xff; 70_000], &plain[2], &noise(300_003), &dumped];
    let firmware = bench.file("firmware", &parts.concat());
    let found = run("find", &firmware, &[]);
    assert_eq!((found.code, found.err.as_str()), (0, ""));
    let lines: Vec<&str> = found.text().lines().collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let starts = [1, 2, 4, 6].map(|part| parts[..part].concat().len());
    let images = [&plain[0], &plain[1], &plain[2], &plain[2]];
    for ((line, start), image) in lines.iter().zip(starts).zip(images) {
        let given = options(line);
        assert_eq!(given[1], format!("{start:#x}"), "{line}");
        let image = bench.file("plain", image);
        // Blank eraseblocks at its end are not known to be its own.
        let kind: &[&str] = if start >= starts[2] { &["--flash=nand", "--length=0x20000"] } else { &[] };
        reads_alike(&bench, (&image, kind), (&firmware, &given));
    }
    assert!(lines[3].contains("--oob 2048+64"), "{}", lines[3]);
    let json = run("find", &firmware, &[&"--json"]).json();
    let column = |key: &str| json.iter().map(|line| line[key].to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(column("endian"), r#""little-endian" "big-endian" "little-endian" "little-endian""#);
    assert_eq!(column("flash"), r#""nor" "nor" "nand" "nand""#);
    assert_eq!(column("eraseblock"), "16384 16384 32768 32768");
    assert_eq!(column("sure"), "true true true true");
    assert_eq!(column("oob"), r#"null null null "2048+64""#);
}

#[test]
fn cleanmarkers_in_band_are_no_reason_not_to_see_a_dump() {
    let bench = Bench::new();
    for oob in ["512+16", "2048+64", "4096+224"] {
        let (plain, dumped) = (bench.file("plain", &sample(NOR)), dump(&sample(NOR), NOR, layout(oob)));
        let firmware = bench.file("firmware", &[&noise(10_001)[..], &dumped, &noise(20_000)].concat());
        let found = run("find", &firmware, &[]);
        assert_eq!((found.code, found.text().lines().count()), (0, 1), "{}", found.text());
        let page = format!("--page-size={}", layout(oob).page());
        let given = options(found.text());
        assert_eq!(given[1], "0x2711");
        same("ls", (&plain, &["--flash=nand", &page]), (&firmware, &given), &["-R", "--json"]);
    }
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let bench = Bench::new();
    for bytes in [vec![], vec![0xff; 100_000], vec![0; 100_000], noise(3 << 20), b"\x85\x19\x03\x20".repeat(50_000)] {
        let file = bench.file("file", &bytes);
        let found = run("find", &file, &[]);
        let said = format!("jffs2-tx: note: {}: no JFFS2 file system in it\n", file.display());
        assert_eq!((found.code, found.err, found.out), (1, said, vec![]));
    }
    assert_eq!(run("find", &bench.path("missing"), &[]).code, 3);
    assert_eq!(run("find", Path::new("/dev/null"), &[]).code, 6);
}

#[test]
fn the_first_eraseblock_may_have_a_blank_head_or_be_damaged() {
    let bench = Bench::new();
    let whole = sample(NOR);
    for damage in [vec![0xff; 4096], noise(9000)] {
        let mut image = whole.clone();
        image[..damage.len()].copy_from_slice(&damage);
        let file = bench.file("file", &[&noise(1 << 16)[..], &image].concat());
        let found = &run("find", &file, &[&"--json"]).json()[0];
        assert_eq!((&found["offset"], &found["eraseblock"]), (&(1 << 16).into(), &16384.into()), "{found}");
    }
}

/// A file system, an end mark, and what another one has left behind it.
fn marked() -> Vec<u8> {
    let mut stale = Builder::new(NOR);
    for number in 0..100 {
        stale.put(1, format!("stale{number}"), 100 + number, FileKind::File, 0o644, b"behind the mark");
    }
    let mut mark = vec![0xff; NOR.eraseblock];
    mark[..4].copy_from_slice(&[0xde, 0xad, 0xc0, 0xde]);
    [sample(NOR), mark, stale.finish(4)].concat()
}

#[test]
fn an_end_mark_ends_the_file_system() {
    let bench = Bench::new();
    let (plain, image) = (bench.file("plain", &sample(NOR)), bench.file("image", &marked()));
    reads_alike(&bench, (&plain, &[]), (&image, &[]));
    let info = &run("info", &image, &[&"--json"]).json()[0];
    let len = 40 * NOR.eraseblock;
    assert_eq!((&info["end_mark"], &info["size"]), (&len.into(), &len.into()));
    let found = run("find", &image, &[&"--json"]).json();
    assert_eq!((&found[0]["length"], &found[0]["end_mark"]), (&len.into(), &true.into()));
    // An update leaves what is behind it alone.
    let root = bench.path("new");
    fs::create_dir(&root).unwrap();
    assert_eq!(run("apply", &image, &[&"--root", &root]).code, 0);
    let after = fs::read(&image).unwrap();
    assert!(after[len..] == marked()[len..] && after[..len] != marked()[..len]);
    let ended = bench.file("ended", &marked()[len..]);
    let said = "an end mark (de ad c0 de) at its start says that the file system is empty";
    let tried = run("ls", &ended, &[]);
    assert_eq!((tried.code, tried.err), (7, format!("jffs2-tx: error: {}: {said}\n", ended.display())));
}

#[test]
fn an_update_inside_a_file_stays_inside() {
    let bench = Bench::new();
    let (before, image, behind) = (noise(5000), sample(NOR), noise(100_000));
    let firmware = bench.file("firmware", &[&before[..], &image, &behind].concat());
    let root = bench.path("new");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("new"), "new").unwrap();
    let length = image.len().to_string();
    let part: [&dyn AsRef<OsStr>; 4] = [&"--offset", &"5000", &"--length", &length];
    assert_eq!(run("apply", &firmware, &[&[&"--root" as &dyn AsRef<OsStr>, &root], &part[..]].concat()).code, 0);
    assert_eq!(run("ls", &firmware, &part).text(), "new\n");
    let after = fs::read(&firmware).unwrap();
    let end = 5000 + image.len();
    assert!(after[..5000] == before && after[end..] == behind && after[5000..end] != image);
    // Half an eraseblock of the image cannot be erased without what is behind it.
    let refused = run("recover", &firmware, &[&"--offset=5000", &"--length=100000"]);
    let said = "--length ends inside an eraseblock: what is behind it in the file would be overwritten";
    assert_eq!((refused.code, refused.err), (7, format!("jffs2-tx: error: {}: {said}\n", firmware.display())));
}

#[test]
fn a_guess_is_read_but_not_written() {
    let bench = Bench::new();
    let mut small = Builder::new(Layout { cleanmarkers: false, ..NOR });
    small.put(1, "a", 2, FileKind::File, 0o644, b"a");
    let image = bench.file("image", &small.finish(8));
    let listed = run("ls", &image, &[]);
    let guess = "eraseblock size 64 KiB is a guess (none: the usual size is assumed): give ";
    let note = format!("jffs2-tx: note: {}: {guess}-e if you know it\n", image.display());
    assert_eq!((listed.code, listed.text(), listed.err.as_str()), (0, "a\n", note.as_str()));
    let root = bench.path("new");
    fs::create_dir(&root).unwrap();
    for tried in [run("apply", &image, &[&"--root", &root]), run("recover", &image, &[])] {
        assert_eq!((tried.code, tried.err), (7, format!("jffs2-tx: error: {}: {guess}it with -e\n", image.display())));
    }
    assert_eq!(run("recover", &image, &[&"-e16k"]).code, 0);
}

#[test]
fn a_truncated_image_is_said_to_be() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR)[..100_000]);
    for command in ["ls", "info", "check"] {
        let said = run(command, &image, &[]).err;
        let note = format!("jffs2-tx: note: {}: truncated: the file ends in the node at 0x", image.display());
        assert!(said.starts_with(&note) && said.contains(" bytes of it are missing\n"), "{command}: {said}");
    }
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NAND));
    let len = fs::metadata(&image).unwrap().len();
    let long = (len + 1).to_string();
    for option in [
        "--oob=1+99999",
        "--oob=2048",
        "--oob=2048+0",
        "--oob=99999999999999999999+64",
        "--oob=",
        "--offset=-1",
        "--offset=18446744073709551616",
        "--length=99999999M99",
        "--length=0x",
    ] {
        let tried = run("ls", &image, &[&option]);
        assert_eq!((tried.code, tried.err.lines().count()), (2, 1), "{option}: {}", tried.err);
    }
    for options in [
        &["--offset", &long][..],
        &["--length", &long],
        &["--offset=1", "--length", &len.to_string()],
        &["--offset=18446744073709551615"],
        &["--length=18446744073709551615"],
        &["--offset", &len.to_string()],
        &["--length=0"],
        &["--length=3"],
        &["--oob=32768+32768"],
        &["--oob=16384+640", "-e4k"],
    ] {
        let all: Vec<&dyn AsRef<OsStr>> = options.iter().map(|option| option as &dyn AsRef<OsStr>).collect();
        for command in ["ls", "info", "recover"] {
            let tried = run(command, &image, &all);
            assert!(matches!(tried.code, 2 | 6 | 7), "{options:?}: {tried:?}");
            assert_eq!(tried.err.lines().count(), 1, "{options:?}: {}", tried.err);
        }
    }
}
