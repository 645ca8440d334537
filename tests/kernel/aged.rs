//! File systems that the stock kernel itself has aged: what it lists of them, our reader must show, nothing more and
//! nothing less; also of copies taken in the middle of the work, as a power cut leaves them.
//!
//! The guest does the work (`kernel/guest/src/age`): it follows from a seed, but for when the kernel cleans up, and
//! ends when that has erased every eraseblock twice over. `JFFS2_TX_LONG=1` takes many more seeds.
//!
//! `JFFS2_TX_KEEP_AGED=DIR` writes a few of the small ones among the flashes to DIR with what the kernel lists of them: that is
//! how `tests/data/aged`, which `aged_fixtures` reads, came about.
//!
//! ```sh
//! JFFS2_TX_KEEP_AGED=$PWD/tests/data/aged cargo test --release -p jffs2-tx-tests --test kernel aged::
//! ```

mod evidence;
mod start;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use jffs2_tx::Endian;
use jffs2_tx_tests::aged::{Aged, Make, NAND512, NAND2048, NOR64, NOR128};
use jffs2_tx_tests::kernel::{Age, Case, Compressor, Device, Error, Job, Kernel, Outcome, Report, State};
use nix::sys::resource::{UsageWho, getrusage};

/// What becomes fixtures: all devices and compressors, whole and cut off, a few hundred KiB.
const KEPT: [&str; 5] =
    ["nor64/small/cut1", "nor64/small/cut2", "nor128/small", "nand512/small/cut1", "nand2048/small/cut1"];
/// Copies taken of each file system on the way.
const CUTS: u32 = 2;
/// How many times as many eraseblocks as there are the kernel erases.
const TURNS: u32 = 2;
/// Seeds of a long run.
const LONG_SEEDS: u32 = 10;
/// With the flash nearly full Linux 6.1 can hang in jffs2 for good, seldom: so many times the kernel gets other work.
const TRIES: u32 = 3;
/// How many differences are told.
const TOLD: usize = 20;

/// Name, eraseblocks, and eraseblocks of the small flash that becomes a fixture.
const DEVICES: [(&str, Make, u32, u32); 4] =
    [("nor64", NOR64, 16, 6), ("nor128", NOR128, 10, 6), ("nand512", NAND512, 64, 24), ("nand2048", NAND2048, 10, 6)];

/// What the kernel compresses with, and whether it finds an image of mkfs.jffs2 on the flash; otherwise it is blank.
const HOW: [(&str, Compressor, bool); 4] = [
    ("none", Compressor::None, false),
    ("zlib", Compressor::Zlib, false),
    ("lzo", Compressor::Lzo, false),
    ("image", Compressor::Any, true),
];
/// Likewise for the small flash of each device.
const SMALL: [(Compressor, bool); 4] =
    [(Compressor::Turns, true), (Compressor::None, false), (Compressor::Lzo, false), (Compressor::Zlib, true)];

#[test]
fn what_the_kernel_ages_and_lists_we_show() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "only root can extract owners, devices and extended attributes");
    let (jobs, report) = age()?;
    ensure!(report.log.is_empty(), "the kernel complains about itself: {:#?}", report.log);
    let aged = listed(&jobs, &report)?;
    let spent = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    println!("{} file systems, {} states, {:.0} s", aged.len() / (1 + CUTS as usize), aged.len(), report.seconds);
    println!("children: {} s of processor", (spent.user_time() + spent.system_time()).tv_sec());
    evidence::check(&aged, &report.console)?;
    if let Some(dir) = std::env::var_os("JFFS2_TX_KEEP_AGED") {
        aged.iter().filter(|flash| KEPT.contains(&&*flash.name)).try_for_each(|flash| flash.keep(Path::new(&dir)))?;
    }
    let mut differences = Vec::new();
    for flash in &aged {
        differences.extend(flash.differences().with_context(|| flash.name.clone())?);
    }
    let told = differences[..differences.len().min(TOLD)].join("\n");
    ensure!(differences.is_empty(), "{} differences:\n{told}", differences.len());
    Ok(())
}

/// The jobs that the kernel has done, and what it reports.
fn age() -> Result<(Vec<Job>, Report)> {
    let kernel = Kernel::debian(None)?;
    let mut attempt = 1;
    loop {
        let jobs = jobs(attempt)?;
        match kernel.run_all(&jobs) {
            Err(error @ Error::Silent { .. }) if attempt < TRIES => println!("once more, as {error}"),
            outcome => return Ok((jobs, outcome?)),
        }
        attempt += 1;
    }
}

/// A job for each device, and one for each small flash.
fn jobs(attempt: u32) -> Result<Vec<Job>> {
    let seeds = if std::env::var_os("JFFS2_TX_LONG").is_some() { LONG_SEEDS } else { 1 };
    let mut jobs = Vec::new();
    for ((name, device, blocks, small), (compressor, image)) in DEVICES.into_iter().zip(SMALL) {
        let mut job = Job::new(device(blocks));
        for seed in 0..seeds {
            for (how, compressor, image) in HOW {
                job.cases.push(case(
                    format!("{name}/{how}{seed}"),
                    job.device,
                    attempt + TRIES * seed,
                    compressor,
                    image,
                )?);
            }
        }
        jobs.push(job);
        let mut job = Job::new(device(small));
        job.cases.push(case(format!("{name}/small"), job.device, attempt, compressor, image)?);
        jobs.push(job);
    }
    Ok(jobs)
}

fn case(name: String, device: Device, seed: u32, compressor: Compressor, image: bool) -> Result<Case> {
    let blank = State::erased(device);
    let state = if image { blank.changed_to(&start::image(device)?)? } else { blank };
    // No two cases do the same.
    let seed = name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    Ok(Case::age(name, state.with_cleanmarkers(), Age { seed, turns: TURNS, cuts: CUTS, compressor }))
}

/// All that the kernel has listed, with the flashes that it has listed.
fn listed(jobs: &[Job], report: &Report) -> Result<Vec<Aged>> {
    let aged = report.results.iter().map(|result| {
        let name = &result.name;
        let Outcome::Digest(_, count) = &result.outcome else { anyhow::bail!("{name}: {:?}", result.outcome) };
        ensure!(result.listing.len() as u64 == *count, "{name}: lines are missing");
        let has = |job: &&Job| job.cases.iter().any(|case| name.starts_with(&case.name));
        Ok(Aged {
            name: name.clone(),
            device: jobs.iter().find(has).context("an unknown case")?.device,
            endian: Endian::Little,
            image: report.dumps.get(name).with_context(|| format!("{name} was not dumped"))?.clone(),
            manifest: result.listing.clone(),
        })
    });
    aged.collect()
}
