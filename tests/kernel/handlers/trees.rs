//! What is installed, and what an update that was cut leaves.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use jffs2_tx::source::SourceTree;
use jffs2_tx::status::{Status, status};
use jffs2_tx::wire::CommitPoint;
use jffs2_tx::{Endian, Transaction, TxOptions};
use jffs2_tx_tests::kernel::Device;
use jffs2_tx_tests::ours::Seen;
use jffs2_tx_tests::scene::chip_with;
use jffs2_tx_tests::tools::run;
use nandsim::{Chip, Cut, Recorder, Rng, Tear, Walker};
use tempfile::TempDir;

/// Bytes that nothing compresses.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    bytes
}

/// A small root of a version, in a directory of the host.
pub(crate) fn root(version: u32) -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    let at = |path: &str| dir.path().join(path);
    ["etc", "bin", "lib", "proc", "sys", "dev", "run"].iter().try_for_each(|name| fs::create_dir(at(name)))?;
    fs::write(at("etc/version"), format!("{version}\n"))?;
    fs::write(at("lib/same"), noise(0, 50_000))?;
    fs::write(at("lib/other"), noise(version.into(), 100_000))?;
    fs::write(at(&format!("lib/only-{version}")), "one of them has it\n")?;
    symlink("same", at("lib/link"))?;
    fs::write(at("bin/program"), "#!/bin/sh\n")?;
    fs::set_permissions(at("bin/program"), PermissionsExt::from_mode(0o4755))?;
    Ok(dir)
}

/// The directory as an archive; `how` are options of tar, such as `z`.
pub(crate) fn tar(dir: &Path, how: &str) -> Vec<u8> {
    run(Command::new("tar").arg(format!("-c{how}f-")).arg("-C").arg(dir).arg(".")).stdout
}

/// A chip with the directory's tree, and how the kernel must list it.
pub(crate) fn chip_and_seen(device: Device, dir: &Path) -> Result<(Chip, Seen)> {
    let chip = chip_with(device, &SourceTree::from_dir(dir)?, true)?;
    let seen = Seen::on(&chip)?;
    Ok((chip, seen))
}

/// A chip in which an update to the directory's tree was cut, at the last moment at which `wanted` holds of it.
pub(crate) fn cut_update(
    before: &Chip,
    dir: &Path,
    point: CommitPoint,
    wanted: impl Fn(&Status) -> bool,
) -> Result<Chip> {
    let mut flash = Recorder::new(before.clone());
    let options = TxOptions { label: "cut".into(), commit_point: Some(point), ..Default::default() };
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options)?;
    tx.replace_tree(&SourceTree::from_dir(dir)?, &mut |_, _| {})?;
    tx.commit()?;
    let (_, trace) = flash.into_parts();
    let cuts = (0..trace.ops.len()).map(|op| Cut { op, tear: Tear::Before });
    let states = Walker::new(before.clone(), &trace, 1, cuts).map(|(_, chip)| chip);
    let left = states.filter(|chip| status(chip, Endian::Little).is_ok_and(|status| wanted(&status)));
    left.last().context("no cut leaves that")
}
