//! extract --manifest, and the image that mkimage builds again from it.

use std::ffi::OsStr;
use std::fs;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use jffs2_mkimage::manifest::{Described, read};
use jffs2_mkimage::{Options, Pad, build};
use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::source::{Content, Extra, NodeId, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::tree::Attribute;
use jffs2_tx::wire::Endian;
use serde_json::{Value, json};

use crate::common::{Bench, NOR, Run, is_root, run, sample};

/// What `setfacl -m u:1000:rwx` gives a file of mode 0674.
pub(crate) const ACL: &[u8] = &[
    2, 0, 0, 0, //
    0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, //
    0x02, 0, 7, 0, 0xe8, 0x03, 0, 0, //
    0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, //
    0x10, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, //
    0x20, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
];

pub(crate) fn attribute(name: &str, value: &[u8]) -> Attribute {
    Attribute { name: name.into(), value: value.into() }
}

/// One of everything, owners and attributes included, that mkimage can write.
pub(crate) fn tree() -> SourceTree {
    let meta = |mode, uid| Meta { mode, uid, gid: 100 + uid, mtime: 1_600_000_000 + u32::from(uid) };
    let mut tree = SourceTree::new(meta(0o755, 1));
    let mut add = |parent: NodeId, name: &[u8], mode, uid, kind, extra: Extra| {
        let id = tree.add(parent, name, SourceNode { meta: meta(mode, uid), kind }).unwrap();
        tree.set_extra(id, extra).unwrap();
        id
    };
    let file = |bytes: &[u8]| SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes.into()) };
    let none = Extra::default;
    let xattrs = |list: &[(&str, &[u8])]| Extra {
        times: None,
        xattrs: list.iter().map(|(name, value)| attribute(name, value)).collect(),
    };
    let mut sparse = vec![0; 300_000];
    sparse[..5].copy_from_slice(b"start");
    sparse[200_000..].fill(b'x');

    let acl = ("system.posix_acl_default", ACL);
    let etc = add(ROOT, b"etc", 0o1775, 2, SourceKind::Directory(Default::default()), xattrs(&[acl]));
    let shared: (&str, &[u8]) = ("security.label", b"system_u:object_r\0");
    let passwd = xattrs(&[shared, ("user.mime", b"text/plain"), ("user.none", b""), ("trusted.t", &[0, 255, 7])]);
    let first = add(etc, b"passwd", 0o644, 3, file(b"root:x:0:0\n"), passwd);
    add(etc, b"acl", 0o674, 4, file(b""), xattrs(&[("system.posix_acl_access", ACL), shared]));
    add(ROOT, b"na\xffme\n\\", 0o4755, 5, file(b"bytes"), none());
    add(ROOT, b"sparse", 0o600, 6, file(&sparse), Extra { times: Some((7, 9)), xattrs: vec![] });
    add(ROOT, b"secret", 0, 6, file(b"nobody reads this"), none());
    add(ROOT, b"link", 0o777, 7, SourceKind::Symlink(b"etc/pass\xffwd".to_vec()), none());
    add(ROOT, b"console", 0o600, 8, SourceKind::CharDevice(Device { major: 5, minor: 1 }), xattrs(&[shared]));
    add(ROOT, b"disk", 0o660, 9, SourceKind::BlockDevice(Device { major: 300, minor: 74_565 }), none());
    add(ROOT, b"pipe", 0o666, 10, SourceKind::Fifo, none());
    let socket = add(ROOT, b"socket", 0o755, 11, SourceKind::Socket, none());
    tree.link(ROOT, b"another", first).unwrap();
    tree.link(etc, b"socket", socket).unwrap();
    tree
}

pub(crate) fn image_of(tree: &SourceTree, options: &Options) -> Vec<u8> {
    let mut image = Vec::new();
    build(tree, options, &mut image).unwrap();
    image
}

