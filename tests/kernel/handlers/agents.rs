//! RAUC and SWUpdate.

use anyhow::{Result, ensure};
use jffs2_tx_tests::kernel::{At, Device, Kernel, Played, Scenario};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::play::{Plays, expect_exit};

use super::{script, sh, trees, with_shell};

const NOR: Device = Device::Nor { block_size: 64 << 10, blocks: 20 };
const NAND: Device = Device::NandLargePage { blocks: 20 };
/// Nothing in the guest tells whether its kernel knows summaries.
const OPTIONS: &str = "JFFS2_TX_APPLY='--kernel-summaries yes'";
/// Likewise, where nothing is mounted.
const OPTIONS_WITH_GC: &str = "JFFS2_TX_APPLY='--gc --kernel-summaries yes'";

/// The older and the newer root, and archives of the newer one.
struct Roots {
    old: tempfile::TempDir,
    new: tempfile::TempDir,
}

impl Roots {
    fn make() -> Result<Self> {
        Ok(Self { old: trees::root(1)?, new: trees::root(2)? })
    }

    /// A device with the old root in the guest, and the scripts where an integrator puts them.
    fn scenario(&self, name: &str, device: Device) -> Result<(Scenario, Seen, Seen)> {
        let (chip, old) = trees::chip_and_seen(device, self.old.path())?;
        let (_, new) = trees::chip_and_seen(device, self.new.path())?;
        let mut s = Scenario::new(name);
        with_shell(&mut s)?;
        s.put_program("/usr/sbin/jffs2-tx-update", script("jffs2-tx-update")?);
        s.put_program("/bundle/hook", script("rauc-hook")?);
        s.put_program("/tmp/scripts/jffs2", script("swupdate-script")?);
        s.load_device(device, &[]);
        s.flash("/dev/mtd0", chip.image());
        Ok((s, old, new))
    }
}

/// As RAUC calls the hook for an image of the bundle.
fn rauc(s: &mut Scenario, hook: &str, image: &str) -> At {
    let environment =
        "RAUC_SLOT_NAME=rootfs.0 RAUC_SLOT_CLASS=rootfs RAUC_SLOT_DEVICE=/dev/mtd0 RAUC_IMAGE_CLASS=rootfs";
    sh(s, &format!("{OPTIONS} {environment} RAUC_IMAGE_NAME=/bundle/{image} exec /bundle/hook {hook}"))
}

/// As SWUpdate calls the script: the words of `data` behind the moment.
fn swupdate(s: &mut Scenario, moment: &str, data: &str) -> At {
    sh(s, &format!("{OPTIONS_WITH_GC} exec /tmp/scripts/jffs2 {moment} {data}"))
}

/// The tree that the kernel lists after a new mount.
fn mounted_tree(s: &mut Scenario, known: &[&Seen]) -> At {
    s.mount_read_only("mtd0");
    let digests: Vec<String> = known.iter().map(|seen| seen.digest.clone()).collect();
    let tree = s.walk(&digests);
    s.unmount();
    tree
}

fn said(played: &Played, program: At, text: &str) -> Result<()> {
    let exit = played.exit(program)?;
    ensure!(exit.out.iter().chain(&exit.err).any(|line| line.contains(text)), "it never says {text:?}: {exit:?}");
    Ok(())
}

#[test]
fn agents_install() -> Result<()> {
    let roots = Roots::make()?;
    let mut plays = Plays::default();
    add_rauc(&roots, &mut plays)?;
    add_swupdate(&roots, &mut plays)?;
    add_mounted(&roots, &mut plays)?;
    add_refusals(&roots, &mut plays)?;
    let playback = plays.check(&Kernel::debian(None)?)?;
    println!("{:.1} s", playback.seconds);
    Ok(())
}

fn add_rauc(roots: &Roots, plays: &mut Plays<'static>) -> Result<()> {
    let (mut s, old, new) = roots.scenario("rauc", NOR)?;
    s.put("/bundle/root-2.0.tar.gz", trees::tar(roots.new.path(), "z"));
    let before = mounted_tree(&mut s, &[&old]);
    let hook = rauc(&mut s, "slot-install", "root-2.0.tar.gz");
    let after = mounted_tree(&mut s, &[&new]);
    let log = s.run(&["log", "/dev/mtd0"]);
    plays.add(s, move |played| {
        ensure!(played.digest(before)? == old.digest);
        expect_exit(played, hook, 0, &[])?;
        ensure!(played.digest(after)? == new.digest, "not the new tree");
        said(played, log, "\"root-2.0.tar.gz\": committed")
    });
    Ok(())
}

fn add_swupdate(roots: &Roots, plays: &mut Plays<'static>) -> Result<()> {
    let (mut s, _, new) = roots.scenario("swupdate", NAND)?;
    // Such a version is no option.
    let data = "/dev/mtd0 /tmp/root.tar.xz -v2";
    let before = s.digest("/dev/mtd0");
    let pre = swupdate(&mut s, "preinst", data);
    let untouched = s.digest("/dev/mtd0");
    s.put("/tmp/root.tar.xz", trees::tar(roots.new.path(), "J"));
    let post = swupdate(&mut s, "postinst", data);
    let gone = sh(&mut s, "test ! -e /tmp/root.tar.xz");
    let after = mounted_tree(&mut s, &[&new]);
    let log = s.run(&["log", "/dev/mtd0"]);
    plays.add(s, move |played| {
        expect_exit(played, pre, 0, &[])?;
        ensure!(played.digest(before)? == played.digest(untouched)?, "preinst writes");
        expect_exit(played, post, 0, &[])?;
        expect_exit(played, gone, 0, &[])?;
        ensure!(played.digest(after)? == new.digest, "not the new tree");
        said(played, log, "\"-v2\": committed")
    });
    Ok(())
}

