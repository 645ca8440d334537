//! The boot script of the hook for initramfs-tools, under a shell as in an initramfs.

use anyhow::{Result, ensure};
use jffs2_tx::status::UpdateState;
use jffs2_tx::wire::CommitPoint;
use jffs2_tx_tests::kernel::{At, Device, Kernel, Played, Scenario};
use jffs2_tx_tests::play::{Plays, expect_exit};
use nandsim::Chip;

use super::{script, sh, trees, with_shell};

const NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 20 };
const NAND: Device = Device::NandLargePage { blocks: 20 };
const BOOT_SCRIPT: &str = "/scripts/local-premount/jffs2-tx";

/// A device with this on it, and the script; the kernel's log is empty.
fn scenario(name: &str, device: Device, image: Vec<u8>) -> Result<Scenario> {
    let mut s = Scenario::new(name);
    with_shell(&mut s)?;
    s.put_program(BOOT_SCRIPT, script("initramfs-tools/scripts/local-premount/jffs2-tx")?);
    s.load_device(device, &[]);
    s.flash("/dev/mtd0", image);
    sh(&mut s, "dmesg -c >/dev/null");
    Ok(s)
}

/// As initramfs-tools runs it for a kernel command line with this root= and rootfstype=.
fn boot(s: &mut Scenario, root: &str, kind: &str) -> At {
    sh(s, &format!("ROOT='{root}' ROOTFSTYPE='{kind}' exec {BOOT_SCRIPT}"))
}

fn log(s: &mut Scenario) -> At {
    sh(s, "dmesg | grep -o 'jffs2-tx: .*'")
}

/// It always ends well, and says nothing but in the kernel's log: this, in one line.
fn ended(played: &Played, boot: At, log: At, text: Option<&str>) -> Result<()> {
    expect_exit(played, boot, 0, &[])?;
    let boot = played.exit(boot)?;
    ensure!(boot.out.is_empty() && boot.err.is_empty(), "{boot:?}");
    let lines = played.exit(log)?.out;
    match text {
        None => ensure!(lines.is_empty(), "{lines:?}"),
        Some(text) => ensure!(lines.len() == 1 && lines[0].contains(text), "not one line with {text:?}: {lines:?}"),
    }
    Ok(())
}

fn leftover(device: Device, point: CommitPoint) -> Result<(Chip, String)> {
    let (old, new) = (trees::root(1)?, trees::root(2)?);
    let (chip, seen) = trees::chip_and_seen(device, old.path())?;
    let cut = trees::cut_update(&chip, new.path(), point, |status| status.state == UpdateState::Leftover)?;
    Ok((cut, seen.digest))
}

#[test]
fn the_boot_script_recovers() -> Result<()> {
    let mut plays = Plays::default();
    let (cut, old) = leftover(NOR, CommitPoint::Head)?;
    let names = ["mtd0", "/dev/mtd0", "/dev/mtdblock0", "/dev/block/31:0", "mtd:mtdram test device"];
    recovers(&mut plays, "nor", &names, NOR, &cut, old)?;
    let (nand, old) = leftover(NAND, CommitPoint::Summary)?;
    recovers(&mut plays, "nand", &["mtd0"], NAND, &nand, old)?;
    add_not_sealed(&mut plays)?;
    add_late(&mut plays, &cut)?;
    add_nothing_done(&mut plays, &cut)?;
    let playback = plays.check(&Kernel::debian(None)?)?;
    println!("{:.1} s", playback.seconds);
    Ok(())
}

