//! The stock kernel goes on from what we wrote: it mounts images and committed transactions for writing, fills and
//! cleans every eraseblock, and the tree stays the same, for it and for our reader of what it leaves.
//!
//! A reason for doubt is a bug of Linux 6.1: it claims a cleanmarker in the summary of an eraseblock without one, and
//! hits BUG() if the first node that it lists stands at the eraseblock's start. Ours start with a marker, never listed.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jffs2_tx::flash::MemFlash;
use jffs2_tx::wire::CommitPoint;
use jffs2_tx_tests::agreement::Agreement;
use jffs2_tx_tests::kernel::{Case, Device, Kernel, States};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::scene::Scene;
use nandsim::Chip;

#[test]
fn nor() -> Result<()> {
    let points = [CommitPoint::Head, CommitPoint::Summary, CommitPoint::Dirent];
    outlive("nor", Device::Nor { block_size: 64 << 10, blocks: 24 }, &points)
}

#[test]
fn nand_with_pages_of_2048_bytes() -> Result<()> {
    outlive("nand2048", Device::NandLargePage { blocks: 24 }, &[CommitPoint::Summary, CommitPoint::Dirent])
}

#[test]
fn nand_with_pages_of_512_bytes() -> Result<()> {
    outlive("nand512", Device::NandSmallPage { blocks: 48 }, &[CommitPoint::Summary, CommitPoint::Dirent])
}

fn outlive(kind: &str, device: Device, points: &[CommitPoint]) -> Result<()> {
    let mut work = Work { agreement: Agreement::new(device), states: States::new(device), heavy: Vec::new() };
    for point in points {
        for (with, summaries) in [("plain", false), ("summaries", true)] {
            let scene = Scene::of_sample(device, *point, summaries)?;
            work.add(&format!("{kind}-{point}/{with}/before"), &scene.before)?;
            work.add(&format!("{kind}-{point}/{with}/after"), &scene.after)?;
        }
    }
    let report = work.agreement.check(&Kernel::debian(None)?)?;
    for (name, seen) in &work.heavy {
        let Some(dump) = report.dumps.get(name) else { continue };
        let left = MemFlash::with_data(device.geometry()?, dump.clone());
        let back = Seen::on(&left).with_context(|| format!("our reader after {name}"))?;
        ensure!(back == **seen, "{name}: our reader sees something else afterwards\n{}", seen.difference(&back.lines));
    }
    println!("{kind}: {} flashes outlived heavy work; {:.0} s", work.heavy.len(), report.seconds);
    Ok(())
}

struct Work {
    agreement: Agreement,
    states: States,
    heavy: Vec<(String, Arc<Seen>)>,
}

impl Work {
    fn add(&mut self, name: &str, chip: &Chip) -> Result<()> {
        let (state, seen) = (self.states.of(chip), Arc::new(Seen::on(chip)?));
        let heavy = format!("{name}/heavy");
        self.agreement.add(Case::read_only(format!("{name}/ro"), state.clone()), &seen);
        self.agreement.add(Case::read_write(format!("{name}/rw"), state.clone()), &seen);
        self.agreement.add(Case::heavy(heavy.clone(), state).dumped(), &seen);
        self.heavy.push((heavy, seen));
        Ok(())
    }
}
