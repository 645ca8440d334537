//! What the command line refuses on real devices: with one clear line and the documented exit code, and with every byte of
//! the flash as it was.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jffs2_tx_tests::agent::{MTD, MTD_SOURCE, Version, WITH_SUMMARIES, install_config, json};
use jffs2_tx_tests::kernel::{At, Device, Kernel, Played, ROM_ADDRESS, Scenario, Setup};
use jffs2_tx_tests::play::{Plays, expect_exit};
use nandsim::sample_large;
use tempfile::NamedTempFile;

const NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 32 };
const LARGE: Device = Device::NandLargePage { blocks: 32 };

const FINDINGS: i32 = 1;
const IO: i32 = 3;
const NO_SPACE: i32 = 4;
const BUSY: i32 = 5;
const UNSUPPORTED: i32 = 6;
const NOT_JFFS2: i32 = 7;
/// A user who may not open MTD devices.
const NOBODY: u32 = 65534;
/// The third disk of the guest, and its eraseblocks as a flash.
const DISK: &str = "/dev/vdc";
const BLOCK2MTD: &str = "block2mtd=/dev/vdc,64KiB";

/// A run that must be refused, and the flash around it.
struct Refusal {
    before: At,
    run: At,
    after: At,
    code: i32,
    says: &'static [&'static str],
}

impl Refusal {
    fn plan(s: &mut Scenario, arguments: &[&str], code: i32, says: &'static [&'static str]) -> Self {
        Self::plan_as(s, 0, arguments, code, says)
    }

    fn plan_as(s: &mut Scenario, uid: u32, arguments: &[&str], code: i32, says: &'static [&'static str]) -> Self {
        let before = s.digest(MTD);
        let run = s.run_as(uid, arguments);
        let after = s.digest(MTD);
        Self { before, run, after, code, says }
    }

    fn check(&self, played: &Played) -> Result<()> {
        expect_exit(played, self.run, self.code, self.says)?;
        let said = played.exit(self.run)?.err;
        ensure!(said.len() == 1 && said[0].starts_with("jffs2-tx: error: "), "not one clear line: {said:?}");
        ensure!(played.digest(self.before)? == played.digest(self.after)?, "the flash has changed: {said:?}");
        Ok(())
    }
}

/// A flash with the older of two versions, and the newer one as a directory.
struct Scene {
    versions: [Version; 2],
    scenario: Scenario,
}

impl Scene {
    fn new(name: &str, device: Device, kernel: &Kernel) -> Result<Self> {
        let sample = sample_large();
        let versions = [Version::new("old", device, &sample.old)?, Version::new("new", device, &sample.new)?];
        let mut scenario = Scenario::new(name);
        install_config(&mut scenario, kernel, WITH_SUMMARIES);
        versions[1].lay_out(&mut scenario);
        Ok(Self { versions, scenario })
    }

    /// The device, and the older version on it.
    fn on(mut self, device: Device) -> Self {
        self.scenario.load_device(device, &[]);
        self.scenario.flash(MTD, self.versions[0].image.clone());
        self
    }
}

#[test]
fn what_is_refused_leaves_the_flash_alone() -> Result<()> {
    let kernel = Kernel::debian(None)?;
    let disk = NamedTempFile::new()?;
    disk.as_file().set_len(2 << 20)?;
    let rom = NamedTempFile::new()?;
    std::fs::write(rom.path(), &Version::new("rom", NOR, &sample_large().old)?.image)?;
    let mut plays = Plays::default();
    for device in [NOR, LARGE] {
        mounted_read_write(&mut plays, device, &kernel)?;
        second_agent(&mut plays, device, &kernel)?;
        too_small(&mut plays, device, &kernel)?;
        not_jffs2(&mut plays, device, &kernel)?;
        no_permission(&mut plays, device, &kernel)?;
        write_protected(&mut plays, device, &kernel)?;
    }
    chip_protected(&mut plays, &kernel)?;
    wrong_kind(&mut plays, &kernel)?;
    removed(&mut plays, &kernel)?;
    let playback =
        plays.check_with(&kernel, &Setup { disks: &[disk.path()], rom: Some(rom.path()), ..Setup::default() })?;
    println!("{:.0} s", playback.seconds);
    Ok(())
}