fn all_options() -> Vec<Options> {
    let options = |endian, eraseblock, cleanmarkers, summary| Options {
        endian,
        eraseblock,
        cleanmarkers,
        summary,
        pad: Pad::To(1 << 20),
        ..Options::default()
    };
    vec![options(Endian::Little, 64 << 10, true, false), options(Endian::Big, 32 << 10, false, true)]
}

/// Extracts as a user who may do nothing special.
fn extract_unprivileged(bench: &Bench, image: &Path, eraseblock: &str) -> Run {
    let (root, manifest) = (bench.path("root"), bench.path("manifest"));
    if !is_root() {
        return run("extract", image, &[&root, &"--manifest", &manifest, &"-e", &eraseblock]);
    }
    // Where the binary is, that user may not be able to go.
    let binary = bench.path("jffs2-tx");
    // By cp: a file that this process has open for writing is busy if another thread's child is just being started.
    let copied = Command::new("cp").args([Path::new(env!("CARGO_BIN_EXE_jffs2-tx")), &binary]).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(binary);
    command.arg("extract").arg(image).arg(root).arg("--manifest").arg(manifest).args(["-e", eraseblock]);
    command.uid(65_534).gid(65_534);
    let output = command.output().unwrap();
    Run { code: output.status.code().unwrap(), out: output.stdout, err: String::from_utf8(output.stderr).unwrap() }
}

/// What `ls -R --json` says, without inode numbers.
fn listing(image: &Path, eraseblock: &str) -> Vec<Value> {
    let listed = run("ls", image, &[&"-R", &"--json", &"-e", &eraseblock]);
    assert_eq!((listed.code, listed.err.as_str()), (0, ""));
    let mut rows = listed.json();
    rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("ino")));
    rows
}

/// The lines of a manifest, without the header.
fn entries(image: &Path, eraseblock: &str) -> Vec<Value> {
    let done = run("extract", image, &[&"--manifest", &"-", &"-e", &eraseblock]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    done.json().split_off(1)
}

#[test]
fn an_image_extracted_without_root_is_built_again() {
    for options in all_options() {
        let bench = Bench::new();
        let image = bench.file("image", &image_of(&tree(), &options));
        let eraseblock = options.eraseblock.to_string();
        let done = extract_unprivileged(&bench, &image, &eraseblock);
        assert_eq!(done.code, 0, "{}", done.err);
        let said = "jffs2-tx: note: left out: 10 owners (needs root), 1 set-uid or set-gid modes, 2 device nodes (needs \
                    root), ";
        assert!(done.err.starts_with(said) && done.err.lines().count() == 1, "{}", done.err);
        for namespace in ["2 attributes security.*", "1 attributes trusted.*"] {
            assert!(done.err.contains(namespace), "{}", done.err);
        }
        let mode = |name: &str| fs::symlink_metadata(bench.path("root").join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("secret"), mode("etc")), (0, 0o1775));
        let odd = bench.path("root").join(OsStr::from_bytes(b"na\xffme\n\\"));
        assert_eq!(fs::symlink_metadata(odd).unwrap().mode() & 0o7777, 0o755, "set-uid for another owner");
        // For whoever is not root when it is built.
        fs::set_permissions(bench.path("root/secret"), fs::Permissions::from_mode(0o600)).unwrap();

        let manifest = BufReader::new(fs::File::open(bench.path("manifest")).unwrap());
        let Described { header, tree, unnamed } = read(manifest, Some(&bench.path("root")), true).unwrap();
        assert!(unnamed.is_empty(), "{unnamed:?}");
        assert_eq!(Endian::from(header.endian), options.endian);
        let found = (header.eraseblock, header.cleanmarkers, header.summaries, header.size);
        assert_eq!(found, (options.eraseblock, options.cleanmarkers, options.summary, 1 << 20));
        let again = bench.file("again", &image_of(&tree, &options));
        assert_eq!(listing(&again, &eraseblock), listing(&image, &eraseblock));
        assert_eq!(entries(&again, &eraseblock), entries(&image, &eraseblock));
        assert_eq!(fs::read(&again).unwrap(), fs::read(&image).unwrap(), "even the same bytes");
    }
}

