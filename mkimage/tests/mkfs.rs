//! The program called as mkfs.jffs2: options, streams, exit codes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use jffs2_mkimage::{Options, verify};
use jffs2_tx::source::SourceTree;
use jffs2_tx::wire::Endian;
use walk::{Listing, read_back};

#[allow(dead_code, reason = "shared with the tests of images")]
mod walk;

/// A directory `root` with a text, noise and a folder, and the program beside it.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/dev")).unwrap();
        let text: String = (0..500).map(|i| format!("line {i} of {}\n", i * 7919 % 1000)).collect();
        fs::write(dir.path().join("root/text"), text).unwrap();
        fs::write(
            dir.path().join("root/noise"),
            (0..9000u32).map(|i| (i.wrapping_mul(i).wrapping_mul(7919) >> 9) as u8).collect::<Vec<_>>(),
        )
        .unwrap();
        symlink(env!("CARGO_BIN_EXE_jffs2-mkimage"), dir.path().join("mkfs.jffs2")).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(self.path().join("mkfs.jffs2"));
        command.current_dir(self.path()).args(args.split_whitespace()).env_remove("SOURCE_DATE_EPOCH");
        command
    }

    fn run(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    /// The image `img` that the command line makes without a word.
    fn built(&self, args: &str) -> Vec<u8> {
        let (image, notes) = self.built_with_notes(args);
        assert_eq!(notes, "", "{args}");
        image
    }

    /// The image `img`, and what stands on standard error.
    fn built_with_notes(&self, args: &str) -> (Vec<u8>, String) {
        let output = self.run(args);
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{args}: {notes}");
        (fs::read(self.path().join("img")).unwrap(), notes)
    }

    fn files(&self, args: &str) -> Listing {
        let endian = if cfg!(target_endian = "little") { Endian::Little } else { Endian::Big };
        read_back(&self.built(args), &Options { endian, ..Options::default() })
    }

    /// The exit status and the one line on standard error; nothing was made.
    fn fails(&self, args: &str) -> (i32, String) {
        let output = self.run(args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("mkfs.jffs2: ") && text.lines().count() == 1, "{args}: {text}");
        assert!(!self.path().join("img").exists(), "{args}");
        let status = output.status.code().unwrap();
        assert_eq!(output.stdout.is_empty(), status != 1 || text.contains("compressor is called"), "{args}");
        (status, text)
    }
}

#[test]
fn every_form_of_an_option() {
    let scene = Scene::new();
    let plain = scene.built("-d root -o img");
    for same in
        ["-r root -o img", "--root=root --output=img", "--root root --out img", "-rroot -oimg", "-d root -l -o img"]
    {
        assert_eq!(scene.built(same) == plain, cfg!(target_endian = "little") || !same.contains("-l"), "{same}");
    }
    let odd = scene.built("-d root -o img -b -n -e 128 -p -q -f -s 1024 -m none -t");
    for same in [
        "-bnqfp -e128 -s0x400 -mnone -droot -oimg",
        "-lbne 0x20000 -p -qfts 1KiB -m none -d root -o img",
        "--big-endian --no-cleanmarkers --eraseblock=128KiB --pad --squash --faketime --pagesize=02000 \
         --compression-mode=none --test-compression --root=root --output=img",
        "--big --no --eras 131072 --pad --squash --fake --page 1024 --compression none --test --root root --out img",
        "-bnqUPfp -e 128 -s 1024 -x zlib -x rtime -x lzo -d root -o img --",
    ] {
        assert!(scene.built(same) == odd, "{same}");
    }
    assert!(odd.starts_with(&[0x19, 0x85, 0xe0, 0x01]), "big-endian, no cleanmarker");
    assert_eq!(odd.len(), 131_072);
}