/// Under a mounted root: read-only, twice in a row; read-write, not at all.
fn add_mounted(roots: &Roots, plays: &mut Plays<'static>) -> Result<()> {
    let (mut s, old, new) = roots.scenario("mounted-read-only", NOR)?;
    s.put("/bundle/root.tar", trees::tar(roots.new.path(), ""));
    s.mount_read_only("mtd0");
    let first = rauc(&mut s, "slot-install", "root.tar");
    let second = rauc(&mut s, "slot-install", "root.tar");
    let still = s.walk(std::slice::from_ref(&old.digest));
    s.unmount();
    let after = mounted_tree(&mut s, &[&new]);
    let check = swupdate(&mut s, "preinst", "mtd0 /tmp/root.tar");
    plays.add(s, move |played| {
        expect_exit(played, first, 0, &["the new tree appears at the next boot"])?;
        expect_exit(played, second, 0, &[])?;
        said(played, second, "a reboot is needed already")?;
        ensure!(played.digest(still)? == old.digest, "the mounted tree changes");
        ensure!(played.digest(after)? == new.digest, "not the new tree");
        let quiet = !played.exit(check)?.out.iter().any(|line| line.contains("reboot"));
        ensure!(quiet, "no reboot is needed after a new mount");
        Ok(())
    });
    let (mut s, old, _) = roots.scenario("mounted-read-write", NOR)?;
    s.put("/bundle/root.tar", trees::tar(roots.new.path(), ""));
    s.mount("mtd0");
    let hook = rauc(&mut s, "slot-install", "root.tar");
    let pre = swupdate(&mut s, "preinst", "/dev/mtd0 /tmp/root.tar v2");
    s.unmount();
    let status = s.run(&["status", "/dev/mtd0", "--json"]);
    let after = mounted_tree(&mut s, &[&old]);
    plays.add(s, move |played| {
        expect_exit(played, hook, 5, &["mounted read-write"])?;
        expect_exit(played, pre, 5, &["mounted read-write"])?;
        said(played, status, r#""state":"clean""#)?;
        ensure!(played.digest(after)? == old.digest, "another tree");
        Ok(())
    });
    Ok(())
}

/// What cannot be installed leaves the flash as it was, to the byte.
fn add_refusals(roots: &Roots, plays: &mut Plays<'static>) -> Result<()> {
    let large = tempfile::tempdir()?;
    std::fs::write(large.path().join("large"), trees::noise(9, NOR.blocks() as usize * NOR.block_size() as usize))?;
    let whole = trees::tar(roots.new.path(), "z");
    let mut wrong_end = whole.clone();
    // The checksum and the length, behind all of the archive.
    wrong_end.truncate(whole.len() - 8);
    wrong_end.extend([0x55; 8]);
    let (mut s, _, _) = roots.scenario("refused", NOR)?;
    for (name, content) in [
        ("large.tar", trees::tar(large.path(), "")),
        ("cut.tar.gz", whole[..whole.len() / 2].to_vec()),
        ("wrong-end.tar.gz", wrong_end),
        ("root.tar", trees::tar(roots.new.path(), "")),
        ("root.tar.zst", b"whatever".to_vec()),
        ("root.img", whole),
    ] {
        s.put(&format!("/bundle/{name}"), content);
    }
    let before = s.digest("/dev/mtd0");
    let runs: Vec<(At, i32, &str)> = vec![
        (rauc(&mut s, "slot-install", "large.tar"), 4, "does not fit"),
        (rauc(&mut s, "slot-install", "cut.tar.gz"), 3, "cut short"),
        (rauc(&mut s, "slot-install", "wrong-end.tar.gz"), 3, "gzip failed"),
        (rauc(&mut s, "slot-install", "none.tar"), 3, "no such file"),
        (rauc(&mut s, "slot-install", "root.img"), 2, "not called .tar"),
        (rauc(&mut s, "slot-install", "root.tar.zst"), 6, "zstd is not installed"),
        (rauc(&mut s, "install-check", "root.tar"), 2, "made for slot-install"),
        (rauc(&mut s, "slot-post-install", "root.tar"), 2, "made for slot-install"),
        (sh(&mut s, "RAUC_IMAGE_NAME=/bundle/root.tar exec /bundle/hook slot-install"), 2, "RAUC_SLOT_DEVICE"),
        (sh(&mut s, "RAUC_SLOT_DEVICE=/dev/mtd0 exec /bundle/hook slot-install"), 2, "RAUC_IMAGE_NAME"),
        (swupdate(&mut s, "preinst", "/dev/mtd7 /tmp/root.tar"), 3, "/dev/mtd7"),
        (swupdate(&mut s, "postinst", "/dev/mtd7 /tmp/root.tar"), 3, "no such file"),
        (swupdate(&mut s, "", "/dev/mtd0 /tmp/root.tar v2"), 2, "must be shellscript"),
        (swupdate(&mut s, "postinst", "/dev/mtd0"), 2, "usage"),
        (swupdate(&mut s, "postfailure", "/dev/mtd0 /tmp/root.tar"), 0, ""),
    ];
    let after = s.digest("/dev/mtd0");
    plays.add(s, move |played| {
        for (run, code, text) in runs {
            expect_exit(played, run, code, &[text])?;
        }
        ensure!(played.digest(before)? == played.digest(after)?, "a refused update has written");
        Ok(())
    });
    Ok(())
}
