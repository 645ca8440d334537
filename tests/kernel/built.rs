//! What our builder writes, read by the stock kernel: every compressor that it has, with summaries and without, on NOR and
//! NAND. The builder's own check has compared each image with its source tree: what the kernel reads as our reader does
//! is that tree.

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::sync::Arc;

use anyhow::{Result, ensure};
use jffs2_mkimage::source::swing::swing;
use jffs2_mkimage::sumtool::{self, Cleanmarkers};
use jffs2_mkimage::{Compress, Method, Options, Pad, build, verify};
use jffs2_tx::Endian;
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::source::SourceTree;
use jffs2_tx_tests::agreement::Agreement;
use jffs2_tx_tests::kernel::{Case, Device, Job, Kernel, State};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::random_tree::random_tree;
use jffs2_tx_tests::roots;
use jffs2_tx_tests::tools::run;

const NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 256 };
const LARGE: Device = Device::NandLargePage { blocks: 128 };
const SMALL: Device = Device::NandSmallPage { blocks: 1000 };
/// How many random trees are a sample.
const SEEDS: u64 = 8;

#[test]
fn every_variant_on_nor() -> Result<()> {
    every_variant(NOR)
}

#[test]
fn every_variant_on_nand_of_large_pages() -> Result<()> {
    every_variant(LARGE)
}

#[test]
fn every_variant_on_nand_of_small_pages() -> Result<()> {
    every_variant(SMALL)
}

fn every_variant(device: Device) -> Result<()> {
    let real = roots::part_of_root()?.new;
    let mut agreement = Agreement::new(device);
    for (name, compress) in compressors() {
        for summary in [false, true] {
            let options = Options { compress: compress.clone(), ..options(device, summary) };
            let (state, seen) = built(device, &real, &options)?;
            let name = format!("{name}-{}", if summary { "summaries" } else { "plain" });
            agreement.add(Case::read_write(name, state), &seen);
        }
    }
    let (state, seen) = built(device, &swing(&real, b"v1")?, &options(device, true))?;
    agreement.add(Case::read_write("swung", state), &seen);
    let (state, seen) = summarized(device, &real)?;
    agreement.add(Case::read_write("sumtool", state), &seen);
    for seed in 0..SEEDS {
        let tree = random_tree(seed, device.block_size())?;
        let options = Options { sort: seed % 3 == 0, ..options(device, seed % 2 == 0) };
        let (state, seen) = built(device, &tree, &options)?;
        agreement.add(Case::read_only(format!("random-{seed}"), state), &seen);
    }
    let report = agreement.check(&Kernel::debian(None)?)?;
    println!("{device:?}: {} mounts in {:.0} s", report.mounts, report.seconds);
    Ok(())
}

/// All but LZMA, which only OpenWrt's kernel has.
fn compressors() -> [(&'static str, Compress); 6] {
    [
        ("none", Compress::none()),
        ("fast", Compress::fast()),
        ("default", Compress::default()),
        ("best", Compress::best()),
        ("lzo", Compress::only(Method::Lzo)),
        ("rtime", Compress::only(Method::Rtime)),
    ]
}

fn options(device: Device, summary: bool) -> Options {
    let cleanmarkers = device.page_size().is_none();
    Options { eraseblock: device.block_size(), cleanmarkers, summary, pad: Pad::Eraseblock, ..Options::default() }
}

/// The tree's image on the device, and what our reader sees on it.
fn built(device: Device, tree: &SourceTree, options: &Options) -> Result<(State, Arc<Seen>)> {
    let mut file = tempfile::tempfile()?;
    build(tree, options, &mut file)?;
    verify(tree, &file, options)?;
    seen_on(device, &bytes(&mut file)?)
}

/// The same for an image that got its summaries afterwards.
fn summarized(device: Device, tree: &SourceTree) -> Result<(State, Arc<Seen>)> {
    let image = image(device, tree, false)?;
    let mut out = Vec::new();
    let options = sumtool::Options {
        endian: Endian::Little,
        eraseblock: device.block_size(),
        cleanmarkers: Cleanmarkers::AsRead,
        pad: false,
    };
    sumtool::summarize(Cursor::new(image), &options, &mut out)?;
    seen_on(device, &out)
}

fn seen_on(device: Device, image: &[u8]) -> Result<(State, Arc<Seen>)> {
    let size = u64::from(device.blocks()) * u64::from(device.block_size());
    let geometry = Geometry::new(FlashKind::Nor, size, device.block_size(), 1)?;
    let seen = Seen::on(&MemFlash::with_data(geometry, image.to_vec()))?;
    Ok((State::from_image(device, image)?.with_cleanmarkers(), Arc::new(seen)))
}

fn bytes(file: &mut File) -> Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Prints how long the kernel takes to mount a whole root without summaries, with ours, and with sumtool's.
#[test]
#[ignore = "a measurement"]
fn how_fast_it_mounts() -> Result<()> {
    const MOUNTS: u32 = 20;
    let tree = roots::root()?.new;
    let kernel = Kernel::debian(None)?.with_memory(1024);
    for device in [Device::Nor { block_size: 64 << 10, blocks: 1024 }, Device::NandLargePage { blocks: 512 }] {
        for (name, image) in [
            ("no summaries", image(device, &tree, false)?),
            ("our summaries", image(device, &tree, true)?),
            ("sumtool's", summed(device, &image(device, &tree, false)?)?),
        ] {
            let state = State::from_image(device, &image)?.with_cleanmarkers();
            let mut job = Job::new(device);
            job.cases.extend((0..MOUNTS).map(|mount| Case::read_only(format!("mount-{mount}"), state.clone())));
            let report = kernel.run(&job)?;
            ensure!(report.log.is_empty() && report.errors.is_empty(), "{:?} {:?}", report.log, report.errors);
            let spent = report.spent.split(' ').find_map(|spent| spent.strip_prefix("mount=")).unwrap_or("0");
            println!("{device:?}, {name}: {:.1} ms a mount", spent.parse::<f64>()? / f64::from(MOUNTS));
        }
    }
    Ok(())
}

fn image(device: Device, tree: &SourceTree, summary: bool) -> Result<Vec<u8>> {
    let mut image = Vec::new();
    build(tree, &options(device, summary), &mut image)?;
    Ok(image)
}

/// The image with the summaries of mtd-utils' sumtool.
fn summed(device: Device, image: &[u8]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let (plain, summed) = (folder.path().join("plain"), folder.path().join("summed"));
    std::fs::write(&plain, image)?;
    let mut sumtool = std::process::Command::new("sumtool");
    sumtool.args(["-l", "-p", "-e", &format!("{}KiB", device.block_size() >> 10)]);
    sumtool.args(device.page_size().map(|_| "-n"));
    run(sumtool.arg("-i").arg(&plain).arg("-o").arg(&summed));
    Ok(std::fs::read(summed)?)
}