/// Under each of the names the leftover goes, and the tree stays.
fn recovers(
    plays: &mut Plays<'static>,
    name: &str,
    roots: &[&str],
    device: Device,
    chip: &Chip,
    old: String,
) -> Result<()> {
    let mut s = scenario(name, device, chip.image())?;
    let mut runs = Vec::new();
    for root in roots {
        s.flash("/dev/mtd0", chip.image());
        sh(&mut s, "dmesg -c >/dev/null");
        runs.push((boot(&mut s, root, "jffs2"), log(&mut s), s.run(&["status", "/dev/mtd0", "--json"])));
    }
    sh(&mut s, "dmesg -c >/dev/null");
    let clean = s.digest("/dev/mtd0");
    let second = boot(&mut s, roots[0], "jffs2");
    let no_line = log(&mut s);
    let untouched = s.digest("/dev/mtd0");
    s.mount_read_only("mtd0");
    let tree = s.walk(std::slice::from_ref(&old));
    plays.add(s, move |played| {
        for (run, line, status) in runs {
            ended(played, run, line, Some("cut, cleaned up: "))?;
            let status = played.exit(status)?.out.join("\n");
            ensure!(status.contains(r#""state":"clean""#), "{status}");
        }
        ended(played, second, no_line, None)?;
        ensure!(played.digest(clean)? == played.digest(untouched)?, "a clean flash is written to");
        ensure!(played.digest(tree)? == old, "not the old tree");
        Ok(())
    });
    Ok(())
}

/// A commit of which one copy is missing gets it.
fn add_not_sealed(plays: &mut Plays<'static>) -> Result<()> {
    let (old, new) = (trees::root(1)?, trees::root(2)?);
    let (chip, _) = trees::chip_and_seen(NOR, old.path())?;
    let (_, seen) = trees::chip_and_seen(NOR, new.path())?;
    let committed = |status: &jffs2_tx::status::Status| status.state == UpdateState::Committed && status.not_sealed > 0;
    let cut = trees::cut_update(&chip, new.path(), CommitPoint::Head, committed)?;
    let mut s = scenario("not-sealed", NOR, cut.image())?;
    let run = boot(&mut s, "mtd0", "jffs2");
    let line = log(&mut s);
    let status = s.run(&["status", "/dev/mtd0", "--json"]);
    s.mount_read_only("mtd0");
    let tree = s.walk(std::slice::from_ref(&seen.digest));
    plays.add(s, move |played| {
        ended(played, run, line, Some("1 commits sealed"))?;
        let status = played.exit(status)?.out.join("\n");
        ensure!(status.contains(r#""state":"committed""#) && status.contains(r#""not_sealed":0"#), "{status}");
        ensure!(played.digest(tree)? == seen.digest, "not the new tree");
        Ok(())
    });
    Ok(())
}

/// A device whose node comes late is waited for.
fn add_late(plays: &mut Plays<'static>, cut: &Chip) -> Result<()> {
    let mut s = scenario("late", NOR, cut.image())?;
    sh(&mut s, "mv /dev/mtd0 /dev/late");
    let early = s.start_program(&["/bin/sh", "-c", &format!("ROOT=mtd0 ROOTFSTYPE=jffs2 exec {BOOT_SCRIPT}")]);
    s.sleep(1500);
    sh(&mut s, "mv /dev/late /dev/mtd0");
    s.wait(early);
    let line = log(&mut s);
    plays.add(s, move |played| ended(played, early, line, Some("/dev/mtd0: an update was cut, cleaned up")));
    Ok(())
}

/// Where it has nothing to do or can do nothing, the flash stays as it is and the boot goes on.
fn add_nothing_done(plays: &mut Plays<'static>, cut: &Chip) -> Result<()> {
    let mut s = scenario("elsewhere", NOR, cut.image())?;
    let before = s.digest("/dev/mtd0");
    let elsewhere = [("mtd0", "squashfs"), ("mtd0", ""), ("UUID=0815", "jffs2"), ("/dev/vda", "jffs2"), ("", "jffs2")];
    let runs = elsewhere.map(|(root, kind)| boot(&mut s, root, kind));
    let line = log(&mut s);
    let after = s.digest("/dev/mtd0");
    plays.add(s, move |played| {
        runs.iter().try_for_each(|run| ended(played, *run, line, None))?;
        ensure!(played.digest(before)? == played.digest(after)?, "the flash was written to");
        Ok(())
    });
    let mut garbage = trees::noise(3, NOR.blocks() as usize * NOR.block_size() as usize);
    stays(plays, "garbage", garbage.clone(), None, |s| boot(s, "mtd0", "jffs2"))?;
    // An eraseblock that looks like what a cut leaves: here it belongs to something else.
    garbage[..4096].fill(0xff);
    stays(plays, "garbage-hidden", garbage, Some("not cleaned up: "), |s| boot(s, "mtd0", "jffs2"))?;
    stays(plays, "missing", cut.image(), Some("/dev/mtd7: not there"), |s| boot(s, "mtd7", "jffs2"))?;
    let line = format!("PATH=/broken:/bin ROOT=mtd0 ROOTFSTYPE=jffs2 exec {BOOT_SCRIPT}");
    stays(plays, "broken", cut.image(), Some("not looked at"), |s| {
        s.put_program("/broken/jffs2-tx", &b"\x7fELF that runs nowhere"[..]);
        sh(s, &line)
    })?;
    stays(plays, "mounted", cut.image(), Some("not cleaned up: "), |s| {
        s.mount_read_only("mtd0");
        let run = boot(s, "mtd0", "jffs2");
        s.unmount();
        run
    })
}

fn stays(
    plays: &mut Plays<'static>,
    name: &str,
    image: Vec<u8>,
    text: Option<&'static str>,
    boot: impl FnOnce(&mut Scenario) -> At,
) -> Result<()> {
    let mut s = scenario(name, NOR, image)?;
    let before = s.digest("/dev/mtd0");
    let run = boot(&mut s);
    let line = log(&mut s);
    let after = s.digest("/dev/mtd0");
    plays.add(s, move |played| {
        ended(played, run, line, text)?;
        ensure!(played.digest(before)? == played.digest(after)?, "the flash was written to");
        Ok(())
    });
    Ok(())
}
