//! Whatever it is given: one clear line, the right exit code, no panic.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Bench, Builder, Layout, NOR, run, sample};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::wire::{Compression, Endian};

/// Runs every command that reads; each says the same line and ends with the same code.
#[track_caller]
fn refused(image: &Path, options: &[&str], code: i32, said: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for command in ["ls", "cat", "extract", "info", "check", "log", "apply", "recover"] {
        let mut rest: Vec<&dyn AsRef<std::ffi::OsStr>> = Vec::new();
        match command {
            "cat" => rest.push(&"x"),
            "extract" => rest.push(&"/nonexistent/x"),
            // Any small directory will do: the image is refused.
            "apply" => rest.extend([&"--root" as &dyn AsRef<_>, &root]),
            _ => {}
        }
        rest.extend(options.iter().map(|option| option as &dyn AsRef<_>));
        let tried = run(command, image, &rest);
        let wanted = format!("jffs2-tx: error: {}: {said}\n", image.display());
        assert_eq!((tried.code, tried.err, tried.out), (code, wanted, Vec::new()), "{command}");
    }
}

#[test]
fn what_is_no_image() {
    let bench = Bench::new();
    let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let none = "not a JFFS2 image (no valid node found)";
    refused(&bench.path("missing"), &[], 3, "No such file or directory (os error 2)");
    refused(bench.dir.path(), &[], 3, "not a regular file");
    let other = "not supported: a device, but no MTD device; give one as /dev/mtdN or mtd:NAME";
    refused(Path::new("/dev/null"), &[], 6, other);
    refused(&bench.file("empty", &[]), &[], 7, "the file is empty");
    refused(&bench.file("byte", b"\x85"), &[], 7, none);
    refused(&bench.file("magic", b"\x85\x19\x03\x20"), &[], 7, none);
    refused(&bench.file("zeros", &[0; 70_000]), &[], 7, none);
    refused(&bench.file("noise", &noise), &[], 7, none);
    refused(&bench.file("blank", &[0xff; 65536]), &[], 7, "the image is blank (every byte is 0xff)");
    refused(&bench.file("blank byte", &[0xff]), &[], 7, "the image is blank (every byte is 0xff)");
}

#[test]
fn a_file_that_may_not_be_read() {
    let bench = Bench::new();
    let image = bench.file("image", &sample(NOR));
    let mut mode = fs::metadata(&image).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0);
    fs::set_permissions(&image, mode).unwrap();
    // Root may read it all the same.
    if fs::File::open(&image).is_err() {
        refused(&image, &[], 3, "Permission denied (os error 13)");
    }
}

#[test]
fn a_blank_image_is_an_empty_file_system_if_all_is_given() {
    let bench = Bench::new();
    let image = bench.file("blank", &[0xff; 65536]);
    let listed = run("ls", &image, &[&"--little-endian", &"-e8k", &"--flash=nor"]);
    assert_eq!((listed.code, listed.text()), (0, ""));
}

#[test]
fn geometry_that_contradicts_the_image() {
    let bench = Bench::new();
    let nor = bench.file("nor", &sample(NOR));
    refused(
        &nor,
        &["-e", "8k"],
        7,
        "eraseblock size 8 KiB contradicts the image: the node at 0x15f4 would cross from one eraseblock to the next; \
         it looks like 16 KiB",
    );
    let marker = "contradicts the image: the node at 0x4000 stands at an eraseblock's start only; it looks like 16 KiB";
    refused(&nor, &["--eraseblock=0x8000"], 7, &format!("eraseblock size 32 KiB {marker}"));
    refused(&nor, &["-e1MiB"], 7, &format!("eraseblock size 1 MiB {marker}"));
    refused(
        &bench.file("summaries", &sample(Layout { summaries: true, cleanmarkers: false, ..NOR })),
        &["-e", "64k"],
        7,
        "eraseblock size 64 KiB contradicts the image: the node at 0x3670 says that it is 16 KiB; it looks like 16 KiB",
    );
    refused(&nor, &["--big-endian"], 7, "the image is little-endian: 0 nodes in the other byte order");
    let big = bench.file("big", &sample(Layout { endian: Endian::Big, ..NOR }));
    refused(&big, &["--little-endian"], 7, "the image is big-endian: 0 nodes in the other byte order");
    refused(&nor, &["--page-size=3"], 2, "write size 3 does not suit this kind of flash");
    refused(&nor, &["-e", "2k"], 2, "eraseblock size 2048 is not a power of two from 4 KiB to 16 MiB");
    refused(&nor, &["-e", "24k"], 2, "eraseblock size 24576 is not a power of two from 4 KiB to 16 MiB");
}

#[test]
fn an_image_that_is_cut_short_reads_as_far_as_it_goes() {
    let bench = Bench::new();
    let whole = sample(NOR);
    for len in [1000, 16384, 16385, 40_001, 100_000] {
        let image = bench.file("cut", &whole[..len]);
        let info = &run("info", &image, &[&"-e16k", &"--json"]).json()[0];
        assert_eq!(info["size"], len.next_multiple_of(16384));
        assert_eq!(info["file_size"], len);
        assert!(matches!(run("ls", &image, &[&"-lR", &"-e16k"]).code, 0 | 1));
        run("check", &image, &[]);
    }
}