#[test]
fn defaults() {
    let scene = Scene::new();
    let named = scene.built("-d root -o img");
    let direct = scene.command("").current_dir(scene.path().join("root")).output().unwrap();
    assert!(direct.status.success() && direct.stderr.is_empty());
    assert!(direct.stdout == named, "the current directory, to standard output");
    let checked = scene.run("-t -d root");
    assert!(checked.status.success() && checked.stdout == named, "what is checked goes to standard output, too");
    let endian = if cfg!(target_endian = "little") { Endian::Little } else { Endian::Big };
    let tree = SourceTree::from_dir(&scene.path().join("root")).unwrap();
    let image = fs::File::open(scene.path().join("img")).unwrap();
    verify(&tree, &image, &Options { endian, ..Options::default() }).unwrap();
}

#[test]
fn build_systems_command_lines() {
    let scene = Scene::new();
    // Buildroot's fs/jffs2/jffs2.mk.
    let buildroot = scene.built("-e 0x20000 --pad=0x100000 -l -s 0x1000 -n -d root -o img");
    assert_eq!(buildroot.len(), 1 << 20);
    assert_eq!(scene.built("-e 0x2000 -p -b -d root -o img").len() % 0x2000, 0);
    // Yocto's image_types.bbclass with EXTRA_IMAGECMD of its machines.
    let yocto = "--root=root --faketime --output=img --pad --little-endian --eraseblock=0x40000";
    assert_eq!(scene.built(yocto).len(), 0x40000);
    let nand = scene.built(&format!("{yocto} -n --pagesize=0x800"));
    assert_eq!((nand.len(), &nand[2..4]), (0x40000, &[0x01, 0xe0][..]));
    // OpenWrt's include/image.mk, whose mkfs.jffs2 has LZMA.
    let openwrt = scene.run("--pad --big-endian --squash-uids -v -e 128KiB -q -f -n -x lzma -x rtime -o img -d root");
    assert!(openwrt.status.success() && !openwrt.stdout.is_empty() && !openwrt.stderr.is_empty());
    // Those who take the option for the flash's page.
    assert!(scene.built("-l -e0x10000 -s256 -d root -o img") != scene.built("-l -e0x10000 -s512 -d root -o img"));
}

#[test]
fn padding() {
    let scene = Scene::new();
    let whole = |args: &str| scene.built(&format!("-d root -o img {args}")).len();
    assert!(whole("") < 65_536 && whole("--pad=0") == whole(""));
    assert_eq!((whole("-p"), whole("--pad=65536")), (65_536, 65_536));
    for eight in ["-p0x800000", "--pad=8MiB", "--pad=8388608", "--pad=040000000", "--pad=8M"] {
        assert_eq!(whole(eight), 8 << 20, "{eight}");
    }
    assert_eq!(whole("--pad=70000"), 131_072, "whole eraseblocks");
    let (image, note) = scene.built_with_notes("-d root -o img -e 8 --pad=8192");
    assert!(image.len() > 8192 && image.len().is_multiple_of(8192) && note.contains("more than the 8192"), "{note}");
    // As with getopt, an optional value is only what is attached.
    let (image, note) = scene.built_with_notes("-d root -o img -p 0x800000");
    assert!(image.len() == 65_536 && note.contains("0x800000 is not used"), "{note}");
}

#[test]
fn eraseblocks_pages_and_cleanmarkers() {
    let scene = Scene::new();
    for (args, size) in [("-e 32", 32 << 10), ("-e 16MiB", 16 << 20), ("-e 4096KiB", 4 << 20), ("-e 0200000", 65_536)] {
        assert_eq!(scene.built(&format!("-d root -o img -p {args}")).len(), size, "{args}");
    }
    for small in ["1", "4096", "4KiB"] {
        let (image, note) = scene.built_with_notes(&format!("-d root -o img -p -e {small}"));
        assert!(image == scene.built("-d root -o img -p -e 8") && note.contains("taking 8 KiB"), "{note}");
    }
    let image = scene.built("-d root -o img -l -c 64");
    let options = Options { cleanmarker_size: 64, ..Options::default() };
    assert_eq!(image[4], 64);
    assert!(read_back(&image, &options).contains_key(&b"/text"[..]));
    assert!(scene.built("-d root -o img -l -n -c 64") == scene.built("-d root -o img -l -n"));
}

