//! Images with spare bytes, for NAND programmers.

use std::fs::{self, File};
use std::process::{Command, Output};

use jffs2_mkimage::{BuildError, Options, Pad, Report, build, verify};
use jffs2_tx::Endian;
use jffs2_tx::detect::{LAYOUTS, Survey};
use jffs2_tx::flash::{Container, Flash, FlashKind, Geometry, ImageFlash, OobLayout};
use jffs2_tx::inode_kind::Meta;
use jffs2_tx::source::{Content, ROOT, SourceKind, SourceNode, SourceTree};

const META: Meta = Meta { mode: 0o755, uid: 1, gid: 2, mtime: 1_700_000_000 };

fn layout(text: &str) -> OobLayout {
    text.parse().unwrap()
}

/// Some 200 KB that hardly compress.
fn source() -> SourceTree {
    let mut tree = SourceTree::new(META);
    for n in 0..20_u32 {
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i.wrapping_mul(2_654_435_761 + n) >> 13) as u8).collect();
        let kind = SourceKind::File { size: 10_000, content: Content::Bytes(bytes) };
        tree.add(ROOT, format!("file{n}").as_bytes(), SourceNode { meta: META, kind }).unwrap();
    }
    tree
}

fn built(options: &Options) -> (Vec<u8>, Report) {
    let mut image = Vec::new();
    let report = build(&source(), options, &mut image).unwrap();
    assert_eq!(report.bytes, image.len() as u64);
    (image, report)
}

/// Flash as it is sold: pages, their spare bytes, eraseblocks.
fn chips() -> [(OobLayout, u32); 4] {
    [("512+16", 16), ("2048+64", 128), ("4096+128", 256), ("4096+224", 256)]
        .map(|(text, kib)| (layout(text), kib << 10))
}

fn every_option() -> Vec<Options> {
    let mut all = Vec::new();
    for (nand, eraseblock) in chips() {
        for (endian, summary) in [(Endian::Little, false), (Endian::Big, true)] {
            all.push(Options { nand: Some(nand), eraseblock, endian, summary, ..Options::default() });
        }
    }
    all
}

#[test]
fn pages_with_spare_bytes_behind_them() {
    for options in every_option() {
        let nand = options.nand.unwrap();
        let (image, report) = built(&options);
        let plain = Options { nand: None, cleanmarkers: false, pad: Pad::Eraseblock, ..options.clone() };
        let (data, of_data) = built(&plain);
        assert_eq!(Report { bytes: of_data.bytes, ..report }, of_data);
        assert_eq!(report.bytes, nand.dump_len(of_data.bytes));
        let (free, cleanmarker): (usize, &[u8]) = match (nand.page(), options.endian) {
            (512, Endian::Little) => (8, b"\x85\x19\x03\x20\x08\0\0\0"),
            (512, Endian::Big) => (8, b"\x19\x85\x20\x03\0\0\0\x08"),
            (_, Endian::Little) => (2, b"\x85\x19\x03\x20\x08\0\0\0"),
            (_, Endian::Big) => (2, b"\x19\x85\x20\x03\0\0\0\x08"),
        };
        let pages_per_block = (options.eraseblock / nand.page()) as usize;
        for (number, unit) in image.chunks(nand.unit() as usize).enumerate() {
            let (page, spare) = unit.split_at(nand.page() as usize);
            assert!(page == &data[number * page.len()..][..page.len()], "{nand}: page {number}");
            let mut expected = vec![0xff; nand.spare() as usize];
            if number % pages_per_block == 0 {
                expected[free..free + 8].copy_from_slice(cleanmarker);
            }
            assert_eq!(spare, expected, "{nand}: page {number}");
        }
    }
}

