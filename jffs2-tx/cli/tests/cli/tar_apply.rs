//! apply --tar, from files and pipes, whole and cut, and what dry runs say of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jffs2_mkimage::Options;
use jffs2_tx::flash::{FlashKind, Geometry, ImageFlash};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::{Endian, Index, Rules, Tree};
use tar::{EntryType, Header};

use crate::common::{Bench, Builder, NOR, Run, big, run, sample};
use crate::manifest::{image_of, tree};

const RECORD: usize = 512;

/// The sample on flash with room for an update.
fn roomy(bench: &Bench, name: &str) -> PathBuf {
    let image = [sample(NOR), Builder::new(NOR).finish(60)].concat();
    bench.file(name, &image)
}

/// Everything that a tree has, but for inode numbers and times of use.
fn facts(image: &Path) -> BTreeMap<String, String> {
    let size = fs::metadata(image).unwrap().len();
    let geometry = Geometry::new(FlashKind::Nor, size, NOR.eraseblock as u32, 1).unwrap();
    let flash = ImageFlash::open(image, geometry, false).unwrap();
    let index = Index::open(&flash, Rules { endian: Endian::Little, summaries: true }).unwrap();
    let tree = Tree::new(&flash, &index);
    let mut names: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for step in tree.walk(1) {
        let path = step.path.escape_ascii().to_string();
        let stat = tree.stat(step.ino).unwrap();
        let content = match stat.kind {
            FileKind::File => jffs2_tx::crc::crc32(&tree.read(step.ino, u32::MAX).unwrap()).to_string(),
            FileKind::Symlink => tree.read_link(step.ino).unwrap().escape_ascii().to_string(),
            _ => String::new(),
        };
        names.entry(step.ino).or_default().push(path.clone());
        let fact = format!("{:?} {:?} {} {} {:?} {content}", stat.kind, stat.meta, stat.size, stat.links, stat.device);
        found.insert(path, fact);
    }
    for links in names.into_values().filter(|links| links.len() > 1) {
        links.iter().for_each(|path| *found.get_mut(path).unwrap() += &format!(" {links:?}"));
    }
    found
}

