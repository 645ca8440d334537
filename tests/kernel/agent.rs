//! The command line as an update agent on real MTD devices of a stock kernel: under the mounted file system itself, again
//! and again, on kernels that know summaries and on those that may not.

use anyhow::{Context, Result, ensure};
use jffs2_tx_tests::agent::{
    MTD, MTD_SOURCE, Version, WITH_SUMMARIES, Wear, count_erases, install_config, json, json_number, read_erases,
};
use jffs2_tx_tests::kernel::{At, Device, Kernel, Played, Scenario};
use jffs2_tx_tests::play::{Plays, expect_exit};

const NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 32 };
const LARGE: Device = Device::NandLargePage { blocks: 32 };

/// How many updates follow one another.
const UPDATES: usize = 10;
/// By how many free eraseblocks the ends of any two rounds may differ: where the kernel happens to be with its cleaning.
const FREE_BOUND: u64 = 2;

/// Ten updates in a row, each under the read-only mounted file system, with a reader that sees the old tree all the
/// while; then a mount that shows the new tree, and enough work in it that the kernel has to clean. No eraseblock is lost
/// over the ten.
#[test]
fn ten_updates_under_the_mounted_file_system() -> Result<()> {
    let kernel = Kernel::debian(None)?;
    let mut plays = Plays::default();
    for (name, device) in [("online-nor", NOR), ("online-nand", LARGE)] {
        let versions = Version::of_sample(device)?;
        let mut s = Scenario::new(name);
        install_config(&mut s, &kernel, WITH_SUMMARIES);
        for version in &versions {
            version.lay_out(&mut s);
        }
        s.load_device(device, &[]);
        s.flash(MTD, versions[0].image.clone());
        count_erases(&mut s);
        let rounds: Vec<Round> = (0..UPDATES).map(|number| Round::plan(&mut s, device, &versions, number)).collect();
        let erases = read_erases(&mut s);
        plays.add(s, move |played| {
            for (number, round) in rounds.iter().enumerate() {
                round.check(played, &versions, number).with_context(|| format!("round {number}"))?;
            }
            let free: Vec<u64> =
                rounds.iter().map(|round| json_number(played, round.free, "blocks_free")).collect::<Result<_, _>>()?;
            let wear = Wear::of(played, erases, device)?;
            println!("{name}: free eraseblocks after each round {free:?}; {}", wear.summary());
            let (least, most) = (free.iter().min().unwrap_or(&0), free.iter().max().unwrap_or(&0));
            ensure!(most - least <= FREE_BOUND, "eraseblocks leak: {free:?}");
            let by_kernel: u64 = wear.by.iter().filter(|(who, _)| *who != "jffs2-tx").map(|(_, erases)| erases).sum();
            ensure!(by_kernel > u64::from(device.blocks()), "the kernel had nothing to clean: {:?}", wear.by);
            Ok(())
        });
    }
    let playback = plays.check(&kernel)?;
    println!("{:.0} s", playback.seconds);
    Ok(())
}

/// The steps of an update that matter.
struct Round {
    before: At,
    rounds_before: At,
    apply: At,
    rounds_during: At,
    flagged: At,
    status: At,
    reader: At,
    still: At,
    after: At,
    erased: At,
    collected: At,
    moved: At,
    free: At,
}

impl Round {
    fn plan(s: &mut Scenario, device: Device, versions: &[Version; 2], number: usize) -> Self {
        let (from, to) = (&versions[number % 2], &versions[(number + 1) % 2]);
        s.mount_read_only(MTD_SOURCE);
        let before = from.walk(s);
        s.start_reader(from.digest());
        let rounds_before = s.await_reader(1);
        let apply = s.run(&["apply", MTD, "--root", &to.dir, "--label", &format!("update {number}"), "--json"]);
        let rounds_during = s.await_reader(0);
        let flagged = s.read("/run/jffs2-tx/mtd0.reboot");
        let status = s.run(&["status", MTD, "--json"]);
        s.await_reader(1);
        let reader = s.stop_reader();
        let still = from.walk(s);
        s.unmount();
        s.mount(MTD_SOURCE);
        let after = to.walk(s);
        // Twice what the flash holds.
        s.work(device.block_size() / 2, 4 * device.blocks());
        let erased = to.walk(s);
        s.unmount();
        let collected = s.run(&["gc", MTD, "--json"]);
        s.mount_read_only(MTD_SOURCE);
        let moved = to.walk(s);
        s.unmount();
        let free = s.run(&["status", MTD, "--json"]);
        Self {
            before,
            rounds_before,
            apply,
            rounds_during,
            flagged,
            status,
            reader,
            still,
            after,
            erased,
            collected,
            moved,
            free,
        }
    }

    fn check(&self, played: &Played, versions: &[Version; 2], number: usize) -> Result<()> {
        let (from, to) = (&versions[number % 2], &versions[(number + 1) % 2]);
        from.expect(played, self.before).context("before")?;
        expect_exit(played, self.apply, 0, &["jffs2-tx: note: ", "next boot", "remount read-write"])?;
        ensure!(
            played.number(self.rounds_during)? > played.number(self.rounds_before)?,
            "the reader never came round during the update"
        );
        ensure!(played.lines(self.flagged).iter().any(|line| line.contains(&format!("update {number}"))), "no flag");
        let status = json(played, self.status)?;
        ensure!(status["reboot_needed"] == true && status["state"] == "committed", "status: {status}");
        played.done(self.reader)?;
        from.expect(played, self.still).context("still mounted")?;
        to.expect(played, self.after).context("mounted anew")?;
        to.expect(played, self.erased).context("after the work")?;
        json(played, self.collected)?;
        to.expect(played, self.moved).context("collected")?;
        ensure!(json(played, self.free)?["reboot_needed"] == false, "the flag is still up");
        Ok(())
    }
}