#[test]
fn readers_find_out_what_it_is_and_read_the_tree() {
    for options in every_option() {
        let nand = options.nand.unwrap();
        let (image, report) = built(&options);
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &image).unwrap();
        let container = Container::whole(report.bytes);
        let survey = Survey::of_file(&file, container, None).unwrap();
        let found = survey.detect().unwrap();
        assert_eq!((found.endian, found.oob.map(|oob| oob.layout)), (options.endian, Some(nand)));
        assert_eq!((found.kind, found.page_size), (FlashKind::Nand, nand.page()));
        survey.check_eraseblock(options.eraseblock).unwrap();
        verify(&source(), &file, &options).unwrap();

        let container = Container { oob: Some(nand), ..container };
        let geometry = Geometry::new(FlashKind::Nand, container.data_len(), options.eraseblock, nand.page()).unwrap();
        let flash = ImageFlash::inside(file, geometry, container).unwrap();
        for block in 0..geometry.blocks() {
            assert!(flash.has_oob_cleanmarker(block).unwrap() && !flash.is_bad(block).unwrap(), "{nand}: {block}");
        }
    }
}

#[test]
fn padding_is_erased_and_marked_clean() {
    let (nand, eraseblock) = chips()[1];
    let size = 6 * u64::from(eraseblock);
    let options = Options { nand: Some(nand), eraseblock, pad: Pad::To(size), ..Options::default() };
    let (image, report) = built(&options);
    assert_eq!(report.bytes, nand.dump_len(size));
    let last = &image[nand.in_dump(size - u64::from(eraseblock)) as usize..];
    assert_eq!(last.iter().filter(|byte| **byte != 0xff).count(), 8);
    assert_eq!(last[2050..2058], [0x85, 0x19, 0x03, 0x20, 8, 0, 0, 0]);
    let (unmarked, _) = built(&Options { cleanmarkers: false, ..options });
    assert!(unmarked.chunks(nand.unit() as usize).all(|unit| unit[2048..].iter().all(|byte| *byte == 0xff)));
}

#[test]
fn flash_that_is_not_known_is_refused() {
    let refused = |text: &str, eraseblock| {
        let options = Options { nand: Some(layout(text)), eraseblock, ..Options::default() };
        build(&source(), &options, &mut Vec::new()).unwrap_err()
    };
    for text in ["512+64", "2048+100", "256+8"] {
        let error = refused(text, 128 << 10);
        assert!(matches!(error, BuildError::Layout(said) if said == layout(text)), "{error}");
        assert!(LAYOUTS.iter().all(|known| error.to_string().contains(&known.to_string())), "{error}");
    }
    assert!(matches!(refused("2048+64", 4096), BuildError::LayoutEraseblock { eraseblock: 4096, .. }));
    assert!(matches!(refused("8192+448", 16 << 10), BuildError::LayoutEraseblock { .. }));
    assert!(matches!(refused("2048+64", 100_000), BuildError::Eraseblock(100_000)));
}

#[test]
fn a_full_disk_is_an_error() {
    for (nand, eraseblock) in chips() {
        let options = Options { nand: Some(nand), eraseblock, ..Options::default() };
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        assert!(matches!(build(&source(), &options, &mut full), Err(BuildError::Write(_))));
        // A byte short: found when the last ones go out.
        let mut short = vec![0; built(&options).0.len() - 1];
        assert!(matches!(build(&source(), &options, &mut short.as_mut_slice()), Err(BuildError::Write(_))));
    }
}

#[test]
fn the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("root")).unwrap();
    fs::write(dir.path().join("root/file"), vec![7; 100_000]).unwrap();
    let run = |args: &str| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jffs2-mkimage"));
        command.current_dir(dir.path()).args(args.split_whitespace()).output().unwrap()
    };
    let output = run("-r root -o img -l -e 128KiB --nand 2048+64 --verify");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let image = fs::read(dir.path().join("img")).unwrap();
    assert_eq!(image.len(), 64 * 2112);
    assert_eq!(image[2050..2058], [0x85, 0x19, 0x03, 0x20, 8, 0, 0, 0]);
    for (args, code) in [("-e 128KiB --nand 2048", 2), ("--nand 2048+64", 2), ("-e 128KiB --nand 2048+65", 1)] {
        let output = run(&format!("-r root -o img -l {args}"));
        assert_eq!(output.status.code(), Some(code), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(fs::read(dir.path().join("img")).unwrap() == image);
}
