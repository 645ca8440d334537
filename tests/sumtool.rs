//! Our sumtool against mtd-utils' own: the same trees, layouts and exit codes, and right where that one is wrong.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use jffs2_tx::check::{Severity, check};
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::scan::{BlockState, scan};
use jffs2_tx::{Endian, Index, Rules};
use jffs2_tx_tests::aged::Aged;
use jffs2_tx_tests::tools::{binary, roots, run, workspace};
use jffs2_tx_tests::{listing, ours};
use tempfile::TempDir;

/// Ours, called as the other one is.
fn our_sumtool() -> Command {
    let mut command = binary("jffs2-mkimage");
    command.arg0("sumtool");
    command
}

fn flash(image: &[u8], eraseblock: u32, endian: Endian) -> (MemFlash, Rules) {
    let size = image.len().next_multiple_of(eraseblock as usize).max(5 * eraseblock as usize);
    let geometry = Geometry::new(FlashKind::Nor, size as u64, eraseblock, 1).expect("valid geometry");
    (MemFlash::with_data(geometry, image.to_vec()), Rules { endian, summaries: true })
}

fn lines(flash: &MemFlash, rules: Rules) -> Vec<String> {
    listing::lines(&ours::list(flash, rules).expect("every path is read"))
}

/// Eraseblocks that readers know by their summaries, and all that hold anything.
fn by_summary(flash: &MemFlash, rules: Rules) -> (u32, u32) {
    let (mut listed, mut used) = (0, 0);
    scan(flash, rules, |_, found| {
        listed += u32::from(found.by_summary);
        used += u32::from(found.state == BlockState::Used);
    })
    .expect("memory is read");
    (listed, used)
}

fn order(endian: Endian) -> &'static str {
    if endian == Endian::Little { "-l" } else { "-b" }
}

/// Makes an image of the source, and one with summaries by each sumtool.
fn all_three(source: &Path, eraseblock: u32, endian: Endian, flags: &[&str]) -> [Vec<u8>; 3] {
    let dir = tempfile::tempdir().expect("temporary directory");
    let at = |name: &str| dir.path().join(name);
    let size = format!("{}KiB", eraseblock >> 10);
    let common = |command: &mut Command| {
        run(command.args(["-e", &size, order(endian)]).args(flags));
    };
    common(Command::new("mkfs.jffs2").arg("-r").arg(source).arg("-o").arg(at("plain")));
    common(Command::new("sumtool").arg("-i").arg(at("plain")).arg("-o").arg(at("theirs")));
    common(our_sumtool().arg("-i").arg(at("plain")).arg("-o").arg(at("ours")));
    ["plain", "theirs", "ours"].map(|name| fs::read(at(name)).expect("image is there"))
}

#[test]
fn the_same_tree_in_no_more_eraseblocks() {
    let source = roots().0.join("usr/sbin");
    let all_flags = [&[][..], &["-n"], &["-c", "16"], &["-p"]];
    for (row, eraseblock) in [8 << 10, 64 << 10, 256 << 10].into_iter().enumerate() {
        for (column, flags) in all_flags.into_iter().enumerate() {
            let endian = if (row + column) % 2 == 0 { Endian::Little } else { Endian::Big };
            let what = format!("{endian:?} {eraseblock} {flags:?}");
            let [plain, theirs, ours] = all_three(&source, eraseblock, endian, flags).map(|image| {
                let (flash, rules) = flash(&image, eraseblock, endian);
                let without = lines(&flash, Rules { summaries: false, ..rules });
                (lines(&flash, rules), without, by_summary(&flash, rules), image)
            });
            assert!(plain.0.len() > 10 && plain.0 == ours.0 && plain.0 == ours.1 && plain.0 == theirs.0, "{what}");
            let ((listed, used), (by_them, used_by_them)) = (ours.2, theirs.2);
            assert!(listed == used && used <= used_by_them, "{what}: {listed} of {used}, theirs {used_by_them}");
            assert!(by_them < used_by_them, "{what}: theirs has a summary in the last eraseblock too");
            assert_eq!(ours.3.len(), (used * eraseblock) as usize, "{what}");
        }
    }
}

#[test]
fn what_a_kernel_listed_of_aged_flashes_stays() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "only root can extract owners, devices and extended attributes");
    for flash in Aged::kept(&workspace().join("tests/data/aged"))? {
        for flash in [flash.swapped(), flash] {
            stays(flash)?;
        }
    }
    Ok(())
}

fn stays(mut flash: Aged) -> Result<()> {
    let name = flash.name.clone();
    let dir = tempfile::tempdir()?;
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::write(&old, &flash.image)?;
    let mut command = our_sumtool();
    command.args(["-e", &flash.device.block_size().to_string(), order(flash.endian)]);
    let output = run(command.arg("-i").arg(&old).arg("-o").arg(&new));
    let image = fs::read(&new)?;
    println!("{name}: {} of {} bytes; {}", image.len(), flash.image.len(), String::from_utf8_lossy(&output.stderr));
    ensure!(image.len() <= flash.image.len(), "{name} grew");
    let geometry = flash.device.geometry()?;
    let before = errors(&flash.image, geometry, flash.endian)?;
    ensure!(errors(&image, geometry, flash.endian)? <= before, "{name}: more errors");
    flash.image = image;
    flash.image.resize(geometry.size() as usize, 0xff);
    let differences = flash.differences().with_context(|| name.clone())?;
    ensure!(differences.is_empty(), "{name}: {differences:#?}");
    let found = MemFlash::with_data(geometry, flash.image);
    let (listed, used) = by_summary(&found, Rules { endian: flash.endian, summaries: true });
    ensure!(listed == used && used > 1, "{name}: {listed} of {used} by summary");
    Ok(())
}

