//! Garbage collection of file systems that a stock kernel has aged: what the kernel listed is still shown, and free is what can
//! be, in either byte order.

use anyhow::{Context, Result, ensure};
use jffs2_tx::flash::{Flash, MemFlash};
use jffs2_tx::tx::{GcOptions, gc, plan_gc};
use jffs2_tx::{Index, Rules};
use jffs2_tx_tests::aged::Aged;
use jffs2_tx_tests::tools::workspace;

/// Bytes at an eraseblock's end that a node of a page may leave unused, the tail included.
const NODE: u64 = 4096 + 68 + 8;
/// Eraseblocks more than the live bytes would fill if nodes could be split: one is half full, one lies in between.
const SLACK: u32 = 2;

#[test]
fn what_the_kernel_listed_stays_and_the_rest_is_free() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "only root can extract owners, devices and extended attributes");
    for flash in Aged::kept(&workspace().join("tests/data/aged"))? {
        for flash in [flash.swapped(), flash] {
            collected(flash)?;
        }
    }
    Ok(())
}

fn collected(mut flash: Aged) -> Result<()> {
    let name = flash.name.clone();
    let geometry = flash.device.geometry()?;
    let options = GcOptions::default();
    let mut device = MemFlash::with_data(geometry, flash.image.clone());
    let plan = plan_gc(&device, flash.endian, &options)?;
    let report = gc(&mut device, flash.endian, &options, &mut |_, _| {})?;
    println!("{name}: {report:?}");
    ensure!(report.free_after >= plan.expected.free_after, "{name}: {report:?}, planned {plan:?}");
    let live = live_bytes(&device, Rules { endian: flash.endian, summaries: true })?;
    let full = u64::from(geometry.eraseblock()) - NODE;
    let bound = live.div_ceil(full) as u32 + report.eraseblocks_pinned + SLACK;
    ensure!(report.free_after + bound >= geometry.blocks(), "{name}: {live} bytes live: {report:?}");
    flash.image = device.data().to_vec();
    let differences = flash.differences().context(name.clone())?;
    ensure!(differences.is_empty(), "{name}: {differences:#?}");
    Ok(())
}

/// Bytes of all live nodes.
fn live_bytes(flash: &MemFlash, rules: Rules) -> Result<u64> {
    let index = Index::open(flash, rules)?;
    let mut total = 0;
    for at in index.live_nodes() {
        let mut header = [0; 12];
        flash.read(at, &mut header)?;
        total += u64::from(rules.endian.u32(&header, 4).next_multiple_of(4));
    }
    Ok(total)
}
