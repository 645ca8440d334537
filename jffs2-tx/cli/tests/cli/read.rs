//! ls, cat and info on images of every kind.

use std::process::{Command, Stdio};

use crate::common::{Bench, NOR, big, layouts, run, sample};

#[test]
fn lists_like_ls_whatever_the_image_is_like() {
    let bench = Bench::new();
    for layout in layouts() {
        let image = bench.file("image", &sample(layout));
        let listed = run("ls", &image, &[&"-lR"]);
        assert_eq!((listed.code, listed.err.as_str()), (0, ""), "{layout:?}");
        let wanted = "\
/:
-r-------- 1 0 0     100000 2009-02-13T23:31:30Z big
crw------- 1 0 0       5, 1 2009-02-13T23:31:30Z console
brw-rw---- 1 0 0 300, 74565 2009-02-13T23:31:30Z disk
drwxrwxr-t 2 0 0          0 2009-02-13T23:31:30Z etc
lrwxrwxrwx 1 0 0         10 2009-02-13T23:31:30Z link -> etc/passwd
-rwsr-xr-x 1 0 0          5 2009-02-13T23:31:30Z na\\xffme\\x0a
prw-rw-rw- 1 0 0          0 2009-02-13T23:31:30Z pipe
srwxr-xr-x 1 0 0          0 2009-02-13T23:31:30Z socket
-rw------- 1 0 0    2097152 2009-02-13T23:31:30Z sparse

/etc:
-rw-r--r-- 2 0 0 11 2009-02-13T23:31:30Z passwd
-rw-r--r-- 2 0 0 11 2009-02-13T23:31:30Z passwd-
";
        assert_eq!(listed.text(), wanted, "{layout:?}");
        assert_eq!(run("cat", &image, &[&"/etc//./passwd"]).out, b"root:x:0:0\n");
        assert_eq!(run("cat", &image, &[&"big"]).out, big());
    }
}

#[test]
fn lists_one_directory_or_one_name() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    assert_eq!(run("ls", &image, &[&"etc"]).text(), "passwd\npasswd-\n");
    assert_eq!(run("ls", &image, &[&"/link"]).text(), "/link\n");
    let long = run("ls", &image, &[&"-l", &"etc/passwd"]);
    assert_eq!(long.text(), "-rw-r--r-- 2 0 0 11 2009-02-13T23:31:30Z etc/passwd\n");
    let gone = run("ls", &image, &[&"gone"]);
    assert_eq!((gone.code, gone.err.as_str()), (3, "jffs2-tx: error: gone: no such file or directory\n"));
    assert_eq!(run("ls", &image, &[&"etc/passwd/x"]).code, 3);
}

#[test]
fn json_has_the_documented_fields() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let rows = run("ls", &image, &[&"--json", &"-R"]).json();
    assert_eq!(rows.len(), 11);
    let row = |path: &str| rows.iter().find(|row| row["path"] == path).unwrap().to_string();
    let wanted = r#"{"gid":0,"ino":3,"links":2,"mode":"0644","mtime":1234567890,"path":"/etc/passwd","size":11,"type":"file","uid":0}"#;
    assert_eq!(row("/etc/passwd"), wanted);
    assert!(row("/link").contains(r#""target":"etc/passwd","type":"symlink""#));
    assert!(row("/disk").contains(r#""major":300,"minor":74565"#));
    assert!(row(r"/na\xffme\x0a").contains(r#""mode":"4755""#));
}

#[test]
fn cat_takes_files_only() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    for (path, said) in [
        ("link", "link: is a symlink to etc/passwd"),
        ("etc", "etc: is a directory"),
        ("pipe", "pipe: is not a regular file"),
        ("nowhere", "nowhere: no such file or directory"),
    ] {
        let tried = run("cat", &image, &[&path]);
        assert_eq!((tried.code, tried.err), (3, format!("jffs2-tx: error: {said}\n")));
    }
    let sparse = run("cat", &image, &[&"sparse"]).out;
    assert_eq!((sparse.len(), &sparse[..5], &sparse[1 << 20..][..4]), (2 << 20, &b"start"[..], &b"end\0"[..]));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let mut cat = Command::new(env!("CARGO_BIN_EXE_jffs2-tx"))
        .arg("cat")
        .arg(&image)
        .arg("sparse")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(cat.stdout.take());
    let ended = cat.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn info_finds_the_geometry_out() {
    let bench = Bench::new();
    for layout in layouts() {
        let image = bench.file("image", &sample(layout));
        let info = &run("info", &image, &[&"--json"]).json()[0];
        assert_eq!(info["eraseblock"], layout.eraseblock, "{layout:?}");
        assert_eq!(info["sure"], true, "{layout:?}");
        assert_eq!(info["flash"], if layout.cleanmarkers { "nor" } else { "nand" });
        assert_eq!(info["damage"], 0);
        let counts = ["files", "directories", "symlinks", "others", "unreadable", "inodes", "names"];
        assert_eq!(counts.map(|key| info[key].as_u64().unwrap()), [4, 2, 1, 4, 0, 11, 11]);
        assert_eq!(info["content"], 11 + 5 + (2 << 20) + 100_000);
        let free = info["blocks_clean"].as_u64().unwrap() + info["blocks_blank"].as_u64().unwrap();
        assert_eq!(info["blocks"], info["blocks_used"].as_u64().unwrap() + free);
        let given = run("info", &image, &[&"-e", &layout.eraseblock.to_string(), &"--json"]).json();
        assert_eq!(given[0]["evidence"], "given");
    }
}
