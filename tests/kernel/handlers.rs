//! The example handlers of update agents and the hook for initramfs-tools (`jffs2-tx/cli/agents`), called as RAUC, SWUpdate
//! and initramfs-tools call them: by busybox's shell on MTD devices of a stock kernel, and in a boot of that kernel with an
//! initramfs that Debian's mkinitramfs has made.

mod agents;
mod boot;
mod premount;
mod trees;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use jffs2_tx_tests::kernel::{At, Scenario};
use jffs2_tx_tests::tools::workspace;

/// Of the Debian package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// Every script, by its path below the handlers' folder.
const SCRIPTS: [&str; 5] = [
    "jffs2-tx-update",
    "rauc-hook",
    "swupdate-script",
    "initramfs-tools/hooks/jffs2-tx",
    "initramfs-tools/scripts/local-premount/jffs2-tx",
];

fn handlers() -> PathBuf {
    workspace().join("jffs2-tx/cli/agents")
}

fn script(name: &str) -> Result<Vec<u8>> {
    let path = handlers().join(name);
    fs::read(&path).with_context(|| path.display().to_string())
}

fn busybox() -> Result<Vec<u8>> {
    fs::read(BUSYBOX).context("/bin/busybox; on Debian: apt-get install busybox-static")
}

/// Gives the guest a shell and the programs that scripts call.
fn with_shell(s: &mut Scenario) -> Result<()> {
    s.put_program(BUSYBOX, busybox()?);
    s.run_program(&[BUSYBOX, "--install", "-s", "/bin"]);
    Ok(())
}

/// Runs a line of shell.
fn sh(s: &mut Scenario, line: &str) -> At {
    s.run_program(&["/bin/sh", "-c", line])
}

/// Plain POSIX shell, as dash and busybox's ash read it, executable, and nothing that shellcheck warns of.
#[test]
fn scripts_are_posix_shell() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for name in SCRIPTS {
        let path = handlers().join(name);
        ensure!(fs::metadata(&path)?.permissions().mode() & 0o111 == 0o111, "{name} is not executable");
        for checker in [&["shellcheck", "-s", "sh"][..], &["dash", "-n"], &[BUSYBOX, "ash", "-n"]] {
            let output = Command::new(checker[0]).args(&checker[1..]).arg(&path).output().context(checker[0])?;
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{} on {name}: {said}", checker[0]);
        }
    }
    Ok(())
}