/// What is done while the flash is mounted for reading.
fn mounted<T>(s: &mut Scenario, act: impl FnOnce(&mut Scenario) -> T) -> T {
    s.mount_read_only(MTD_SOURCE);
    let done = act(s);
    s.unmount();
    done
}

fn kind(device: Device) -> &'static str {
    if device.page_size().is_some() { "nand" } else { "nor" }
}

/// As the simulators call their devices.
fn mtd_name(device: Device) -> &'static str {
    if device.page_size().is_some() { "mtd:NAND simulator partition 0" } else { "mtd:mtdram test device" }
}

fn mounted_read_write<'a>(plays: &mut Plays<'a>, device: Device, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [old, new], scenario: mut s } =
        Scene::new(&format!("mounted-rw-{}", kind(device)), device, kernel)?.on(device);
    s.mount(MTD_SOURCE);
    let before = old.walk(&mut s);
    // The kernel has something to write of its own.
    s.settle(MTD);
    const SAYS: &[&str] = &["/dev/mtd0", "mounted read-write on /flash", "remount it read-only"];
    let refusals = [
        Refusal::plan(&mut s, &["apply", MTD, "--root", &new.dir], BUSY, SAYS),
        Refusal::plan(&mut s, &["apply", mtd_name(device), "--root", &new.dir], BUSY, &SAYS[1..]),
        Refusal::plan(&mut s, &["recover", MTD], BUSY, SAYS),
    ];
    let status = s.run(&["status", MTD, "--json"]);
    let list = s.run(&["ls", "-R", MTD]);
    let after = old.walk(&mut s);
    s.unmount();
    plays.add(s, move |played| {
        old.expect(played, before)?;
        refusals.iter().try_for_each(|refusal| refusal.check(played))?;
        ensure!(json(played, status)?["mounted"] == "read-write", "status");
        ensure!(played.exit(list)?.code == Some(0), "a mounted device can be read");
        old.expect(played, after)
    });
    Ok(())
}

/// The first agent waits for the rest of its archive. Then it is killed, and the next one goes on.
fn second_agent<'a>(plays: &mut Plays<'a>, device: Device, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [old, new], scenario: mut s } =
        Scene::new(&format!("second-agent-{}", kind(device)), device, kernel)?.on(device);
    let archive = new.pack(&mut s);
    let first = s.start(&["apply", MTD, "--tar", "-"]);
    s.feed(first, &archive, 0..50);
    s.await_idle(first);
    const SAYS: &[&str] = &["/dev/mtd0", "in use by another update"];
    let refusals = [
        Refusal::plan(&mut s, &["apply", MTD, "--root", &new.dir], BUSY, SAYS),
        Refusal::plan(&mut s, &["recover", MTD], BUSY, SAYS),
    ];
    let status = s.run(&["status", MTD]);
    let first = s.kill(first);
    let killed = mounted(&mut s, |s| old.walk(s));
    let cut = s.run(&["status", MTD, "--json"]);
    let third = s.start(&["apply", MTD, "--tar", "-"]);
    s.feed(third, &archive, 0..100);
    let third = s.wait(third);
    let done = mounted(&mut s, |s| new.walk(s));
    plays.add(s, move |played| {
        refusals.iter().try_for_each(|refusal| refusal.check(played))?;
        ensure!(played.exit(status)?.code == Some(0), "status");
        ensure!(played.exit(first)?.code.is_none(), "the first agent had ended");
        old.expect(played, killed).context("killed")?;
        ensure!(json(played, cut)?["state"] == "leftover", "the killed update is not seen");
        expect_exit(played, third, 0, &[])?;
        new.expect(played, done).context("done again")
    });
    Ok(())
}