fn command(program: &str, args: &[&dyn AsRef<OsStr>]) {
    let done = Command::new(program).args(args.iter().map(AsRef::as_ref)).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A directory of the host with what archives have their trouble with.
fn host_tree(bench: &Bench, long_names: bool) -> PathBuf {
    let root = bench.path(if long_names { "long" } else { "short" });
    fs::create_dir_all(root.join("etc/empty")).unwrap();
    fs::create_dir(root.join("lib")).unwrap();
    fs::write(root.join("etc/passwd"), b"root:x:0:0\n").unwrap();
    fs::hard_link(root.join("etc/passwd"), root.join("a second name")).unwrap();
    fs::write(root.join("big"), big()).unwrap();
    fs::write(root.join("lib/big2"), [big(), big()].concat()).unwrap();
    fs::write(root.join("none"), b"").unwrap();
    std::os::unix::fs::symlink("etc/passwd", root.join("link")).unwrap();
    fs::hard_link(root.join("link"), root.join("link too")).unwrap();
    fs::set_permissions(root.join("none"), std::os::unix::fs::PermissionsExt::from_mode(0o4751)).unwrap();
    command("mkfifo", &[&root.join("pipe")]);
    let odd = root.join(OsStr::from_bytes(b"odd \xff\n\x01 name"));
    fs::write(odd, b"odd").unwrap();
    // Holes, in numbers that need more than one header of GNU's format.
    let holes = fs::File::create(root.join("holes")).unwrap();
    holes.set_len(3 << 20).unwrap();
    for at in 0..30 {
        std::os::unix::fs::FileExt::write_all_at(&holes, b"data", at * (96 << 10) + 5).unwrap();
    }
    fs::File::create(root.join("all hole")).unwrap().set_len(1 << 20).unwrap();
    if long_names {
        let deep = root.join("d".repeat(200)).join("e".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f".repeat(254)), b"deep").unwrap();
        fs::hard_link(deep.join("f".repeat(254)), root.join("to deep")).unwrap();
        std::os::unix::fs::symlink("t".repeat(254), root.join("long link")).unwrap();
    }
    fs::File::open(root.join("big"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_900))
        .unwrap();
    root
}

/// GNU tar's archive of a directory.
fn archive(bench: &Bench, root: &Path, options: &[&str]) -> PathBuf {
    let to = bench.path("a.tar");
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"-C", &root, &"-cf", &to];
    args.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
    args.push(&".");
    command("tar", &args);
    to
}

#[test]
fn every_format_is_the_directory() {
    let bench = Bench::new();
    for long_names in [true, false] {
        let root = host_tree(&bench, long_names);
        let by_dir = roomy(&bench, "by-dir");
        assert_eq!(run("apply", &by_dir, &[&"--root", &root]).code, 0);
        let wanted = facts(&by_dir);
        let formats: &[&[&str]] = match long_names {
            true => &[&["--format=gnu"], &["--format=posix"], &["--format=gnu", "-S"], &["--format=posix", "-S"]],
            false => &[&["--format=ustar"], &["--format=oldgnu", "-S"], &["--format=v7", "--exclude=./pipe"]],
        };
        for options in formats {
            let by_tar = roomy(&bench, "by-tar");
            let tar = archive(&bench, &root, options);
            let dry = run("apply", &by_tar, &[&"--tar", &tar, &"--dry-run", &"--json"]);
            let done = run("apply", &by_tar, &[&"--tar", &tar, &"--json"]);
            assert_eq!((done.code, done.err.as_str()), (0, ""), "{options:?}");
            let mut found = facts(&by_tar);
            if !found.contains_key("pipe") {
                found.insert("pipe".into(), wanted["pipe"].clone());
            }
            assert_eq!(found, wanted, "{options:?}");
            same_numbers(&dry, &done);
            let again = run("apply", &by_tar, &[&"--tar", &tar]);
            assert_eq!((again.code, again.text()), (0, "equal already: nothing was written\n"), "{options:?}");
        }
    }
}

/// What a dry run said is what was done.
fn same_numbers(dry: &Run, done: &Run) {
    let (said, is) = (&dry.json()[0], &done.json()[0]);
    assert_eq!((dry.code, &said["fits"]), (0, &true.into()), "{dry:?}");
    for key in
        ["commit_point", "inodes", "inodes_written", "names_removed", "bytes_written", "bytes_programmed", "nodes"]
    {
        assert_eq!(said[key], is[key], "{key}");
    }
    assert_eq!(said["eraseblocks_needed"], is["eraseblocks_taken"]);
    for key in ["metadata_changed", "directories_shadowed", "files_copied"] {
        assert_eq!(said[key], is[key], "{key}");
    }
    let left = |key: &str| said[key].as_u64().unwrap();
    assert_eq!(left("eraseblocks_free") - left("eraseblocks_needed"), is["eraseblocks_free"].as_u64().unwrap());
}

#[test]
fn what_extract_writes_is_read() {
    let bench = Bench::new();
    let from = bench.file("from", &image_of(&tree(), &Options::default()));
    let tar = bench.path("a.tar");
    assert_eq!(run("extract", &from, &[&"--tar", &tar]).code, 0);
    let image = roomy(&bench, "image");
    let done = run("apply", &image, &[&"--tar", &tar]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.err.matches("extended attributes of ").count(), 1, "{}", done.err);
    // Sockets do not fit into an archive; attributes are no part of what is compared.
    let again = bench.path("b.tar");
    assert_eq!(run("extract", &image, &[&"--tar", &again]).code, 0);
    let other = roomy(&bench, "other");
    assert_eq!(run("apply", &other, &[&"--tar", &again]).code, 0);
    assert_eq!(facts(&image), facts(&other));
    let devices = facts(&image).values().filter(|fact| fact.contains("Device {")).count();
    assert!(devices > 1 && facts(&image).len() > 10);
}

/// The binary with an archive on standard input.
fn piped(image: &Path, rest: &[&str], bytes: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_jffs2-tx"));
    child.arg("apply").arg(image).args(["--tar", "-"]).args(rest);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end before all of it is read.
    let written = child.stdin.take().unwrap().write_all(bytes);
    let done = child.wait_with_output().unwrap();
    let run = Run { code: done.status.code().unwrap(), out: done.stdout, err: String::from_utf8(done.stderr).unwrap() };
    assert!(run.code != 0 || written.is_ok(), "{run:?}");
    assert!(!run.err.contains("panicked"), "{}", run.err);
    run
}

fn header(path: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o100_644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1000);
    header.set_size(size);
    header
}

