//! The machine dies in the middle of an update: QEMU is killed at random moments, and started again on the same disk.
//!
//! The flash is a disk of the guest behind `block2mtd`. After each kill our reader reads the disk's file, then the kernel
//! mounts it: both must see the old tree or the new one, exactly, and the same. The boot that looks also recovers, mounts
//! for writing, and begins the next update, towards the other tree, in which it is killed: a kill costs one boot.
//! `JFFS2_TX_LONG=1` kills 200 times instead of 10.
//!
//! # What this proves, and what not
//!
//! A program or an erase of `block2mtd` changes pages (4 KiB) in the page cache of its disk, nothing else. They reach the
//! disk when the kernel writes them back in the background, in any order, or when `jffs2-tx` syncs: it does so by closing
//! the MTD device, and `block2mtd` then has the disk written back. What has reached the disk is in the host's file; what
//! has not is gone with the machine. So:
//!
//! - a kill loses *all* that was written since the last sync, or keeps any part of it, page by page and out of order. That
//!   is worse than flash, which keeps what it has programmed: order within a span between two syncs is put to the test
//!   here, and that a sync is where one must be. In the first lane hardly ever a part is kept: its disk is fast, and the
//!   kernel waits for seconds before it writes back by itself. The second lane's disk takes few pages a second, one at a
//!   time, and the kernel begins at once: there most kills fall into a time when a part has been written back;
//! - no page is ever torn within 4 KiB, no erase leaves half of its bits, no bit is unstable, a program can set bits: that
//!   is what the simulator and `cuts` are for;
//! - when `jffs2-tx` says that it is done, the new tree is on the disk: a kill right then is one of the moments.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jffs2_tx::flash::MemFlash;
use jffs2_tx_tests::agent::{MTD, MTD_SOURCE, Version, WITH_SUMMARIES, install_config, json};
use jffs2_tx_tests::kernel::{At, Device, Kernel, Kill, Playback, Played, Scenario, Setup};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::play::expect_exit;
use nandsim::sample_large;

const NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 32 };
const LANES: usize = 2;
/// Of a slow disk, each of 4 KiB.
const WRITES_PER_SECOND: u32 = 12;
/// One after another: a summary commit leaves what forbids a dirent commit until the kernel has cleaned up.
const COMMIT_POINTS: [&str; 3] = ["dirent", "head", "summary"];

#[test]
fn the_machine_is_killed_during_updates() -> Result<()> {
    let kills = if std::env::var_os("JFFS2_TX_LONG").is_some() { 200 } else { 10 };
    let kernel = Kernel::debian(None)?;
    let sample = sample_large();
    let versions = [Version::new("old", NOR, &sample.old)?, Version::new("new", NOR, &sample.new)?];
    let lane = |number| Lane { number, kernel: &kernel, versions: &versions }.run(kills / LANES);
    let start = Instant::now();
    let tallies = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        let joined = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| bail!("a lane panicked")));
        joined.collect::<Result<Vec<Tally>>>()
    })?;
    for (number, tally) in tallies.iter().enumerate() {
        println!("lane {number}: {tally:?}");
    }
    println!("{kills} kills in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// One machine after another on one disk.
struct Lane<'a> {
    number: usize,
    kernel: &'a Kernel,
    versions: &'a [Version; 2],
}

/// What kills have left.
#[derive(Debug, Default)]
struct Tally {
    old: u32,
    new: u32,
    /// Of these, how often something was left of a cut update.
    leftovers: u32,
    /// How long an update takes that is not cut, and its longest delay before a kill.
    update: Duration,
}

/// A machine's life: what it looks at, and the update in which it is killed.
struct Life {
    scenario: Scenario,
    found: At,
    status: At,
    recover: At,
    recovered: At,
    apply: At,
    done: At,
}