#[test]
fn wrong_arguments_are_one_line_and_code_2() {
    for args in [
        &[][..],
        &["ls"],
        &["fly"],
        &["cat", "image"],
        &["ls", "image", "--json", "--frob"],
        &["ls", "-e", "12q", "image"],
        &["ls", "-b", "image"],
        &["info", "-l", "-b", "image"],
        &["info", "--flash=tape", "image"],
        &["apply", "image"],
        &["apply", "image", "--root=/", "--commit-point=never"],
        &["apply", "image", "--root=/", "--label=a label of more than sixty-four bytes, which no marker has room for"],
        &["apply", "image", "--root=/", "--txid=12"],
    ] {
        let tried = Command::new(env!("CARGO_BIN_EXE_jffs2-tx")).args(args).output().unwrap();
        let err = String::from_utf8(tried.stderr).unwrap();
        assert_eq!((tried.status.code(), err.lines().count()), (Some(2), 1), "{args:?}: {err}");
        assert!(err.starts_with("jffs2-tx: error: "), "{err}");
    }
    for command in ["ls", "cat", "extract", "info", "check", "log", "apply", "recover"] {
        let help = Command::new(env!("CARGO_BIN_EXE_jffs2-tx")).args([command, "--help"]).output().unwrap();
        assert_eq!(help.status.code(), Some(0));
        assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes:"));
    }
}

#[test]
fn an_incompatible_node_is_not_supported() {
    let bench = Bench::new();
    let mut image = Builder::new(NOR);
    image.put(1, "a", 2, FileKind::File, 0o644, b"a");
    let mut node = vec![0x85, 0x19, 0x77, 0xe0, 12, 0, 0, 0];
    let crc = jffs2_tx::crc::crc32(&node);
    node.extend(crc.to_le_bytes());
    image.raw(&node);
    let image = bench.file("image", &image.finish(5));
    refused(&image, &[], 6, "node at 0x80 of type 0xe077 is incompatible: a newer reader is needed");
}

/// Random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(limit)) as u32
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }
}

/// Valid nodes that make no sense together: numbers at their limits, cycles, every type and compressor.
fn nonsense(seed: u64) -> Vec<u8> {
    use FileKind::{BlockDevice, Directory, Fifo, File, Symlink};
    const EDGES: [u32; 8] = [0, 1, 4096, 5000, 1 << 20, 1 << 31, u32::MAX - 1, u32::MAX];
    let mut random = Random(seed);
    let mut image =
        Builder::new(Layout { summaries: seed.is_multiple_of(3), cleanmarkers: seed.is_multiple_of(2), ..NOR });
    for _ in 0..150 {
        let kind = random.of(&[Directory, File, File, Symlink, BlockDevice, Fifo]);
        let ino = 1 + random.below(12);
        if random.below(2) == 0 {
            let name = random.of(&[&b"a"[..], b"b", b"c", b"..", b"x/y", b"\xff"]);
            image.dirent(1 + random.below(12), name, ino, kind);
            continue;
        }
        let mode = random.of(&[kind.mode_bits() | 0o755, kind.mode_bits(), 0o777, 0xffff_ffff]);
        let stored = vec![random.below(256) as u8; random.of(&[0, 2, 4, 100, 4096])];
        image.inode(ino, mode, &stored, |node| {
            node.version = random.of(&[node.version, 7, u32::MAX]);
            node.offset = random.of(&EDGES);
            node.isize = node.offset.max(random.of(&EDGES));
            let edge = random.of(&EDGES);
            node.dsize = random.of(&[node.dsize, edge]);
            node.compression = Compression::from_id(random.of(&[0, 0, 1, 2, 6, 7]));
        });
    }
    image.finish(8)
}

#[test]
fn nonsense_is_survived() {
    let bench = Bench::new();
    for seed in 0..40 {
        let mut bytes = nonsense(seed);
        let mut random = Random(seed);
        for _ in 0..random.below(20) {
            let at = random.below(bytes.len() as u32) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        let image = bench.file("image", &bytes);
        let root = bench.path("root");
        let runs = [
            run("ls", &image, &[&"-lR"]),
            run("ls", &image, &[&"-R", &"--json", &"--no-summaries"]),
            run("info", &image, &[]),
            run("check", &image, &[&"--json"]),
            run("log", &image, &[]),
            run("extract", &image, &[&root]),
        ];
        for tried in runs {
            assert!(matches!(tried.code, 0 | 1 | 7), "seed {seed}: {tried:?}");
            assert!(tried.err.lines().all(|line| line.starts_with("jffs2-tx: ")), "seed {seed}: {}", tried.err);
        }
        let _ = fs::remove_dir_all(&root);
    }
}