#[test]
fn its_lines() {
    let bench = Bench::new();
    let options = &all_options()[0];
    let image = bench.file("image", &image_of(&tree(), options));
    let lines = run("extract", &image, &[&"--manifest", &"-"]).json();
    let header = json!({
        "manifest": 1, "endian": "little", "eraseblock": 65536, "flash": "nor", "page_size": 1, "size": 1_048_576,
        "cleanmarkers": true, "summaries": false
    });
    assert_eq!(lines[0], header);
    let paths: Vec<&str> = lines[1..].iter().map(|line| line["path"].as_str().unwrap()).collect();
    let expected = [
        "/",
        "/another",
        "/console",
        "/disk",
        "/etc",
        "/etc/acl",
        "/etc/passwd",
        "/etc/socket",
        "/link",
        r"/na\xffme\x0a\\",
        "/pipe",
        "/secret",
        "/socket",
        "/sparse",
    ];
    assert_eq!(paths, expected);
    let by_path = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap().clone();
    let of = |id: u32, r#type: &str, mode: &str, rest: Value| {
        let mtime = 1_600_000_000 + id;
        let mut line = json!({
            "type": r#type, "mode": mode, "uid": id, "gid": 100 + id, "mtime": mtime, "atime": mtime, "ctime": mtime
        });
        line.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        line
    };
    let passwd = of(
        3,
        "file",
        "0644",
        json!({
            "path": "/another", "size": 11, "data": [[0, 11]],
            "sha256": "7cf1f940025c27c78e5e4a707519f0e06178702e6dc16722f3d48e13f5e60d9e",
            "xattrs": {
                "security.label": "73797374656d5f753a6f626a6563745f7200", "trusted.t": "00ff07",
                "user.mime": "746578742f706c61696e", "user.none": ""
            }
        }),
    );
    assert_eq!(by_path("/another"), passwd);
    assert_eq!(by_path("/etc/passwd"), json!({"path": "/etc/passwd", "type": "link", "to": "/another"}));
    assert_eq!(by_path("/socket"), json!({"path": "/socket", "type": "link", "to": "/etc/socket"}));
    let disk = of(9, "block", "0660", json!({"path": "/disk", "major": 300, "minor": 74_565}));
    assert_eq!(by_path("/disk"), disk);
    let link = of(7, "symlink", "0777", json!({"path": "/link", "target": r"etc/pass\xffwd"}));
    assert_eq!(by_path("/link"), link);
    let sparse = by_path("/sparse");
    assert_eq!((&sparse["atime"], &sparse["ctime"]), (&json!(7), &json!(9)));
    assert_eq!(sparse["data"], json!([[0, 4096], [196_608, 300_000]]));
    assert!(sparse.get("xattrs").is_none() && sparse.get("lost").is_none());
    // Alone, beside a directory and beside an archive it is the same.
    for to in [&[bench.path("root")][..], &["--tar".into(), bench.path("tar")]] {
        let manifest = bench.path("manifest");
        let args: Vec<&dyn AsRef<std::ffi::OsStr>> = to.iter().map(|arg| arg as _).collect();
        let args = [&args[..], &[&"--manifest", &manifest]].concat();
        assert_eq!(run("extract", &image, &args).code, 0);
        let text = fs::read_to_string(&manifest).unwrap();
        let written: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(written, lines);
    }
    let bare = run("extract", &image, &[&"--manifest", &"-", &"--no-xattrs"]);
    assert!(!bare.text().contains("xattrs"));
}

#[test]
fn a_kernels_image_too() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let (root, manifest) = (bench.path("root"), bench.path("manifest"));
    run("extract", &image, &[&root, &"--manifest", &manifest]);
    let manifest = BufReader::new(fs::File::open(manifest).unwrap());
    let tree = read(manifest, Some(&root), true).unwrap().tree;
    let again = bench.file("again", &image_of(&tree, &all_options()[0]));
    assert_eq!(listing(&again, "64k"), listing(&image, "16k"));
}