/// How many errors the check finds.
fn errors(image: &[u8], geometry: Geometry, endian: Endian) -> Result<usize> {
    let flash = MemFlash::with_data(geometry, image.to_vec());
    let index = Index::open(&flash, Rules { endian, summaries: true })?;
    Ok(check(&flash, &index)?.iter().filter(|finding| finding.severity == Severity::Error).count())
}

/// A folder with an image `img` of one file, little-endian, in eraseblocks of 64 KiB.
fn small() -> TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(dir.path().join("root")).expect("directory is made");
    fs::write(dir.path().join("root/file"), "content").expect("file is written");
    run(Command::new("mkfs.jffs2").args(["-l", "-r", "root", "-o", "img"]).current_dir(dir.path()));
    dir
}

/// Both, theirs first.
fn both(dir: &Path, args: &[&str]) -> [Output; 2] {
    let output = |mut command: Command| command.args(args).current_dir(dir).output().expect("it runs");
    [output(Command::new("sumtool")), output(our_sumtool())]
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn options_and_exit_codes_are_the_same() {
    let dir = small();
    for (args, code) in [
        ("-l -i img -o new", 0),
        ("-li img -onew", 0),
        ("--littleendian --input=img --output new --eraseblock 64KiB --pad --verbose", 0),
        ("--lit --in=img --out=new --er=0x10000 --cl=16 --no", 0),
        ("-l -e 64 -c 12 -n -p -v -i img -o new", 0),
        ("-l -e 65536 -c 0x10 -i img -o new", 0),
        ("-b -l -i img -o new more", 0),
        ("-h", 0),
        ("--help", 0),
        ("-V", 0),
        ("--version", 0),
        ("", 255),
        ("-l -i img", 255),
        ("-l -o new", 255),
        ("-l -i img -i img -o new", 255),
        ("-l -i img -o new -o new", 255),
        ("-l -e 0 -i img -o new", 255),
        ("-l -e 64x -i img -o new", 255),
        ("-l -e no -i img -o new", 255),
        ("-l -c 11 -i img -o new", 255),
        ("-l -c 65536 -i img -o new", 255),
        ("-l -i missing -o new", 255),
        ("-l -i img -o missing/new", 255),
        ("-z", 1),
        ("--none", 1),
        ("--pad=3", 1),
        ("-e", 1),
        ("--input", 1),
        ("--l", 0),
    ] {
        let [theirs, ours] = both(dir.path(), &args.split_whitespace().collect::<Vec<_>>());
        let expected = if args == "--l" { 255 } else { code };
        assert_eq!(
            (theirs.status.code(), ours.status.code()),
            (Some(expected), Some(expected)),
            "{args}: {}",
            said(&ours)
        );
        assert!(code == 0 || said(&theirs).is_empty() == said(&ours).is_empty(), "{args}: {}", said(&ours));
        if code == 255 {
            assert!(
                said(&ours).starts_with("sumtool: error!: ") && said(&ours).lines().count() == 1,
                "{}",
                said(&ours)
            );
        }
        let usage =
            |output: &Output| String::from_utf8_lossy(&output.stdout).starts_with("Usage: sumtool [OPTIONS] -i ");
        assert_eq!(usage(&theirs), usage(&ours), "{args}");
    }
}

#[test]
fn what_the_other_one_gets_wrong_without_a_word() {
    let dir = small();
    let image = fs::read(dir.path().join("img")).expect("image is there");
    let mut cut = image.clone();
    cut.truncate(image.len() - 6);
    fs::write(dir.path().join("cut"), cut).expect("file is written");
    File::create(dir.path().join("huge")).and_then(|file| file.set_len(1 << 32)).expect("file is made");
    for (args, problem) in [
        ("-b -i img -o new", "img: the image is little endian: give -l"),
        (
            "-l -i cut -o new",
            "cut: the image ends in the node at 0x38, 5 bytes before its end: it is not whole, build it again",
        ),
        ("-l -i huge -o new", "huge: the image has 4294967296 bytes: JFFS2 addresses less than 4 GiB"),
        (
            "-l -e 3KiB -i img -o new",
            "img: eraseblock size 3072 is not a power of two from 4 KiB to 16 MiB: take the flash's own",
        ),
    ] {
        fs::write(dir.path().join("new"), "old").expect("file is written");
        let ours = our_sumtool().args(args.split_whitespace()).current_dir(dir.path()).output().expect("it runs");
        assert_eq!((ours.status.code(), said(&ours)), (Some(255), format!("sumtool: error!: {problem}\n")), "{args}");
        assert_eq!(fs::read(dir.path().join("new")).expect("file is there"), b"old", "{args}");
        assert_eq!(fs::read_dir(dir.path()).expect("folder is read").count(), 5, "{args}: something is left behind");
    }
}

#[test]
fn pipes_and_the_same_file() {
    let dir = small();
    let shell = |script: &str| {
        let ours = our_sumtool().get_program().to_owned();
        let mut bash = Command::new("bash");
        let output = run(bash
            .args(["-ceu", &format!("sumtool() ( exec -a sumtool {} \"$@\" ); {script}", ours.display())])
            .current_dir(dir.path()));
        output.stdout
    };
    shell("sumtool -l -i img -o new");
    let new = fs::read(dir.path().join("new")).expect("image is there");
    assert_eq!(new.len(), 64 << 10);
    assert!(shell("cat img | sumtool -l -i - -o -") == new);
    assert!(shell("cat img | sumtool -l -i /dev/stdin -o -") == new);
    assert!(shell("sumtool -l -i - -o - < img") == new);
    shell("sumtool -l -i img -o img");
    assert!(fs::read(dir.path().join("img")).expect("image is there") == new);
}