/// An archive, entry by entry.
#[derive(Clone, Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(&mut self, mut header: Header, data: &[u8]) -> &mut Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(RECORD), 0);
        self
    }

    fn file(&mut self, path: &str, data: &[u8]) -> &mut Self {
        self.add(header(path, EntryType::Regular, data.len() as u64), data)
    }

    fn records(&mut self, kind: EntryType, records: &[(&str, &[u8])]) -> &mut Self {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions(records.iter().copied()).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        let data = bytes.split_off(RECORD);
        let size = Header::from_byte_slice(&bytes[..RECORD]).entry_size().unwrap();
        self.add(header("pax", kind, size), &data[..size as usize])
    }

    fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        self.records(EntryType::XHeader, records)
    }

    fn end(&self) -> Vec<u8> {
        [&self.0[..], &[0; 2 * RECORD]].concat()
    }
}

#[test]
fn a_pipe_that_breaks_changes_nothing() {
    let bench = Bench::new();
    let image = roomy(&bench, "image");
    let before = facts(&image);
    let mut tar = Tar::default();
    tar.file("first", b"1")
        .add(header("d/", EntryType::Directory, 0), b"")
        .pax(&[("path", b"third")])
        .file("x", &[3; 700]);
    let whole = tar.end();
    let ends = (0..=whole.len() - 2 * RECORD).step_by(RECORD).flat_map(|at| [at, at + 1, at + 300]);
    for end in ends.filter(|end| *end < whole.len() - RECORD) {
        let cut = piped(&image, &[], &whole[..end]);
        assert_eq!((cut.code, cut.err.lines().count()), (3, 1), "{end}: {cut:?}");
        assert!(cut.err.contains("standard input: "), "{}", cut.err);
        assert_eq!(facts(&image), before, "cut at {end}");
    }
    // One record of the end mark is enough.
    assert_eq!(piped(&image, &[], &whole[..whole.len() - RECORD]).code, 0);
    assert_eq!(facts(&image).into_keys().collect::<Vec<_>>(), ["", "d", "first", "third"]);
}

#[test]
fn what_is_no_archive_says_what_to_do() {
    let bench = Bench::new();
    let image = roomy(&bench, "image");
    let before = fs::read(&image).unwrap();
    let one = Tar::default().file("a", b"1").end();
    for (bytes, code, said) in [
        (b"\x1f\x8b\x08\x00".to_vec(), 6, "compressed by gzip: pipe it in, `zcat FILE | jffs2-tx apply IMG --tar -`"),
        (b"\xfd7zXZ\0\0".to_vec(), 6, "compressed by xz: pipe it in, `xzcat"),
        (b"\x28\xb5\x2f\xfd".repeat(300), 6, "compressed by zstd: pipe it in, `zstdcat"),
        (b"BZh91AY".to_vec(), 6, "compressed by bzip2"),
        (Vec::new(), 3, "not a tar archive"),
        (b"PK\x03\x04".repeat(500), 3, "not a tar archive"),
        (vec![0; 10_240], 3, "the archive has no entries: that would remove everything"),
        ([&one[..], &one].concat(), 3, "something follows the end mark: one archive is wanted"),
        ([&one[..RECORD * 2], &[7; RECORD]].concat(), 3, "damaged header: its checksum is wrong, at byte 1536"),
    ] {
        let refused = piped(&image, &[], &bytes);
        assert_eq!((refused.code, refused.err.lines().count()), (code, 1), "{refused:?}");
        assert!(refused.err.contains(said), "{}", refused.err);
        // Payload that was written is erased again.
        assert_eq!(run("ls", &image, &[]).text(), run("ls", &bench.file("before", &before), &[]).text());
    }
    assert_eq!(run("apply", &image, &[&"--tar", &bench.path("missing")]).code, 3);
    assert_eq!(run("apply", &image, &[&"--tar", &bench.dir.path()]).code, 3);
    assert_eq!(run("apply", &image, &[]).code, 2);
    assert_eq!(run("apply", &image, &[&"--tar", &"x", &"--root", &"y"]).code, 2);
}

