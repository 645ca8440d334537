//! dump, info and diff: what stands on the flash, in which numbers, and what differs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::common::{Bench, Builder, NOR, TIME, layouts, run, sample};
use jffs2_tx::inode_kind::FileKind::{Directory, File, Symlink};
use jffs2_tx::wire::{CommitPoint, Marker, MarkerKind};

const SPACES: [&str; 6] = ["live", "obsolete", "torn", "hidden", "free", "bad"];

fn u64_of(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn every_byte_counts_once() {
    let bench = Bench::new();
    for layout in layouts() {
        let mut bytes = sample(layout);
        // Some of everything: a torn node, garbage, filler, a hidden eraseblock.
        bytes[layout.eraseblock / 2] ^= 1;
        let at = bytes.len() - 2 * layout.eraseblock;
        bytes[at + 4096..at + 4200].fill(7);
        bytes[at + 5000..at + 5008].fill(0);
        let image = bench.file("image", &bytes);
        let info = &run("info", &image, &[&"--json", &"--blocks"]).json()[0];
        let sum: u64 = SPACES.iter().map(|space| u64_of(&info["space"][space])).sum();
        assert_eq!(sum, bytes.len() as u64, "{layout:?}");
        for block in info["per_block"].as_array().unwrap() {
            let sum: u64 = SPACES.iter().map(|space| u64_of(&block[space])).sum();
            assert_eq!(sum, layout.eraseblock as u64);
        }
        let mut end = 0;
        for line in run("dump", &image, &[&"--json"]).json() {
            assert_eq!(u64_of(&line["offset"]), end, "{line}");
            end = u64_of(&line["end"]);
        }
        assert_eq!(end, bytes.len() as u64);
    }
}

/// Kind, standing and what is wrong, of every node of an image.
fn dumped(bytes: &[u8], args: &[&str]) -> Vec<String> {
    let bench = Bench::new();
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--json"];
    all.extend(args.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
    let dumped = run("dump", &bench.file("image", bytes), &all);
    assert_eq!((dumped.code, dumped.err.as_str()), (0, ""));
    let word = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or("").to_string();
    let lines =
        dumped.json().into_iter().filter(|line| !matches!(line["kind"].as_str(), Some("blank" | "cleanmarker")));
    let show = |line: serde_json::Value| {
        let bad = ["node_crc", "data_crc"].into_iter().filter(|crc| line[crc] == false);
        let words =
            [word(&line, "kind"), word(&line, "standing"), bad.collect::<Vec<_>>().join(" "), word(&line, "problem")];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    lines.map(show).collect()
}

#[test]
fn what_a_node_is_to_readers() {
    let mut image = Builder::new(NOR);
    image.put(1, "a", 2, File, 0o644, b"old");
    image.inode(2, 0o100_644, b"new", |_| {});
    image.inode(3, 0o100_644, b"no name", |_| {});
    image.put(1, "b", 4, File, 0o644, b"data");
    image.put(1, "c", 5, File, 0o644, b"data");
    let mut bytes = image.finish(8);
    let at = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what).unwrap();
    // The ACCURATE bit of the first node, the data of b, the name c.
    bytes[12 + 3] &= !0x20;
    let data = at(&bytes, b"data");
    bytes[data] ^= 1;
    let name = at(&bytes, b"c\xff\xff\xff");
    bytes[name] ^= 1;
    // Another eraseblock's nodes behind a blank head, and garbage.
    let copy = bytes[12..400].to_vec();
    bytes[NOR.eraseblock..NOR.eraseblock + 512].fill(0xff);
    bytes[NOR.eraseblock + 512..NOR.eraseblock + 512 + 388].copy_from_slice(&copy);
    bytes[2 * NOR.eraseblock + 400..2 * NOR.eraseblock + 420].fill(7);
    let wanted = [
        "inode obsolete",
        "dirent live",
        "inode live",
        "inode obsolete",
        "inode torn data_crc",
        "dirent live",
        "inode obsolete",
        "dirent torn data_crc bad name",
    ];
    assert_eq!(dumped(&bytes, &["--block", "0"]), wanted);
    let hidden = dumped(&bytes, &["--block", "1"]);
    assert!(hidden.iter().filter(|line| line.contains("hidden")).count() == 4, "{hidden:?}");
    assert_eq!(dumped(&bytes, &["--block", "2"]), ["garbage no magic number"]);
    assert_eq!(dumped(&bytes, &["--ino", "4", "--block", "0"]), ["inode torn data_crc", "dirent live"]);
    assert_eq!(dumped(&bytes, &["--path", "/a", "--block", "0"]), ["inode obsolete", "dirent live", "inode live"]);
}

#[test]
fn what_was_not_committed() {
    let begin = Marker {
        kind: MarkerKind::Begin,
        commit_point: None,
        sequence: 1,
        txid: [7; 16],
        commit_block: u32::MAX,
        nodes: 0,
        bytes: 0,
        time: TIME.into(),
        digest: [0; 32],
        label: String::new(),
    };
    let commit =
        Marker { kind: MarkerKind::Commit, commit_point: Some(CommitPoint::Head), commit_block: 2, ..begin.clone() };
    let mut image = Builder::new(NOR);
    image.put(1, "a", 2, File, 0o644, b"live");
    image.end_block();
    let mut node = Vec::new();
    begin.emit(NOR.endian, &mut node);
    image.raw(&node);
    image.inode(9, 0o100_644, b"payload", |_| {});
    let mut bytes = image.finish(8);
    assert_eq!(dumped(&bytes, &["--block", "1"]), ["marker uncommitted", "inode uncommitted"]);
    let mut node = Vec::new();
    commit.emit(NOR.endian, &mut node);
    let head = commit.head(NOR.endian);
    let at = 2 * NOR.eraseblock;
    bytes[at..at + 12].fill(0xff);
    bytes[at + 4096..at + 4096 + node.len()].copy_from_slice(&node);
    assert_eq!(dumped(&bytes, &["--block", "2"]), ["marker uncommitted"]);
    bytes[at..at + head.len()].copy_from_slice(&head);
    assert_eq!(dumped(&bytes, &["--block", "2"]), ["marker live", "marker live", "marker live"]);
    assert_eq!(dumped(&bytes, &["--block", "1"]), ["marker live", "inode obsolete"], "deleted since");
}

#[test]
fn numbers_of_an_image() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let info = &run("info", &image, &[&"--json"]).json()[0];
    assert_eq!(info["compressors"]["none"]["nodes"], 32);
    assert_eq!(info["compressors"]["zero"], serde_json::json!({ "nodes": 2, "bytes": (2 << 20) - 8, "stored": 0 }));
    assert!(info.get("per_block").is_none());
    let text = run("info", &image, &[]);
    let map = text.text().lines().last().unwrap();
    assert_eq!(map.split_whitespace().last().map(str::len), Some(40), "{map}");
    assert!(map.ends_with("."), "{map}");
}

fn write_tree(dir: &std::path::Path) {
    fs::create_dir_all(dir.join("d")).unwrap();
    fs::write(dir.join("d/same"), vec![5; 200_000]).unwrap();
    fs::write(dir.join("f"), vec![9; 70_000]).unwrap();
    fs::hard_link(dir.join("f"), dir.join("g")).unwrap();
    symlink("f", dir.join("s")).unwrap();
}

#[test]
fn what_differs_from_a_directory() {
    let bench = Bench::new();
    let dir = bench.path("tree");
    write_tree(&dir);
    let image = bench.file("image", &sample(NOR));
    assert_eq!(run("apply", &image, &[&"--root", &dir]).code, 0);
    let same = run("diff", &image, &[&dir]);
    assert_eq!((same.code, same.text(), same.err.as_str()), (0, "", ""));

    fs::remove_file(dir.join("g")).unwrap();
    let mut longer = vec![9; 70_000];
    longer[66_000] = 8;
    fs::write(dir.join("g"), &longer).unwrap();
    fs::set_permissions(dir.join("d/same"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::remove_file(dir.join("s")).unwrap();
    symlink("g", dir.join("s")).unwrap();
    fs::create_dir(dir.join("new")).unwrap();
    fs::write(dir.join("new/file"), b"").unwrap();
    fs::remove_file(dir.join("f")).unwrap();
    fs::create_dir(dir.join("f")).unwrap();
    let lines = run("diff", &image, &[&dir, &"--json"]);
    assert_eq!(lines.code, 1);
    let found: Vec<String> = lines
        .json()
        .iter()
        .map(|line| {
            let fields = line["fields"].as_array().cloned().unwrap_or_default();
            // Times depend on when this runs.
            let fields = fields
                .iter()
                .filter(|field| field["field"] != "mtime")
                .map(|field| format!("{}={}>{}", field["field"], field["a"], field["b"]).replace('"', ""));
            let fields: Vec<String> = fields.collect();
            format!("{} {} {}", line["change"].as_str().unwrap(), line["path"].as_str().unwrap(), fields.join(" "))
        })
        .filter(|line| line != "changed / ")
        .collect();
    let wanted = [
        "changed /d/same mode=0644>0600",
        "changed /f type=file>directory",
        "changed /g content=byte 66000 0x09>byte 66000 0x08",
        "added /new ",
        "added /new/file ",
        "changed /s target=f>g",
    ];
    // What the umask makes of modes is not the point.
    let found: Vec<String> = found.into_iter().map(|line| line.replace("mode=0664", "mode=0644")).collect();
    assert_eq!(found, wanted);
}

#[test]
fn what_differs_between_images() {
    let bench = Bench::new();
    let make = |change: bool| {
        let mut image = Builder::new(NOR);
        image.put(1, "d", 2, Directory, 0o755, &[]);
        image.put(2, "a", 3, File, 0o644, b"aaaa");
        image.dirent(1, "b", if change { 5 } else { 3 }, File);
        image.inode(5, 0o100_644, b"aaaa", |_| {});
        image.put(1, "l", 6, Symlink, 0o777, if change { b"y" } else { b"x" });
        if !change {
            image.put(1, "old", 7, Directory, 0o755, &[]);
            image.put(7, "in", 8, File, 0o644, b"");
        }
        image.finish(8)
    };
    let (a, b) = (bench.file("a", &make(false)), bench.file("b", &make(true)));
    assert_eq!(run("diff", &a, &[&a]).code, 0);
    let found = run("diff", &a, &[&b]);
    assert_eq!((found.code, found.err.as_str()), (1, ""));
    let wanted = "M /d: links none -> none\n";
    assert!(!found.text().contains(wanted));
    let lines: Vec<&str> = found.text().lines().collect();
    assert_eq!(lines, ["M /d/a: links /b -> none", "M /l: target x -> y", "D /old", "D /old/in"]);
    assert_eq!(run("diff", &a, &[&bench.path("none")]).code, 3);
}
