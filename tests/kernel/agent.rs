//! The command line on real MTD devices of a stock kernel.

use anyhow::{Result, ensure};
use jffs2_tx_tests::kernel::{Device, Kernel, Scenario};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::play::Plays;
use jffs2_tx_tests::scene::chip_with;

const NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 32 };
const LARGE: Device = Device::NandLargePage { blocks: 32 };

/// The rig itself: the image is written, mounted, worked in and read back, and our program reads it in the guest.
#[test]
fn the_rig() -> Result<()> {
    let sample = nandsim::sample();
    let mut plays = Plays::default();
    for (name, device) in [("rig-nor", NOR), ("rig-nand", LARGE)] {
        let chip = chip_with(device, &sample.old, true)?;
        let seen = Seen::on(&chip)?;
        let mut s = Scenario::new(name);
        s.load_device(device, &[]);
        s.flash("/dev/mtd0", chip.image());
        let blank = s.digest("/dev/mtd0");
        s.mount_read_only("mtd0");
        let tree = s.walk(std::slice::from_ref(&seen.digest));
        s.start_reader(&seen.digest);
        s.await_reader(1);
        let rounds = s.stop_reader();
        s.start_reader("no digest of any tree");
        s.await_reader(1);
        s.may_fail();
        let other = s.stop_reader();
        s.may_fail();
        s.unmount();
        let untouched = s.digest("/dev/mtd0");
        s.mount("mtd0");
        s.work(device.block_size() / 2, 10);
        s.unmount();
        let touched = s.digest("/dev/mtd0");
        let dump = s.dump("/dev/mtd0", chip.image().len() as u64);
        s.put("/tmp/root.img", chip.image());
        let check = s.run(&["ls", "/tmp/root.img"]);
        plays.add(s, move |played| {
            ensure!(played.digest(tree)? == seen.digest, "another tree");
            ensure!(played.number(rounds)? >= 1, "no round");
            ensure!(played.error(other)?.contains("another tree"), "the reader compares nothing");
            ensure!(played.digest(blank)? == played.digest(untouched)?, "a read-only mount writes");
            ensure!(played.digest(blank)? != played.digest(touched)?, "the digest is not of the flash");
            let now = Seen::on(&jffs2_tx::flash::MemFlash::with_data(device.geometry()?, played.dump(dump)?.to_vec()))?;
            ensure!(now == seen, "the work was not taken back\n{}", seen.difference(&now.lines));
            let exit = played.exit(check)?;
            ensure!(exit.code == Some(0) && exit.out.iter().any(|line| line.contains("etc")), "{exit:?}");
            Ok(())
        });
    }
    let playback = plays.check(&Kernel::debian(None)?)?;
    println!("{:.1} s", playback.seconds);
    Ok(())
}
