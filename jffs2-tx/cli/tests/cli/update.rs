//! apply and recover, and what log says of them.

use std::fs;
use std::path::PathBuf;

use jffs2_tx::inode_kind::FileKind;

use crate::common::{Bench, Builder, Layout, NOR, big, layouts, run, sample};

/// A directory with what `/etc` of the sample is to become.
fn new_root(bench: &Bench) -> PathBuf {
    let root = bench.path("new");
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0:new\n").unwrap();
    fs::write(root.join("etc/deep/big"), big()).unwrap();
    std::os::unix::fs::symlink("etc/deep", root.join("link")).unwrap();
    root
}

#[test]
fn a_tree_is_replaced_by_every_commit_point() {
    let bench = Bench::new();
    let root = new_root(&bench);
    for layout in layouts() {
        for point in ["head", "summary"] {
            let image = bench.file("image", &sample(layout));
            let done = run("apply", &image, &[&"--root", &root, &"--label=v2", &"--commit-point", &point, &"--json"]);
            // NAND wants its pages in order: no head there.
            if point == "head" && !layout.cleanmarkers {
                assert_eq!(done.code, 6, "{done:?}");
                continue;
            }
            assert_eq!((done.code, done.err.as_str()), (0, ""), "{layout:?} {point}");
            assert_eq!(run("ls", &image, &[&"-R"]).text(), "/:\netc\nlink\n\n/etc:\ndeep\npasswd\n\n/etc/deep:\nbig\n");
            assert_eq!(run("cat", &image, &[&"etc/deep/big"]).out, big());
            assert_eq!(run("check", &image, &[]).code, 0);
            let log = &run("log", &image, &[&"--json"]).json()[0];
            let keys = ["label", "commit_point", "state", "digest"];
            assert_eq!(keys.map(|key| log[key].as_str().unwrap()), ["v2", point, "committed", "holds"]);
            assert_eq!(log["txid"], done.json()[0]["txid"]);
        }
    }
}

#[test]
fn a_change_below_one_directory_is_one_dirent() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(Layout { cleanmarkers: false, ..NOR }));
    let root = bench.path("root");
    assert_eq!(run("extract", &image, &[&root]).code, 0);
    assert_eq!(run("apply", &image, &[&"--root", &root]).code, 0);
    fs::write(root.join("etc/passwd"), "new").unwrap();
    let done = run("apply", &image, &[&"--root", &root, &"--json"]);
    assert_eq!((done.code, &done.json()[0]["commit_point"]), (0, &"dirent".into()), "{done:?}");
    let last = run("log", &image, &[&"--json"]).json().pop().unwrap();
    assert_eq!((&last["state"], &last["digest"]), (&"committed".into(), &"holds".into()));
    assert_eq!(run("cat", &image, &[&"etc/passwd-"]).out, b"new");
}

#[test]
fn an_equal_tree_is_left_alone_and_recovery_finds_nothing() {
    let bench = Bench::new();
    let root = new_root(&bench);
    let image = bench.file("image", &sample(NOR));
    assert_eq!(run("apply", &image, &[&"--root", &root]).code, 0);
    let committed = fs::read(&image).unwrap();
    let again = run("apply", &image, &[&"--root", &root]);
    assert_eq!((again.code, again.text()), (0, "equal already: nothing was written\n"));
    assert_eq!(fs::read(&image).unwrap(), committed);
    assert_eq!(run("recover", &image, &[&"--json"]).json()[0]["sealed"], 0);
    assert_eq!(run("ls", &image, &[&"etc"]).text(), "deep\npasswd\n");
}

#[test]
fn commit_blocks_do_not_confuse_the_detection() {
    let bench = Bench::new();
    let root = bench.path("tiny");
    fs::create_dir(&root).unwrap();
    for cleanmarkers in [true, false] {
        let layout = Layout { eraseblock: 65536, cleanmarkers, ..NOR };
        let mut tiny = Builder::new(layout);
        tiny.put(1, "name", 2, FileKind::File, 0o644, b"content");
        let mut bytes = tiny.finish(1);
        // So that there is something to go by at first.
        let marked = Builder::new(layout).finish(16);
        bytes.extend_from_slice(&marked[bytes.len()..]);
        let image = bench.file("image", &bytes);
        for version in ["1", "2", "3"] {
            fs::write(root.join("name"), version).unwrap();
            let done = run("apply", &image, &[&"--root", &root, &"-e64k", &"--summary-readers-only"]);
            assert_eq!(done.code, 0, "{done:?}");
            let info = &run("info", &image, &[&"--json"]).json()[0];
            assert_eq!(
                (&info["eraseblock"], &info["damage"]),
                (&65536.into(), &0.into()),
                "{version} {layout:?} {info}"
            );
            assert_eq!(run("cat", &image, &[&"name"]).out, version.as_bytes());
        }
    }
}

#[test]
fn what_does_not_fit_leaves_the_old_tree() {
    let bench = Bench::new();
    let root = new_root(&bench);
    fs::write(
        root.join("huge"),
        (0..4 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>(),
    )
    .unwrap();
    let image = bench.file("image", &sample(NOR));
    let before = run("ls", &image, &[&"-lR", &"--json"]).out;
    let full = run("apply", &image, &[&"--root", &root]);
    assert_eq!((full.code, full.err.lines().count()), (4, 1), "{full:?}");
    assert_eq!(run("ls", &image, &[&"-lR", &"--json"]).out, before);
    assert_eq!(run("apply", &image, &[&"--root", &bench.path("missing")]).code, 3);
}

#[test]
fn one_update_at_a_time() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let held = fs::File::open(&image).unwrap();
    held.lock().unwrap();
    for busy in [run("apply", &image, &[&"--root", &new_root(&bench)]), run("recover", &image, &[])] {
        assert_eq!((busy.code, busy.err.lines().count()), (5, 1), "{busy:?}");
    }
}
