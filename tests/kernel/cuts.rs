//! The stock kernel agrees: whatever moment of a transaction the power fails at, it mounts the old tree or the new one,
//! and the same one that our reader sees in that state of the flash.
//!
//! Every test prints the mounts that it has made, and how many of them the kernel makes in a second; together they are at
//! least 5,000, and 100,000 with `JFFS2_TX_LONG=1`. A case is called by the flash, the update, the commit point and the
//! cut, in nandsim's text form behind the seed of what is random in it. To see one, with the kernel's log:
//!
//! ```sh
//! KERNEL_CASE=nor64/sample/head/1/35:prefix:0:99 KERNEL_LOG=1 \
//!     cargo test --release -p jffs2-tx-tests --test kernel cuts::nor_with_eraseblocks_of_64 -- --nocapture
//! ```

mod campaign;
mod choice;

use anyhow::Result;
use jffs2_tx::wire::CommitPoint::{self, Dirent, Head, Summary};
use jffs2_tx_tests::kernel::{Device, Kernel};
use jffs2_tx_tests::roots::{Update, part_of_root, part_of_root_libraries, root, root_libraries};
use jffs2_tx_tests::scene::Scene;
use nandsim::{Pairing, Rules};

use campaign::Campaign;
use choice::Extent;

/// Mounts on each kind of flash: of the sample's updates, and of those of a part of a real root.
const SAMPLE: u32 = 1_130;
const PART: u32 = 120;
const KINDS: u32 = 4;
const _: () = assert!(KINDS * (SAMPLE + PART) >= 5_000);
/// Mounts of each update of the sample on flash with the rules of parts.
const BY_PART: u32 = 40;
/// So many times as many in a long run.
const LONG: u32 = 20;
const _: () = assert!(LONG * KINDS * (SAMPLE + PART) >= 100_000);
/// Cuts of each update of the whole root.
const WHOLE: usize = 4;
/// The guest's memory for that, MiB.
const MEMORY: u32 = 1024;
/// Series of the newer kernel, and mounts of each update there.
const NEWER: &str = "6.12";
const ON_NEWER: u32 = 120;

const NOR: &[CommitPoint] = &[Head, Summary, Dirent];
const NAND: &[CommitPoint] = &[Summary, Dirent];

#[test]
fn nor_with_eraseblocks_of_64_kib() -> Result<()> {
    let nor = |blocks| Device::Nor { block_size: 64 << 10, blocks };
    agree("nor64", [nor(24), nor(64)], NOR)
}

#[test]
fn nor_with_eraseblocks_of_128_kib() -> Result<()> {
    let nor = |blocks| Device::Nor { block_size: 128 << 10, blocks };
    agree("nor128", [nor(20), nor(40)], NOR)
}

#[test]
fn nand_with_pages_of_2048_bytes() -> Result<()> {
    let nand = |blocks| Device::NandLargePage { blocks };
    agree("nand2048", [nand(20), nand(40)], NAND)
}

#[test]
fn nand_with_pages_of_512_bytes() -> Result<()> {
    let nand = |blocks| Device::NandSmallPage { blocks };
    agree("nand512", [nand(48), nand(256)], NAND)
}

/// The whole root, around the commit point.
#[test]
fn whole_root_on_nor() -> Result<()> {
    agree_on_root("nor64", Device::Nor { block_size: 64 << 10, blocks: 1024 }, NOR)
}

#[test]
fn whole_root_on_nand() -> Result<()> {
    agree_on_root("nand2048", Device::NandLargePage { blocks: 512 }, NAND)
}

/// The sample on a newer kernel, on NOR and NAND.
#[test]
fn newer_kernel() -> Result<()> {
    let kernel = Kernel::debian_series(NEWER)?;
    let nor = Device::Nor { block_size: 64 << 10, blocks: 24 };
    for (kind, device, points) in [("nor64", nor, NOR), ("nand2048", Device::NandLargePage { blocks: 20 }, NAND)] {
        let mut campaign = Campaign::new(kind, &kernel, device);
        for point in points {
            let scene = Scene::of_sample(device, *point, false)?;
            campaign.add(&format!("{kind}-{NEWER}/sample/{point}"), &scene, ON_NEWER, Extent::Random)?;
        }
        campaign.finish(ON_NEWER * points.len() as u32)?;
    }
    Ok(())
}

/// Tears as some parts have them: paired pages of MLC, a write buffer of 64 bytes of NOR.
fn by_part(rules: &mut Rules) {
    rules.pairing = Pairing::FourAndSix;
    rules.write_buffer = 64;
}

fn times() -> u32 {
    if choice::is_long() { LONG } else { 1 }
}

/// The updates of the sample and of the part of a root on one kind of flash, on a device for each.
fn agree(kind: &str, [small, large]: [Device; 2], points: &[CommitPoint]) -> Result<()> {
    let share = |all: u32| (times() * all).div_ceil(points.len() as u32);
    let kernel = Kernel::debian(None)?;
    let mut campaign = Campaign::new(kind, &kernel, small);
    for point in points {
        let scene = Scene::of_sample(small, *point, false)?;
        campaign.add(&format!("{kind}/sample/{point}"), &scene, share(SAMPLE), Extent::Everything)?;
        let scene = Scene::of_sample_by(small, *point, by_part)?;
        campaign.add(&format!("{kind}/part-rules/{point}"), &scene, BY_PART, Extent::Random)?;
    }
    campaign.finish(share(SAMPLE) * points.len() as u32)?;
    let mut campaign = Campaign::new(kind, &kernel, large);
    for point in points {
        let scene = of_part(large, *point)?;
        campaign.add(&format!("{kind}/part/{point}"), &scene, share(PART), Extent::Everything)?;
    }
    campaign.finish(share(PART) * points.len() as u32)
}

fn agree_on_root(kind: &str, device: Device, points: &[CommitPoint]) -> Result<()> {
    let kernel = Kernel::debian(None)?.with_memory(MEMORY);
    let mut campaign = Campaign::new(kind, &kernel, device);
    for point in points {
        let Update { old, new } = if *point == Dirent { root_libraries()? } else { root()? };
        let scene = Scene::of(device, *point, true, &old, &new)?;
        campaign.add(&format!("{kind}/root/{point}"), &scene, 0, Extent::CommitPoint(times() as usize * WHOLE))?;
    }
    campaign.finish(points.len() as u32)
}

/// One dirent commits what is below one directory; anything else commits all that changes.
fn of_part(device: Device, point: CommitPoint) -> Result<Scene> {
    let Update { old, new } = if point == Dirent { part_of_root_libraries()? } else { part_of_root()? };
    Scene::of(device, point, true, &old, &new)
}