#[test]
fn compressors() {
    let scene = Scene::new();
    let size = |args: &str| scene.built(&format!("-d root -o img {args}")).len();
    let zlib = size("");
    assert!(size("-x zlib") > zlib, "rtime is worse");
    assert!(size("-X lzo") > zlib, "LZO is worse, and comes first");
    assert_eq!(size("-X lzo -y 1:lzo"), size("-X lzo -x lzo"));
    assert!(size("-X lzo -m size") <= zlib);
    assert!(size("-m none") > 15_000);
    assert_eq!(size("-m none"), size("-x zlib -x rtime"));
    for (args, first) in
        [("-L", "lzo priority:80 disabled"), ("-X zlib -y 99:rtime -L -Z", "rtime priority:99 enabled")]
    {
        let output = scene.run(args);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(255), 0));
        let list = String::from_utf8(output.stderr).unwrap();
        assert!(list.lines().next().unwrap().contains(first), "{list}");
    }
}

#[test]
fn squash_times_and_device_tables() {
    let scene = Scene::new();
    let path = scene.path().join("root/text");
    // Only root may; the others' own number is right, too.
    let _ = chown(&path, Some(70_000), Some(70_000));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6777)).unwrap();
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(far).unwrap();
    fs::write(
        scene.path().join("table"),
        "/dev/tty c 620 0 5 4 64 0 1 2\n/text f 4755 3 4\n/none/x p 600 0 0\n/dev/p p 600 7 8\n",
    )
    .unwrap();

    let files = scene.files("-d root -o img -f -q");
    assert!(files.values().all(|entry| (entry.uid, entry.gid, entry.mtime) == (0, 0, 0)));
    assert_eq!(files[&b"/text"[..]].mode & 0o7777, 0o755);
    assert_eq!(scene.files("-d root -o img -f -U")[&b"/text"[..]].mode & 0o7777, 0o6777);
    let (image, note) = scene.built_with_notes("-d root -o img -l -f -q -D table");
    assert!(note.contains("table: line 3: /none/x is left out"), "{note}");
    let files = read_back(&image, &Options::default());
    let of = |path: &[u8]| (files[path].mode, files[path].uid, files[path].gid, &files[path].content[..]);
    assert_eq!(of(b"/dev/tty0"), (0o20_620, 0, 5, &[64, 4][..]));
    assert_eq!(of(b"/dev/tty1").3, [65, 4]);
    assert_eq!(of(b"/dev/p"), (0o10_600, 7, 8, &[][..]));
    assert_eq!((of(b"/text").0, of(b"/text").1), (0o104_755, 3), "the table comes after squashing");

    fs::remove_file(scene.path().join("img")).unwrap();
    let (status, text) = scene.fails("-d root -o img -U");
    assert!(status == 255 && text.contains("root/text: the modification time"), "{text}");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(900)).unwrap();
    let clamped = scene.command("-d root -U -o img").env("SOURCE_DATE_EPOCH", "1000").output().unwrap();
    assert!(clamped.status.success());
    let image = fs::read(scene.path().join("img")).unwrap();
    let times: Vec<_> = read_back(&image, &Options::default()).values().map(|entry| entry.mtime).collect();
    assert_eq!(times, [1000, 1000, 1000, 900]);
}

