//! gc, apply --gc, and what status says on the way.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Bench, Layout, NOR, Run, layouts, run, sample};

const BLOCKS: usize = 40;
/// Bytes of each file.
const FILE: usize = 2000;

/// Small files, some of which are new in each version, so that live and dead nodes share eraseblocks.
fn version(bench: &Bench, layout: Layout, n: u8) -> PathBuf {
    let root = bench.path("root");
    let dir = root.join("dir");
    fs::create_dir_all(&dir).unwrap();
    // A third of the flash.
    let files = (BLOCKS * layout.eraseblock / FILE / 3) as u32;
    for file in 0..files {
        let seed = u32::from(n) * 1000 + file + 1;
        if n == 0 || noise(seed)[0].is_multiple_of(4) {
            fs::write(dir.join(format!("f{file}")), noise(seed)).unwrap();
        }
    }
    root
}

fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..8).for_each(|_| _ = next());
    (0..FILE).map(|_| next()).collect()
}

fn apply(image: &Path, root: &Path, more: &[&dyn AsRef<std::ffi::OsStr>]) -> Run {
    let label = "--label=full";
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--root", &root, &label, &"--json"];
    args.extend_from_slice(more);
    run("apply", image, &args)
}

/// Updates until one does not fit; the number of that version.
fn fill(bench: &Bench, layout: Layout, image: &Path) -> u8 {
    (0..100).find(|n| apply(image, &version(bench, layout, *n), &[]).code == 4).expect("it gets full")
}

fn status(image: &Path) -> serde_json::Value {
    let done = run("status", image, &[&"--json"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    done.json()[0].clone()
}

#[test]
fn a_full_flash_takes_an_update_with_gc() {
    // On the smallest flash the sample leaves no room for a third of it.
    for layout in layouts().into_iter().filter(|layout| layout.eraseblock > 8192) {
        let bench = Bench::new();
        let mut bytes = sample(layout);
        bytes.resize(BLOCKS * layout.eraseblock, 0xff);
        let image = bench.file("image", &bytes);
        assert_eq!(status(&image)["state"], "clean");
        let n = fill(&bench, layout, &image);
        let root = version(&bench, layout, n);
        let full = apply(&image, &root, &[]);
        assert_eq!(full.code, 4);
        assert!(full.err.contains("no space") && full.err.contains("--gc"), "{full:?}");
        let before = fs::read(&image).unwrap();
        let plan = run("gc", &image, &[&"--dry-run", &"--json"]).json()[0].clone();
        assert!(plan["free_after"].as_u64() > plan["free_before"].as_u64(), "{plan}");
        assert!(fs::read(&image).unwrap() == before, "a dry run writes nothing");
        let done = apply(&image, &root, &[&"--gc"]);
        assert_eq!((done.code, done.err.as_str()), (0, ""));
        assert_eq!(run("diff", &image, &[&root]).code, 0);
        assert_eq!(run("check", &image, &[]).code, 0);
        let last = status(&image);
        assert_eq!((&last["state"], &last["last"]["label"]), (&"committed".into(), &"full".into()));
    }
}

#[test]
fn gc_frees_what_it_said_and_keeps_the_tree() {
    let bench = Bench::new();
    let mut bytes = sample(NOR);
    bytes.resize(BLOCKS * NOR.eraseblock, 0xff);
    let image = bench.file("image", &bytes);
    let n = fill(&bench, NOR, &image);
    let tree = || run("ls", &image, &[&"-R", &"--json"]).out;
    let before = tree();
    let plan = run("gc", &image, &[&"--dry-run", &"--json"]).json()[0].clone();
    let done = run("gc", &image, &[&"--json"]);
    let report = &done.json()[0];
    assert_eq!(done.code, 0);
    assert!(report["free_after"].as_u64() >= plan["free_after"].as_u64(), "{report} {plan}");
    assert_eq!(tree(), before);
    assert_eq!(status(&image)["blocks_free"], report["free_after"]);
    assert_eq!(apply(&image, &version(&bench, NOR, n), &[]).code, 0, "there is room now");
    // More than there can be is no success.
    let all = format!("--free={BLOCKS}");
    assert_eq!(run("gc", &image, &[&all]).code, 4);
}

/// What comes through a pipe comes once, so all is freed before.
#[test]
fn an_archive_can_be_tried_twice() {
    let bench = Bench::new();
    let mut bytes = sample(Layout { cleanmarkers: false, ..NOR });
    bytes.resize(BLOCKS * NOR.eraseblock, 0xff);
    let image = bench.file("image", &bytes);
    let n = fill(&bench, NOR, &image);
    let tar = bench.path("new.tar");
    let mut archive = tar::Builder::new(fs::File::create(&tar).unwrap());
    archive.append_dir_all(".", version(&bench, NOR, n)).unwrap();
    archive.finish().unwrap();
    assert_eq!(run("apply", &image, &[&"--tar", &tar]).code, 4);
    let done = run("apply", &image, &[&"--tar", &tar, &"--gc"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(run("cat", &image, &[&"dir/f1"]).out, fs::read(bench.path("root/dir/f1")).unwrap());
}
