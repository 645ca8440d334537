//! The stock kernel agrees: it mounts what garbage collection leaves, and what a power cut leaves of it at any moment, with the tree
//! from before; and it goes on from there, read-write, until it has filled and cleaned everything twice over.
//!
//! The name of a case ends in its cut, in nandsim's text form. `JFFS2_TX_LONG=1` takes ten times as many.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jffs2_tx::flash::{Flash, MemFlash};
use jffs2_tx::tx::{GcOptions, gc};
use jffs2_tx::wire::CommitPoint;
use jffs2_tx::{Endian, Transaction, TxOptions};
use jffs2_tx_tests::agreement::Agreement;
use jffs2_tx_tests::kernel::{Case, Device, Kernel, States};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::scene::chip_with;
use nandsim::{Chip, Recorder, Trace, Walker, cuts_sampled, parse_tree};

const SEED: u64 = 1;
const DIRS: u32 = 8;
const FILES: u32 = 12;
/// Cuts at random on each flash, and of the states that they leave those that are mounted for writing, and for heavy work.
const SAMPLED: usize = 150;
const WRITTEN: usize = 6;
const HEAVY: usize = 1;
/// Different states that cuts must leave on each kind of flash.
const ENOUGH: usize = 200;

#[test]
fn nor() -> Result<()> {
    agree("nor", Device::Nor { block_size: 64 << 10, blocks: 28 })
}

#[test]
fn nand_with_pages_of_2048_bytes() -> Result<()> {
    agree("nand2048", Device::NandLargePage { blocks: 28 })
}

#[test]
fn nand_with_pages_of_512_bytes() -> Result<()> {
    agree("nand512", Device::NandSmallPage { blocks: 32 })
}

/// A flash before a collection and after it, and what was done in between.
struct Collected {
    before: Chip,
    after: Chip,
    trace: Trace,
}

fn agree(kind: &str, device: Device) -> Result<()> {
    let (mut agreement, mut states) = (Agreement::new(device), States::new(device));
    let (mut written, mut count) = (Vec::new(), 0);
    for (with, summaries) in [("plain", false), ("summaries", true)] {
        let scene = Collected::on(device, summaries)?;
        let seen = Arc::new(Seen::on(&scene.before)?);
        let cut = scene.cut_states(&seen).with_context(|| format!("{kind}/{with}"))?;
        count += cut.len();
        let whole = [("before".to_owned(), scene.before.clone()), ("after".to_owned(), scene.after.clone())];
        for (name, chip) in whole.iter().chain(&cut) {
            agreement.add(Case::read_only(format!("{kind}/{with}/{name}"), states.of(chip)), &seen);
        }
        let mut work = |case: fn(String, _) -> Case, how: &str, (name, chip): &(String, Chip)| {
            let name = format!("{kind}/{with}/{name}/{how}");
            agreement.add(case(name.clone(), states.of(chip)).dumped(), &seen);
            written.push((name, seen.clone()));
        };
        for state in whole[1..].iter().chain(evenly(&cut, WRITTEN)) {
            work(Case::read_write, "rw", state);
        }
        for state in whole[1..].iter().chain(evenly(&cut, HEAVY)) {
            work(Case::heavy, "heavy", state);
        }
    }
    let report = agreement.check(&Kernel::debian(None)?)?;
    for (name, seen) in &written {
        let Some(dump) = report.dumps.get(name) else { continue };
        let back = Seen::on(&MemFlash::with_data(device.geometry()?, dump.clone()))?;
        ensure!(back == **seen, "{name}: our reader sees something else\n{}", seen.difference(&back.lines));
    }
    let (writing, mounts, seconds) = (written.len(), report.mounts, report.seconds);
    println!("{kind}: {count} cut states, {writing} mounted for writing, {mounts} mounts; {seconds:.0} s");
    ensure!(count >= ENOUGH, "only {count} states");
    Ok(())
}

impl Collected {
    /// Directories full of files, of which every second one has lost most of its files since.
    fn on(device: Device, summaries: bool) -> Result<Self> {
        let mut text = String::from("/ dir 755 0 0 1500000000\n");
        for dir in 0..DIRS {
            writeln!(text, "/d{dir} dir 755 0 0 1500000001\n/d{dir}/link symlink 777 0 0 1500000003 f00")?;
            writeln!(text, "/d{dir}/null char 666 0 0 1500000004 1:3")?;
            for file in 0..FILES {
                let (seed, size) = (dir * FILES + file + 1, device.block_size() / 10);
                writeln!(text, "/d{dir}/f{file:02} file 644 0 0 1500000002 noise:{seed}:{size}")?;
            }
        }
        let mut before = chip_with(device, &parse_tree(&text)?, summaries)?;
        for dir in (0..DIRS).step_by(2) {
            let options = TxOptions {
                commit_point: Some(CommitPoint::Dirent),
                txid: [dir as u8; 16],
                reserve: Some(0),
                ..TxOptions::default()
            };
            let mut tx = Transaction::begin(&mut before, Endian::Little, options)?;
            for file in (0..FILES).filter(|file| file % 4 != 0) {
                tx.remove(format!("/d{dir}/f{file:02}").as_bytes())?;
            }
            tx.commit()?;
        }
        let mut flash = Recorder::new(before.clone());
        let report = gc(&mut flash, Endian::Little, &GcOptions::default(), &mut |_, _| {})?;
        ensure!(report.moved_nodes > 0 && report.free_after > report.free_before, "{report:?}");
        let (after, trace) = flash.into_parts();
        Ok(Self { before, after, trace })
    }

    /// The different states that cuts leave. Our reader sees the same tree in all of them.
    fn cut_states(&self, seen: &Arc<Seen>) -> Result<Vec<(String, Chip)>> {
        let times = if std::env::var_os("JFFS2_TX_LONG").is_some() { 10 } else { 1 };
        let cuts = cuts_sampled(&self.trace, SAMPLED * times, SEED);
        let (mut known, mut states) = (HashSet::new(), Vec::new());
        for (cut, chip) in Walker::new(self.before.clone(), &self.trace, SEED, cuts.into_iter()) {
            if known.insert(chip.content_id()) {
                let ours = Seen::on(&chip)?;
                ensure!(ours == **seen, "{cut}: our reader sees something else\n{}", seen.difference(&ours.lines));
                states.push((cut.to_string(), chip));
            }
        }
        ensure!(self.before.geometry() == self.after.geometry() && Seen::on(&self.after)? == **seen, "after it");
        Ok(states)
    }
}

/// At most `n` of the items, from all over.
fn evenly<T>(items: &[T], n: usize) -> impl Iterator<Item = &T> {
    let n = n.min(items.len());
    (0..n).map(move |i| &items[i * items.len() / n])
}