#[test]
fn what_jffs2_cannot_hold_is_refused_by_name() {
    let bench = Bench::new();
    let image = roomy(&bench, "image");
    let before = facts(&image);
    let changed = |kind: EntryType, change: fn(&mut Header)| {
        let mut header = header("it", kind, 0);
        change(&mut header);
        Tar::default().file("first", b"1").add(header, b"").end()
    };
    let with = |records: &[(&str, &[u8])]| Tar::default().pax(records).file("it", b"").end();
    let nothing: fn(&mut Header) = |_| {};
    for (bytes, said) in [
        (changed(EntryType::Regular, |header| header.set_uid(65_536)), "it: uid 65536 is over 65535"),
        (changed(EntryType::Regular, |header| header.set_gid(1 << 40)), "it: gid 1099511627776 is over 65535"),
        (changed(EntryType::Regular, |header| header.set_mtime(1 << 32)), "it: the modification time, 4294967296 s"),
        (changed(EntryType::Regular, |header| header.set_mtime(u64::MAX)), "it: the modification time, -1 s"),
        (with(&[("mtime", b"-0.25")]), "it: the modification time, -1 s"),
        (with(&[("uid", b"70000")]), "it: uid 70000 is over 65535"),
        (with(&[("uid", b"x")]), "malformed pax record uid"),
        (with(&[("path", &[b'n'; 255])]), "the name is 255 bytes long"),
        (with(&[("path", b"a/../b")]), "a/../b: not a name"),
        (with(&[("path", b"a\0b")]), "not a name"),
        (with(&[("path", &b"d/".repeat(2049))]), "the path is 4098 bytes long"),
        (with(&[("size", b"4294967296")]), "it: the file is 4294967296 bytes long"),
        (with(&[("GNU.sparse.map", b"0,1")]), "sparse file of another format than 1.0"),
        (changed(EntryType::new(b'D'), nothing), "it: entry of type 'D' is not supported"),
        (changed(EntryType::Symlink, nothing), "it: the symlink's target is 0 bytes long"),
        (
            changed(EntryType::Link, |header| header.set_link_name("later").unwrap()),
            "it: hard link to later, but no file",
        ),
        (changed(EntryType::Char, |header| header.set_device_major(4096).unwrap()), "it: device number 4096:0 is over"),
        (changed(EntryType::GNULongName, |header| header.set_size(1 << 30)), "extended header of 1073741824 bytes"),
        (Tar::default().file("a", b"").file("a/b", b"").end(), "a: not a directory"),
        (Tar::default().file("a/b", b"").file("a", b"").end(), "a: came before as a directory"),
    ] {
        let refused = piped(&image, &[], &bytes);
        assert_eq!((refused.code, refused.err.lines().count()), (3, 1), "{said}: {refused:?}");
        assert!(refused.err.contains(said), "{said}: {}", refused.err);
        assert_eq!(facts(&image), before, "{said}");
    }
}