#[test]
fn the_image_is_no_part_of_itself() {
    let scene = Scene::new();
    let root = scene.path().join("root");
    let run = || {
        let output = scene.command("-o dev/img").current_dir(&root).output().unwrap();
        assert!(output.status.success());
        (fs::read(root.join("dev/img")).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let names = |image: &[u8]| read_back(image, &Options::default()).len();
    let (first, note) = run();
    assert_eq!((names(&first), note.as_str()), (4, ""));
    let (second, note) = run();
    assert!(names(&second) == 4 && note.contains("dev/img, the image itself, is left out"), "{note}");
}

#[test]
fn verbose_and_informative() {
    let scene = Scene::new();
    let output = scene.run("-v -U -d root -o img");
    let list = String::from_utf8(output.stdout).unwrap();
    assert_eq!(list.lines().count(), 4);
    assert!(list.contains("f 0644 0:0 9000 /noise\n") || list.contains("0:0 9000 /noise\n"), "{list}");
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(report.contains("4 inodes") && report.contains(" zlib: "), "{report}");
    let direct = scene.run("-v -U -d root");
    assert!(direct.stdout == fs::read(scene.path().join("img")).unwrap(), "nothing but the image");
    assert!(String::from_utf8(direct.stderr).unwrap().starts_with(&list));

    for (args, start) in
        [("-h", "Usage: mkfs.jffs2 "), ("--hel", "Usage: "), ("-V", "mkfs.jffs2 ("), ("-d root -vV -Z", "mkfs.")]
    {
        let output = scene.run(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{args}");
        assert!(output.stdout.starts_with(start.as_bytes()), "{args}");
    }
    let help = String::from_utf8(scene.run("-h").stdout).unwrap();
    for option in "pad root pagesize eraseblock cleanmarker compression-mode disable-compressor enable-compressor \
                   compressor-priority list-compressors test-compression no-cleanmarkers output little-endian big-endian \
                   devtable faketime squash squash-uids squash-perms with-xattr with-selinux with-posix-acl help verbose \
                   version incremental"
        .split_whitespace()
    {
        assert!(help.contains(&format!("--{option}")), "{option}");
    }
}

#[test]
fn wrong_usage() {
    let scene = Scene::new();
    for (args, part) in [
        ("--zzz -d root -o img", "--zzz"),
        ("-Z -d root -o img", "-Z"),
        ("-1 -d root -o img", "-1"),
        ("-d root -o", "-o"),
        ("-d root -o img --eraseblock", "--eraseblock"),
        ("-d root -o img --comp none", "--compression-mode or --compressor-priority"),
        ("-d root -o img --with", "--with-xattr or --with-selinux or --with-posix-acl"),
        ("-d root -o img --faketime=1", "--faketime"),
        ("-d root -o img -y 5:lz", "lz"),
    ] {
        let (status, text) = scene.fails(args);
        assert!(status == 1 && text.contains(part), "{args}: {text}");
    }
}

#[test]
fn errors() {
    let scene = Scene::new();
    fs::write(scene.path().join("table"), "/text f 644 0 0\n/dev/x q 644 0 0\n").unwrap();
    for (args, part) in [
        ("-d none -o img", "none: No such file"),
        ("-d root/text -o img", "root/text: not a directory"),
        ("-d root -o none/img", "none/img: "),
        ("-d root -d root -o img", "more than one directory"),
        ("-d root -o img -o img", "more than one output"),
        ("-d root -o img -D none", "none: No such file"),
        ("-d root -o img -D table", "table: line 2: type `q`"),
        ("-d root -o img -e x", "--eraseblock x"),
        ("-d root -o img -e 0", "--eraseblock 0"),
        ("-d root -o img -e 64KB", "--eraseblock 64KB"),
        ("-d root -o img -e 96KiB", "eraseblock size 98304"),
        ("-d root -o img -s 100", "page size 100"),
        ("-d root -o img -s x", "--pagesize x"),
        ("-d root -o img --pad=8MB", "--pad 8MB"),
        ("-d root -o img --pad=0x100000000", "4294967296 bytes are no size of a flash"),
        ("-d root -o img -c 11", "cleanmarkers of 11 bytes"),
        ("-d root -o img -c 40000", "cleanmarkers of 40000 bytes"),
        ("-d root -o img -i old", "--incremental old"),
        ("-d root -o img -m fast", "--compression-mode fast"),
        ("-d root -o img -x lz", "no compressor is called lz"),
        ("-d root -o img -y x:zlib", "--compressor-priority x:zlib"),
    ] {
        let (status, text) = scene.fails(args);
        assert!(status == 255 && text.contains(part), "{args}: {text}");
    }
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    for args in ["-d root", "-d root -t"] {
        let output = scene.command(args).stdout(Stdio::from(full.try_clone().unwrap())).output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{args}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("No space left"));
    }
}
