//! NAND that is not perfect, by the kernel's own simulator: eraseblocks that are bad from the factory, erases and programs
//! that fail in the middle of an update, pages that lose their data, bits that flip.
//!
//! Whatever happens, the kernel reads the new tree if the command line said so, and else the old one.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use jffs2_tx_tests::agent::{
    MTD, MTD_SOURCE, Version, WITH_SUMMARIES, Wear, count_erases, install_config, json, json_number, read_erases,
};
use jffs2_tx_tests::kernel::{At, Device, Kernel, Played, Scenario};
use jffs2_tx_tests::play::{Plays, expect_exit};
use nandsim::sample;

/// That none of so many meets a flipped bit, at one in a thousand pages, is most unlikely.
const FLIP_CHECKS: usize = 60;
/// Each with the pages of an eraseblock.
const DEVICES: [(&str, Device, u32); 2] =
    [("nand2048", Device::NandLargePage { blocks: 32 }, 64), ("nand512", Device::NandSmallPage { blocks: 64 }, 32)];

#[test]
fn updates_on_bad_flash() -> Result<()> {
    let kernel = Kernel::debian(None)?;
    let mut plays = Plays::default();
    for (name, device, pages) in DEVICES {
        let flash = Flash { name, device, pages, kernel: &kernel, versions: versions(device)? };
        flash.factory_bad(&mut plays);
        flash.erases_fail(&mut plays);
        flash.programs_fail(&mut plays);
        flash.all_fails(&mut plays);
        flash.read_back_fails(&mut plays);
        flash.old_data_is_lost(&mut plays);
        flash.bits_flip(&mut plays);
        flash.one_bit_flipped(&mut plays);
    }
    let playback = plays.check(&kernel)?;
    println!("{:.0} s", playback.seconds);
    Ok(())
}

/// The older and the newer version of a small root.
fn versions(device: Device) -> Result<[Version; 2]> {
    let sample = sample();
    Ok([Version::new("old", device, &sample.old)?, Version::new("new", device, &sample.new)?])
}

struct Flash<'a> {
    name: &'static str,
    device: Device,
    /// Pages of an eraseblock.
    pages: u32,
    kernel: &'a Kernel,
    versions: [Version; 2],
}

/// An update, and what the kernel and the agent see of it.
struct Update {
    apply: At,
    status: At,
    walk: At,
    to: Version,
}

impl Update {
    fn plan(s: &mut Scenario, to: &Version) -> Self {
        let apply = s.run(&["apply", MTD, "--root", &to.dir, "--json"]);
        let status = s.run(&["status", MTD, "--json"]);
        let walk = mounted(s, |s| to.walk(s));
        Self { apply, status, walk, to: to.clone() }
    }

    /// Fails unless the new tree is there, however many eraseblocks failed: that many are marked bad now, beside those
    /// that were.
    fn check(&self, played: &Played, bad_before: u64, failed: impl Fn(u64) -> bool) -> Result<()> {
        let failures = json_number(played, self.apply, "eraseblocks_failed")?;
        ensure!(failed(failures), "{failures} eraseblocks have failed");
        let bad = json_number(played, self.status, "blocks_bad")?;
        ensure!(bad == bad_before + failures, "{bad} eraseblocks are marked bad, {failures} have failed");
        self.to.expect(played, self.walk)
    }
}

/// What is done while the flash is mounted for reading.
fn mounted<T>(s: &mut Scenario, act: impl FnOnce(&mut Scenario) -> T) -> T {
    s.mount_read_only(MTD_SOURCE);
    let done = act(s);
    s.unmount();
    done
}

impl<'a> Flash<'a> {
    /// The chip with these faults, and the older version on it.
    fn scene(&self, what: &str, faults: &[String]) -> Scenario {
        let mut s = Scenario::new(format!("{}-{what}", self.name));
        install_config(&mut s, self.kernel, WITH_SUMMARIES);
        self.versions[1].lay_out(&mut s);
        let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
        s.load_device(self.device, &faults);
        s.flash(MTD, self.versions[0].image.clone());
        s
    }

