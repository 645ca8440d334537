//! The stock kernel goes on from what we wrote: it mounts images and committed transactions for writing, fills and
//! cleans eraseblocks, and the tree stays the same, for it and for our reader of what it leaves.
//!
//! A reason for doubt is a bug of Linux 6.1: it claims a cleanmarker in the summary of an eraseblock without one, and
//! hits BUG() if the first node that it lists stands at the eraseblock's start. Ours start with a marker, never listed.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jffs2_tx::flash::MemFlash;
use jffs2_tx::wire::{CommitPoint, Header, Summary, nodetype};
use jffs2_tx_tests::agreement::Agreement;
use jffs2_tx_tests::kernel::{Case, Device, Kernel, States};
use jffs2_tx_tests::ours::{RULES, Seen};
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

/// Images with and without summaries, and a transaction on each: only read, written to, written full twice over.
fn outlive(kind: &str, device: Device, points: &[CommitPoint]) -> Result<()> {
    let mut work = Work { agreement: Agreement::new(device), states: States::new(device), left: Vec::new() };
    for point in points {
        for (with, summaries) in [("plain", false), ("summaries", true)] {
            let scene = Scene::of_sample(device, *point, summaries)?;
            work.add(&format!("{kind}-{point}/{with}/before"), &scene.before)?;
            work.add(&format!("{kind}-{point}/{with}/after"), &scene.after)?;
        }
    }
    let report = work.agreement.check(&Kernel::debian(None)?)?;
    let mut continued = 0;
    for left in &work.left {
        if let Some(dump) = report.dumps.get(&left.name) {
            continued += left.check(device, dump).with_context(|| left.name.clone())?;
        }
    }
    println!(
        "{kind}: {} flashes read back, {continued} of our eraseblocks filled up; {:.0} s",
        work.left.len(),
        report.seconds
    );
    ensure!(continued > 0 || report.dumps.len() < work.left.len(), "the kernel appended to none of our eraseblocks");
    Ok(())
}

struct Work {
    agreement: Agreement,
    states: States,
    left: Vec<Left>,
}

/// A flash that the kernel wrote to: what it was, and the tree that it must still have.
struct Left {
    name: String,
    chip: Chip,
    seen: Arc<Seen>,
}

impl Work {
    fn add(&mut self, name: &str, chip: &Chip) -> Result<()> {
        let (state, seen) = (self.states.of(chip), Arc::new(Seen::on(chip)?));
        self.agreement.add(Case::read_only(format!("{name}/ro"), state.clone()), &seen);
        for (how, case) in [("rw", Case::read_write as fn(String, _) -> Case), ("heavy", Case::heavy)] {
            let name = format!("{name}/{how}");
            self.agreement.add(case(name.clone(), state.clone()).dumped(), &seen);
            self.left.push(Left { name, chip: chip.clone(), seen: seen.clone() });
        }
        Ok(())
    }
}

impl Left {
    /// Fails unless our reader sees the same tree as ever; how many eraseblocks that begin with our marker the kernel
    /// has closed with a summary of its own.
    fn check(&self, device: Device, dump: &[u8]) -> Result<usize> {
        let back = Seen::on(&MemFlash::with_data(device.geometry()?, dump.to_vec()))?;
        ensure!(back == *self.seen, "our reader sees something else\n{}", self.seen.difference(&back.lines));
        let blocks = dump.chunks(device.block_size() as usize).zip(0..);
        Ok(blocks
            .filter(|(now, index)| is_ours(now) && is_closed(now) && !is_closed(self.chip.block_data(*index)))
            .count())
    }
}

fn is_ours(block: &[u8]) -> bool {
    Header::parse(RULES.endian, block).is_ok_and(|header| header.nodetype == nodetype::TX_MARKER)
}

fn is_closed(block: &[u8]) -> bool {
    Summary::locate(RULES.endian, block).is_some()
}