impl Lane<'_> {
    fn run(&self, kills: usize) -> Result<Tally> {
        let disk = tempfile::NamedTempFile::new()?;
        fs::write(disk.path(), &self.versions[0].image)?;
        let mut rng = Rng(0x5eed + self.number as u64);
        let mut tally = Tally::default();
        let mut is = 0;
        // The first machine is killed right when it says that it is done, and its update is measured.
        for kill in 0..=kills {
            let life = self.life(kill, is, COMMIT_POINTS[kill * COMMIT_POINTS.len() / (kills + 1)]);
            let delay = if kill == 0 { Duration::ZERO } else { rng.below(tally.update * 11 / 10) };
            let moment = if kill == 0 { life.done } else { life.apply };
            let last = kill == kills;
            let playback =
                self.live(&life, disk.path(), (!last).then(|| Kill::after(&life.scenario, moment, delay)))?;
            let Some(played) = playback.of(life.scenario.name()) else { return Ok(tally) };
            let checked =
                self.check(&life, played, is, last).with_context(|| format!("lane {} life {kill}", self.number));
            checked.map_err(|error| error.context(played.transcript()))?;
            if kill > 0 {
                tally.leftovers += u32::from(json(played, life.status)?["state"] == "leftover");
            }
            if kill == 0 {
                tally.update = played.between(life.apply, life.done)?;
            }
            let left = self.left_on(disk.path()).with_context(|| format!("lane {} kill {kill}", self.number))?;
            match (kill, left == is) {
                (0, true) => bail!("the update was said to be done, and is not on the disk"),
                _ if last => ensure!(left != is, "the last update was not cut"),
                (_, true) => tally.old += 1,
                (_, false) => tally.new += 1,
            }
            println!("lane {} kill {kill}: {} old, {} new so far", self.number, tally.old, tally.new);
            is = left;
        }
        Ok(tally)
    }

    /// The disk of every second lane is slow, and gets page by page what the kernel writes back.
    fn is_slow(&self) -> bool {
        self.number % 2 == 1
    }

    /// What a machine does that finds version `is`.
    fn life(&self, kill: usize, is: usize, commit_point: &str) -> Life {
        let (from, to) = (&self.versions[is], &self.versions[1 - is]);
        let mut s = Scenario::new(format!("killed-{}-{kill}", self.number));
        install_config(&mut s, self.kernel, WITH_SUMMARIES);
        to.lay_out(&mut s);
        if self.is_slow() {
            s.write("/sys/block/vdc/queue/max_sectors_kb", "4");
            s.write("/proc/sys/vm/dirty_bytes", "8192");
            s.write("/proc/sys/vm/dirty_expire_centisecs", "1");
            s.write("/proc/sys/vm/dirty_writeback_centisecs", "1");
        }
        s.load("block2mtd", &["block2mtd=/dev/vdc,64KiB"]);
        s.mount_read_only(MTD_SOURCE);
        let found = from.walk(&mut s);
        s.unmount();
        let status = s.run(&["status", MTD, "--json"]);
        let recover = s.run(&["recover", MTD]);
        s.mount(MTD_SOURCE);
        let recovered = from.walk(&mut s);
        s.unmount();
        let apply = s.start(&["apply", MTD, "--root", &to.dir, "--commit-point", commit_point]);
        s.wait(apply);
        let done = s.mark();
        Life { scenario: s, found, status, recover, recovered, apply, done }
    }

    /// Without a kill, it ends by itself.
    fn live(&self, life: &Life, disk: &Path, kill: Option<Kill>) -> Result<Playback> {
        let mut scenario = life.scenario.clone();
        let killed = kill.is_some();
        if killed {
            // It may be faster than we are.
            scenario.sleep(60_000);
        }
        let playback = self.kernel.play_with(
            &[scenario],
            &Setup {
                disks: &[disk],
                writes_per_second: self.is_slow().then_some(WRITES_PER_SECOND),
                kill,
                ..Setup::default()
            },
        )?;
        ensure!(playback.log.is_empty(), "the kernel complains about itself: {:#?}", playback.log);
        ensure!(
            playback.killed == killed || playback.of(life.scenario.name()).is_none(),
            "not killed\n{}",
            playback.console
        );
        Ok(playback)
    }

    fn check(&self, life: &Life, played: &Played, is: usize, last: bool) -> Result<()> {
        let from = &self.versions[is];
        from.expect(played, life.found).context("the kernel sees another tree than we")?;
        expect_exit(played, life.recover, 0, &[])?;
        from.expect(played, life.recovered).context("recovered")?;
        // What is refused would be killed to no purpose.
        if last || played.exit(life.apply).is_ok() { expect_exit(played, life.apply, 0, &[]) } else { Ok(()) }
    }

    /// Which version our reader finds on the disk.
    fn left_on(&self, disk: &Path) -> Result<usize> {
        let seen = Seen::on(&MemFlash::with_data(NOR.geometry()?, fs::read(disk)?))?;
        let found = self.versions.iter().position(|version| *version.seen == seen);
        found.with_context(|| {
            let [old, new] = self.versions;
            format!("neither old nor new:\n{}\n{}", old.seen.difference(&seen.lines), new.seen.difference(&seen.lines))
        })
    }
}

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_micros((mixed ^ (mixed >> 31)) % (end.as_micros() as u64).max(1))
    }
}