    fn update(&self, s: &mut Scenario) -> Update {
        Update::plan(s, &self.versions[1])
    }

    /// The first eraseblock behind the image.
    fn first_free(&self) -> u32 {
        let image = &self.versions[0].image;
        let end = image.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1);
        (end as u32).div_ceil(self.device.block_size())
    }

    fn page(&self, block: u32, page: u32) -> u32 {
        block * self.pages + page
    }

    fn offset_of_page(&self, page: u32) -> u64 {
        u64::from(page) * u64::from(self.device.page_size().unwrap_or(1))
    }

    /// Bad from the factory, among them the first and the last one and one that an update would take: never touched.
    fn factory_bad(&self, plays: &mut Plays<'a>) {
        let bad = BTreeSet::from([0, 3, self.first_free() + 3, self.device.blocks() - 1]);
        let list: Vec<String> = bad.iter().map(u32::to_string).collect();
        let mut s = self.scene("factory-bad", &[format!("badblocks={}", list.join(","))]);
        count_erases(&mut s);
        let (update, erases, device) = (self.update(&mut s), read_erases(&mut s), self.device);
        plays.add(s, move |played| {
            update.check(played, bad.len() as u64, |failures| failures == 0)?;
            let wear = Wear::of(played, erases, device)?;
            let touched = bad.iter().filter(|&&block| wear.blocks[block as usize] > 0).count();
            ensure!(wear.total() > 0 && touched == 0, "{touched} bad eraseblocks were erased");
            Ok(())
        });
    }

    /// Eraseblocks that can be erased once, which writing the image does.
    fn erases_fail(&self, plays: &mut Plays<'a>) {
        let first = self.first_free();
        let weak: Vec<String> = (first..first + 3).map(|block| format!("{block}:1")).collect();
        let mut s = self.scene("weak-blocks", &[format!("weakblocks={}", weak.join(","))]);
        let update = self.update(&mut s);
        let again = self.goes_on(&mut s);
        plays.add(s, move |played| {
            update.check(played, 0, |failures| failures == 3)?;
            update.to.expect(played, again)
        });
    }

    /// The kernel works with what is left.
    fn goes_on(&self, s: &mut Scenario) -> At {
        s.mount(MTD_SOURCE);
        s.work(self.device.block_size() / 2, 20);
        let walk = self.versions[1].walk(s);
        s.unmount();
        walk
    }

    /// A page in the middle of what is written can't be programmed, in several eraseblocks.
    fn programs_fail(&self, plays: &mut Plays<'a>) {
        let first = self.first_free();
        let weak: Vec<String> =
            (0..3).map(|number| format!("{}:0", self.page(first + number, 3 + 2 * number))).collect();
        let mut s = self.scene("weak-pages", &[format!("weakpages={}", weak.join(","))]);
        let update = self.update(&mut s);
        let again = self.goes_on(&mut s);
        plays.add(s, move |played| {
            update.check(played, 0, |failures| failures >= 2)?;
            update.to.expect(played, again)
        });
    }

    /// No eraseblock can be programmed: refused, and the old tree.
    fn all_fails(&self, plays: &mut Plays<'a>) {
        let (first, end) = (self.first_free(), self.device.blocks());
        let weak: Vec<String> = (first..end).map(|block| format!("{}:0", self.page(block, 1))).collect();
        let mut s = self.scene("all-weak", &[format!("weakpages={}", weak.join(","))]);
        let apply = s.run(&["apply", MTD, "--root", &self.versions[1].dir]);
        let old = self.versions[0].clone();
        let walk = mounted(&mut s, |s| old.walk(s));
        plays.add(s, move |played| {
            let exit = played.exit(apply)?;
            ensure!(matches!(exit.code, Some(3 | 4)), "{exit:?}");
            ensure!(
                exit.err.iter().filter(|line| line.starts_with("jffs2-tx: error: /dev/mtd0")).count() == 1,
                "{exit:?}"
            );
            old.expect(played, walk)
        });
    }

    /// A page that was programmed without an error, and can't be read back.
    fn read_back_fails(&self, plays: &mut Plays<'a>) {
        let page = self.page(self.first_free(), 3);
        let mut s = self.scene("grave-new", &[format!("gravepages={page}:0")]);
        let update = self.update(&mut s);
        let again = self.goes_on(&mut s);
        plays.add(s, move |played| {
            update.check(played, 0, |failures| failures == 1)?;
            update.to.expect(played, again)
        });
    }

    /// A page of the old tree reads as noise. Either the update puts right what was lost, or it says that it can't.
    fn old_data_is_lost(&self, plays: &mut Plays<'a>) {
        let mut s = self.scene("grave-old", &[format!("gravepages={}:0", self.page(0, 4))]);
        let check = s.run(&["check", MTD]);
        let before = mounted(&mut s, |s| {
            let walk = self.versions[0].walk(s);
            s.may_fail();
            walk
        });
        let apply = s.run(&["apply", MTD, "--root", &self.versions[1].dir, "--json"]);
        let new = self.versions[1].clone();
        let after = mounted(&mut s, |s| {
            let walk = new.walk(s);
            s.may_fail();
            walk
        });
        plays.add(s, move |played| {
            ensure!(played.exit(check)?.code == Some(1), "the loss is not told: {:?}", played.exit(check)?);
            let exit = played.exit(apply)?;
            match exit.code {
                Some(0) => new.expect(played, after).context("it says that all is new"),
                Some(1 | 3 | 7) => {
                    let tree = |walk| {
                        played.done(walk).map_err(|error| error.to_string().split_once(':').map(|s| s.1.to_owned()))
                    };
                    ensure!(tree(before) == tree(after), "refused, but another tree");
                    Ok(())
                }
                _ => anyhow::bail!("{exit:?}"),
            }
        });
    }

    /// One page in a thousand that is read has a flipped bit, never twice the same: all is right, and it is told.
    fn bits_flip(&self, plays: &mut Plays<'a>) {
        let mut s = self.scene("flips", &["bitflips=1".to_owned()]);
        let forth = self.update(&mut s);
        self.versions[0].lay_out(&mut s);
        let back = Update::plan(&mut s, &self.versions[0]);
        let checks: Vec<At> = (0..FLIP_CHECKS).map(|_| s.run(&["check", MTD])).collect();
        plays.add(s, move |played| {
            forth.check(played, 0, |failures| failures == 0)?;
            back.check(played, 0, |failures| failures == 0)?;
            let mut told = 0;
            for program in checks.into_iter().chain([forth.apply, forth.status, back.apply, back.status]) {
                let exit = played.exit(program)?;
                ensure!(exit.code == Some(0), "{exit:?}");
                told += u32::from(exit.err.iter().any(|line| line.contains("bits were corrected")));
            }
            ensure!(told > 0, "no flipped bit was ever told");
            Ok(())
        });
    }

    /// A page that needs correction each time, and one that is beyond it.
    fn one_bit_flipped(&self, plays: &mut Plays<'a>) {
        let mut s = self.scene("spoilt", &[]);
        let (corrected, lost) = (self.offset_of_page(2), self.offset_of_page(4));
        s.spoil(MTD, corrected, 1);
        let advice = s.run(&["check", MTD]);
        s.spoil(MTD, lost, 2);
        let damage = s.run(&["check", MTD]);
        let update = self.update(&mut s);
        plays.add(s, move |played| {
            expect_exit(played, advice, 0, &["bits were corrected in 1 pages", "should be written anew"])?;
            let exit = played.exit(damage)?;
            let said = [exit.out, exit.err].concat().join("\n");
            ensure!(exit.code == Some(1) && said.contains("1 pages could not be corrected"), "{said}");
            let advice = json(played, update.status)?;
            update.check(played, 0, |failures| failures == 0).with_context(|| format!("status {advice}"))
        });
    }
}
