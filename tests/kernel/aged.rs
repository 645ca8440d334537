//! File systems that the stock kernel itself has aged: what it lists of them, our reader must show, nothing more and
//! nothing less; also of copies taken in the middle of the work, as a power cut leaves them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use jffs2_tx::Endian;
use jffs2_tx::scan::{Rules, scan_block};
use jffs2_tx::wire::Compression;
use jffs2_tx_tests::aged::Aged;
use jffs2_tx_tests::kernel::{Age, Case, Compressor, Device, Job, Kernel, Outcome, Report, State};
use jffs2_tx_tests::tools::run;

/// Copies taken of each file system on the way.
const CUTS: u32 = 2;
/// How many times as many eraseblocks as there are the kernel erases.
const TURNS: u32 = 3;

const DEVICES: [(&str, Device); 4] = [
    ("nor64", Device::Nor { block_size: 64 << 10, blocks: 16 }),
    ("nor128", Device::Nor { block_size: 128 << 10, blocks: 10 }),
    ("nand512", Device::NandSmallPage { blocks: 64 }),
    ("nand2048", Device::NandLargePage { blocks: 10 }),
];

const COMPRESSORS: [(&str, Compressor); 4] =
    [("none", Compressor::None), ("zlib", Compressor::Zlib), ("lzo", Compressor::Lzo), ("turns", Compressor::Turns)];

#[test]
fn what_the_kernel_ages_and_lists_we_show() -> Result<()> {
    let jobs: Vec<Job> = DEVICES.iter().map(|(name, device)| job(name, *device)).collect::<Result<_>>()?;
    let report = Kernel::debian(None)?.run_all(&jobs)?;
    println!("{:.0} s", report.seconds);
    for line in report.console.lines().filter(|line| line.starts_with("AGED")) {
        println!("{line}");
    }
    ensure!(report.log.is_empty(), "the kernel complains about itself: {:#?}", report.log);
    let aged = listed(&jobs, &report)?;
    let mut differences = Vec::new();
    for flash in &aged {
        differences.extend(flash.differences().with_context(|| flash.name.clone())?);
    }
    ensure!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(40)].join("\n")
    );
    Ok(())
}

/// File systems for one device: begun by the kernel on a blank flash, or in an image of mkfs.jffs2.
fn job(name: &str, device: Device) -> Result<Job> {
    let mut job = Job::new(device);
    for (at, (how, compressor)) in COMPRESSORS.iter().enumerate() {
        let state = State::erased(device).with_cleanmarkers();
        let age = Age { seed: at as u32, turns: TURNS, cuts: CUTS, compressor: *compressor };
        job.cases.push(Case::age(format!("{name}/{how}"), state, age));
    }
    Ok(job)
}

/// All that the kernel has listed, with the flashes that it has listed.
fn listed(jobs: &[Job], report: &Report) -> Result<Vec<Aged>> {
    let results = report.results.iter().map(|result| {
        let name = &result.name;
        let Outcome::Digest(_, count) = &result.outcome else { anyhow::bail!("{name}: {:?}", result.outcome) };
        ensure!(result.listing.len() as u64 == *count, "{name}: lines are missing");
        let case = |job: &&Job| job.cases.iter().any(|case| name.starts_with(&case.name));
        let job = jobs.iter().find(case).context("an unknown case")?;
        let image = report.dumps.get(name).with_context(|| format!("{name} was not dumped"))?.clone();
        Ok(Aged {
            name: name.clone(),
            device: job.device,
            endian: Endian::Little,
            image,
            manifest: result.listing.clone(),
        })
    });
    results.collect()
}
