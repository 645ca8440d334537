//! The kernel and the library write to one flash in turns, in one boot for each kind of flash, on the device itself. After
//! every turn both must see the same tree, whoever wrote it, and after the library's also the one that its changes must
//! lead to. The guest does all of it (`kernel/guest/src/alternate`).
//!
//! Each kind gets 100 rounds, or as many for each of 10 seeds with `JFFS2_TX_LONG=1`. A failure tells kind, seed,
//! round and difference, and leaves what the flash holds in `target/tmp`.
//!
//! The work follows from the seed, but for when the kernel cleans up.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use jffs2_tx_tests::kernel::{Case, Device, Job, Kernel, Outcome, Phase, Report, State};
use nix::sys::resource::{UsageWho, getrusage};

/// Seeds and rounds of a short and of a long run.
const SHORT: (u32, u32) = (1, 100);
const LONG: (u32, u32) = (10, 100);
/// Of a hundred rounds, those in which there must have been space for the library's transactions.
const COMMITTED: u64 = 80;
/// What must have happened.
const HAPPENED: [&str; 6] = ["acts", "twice", "given_up", "collections", "moved", "recovered"];

#[test]
fn nor_with_eraseblocks_of_64_kib() -> Result<()> {
    alternate("nor64", Device::Nor { block_size: 64 << 10, blocks: 24 }, &["head", "summary", "dirent"])
}

#[test]
fn nor_with_eraseblocks_of_128_kib() -> Result<()> {
    alternate("nor128", Device::Nor { block_size: 128 << 10, blocks: 20 }, &["head", "summary", "dirent"])
}

#[test]
fn nand_with_pages_of_2048_bytes() -> Result<()> {
    alternate("nand2048", Device::NandLargePage { blocks: 20 }, &["summary", "dirent"])
}

#[test]
fn nand_with_pages_of_512_bytes() -> Result<()> {
    alternate("nand512", Device::NandSmallPage { blocks: 80 }, &["summary", "dirent"])
}

fn alternate(kind: &str, device: Device, points: &[&str]) -> Result<()> {
    let (seeds, rounds) = if std::env::var_os("JFFS2_TX_LONG").is_some() { LONG } else { SHORT };
    let mut job = Job::new(device);
    for seed in 1..=seeds {
        let erased = State::erased(device).with_cleanmarkers();
        job.cases.push(Case::alternate(format!("{kind}/{seed}"), erased, seed, rounds).dumped());
    }
    let report = Kernel::debian(None)?.run(&job)?;
    let spent = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let processor = (spent.user_time() + spent.system_time()).tv_sec();
    println!(
        "{kind}: {:.0} s, {:.0} s of it boot; all so far {processor} s of processor",
        report.seconds, report.boot_seconds
    );
    for result in &report.results {
        if let Err(error) = check(&report, &result.name, points) {
            bail!("{}: {error}\nflash: {}", result.name, keep(&report, &result.name)?);
        }
    }
    ensure!(report.log.is_empty(), "the kernel complains about itself: {:#?}", report.log);
    ensure!(report.errors.is_empty(), "jffs2 tells of errors: {:#?}", report.errors);
    Ok(())
}

/// Fails unless all rounds went well, and had in them what there is to try.
fn check(report: &Report, name: &str, points: &[&str]) -> Result<()> {
    match report.outcome(name, Phase::ReadOnly) {
        Some(Outcome::Digest(..)) => {}
        Some(Outcome::Error(error)) => bail!("{error}"),
        None => bail!("no outcome"),
    }
    let told = report.console.lines().find_map(|line| line.strip_prefix(&format!("ALTERNATED {name} ")));
    let told = told.context("the guest tells no figures")?;
    println!("{name}: {told}");
    let figures: HashMap<&str, u64> = told
        .split(' ')
        .map(|word| {
            let (key, value) = word.split_once('=').context("no figure")?;
            Ok((key, value.parse()?))
        })
        .collect::<Result<_>>()?;
    let figure = |key| figures.get(key).copied().with_context(|| format!("no figure {key}"));
    ensure!(figure("committed")? * 100 >= figure("rounds")? * COMMITTED, "too often there was no space: {told}");
    for what in HAPPENED.iter().chain(points) {
        ensure!(figure(what)? > 0, "{what}: never: {told}");
    }
    Ok(())
}

/// Where the flash has been written to.
fn keep(report: &Report, name: &str) -> Result<String> {
    let Some(dump) = report.dumps.get(name) else { return Ok("not copied".to_owned()) };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("alternate-{}.img", name.replace('/', "-")));
    std::fs::write(&path, dump)?;
    Ok(path.display().to_string())
}