/// What does not fit is not known before it has been written: free eraseblocks may have been used and erased again.
fn too_small<'a>(plays: &mut Plays<'a>, device: Device, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [old, _], scenario: mut s } =
        Scene::new(&format!("too-small-{}", kind(device)), device, kernel)?.on(device);
    let size = u64::from(device.blocks()) * u64::from(device.block_size());
    s.put("/tmp/large/file", noise(size as usize));
    let arguments = ["apply", MTD, "--root", "/tmp/large"];
    let before = s.digest(MTD);
    let dry = s.run(&[&arguments[..], &["--dry-run"]].concat());
    let dried = s.digest(MTD);
    let run = s.run(&arguments);
    let dump = s.dump(MTD, size);
    let after = mounted(&mut s, |s| old.walk(s));
    plays.add(s, move |played| {
        let told = played.exit(dry)?;
        ensure!(told.code == Some(NO_SPACE) && told.out.join("").starts_with("does not fit"), "dry run: {told:?}");
        ensure!(played.digest(before)? == played.digest(dried)?, "a dry run changes the flash");
        expect_exit(played, run, NO_SPACE, &["jffs2-tx: error: /dev/mtd0: no space: needs 34 eraseblocks"])?;
        let block_size = device.block_size() as usize;
        let blocks = old.image.chunks(block_size).zip(played.dump(dump)?.chunks(block_size));
        let lost = blocks.filter(|(was, is)| was != is && !(is_free(was) && is_free(is))).count();
        ensure!(lost == 0, "{lost} eraseblocks have changed that were not free");
        old.expect(played, after)
    });
    Ok(())
}

/// Whether an eraseblock is blank but for a cleanmarker.
fn is_free(block: &[u8]) -> bool {
    let marker = [0x85, 0x19, 0x03, 0x20, 0x0c, 0x00, 0x00, 0x00];
    let rest = if block.starts_with(&marker) { &block[12..] } else { block };
    rest.iter().all(|&byte| byte == 0xff)
}

/// Bytes that don't compress.
fn noise(len: usize) -> Arc<[u8]> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

fn not_jffs2<'a>(plays: &mut Plays<'a>, device: Device, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [_, new], scenario: mut s } =
        Scene::new(&format!("not-jffs2-{}", kind(device)), device, kernel)?;
    let size = u64::from(device.blocks()) * u64::from(device.block_size());
    s.load_device(device, &[]);
    s.flash(MTD, noise(size as usize));
    let refusal = Refusal::plan(&mut s, &["apply", MTD, "--root", &new.dir], NOT_JFFS2, &["/dev/mtd0"]);
    plays.add(s, move |played| refusal.check(played));
    Ok(())
}

fn no_permission<'a>(plays: &mut Plays<'a>, device: Device, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [_, new], scenario: mut s } =
        Scene::new(&format!("no-permission-{}", kind(device)), device, kernel)?.on(device);
    const SAYS: &[&str] = &["/dev/mtd0", "ermission"];
    let refusals = [
        Refusal::plan_as(&mut s, NOBODY, &["apply", MTD, "--root", &new.dir], IO, SAYS),
        Refusal::plan_as(&mut s, NOBODY, &["status", MTD], IO, SAYS),
    ];
    plays.add(s, move |played| refusals.iter().try_for_each(|refusal| refusal.check(played)));
    Ok(())
}

/// The read-only twin that every device has.
fn write_protected<'a>(plays: &mut Plays<'a>, device: Device, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [_, new], scenario: mut s } =
        Scene::new(&format!("write-protected-{}", kind(device)), device, kernel)?.on(device);
    const TWIN: &str = "/dev/mtd0ro";
    const SAYS: &[&str] = &[TWIN, "write-protected"];
    let list = s.run(&["ls", TWIN]);
    let refusals = [
        Refusal::plan(&mut s, &["apply", TWIN, "--root", &new.dir], IO, SAYS),
        Refusal::plan(&mut s, &["recover", TWIN], IO, SAYS),
        Refusal::plan(&mut s, &["gc", TWIN], IO, SAYS),
    ];
    plays.add(s, move |played| {
        ensure!(played.exit(list)?.out.iter().any(|line| line.contains("lib")), "it cannot be read");
        refusals.iter().try_for_each(|refusal| refusal.check(played))
    });
    Ok(())
}

