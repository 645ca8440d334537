//! From power-on to the first process of the root: Debian's initramfs with the hook, on a JFFS2 root that an update has
//! left when it was cut.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use jffs2_tx::Endian;
use jffs2_tx::flash::MemFlash;
use jffs2_tx::status::{UpdateState, status};
use jffs2_tx::wire::CommitPoint;
use jffs2_tx_tests::kernel::{Device, Kernel};
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::tools::{binary, run, workspace};
use nix::unistd::Uid;
use tempfile::TempDir;

use super::{busybox, script, trees};

/// What block2mtd makes of a disk.
const FLASH: Device = Device::Nor { block_size: 64 << 10, blocks: 96 };
const ROOT: &str = "root=mtd0 rootfstype=jffs2 ro";
/// Tells what tree it is of, and what the kernel's log has of us.
const INIT: &str = "#!/bin/busybox sh
read -r version </etc/version
echo \"TREE $version\"
/bin/busybox dmesg | /bin/busybox grep -o 'jffs2-tx: .*'
echo END
/bin/busybox poweroff -f
";

/// initramfs-tools: the flash's driver.
const FLASH_HOOK: &str = "#!/bin/sh
[ \"${1-}\" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules block2mtd
";

/// A root that can be booted.
fn bootable(version: u32) -> Result<TempDir> {
    let dir = trees::root(version)?;
    let program = |path: &str, content: &[u8]| -> Result<()> {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, content)?;
        Ok(fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?)
    };
    program("bin/busybox", &busybox()?)?;
    program("sbin/init", INIT.as_bytes())?;
    Ok(dir)
}

/// An initramfs with the hook, made by Debian's mkinitramfs as on a machine on which all of it is installed.
fn initramfs(kernel: &Kernel) -> Result<Vec<u8>> {
    let work = tempfile::tempdir()?;
    let at = |path: &str| work.path().join(path);
    let put = |path: &str, content: &[u8], mode: u32| -> Result<()> {
        fs::create_dir_all(at(path).parent().context("a folder")?)?;
        fs::write(at(path), content)?;
        Ok(fs::set_permissions(at(path), PermissionsExt::from_mode(mode))?)
    };
    let modules = format!("modules/{}", kernel.version());
    for module in fs::read_dir(kernel.modules())? {
        let module = module?;
        let name = module.file_name();
        put(&format!("{modules}/kernel/{}", name.to_string_lossy()), &fs::read(module.path())?, 0o644)?;
    }
    for list in ["modules.order", "modules.builtin"] {
        put(&format!("{modules}/{list}"), b"", 0o644)?;
    }
    put(&format!("boot/config-{}", kernel.version()), b"CONFIG_RD_GZIP=y\n", 0o644)?;
    put("bin/jffs2-tx", &fs::read(binary("jffs2-tx").get_program())?, 0o755)?;
    put("conf/initramfs.conf", b"MODULES=list\nBUSYBOX=auto\nCOMPRESS=gzip\nCOMPRESSLEVEL=1\nRESUME=none\n", 0o644)?;
    put("conf/modules", b"virtio_pci\nvirtio_blk\n", 0o644)?;
    // The flash's driver is the board's matter.
    put("conf/hooks/flash", FLASH_HOOK.as_bytes(), 0o755)?;
    put("conf/scripts/init-premount/late-flash", include_bytes!("late-flash"), 0o755)?;
    for name in ["hooks/jffs2-tx", "scripts/local-premount/jffs2-tx"] {
        put(&format!("conf/{name}"), &script(&format!("initramfs-tools/{name}"))?, 0o755)?;
    }
    make(&work, kernel.version())
}

fn make(work: &TempDir, version: &str) -> Result<Vec<u8>> {
    let mut command = Command::new("unshare");
    command.arg("--mount").args((!Uid::effective().is_root()).then_some("--map-root-user"));
    command.arg(workspace().join("tests/kernel/handlers/mkinitramfs"));
    command.args(["modules", "boot", "bin", "conf"].map(|name| work.path().join(name)));
    command.arg(version).arg(work.path().join("initramfs"));
    let made = run(&mut command);
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(!said.contains("jffs2-tx"), "the hook complains: {said}");
    Ok(fs::read(work.path().join("initramfs"))?)
}

/// What a boot printed, line by line.
fn boot(kernel: &Kernel, initramfs: &[u8], words: &str, disk: &Path) -> Result<Vec<String>> {
    let lines = kernel.boot(initramfs, &format!("{ROOT} {words}"), &[disk])?;
    Ok(lines.iter().map(|line| line.trim().to_owned()).collect())
}

fn printed(lines: &[String], text: &str) -> Result<()> {
    ensure!(lines.iter().any(|line| line.contains(text)), "the console has no {text:?}:\n{}", lines.join("\n"));
    Ok(())
}

#[test]
fn a_boot_recovers_or_goes_on() -> Result<()> {
    let kernel = Kernel::debian(None)?;
    let start = std::time::Instant::now();
    let initramfs = initramfs(&kernel)?;
    println!("mkinitramfs: {:.1} s", start.elapsed().as_secs_f32());
    let (old, new) = (bootable(1)?, bootable(2)?);
    let (chip, seen) = trees::chip_and_seen(FLASH, old.path())?;
    let leftover = |status: &jffs2_tx::status::Status| status.state == UpdateState::Leftover;
    let cut = trees::cut_update(&chip, new.path(), CommitPoint::Head, leftover)?.image();

    let disk = tempfile::NamedTempFile::new()?;
    fs::write(disk.path(), &cut)?;
    let lines = boot(&kernel, &initramfs, "", disk.path())?;
    printed(&lines, "TREE 1")?;
    printed(&lines, "jffs2-tx: /dev/mtd0: an update was cut, cleaned up: ")?;
    let flash = MemFlash::with_data(FLASH.geometry()?, fs::read(disk.path())?);
    ensure!(status(&flash, Endian::Little)?.state == UpdateState::Clean, "the leftover is still there");
    ensure!(Seen::on(&flash)? == seen, "not the old tree");

    // Recovery is refused.
    fs::write(disk.path(), &cut)?;
    let lines = boot(&kernel, &initramfs, "premount=mounted", disk.path())?;
    printed(&lines, "TREE 1")?;
    printed(&lines, "jffs2-tx: /dev/mtd0: an update was cut, not cleaned up: ")?;
    ensure!(fs::read(disk.path())? == cut, "the flash was written to");

    // Nothing that could be mounted: that, and not the script, ends the boot.
    let garbage = trees::noise(5, cut.len());
    fs::write(disk.path(), &garbage)?;
    let lines = boot(&kernel, &initramfs, "", disk.path())?;
    printed(&lines, "Failed to mount mtd0 as root file system")?;
    ensure!(fs::read(disk.path())? == garbage, "the flash was written to");
    println!("in all {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}