#[test]
fn headers_are_read_as_they_are_meant() {
    let bench = Bench::new();
    let image = roomy(&bench, "image");
    let mut old = Header::new_old();
    let ustar = header("old/", EntryType::Regular, 0);
    old.as_mut_bytes()[..257].copy_from_slice(&ustar.as_bytes()[..257]);
    let mut contents_too = header("linked", EntryType::Link, 3);
    contents_too.set_link_name("/abs/file").unwrap();
    let mut tar = Tar::default();
    // A label, global records, and an attribute whose value would hide what is behind it.
    tar.add(header("label", EntryType::new(b'V'), 0), b"")
        .records(EntryType::XGlobalHeader, &[("comment", b"x"), ("uid", b"7"), ("mtime", b"3.9")])
        .pax(&[("SCHILY.xattr.user.a", b"\n\n9 path=z\n"), ("path", b"./new\nline"), ("uid", b"8"), ("size", b"3")])
        .file("wrong", b"abc")
        .add(old, b"")
        .file("/abs//file", b"def")
        .add(contents_too, b"def")
        .file("twice", b"first")
        .file("twice", b"second");
    // The size in the header is not the one in the records.
    let at = tar.0.windows(5).position(|name| name == b"wrong").unwrap();
    let mut lying = header("wrong", EntryType::Regular, 999);
    lying.set_cksum();
    tar.0[at..at + RECORD].copy_from_slice(lying.as_bytes());
    let done = piped(&image, &["--json"], &tar.end());
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.err.contains("note: standard input: extended attributes of 1 entries are left out"), "{}", done.err);
    let listed = run("ls", &image, &[&"-lR", &"--json"]).json();
    let paths: Vec<&str> = listed.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    let facts = facts(&image);
    assert_eq!(
        facts.keys().collect::<Vec<_>>(),
        ["", "abs", "abs/file", "linked", "new\\nline", "old", "twice"],
        "{paths:?}"
    );
    assert!(facts["new\\nline"].contains("uid: 8, gid: 0, mtime: 3 }"), "{}", facts["new\\nline"]);
    assert!(facts["abs"].contains("mode: 493, uid: 0, gid: 0, mtime: 0 }"), "nothing said, not even for all members");
    assert!(facts["old"].starts_with("Directory") && facts["linked"].contains("abs/file"));
    assert_eq!(run("cat", &image, &[&"twice"]).out, b"second");
}

#[test]
fn dry_runs_write_nothing_and_know_what_fits() {
    let bench = Bench::new();
    let root = host_tree(&bench, true);
    let mut state = 1_u32;
    let noise = (0..500_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    fs::write(root.join("noise"), noise.collect::<Vec<_>>()).unwrap();
    let image = bench.file("image", &sample(NOR));
    let before = fs::read(&image).unwrap();
    let tar = archive(&bench, &root, &[]);
    let new: [(&str, &Path); 2] = [("--root", &root), ("--tar", &tar)];
    for (option, from) in new {
        let full = run("apply", &image, &[&option, &from, &"--dry-run", &"--json"]);
        let said = &full.json()[0];
        assert_eq!((full.code, &said["fits"]), (4, &false.into()), "{full:?}");
        let needed = said["eraseblocks_needed"].as_u64().unwrap();
        let refused = run("apply", &image, &[&option, &from]);
        let (free, reserve) = (&said["eraseblocks_free"], &said["eraseblocks_reserved"]);
        let wanted = format!("needs {needed} eraseblocks, {free} are free, and {reserve} of those");
        assert!(refused.code == 4 && refused.err.contains(&wanted), "{} {wanted}", refused.err);
        let text = run("apply", &image, &[&option, &from, &"--dry-run"]);
        assert!(text.code == 4 && text.text().starts_with("does not fit: would commit by head: "), "{text:?}");
        assert_eq!(run("ls", &image, &[&"-R"]).text(), run("ls", &bench.file("before", &before), &[&"-R"]).text());
    }
    let image = roomy(&bench, "roomy");
    let before = fs::read(&image).unwrap();
    for (option, from) in new {
        let dry = run("apply", &image, &[&option, &from, &"--dry-run", &"--json"]);
        let text = run("apply", &image, &[&option, &from, &"--dry-run"]);
        assert!(text.code == 0 && text.text().starts_with("fits: would commit by head: "), "{text:?}");
        assert!(fs::read(&image).unwrap() == before, "changed by a dry run");
        let done = run("apply", &bench.file("done", &before), &[&option, &from, &"--json"]);
        same_numbers(&dry, &done);
    }
    let equal = run("apply", &bench.path("done"), &[&"--tar", &tar, &"--dry-run"]);
    assert_eq!((equal.code, equal.text()), (0, "equal already: nothing would be written\n"));
}