/// Flash whose write-protect pin is set: `phram` over memory that only the host can write. The kernel takes programs and
/// erases for done; none of them does anything.
fn chip_protected<'a>(plays: &mut Plays<'a>, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [old, new], scenario: mut s } = Scene::new("chip-protected", NOR, kernel)?;
    s.load("phram", &[&format!("phram=rom,{ROM_ADDRESS:#x},{:#x},{:#x}", old.image.len(), NOR.block_size())]);
    let before = mounted(&mut s, |s| old.walk(s));
    let refusal = Refusal::plan(&mut s, &["apply", MTD, "--root", &new.dir], IO, &["/dev/mtd0"]);
    let after = mounted(&mut s, |s| old.walk(s));
    plays.add(s, move |played| {
        old.expect(played, before)?;
        refusal.check(played)?;
        old.expect(played, after)
    });
    Ok(())
}

/// UBI: a device that it has, its volume, and the device of the whole. Debian's kernels have no gluebi, which would make
/// an MTD device of the volume, and QEMU's PC has no DataFlash.
fn wrong_kind<'a>(plays: &mut Plays<'a>, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [_, new], scenario: mut s } = Scene::new("wrong-kind", LARGE, kernel)?;
    s.load_device(LARGE, &[]);
    s.load("ubi", &["mtd=0"]);
    s.make_volume("/dev/ubi0", 256 << 10);
    s.settle(MTD);
    let refusals = [
        Refusal::plan(&mut s, &["apply", MTD, "--root", &new.dir], BUSY, &["/dev/mtd0", "UBI"]),
        Refusal::plan(&mut s, &["apply", "/dev/ubi0_0", "--root", &new.dir], UNSUPPORTED, &["/dev/ubi0_0", "UBI"]),
        Refusal::plan(&mut s, &["apply", "/dev/ubi0", "--root", &new.dir], UNSUPPORTED, &["/dev/ubi0", "UBI"]),
        Refusal::plan(&mut s, &["apply", "/dev/mtd7", "--root", &new.dir], IO, &["/dev/mtd7"]),
        Refusal::plan(&mut s, &["apply", "mtd:no such name", "--root", &new.dir], IO, &["no such name"]),
    ];
    plays.add(s, move |played| refusals.iter().try_for_each(|refusal| refusal.check(played)));
    Ok(())
}

/// The disk behind a `block2mtd` is unplugged while the agent waits for the rest of its archive: no stock module lets a
/// device of its own go while it is open. Plugged in again, the disk holds the old tree.
fn removed<'a>(plays: &mut Plays<'a>, kernel: &Kernel) -> Result<()> {
    let Scene { versions: [old, new], scenario: mut s } = Scene::new("removed", NOR, kernel)?;
    let archive = new.pack(&mut s);
    s.load("block2mtd", &[BLOCK2MTD]);
    s.flash(MTD, old.image.clone());
    let agent = s.start(&["apply", MTD, "--tar", "-"]);
    s.feed(agent, &archive, 0..50);
    s.await_idle(agent);
    s.write(&format!("/sys/block/{}/device/../remove", DISK.trim_start_matches("/dev/")), "1");
    s.feed(agent, &archive, 50..100);
    // It may have given up by now.
    s.may_fail();
    let agent = s.wait(agent);
    s.unload("block2mtd");
    s.write("/sys/bus/pci/rescan", "1");
    s.sleep(500);
    s.load("block2mtd", &[BLOCK2MTD]);
    let after = mounted(&mut s, |s| old.walk(s));
    plays.add(s, move |played| {
        let exit = played.exit(agent)?;
        // Linux lets nobody know: it gives zeros for what it has not in memory. The agent sees damage, or a failure.
        ensure!(matches!(exit.code, Some(FINDINGS | IO)), "{exit:?}");
        ensure!(exit.err.len() == 1 && exit.err[0].starts_with("jffs2-tx: error: /dev/mtd0: "), "{exit:?}");
        old.expect(played, after)
    });
    Ok(())
}
