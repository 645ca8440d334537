//! The command line as an update agent on real MTD devices of a stock kernel: under the mounted file system itself, again
//! and again, on kernels that know summaries and on those that may not.

use anyhow::{Context, Result, ensure};
use jffs2_tx_tests::agent::{
    MTD, MTD_SOURCE, Version, WITH_SUMMARIES, WITHOUT_SUMMARIES, Wear, count_erases, install_config, json, json_number,
    read_erases,
};
use jffs2_tx_tests::kernel::{At, Device, Kernel, Played, Scenario};
use jffs2_tx_tests::play::{Plays, expect_exit};
use nandsim::{sample, sample_small_change};

const NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 32 };
const LARGE: Device = Device::NandLargePage { blocks: 32 };
/// So short that a few updates fill them.
const SHORT_NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 16 };
const SHORT_NAND: Device = Device::NandSmallPage { blocks: 28 };

/// How many updates follow one another.
const UPDATES: usize = 10;
/// By how many free eraseblocks the ends of any two rounds may differ: the trees differ by less than one.
const FREE_BOUND: u64 = 1;

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
        // As much as the flash holds.
        s.work(device.block_size() / 2, 2 * device.blocks());
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

/// One update after another under the same mount, until there is no space: the mounted tree is three versions old by then,
/// none of its eraseblocks is live any more for a reader of the flash, and yet the kernel reads every one of them.
#[test]
fn updates_under_one_mount_until_the_flash_is_full() -> Result<()> {
    const ATTEMPTS: usize = 8;
    let kernel = Kernel::debian(None)?;
    let mut plays = Plays::default();
    for (name, device) in [("one-mount-nor", SHORT_NOR), ("one-mount-nand", SHORT_NAND)] {
        let versions = Version::of_sample(device)?;
        let mut s = Scenario::new(name);
        install_config(&mut s, &kernel, WITH_SUMMARIES);
        for version in &versions {
            version.lay_out(&mut s);
        }
        s.load_device(device, &[]);
        s.flash(MTD, versions[0].image.clone());
        s.mount_read_only(MTD_SOURCE);
        s.start_reader(versions[0].digest());
        let applies: Vec<At> = (0..ATTEMPTS)
            .map(|number| {
                let apply = s.run(&["apply", MTD, "--root", &versions[(number + 1) % 2].dir]);
                s.await_reader(1);
                apply
            })
            .collect();
        let reader = s.stop_reader();
        s.unmount();
        s.mount_read_only(MTD_SOURCE);
        let walks = [versions[0].walk(&mut s), versions[1].walk(&mut s)];
        s.unmount();
        plays.add(s, move |played| {
            played.done(reader)?;
            let codes: Vec<Option<i32>> =
                applies.iter().map(|&apply| Ok(played.exit(apply)?.code)).collect::<Result<_>>()?;
            let done = codes.iter().take_while(|&&code| code == Some(0)).count();
            println!("{name}: {done} updates under one mount, then {:?}", codes.get(done));
            ensure!(done > 1 && done < ATTEMPTS, "{done} updates: the flash never runs short");
            // Every second attempt asks for the tree that is there.
            let wanted = [4, 0].into_iter().cycle().map(Some);
            ensure!(codes[done..].iter().copied().eq(wanted.take(ATTEMPTS - done)), "no want of space: {codes:?}");
            versions[done % 2].expect(played, walks[done % 2])
        });
    }
    let playback = plays.check(&kernel)?;
    println!("{:.0} s", playback.seconds);
    Ok(())
}

/// Whether the kernel knows summaries, without which it would not see a commit by summary: its configuration tells, or
/// what it has written to the flash. If nothing does, one dirent commits the change, or it is refused.
#[test]
fn the_commit_point_fits_the_kernel() -> Result<()> {
    let kernel = Kernel::debian(None)?;
    let (old, large, small) = (sample().old, sample().new, sample_small_change().new);
    let version = |name, tree| Version::new(name, LARGE, tree);
    let [old, large, small] = [version("old", &old)?, version("large", &large)?, version("small", &small)?];
    let on_flash = |name: &str| {
        let mut s = Scenario::new(name);
        large.lay_out(&mut s);
        small.lay_out(&mut s);
        s.load_device(LARGE, &[]);
        s.flash(MTD, old.image.clone());
        s
    };
    let mut plays = Plays::default();

    let mut s = on_flash("nothing-is-known");
    let refused = Refused::plan(&mut s, &large);
    let by_dirent = Committed::plan(&mut s, &small, &[]);
    plays.add(s, move |played| {
        refused.check(played)?;
        by_dirent.check(played, "dirent")
    });

    let mut s = on_flash("told-by-the-user");
    let told = Committed::plan(&mut s, &large, &["--kernel-summaries", "yes"]);
    plays.add(s, move |played| told.check(played, "summary"));

    let mut s = on_flash("config-has-none");
    install_config(&mut s, &kernel, WITHOUT_SUMMARIES);
    let refused = Refused::plan(&mut s, &large);
    let by_dirent = Committed::plan(&mut s, &small, &[]);
    plays.add(s, move |played| {
        refused.check(played)?;
        by_dirent.check(played, "dirent")
    });

    let mut s = on_flash("config-has-them");
    install_config(&mut s, &kernel, WITH_SUMMARIES);
    let by_summary = Committed::plan(&mut s, &large, &[]);
    plays.add(s, move |played| by_summary.check(played, "summary"));

    let mut s = on_flash("seen-on-the-flash");
    s.mount(MTD_SOURCE);
    s.work(LARGE.block_size() / 2, 2 * LARGE.blocks());
    s.unmount();
    let by_summary = Committed::plan(&mut s, &large, &["--gc"]);
    plays.add(s, move |played| by_summary.check(played, "summary"));

    let playback = plays.check(&kernel)?;
    println!("{:.0} s", playback.seconds);
    Ok(())
}

/// An update that must be refused for want of a commit point.
struct Refused {
    before: At,
    apply: At,
    after: At,
}

impl Refused {
    fn plan(s: &mut Scenario, to: &Version) -> Self {
        let before = s.digest(MTD);
        let apply = s.run(&["apply", MTD, "--root", &to.dir]);
        let after = s.digest(MTD);
        Self { before, apply, after }
    }

    fn check(&self, played: &Played) -> Result<()> {
        expect_exit(played, self.apply, 6, &["CONFIG_JFFS2_SUMMARY", "--kernel-summaries"])?;
        ensure!(played.digest(self.before)? == played.digest(self.after)?, "the flash has changed");
        Ok(())
    }
}

/// An update that must be committed.
struct Committed {
    apply: At,
    walk: At,
    to: Version,
}

impl Committed {
    fn plan(s: &mut Scenario, to: &Version, more: &[&str]) -> Self {
        let apply = s.run(&[&["apply", MTD, "--root", &to.dir, "--json"], more].concat());
        s.mount_read_only(MTD_SOURCE);
        let walk = to.walk(s);
        s.unmount();
        Self { apply, walk, to: to.clone() }
    }

    fn check(&self, played: &Played, commit_point: &str) -> Result<()> {
        let applied = json(played, self.apply)?;
        ensure!(applied["commit_point"] == commit_point, "not by {commit_point}: {applied}");
        self.to.expect(played, self.walk)
    }
}
