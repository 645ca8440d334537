//! Real root file systems, built, updated and read back with the project's binaries, as a user would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jffs2_tx::flash::{FlashKind, Geometry, ImageFlash};
use jffs2_tx::wire::Inode;
use jffs2_tx::{Endian, Index, Rules};
use jffs2_tx_tests::listing::{self, Entry};
use jffs2_tx_tests::tools::{binary, roots, run, run_json};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

/// Most memory that any of the commands may take, bytes.
const MEMORY: i64 = 64 << 20;

struct Shape {
    flash: &'static str,
    eraseblock: u32,
    page: u32,
    mkimage: &'static [&'static str],
}

const NOR: Shape = Shape { flash: "nor", eraseblock: 64 << 10, page: 1, mkimage: &["-e", "64KiB", "-p", "100MiB"] };
const NAND: Shape =
    Shape { flash: "nand", eraseblock: 128 << 10, page: 2048, mkimage: &["-e", "128KiB", "-n", "-p", "100MiB"] };

impl Shape {
    fn index(&self, image: &Path, endian: Endian) -> Index {
        let kind = if self.flash == "nor" { FlashKind::Nor } else { FlashKind::Nand };
        let size = image.metadata().expect("image is there").len();
        let geometry = Geometry::new(kind, size, self.eraseblock, self.page).expect("valid geometry");
        let flash = ImageFlash::open(image, geometry, false).expect("image opens");
        Index::open(&flash, Rules { endian, summaries: true }).expect("image is read")
    }
}

/// Build, update, extract: the tree is the new root in everything. Then what it cost.
fn old_becomes_new(shape: &Shape, endian: (Endian, &str)) {
    let (old, new) = roots();
    let dir = tempfile::tempdir().expect("temporary directory");
    let image = dir.path().join("root.img");
    run(binary("jffs2-mkimage").args(["-r"]).arg(&old).arg("-o").arg(&image).arg(endian.1).args(shape.mkimage));
    assert_eq!(differences(&extract(&image, dir.path(), "old"), &old), Vec::<String>::new());
    let max_ino = shape.index(&image, endian.0).max_ino();

    let report = run_json(
        binary("jffs2-tx").arg("apply").arg(&image).arg("--root").arg(&new).args(["--json", "--label", "new"]),
    );
    let extracted = extract(&image, dir.path(), "new");
    assert_eq!(differences(&extracted, &new), Vec::<String>::new());
    check_cost(shape, &report, changed_node_bytes(&shape.index(&image, endian.0), max_ino, &old, &new));

    let log = run_json(binary("jffs2-tx").arg("log").arg(&image).arg("--json"));
    assert_eq!(
        (log["state"].as_str(), log["digest"].as_str(), log["label"].as_str()),
        (Some("committed"), Some("holds"), Some("new"))
    );
    let again = run_json(binary("jffs2-tx").arg("apply").arg(&image).arg("--root").arg(&new).arg("--json"));
    assert!(again["commit_point"].is_null() && again["bytes_programmed"] == 0, "{again}");
    run(binary("jffs2-tx").arg("recover").arg(&image));
    run(binary("jffs2-tx").arg("check").arg(&image));
    assert_eq!(differences(&extract(&image, dir.path(), "recovered"), &new), Vec::<String>::new());

    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage").max_rss() * 1024;
    println!("{}: peak memory of any command {} KiB", shape.flash, peak / 1024);
    assert!(peak <= MEMORY, "a command took {peak} bytes");
}

fn extract(image: &Path, dir: &Path, name: &str) -> PathBuf {
    let to = dir.join(name);
    run(binary("jffs2-tx").arg("extract").arg(image).arg(&to));
    to
}

/// What `diff -r` sees, and everything else that a tree has: modes, owners, times, links, device numbers.
fn differences(a: &Path, b: &Path) -> Vec<String> {
    let lines = |path: &Path| listing::walk(path).expect("tree is read").iter().map(Entry::line).collect::<Vec<_>>();
    let (a, b) = (lines(a), lines(b));
    assert!(a.len() > 1500, "the trees are real ones");
    let only =
        |x: &[String], y: &[String]| x.iter().filter(|line| !y.contains(line)).take(5).cloned().collect::<Vec<_>>();
    [only(&a, &b), only(&b, &a)].concat()
}

/// Bytes of the nodes of files whose contents are new or changed.
fn changed_node_bytes(index: &Index, max_ino: u32, old: &Path, new: &Path) -> u64 {
    let contents = |path: &Path| -> BTreeMap<Vec<u8>, [u8; 32]> {
        let entries = listing::walk(path).expect("tree is read");
        entries.into_iter().filter_map(|entry| Some((entry.path, entry.sha256?))).collect()
    };
    let (old, new) = (contents(old), contents(new));
    let changed: std::collections::BTreeSet<u32> = new
        .iter()
        .filter(|(path, hash)| old.get(*path) != Some(hash))
        .filter_map(|(path, _)| lookup(index, path))
        .filter(|ino| *ino > max_ino)
        .collect();
    let nodes = changed.iter().flat_map(|ino| index.nodes(*ino));
    nodes.map(|node| Inode::flash_size(node.csize as usize) as u64).sum()
}

fn lookup(index: &Index, path: &[u8]) -> Option<u32> {
    path.split(|byte| *byte == b'/')
        .skip(1)
        .try_fold(jffs2_tx::index::ROOT, |dir, name| Some(index.find(dir, name)?.ino))
}

fn check_cost(shape: &Shape, report: &Value, changed: u64) {
    let programmed = report["bytes_programmed"].as_u64().expect("a number");
    let limit = changed * 105 / 100 + 2 * u64::from(shape.eraseblock);
    println!("{}: {report}", shape.flash);
    println!(
        "{}: {programmed} bytes programmed, nodes of changed files {changed}: {:.3} times, limit {limit}",
        shape.flash,
        programmed as f64 / changed as f64
    );
    assert!(programmed <= limit, "{programmed} bytes programmed, limit {limit}");
    for field in ["nodes", "eraseblocks_taken", "eraseblocks_erased"] {
        assert!(report[field].as_u64() > Some(0), "{field}");
    }
}

#[test]
fn nor() {
    old_becomes_new(&NOR, (Endian::Little, "-l"));
}

#[test]
fn nand_big_endian() {
    old_becomes_new(&NAND, (Endian::Big, "-b"));
}

/// Power cuts at sampled places of the real update: 500 on each kind of flash, 20,000 in a long run.
fn torture(flash: &str, more: &[&str]) {
    let (old, new) = roots();
    let cuts = if std::env::var_os("JFFS2_TX_LONG").is_some() { "20000" } else { "500" };
    let mut command = binary("nandsim");
    command.args(["torture", "--flash", flash, "--cuts", cuts, "--seed", "1", "--json"]).args(more);
    let report = run_json(command.arg("--old").arg(old).arg("--new").arg(new));
    println!("{report}");
    assert!(report["cuts"].as_u64() >= cuts.parse().ok(), "{report}");
    assert_eq!((report["mixed"].as_u64(), report["unreadable"].as_u64()), (Some(0), Some(0)), "{report}");
    assert!(report["old"].as_u64() > Some(0) && report["new"].as_u64() > Some(0), "{report}");
}

#[test]
fn torture_nor() {
    torture("nor", &["-e", "64KiB"]);
}

#[test]
fn torture_nand() {
    torture("nand", &["-e", "128KiB", "--page-size", "2048"]);
}
