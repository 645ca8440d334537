//! An image of mkfs.jffs2 to begin with: what the kernel itself never writes, or seldom.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use jffs2_tx_tests::kernel::Device;
use jffs2_tx_tests::tools::run;
use rustix::fs::{XattrFlags, setxattr};

/// Nodes compressed with rtime, extended attributes that several inodes share, dirents of version 0. Most of it is in a
/// directory that is left alone, and so only moved.
pub(crate) fn image(device: Device) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let tree = dir.path().join("tree");
    make_tree(&tree)?;
    let image = dir.path().join("image");
    let mut command = Command::new("mkfs.jffs2");
    command.args(["-l", "-x", "zlib", "-x", "lzo", "-X", "rtime", "--with-xattr"]);
    command.args(["-e", &format!("{}KiB", device.block_size() / 1024)]);
    command.args(device.page_size().map(|_| "-n"));
    run(command.arg("-r").arg(&tree).arg("-o").arg(&image));
    Ok(fs::read(image)?)
}

fn make_tree(tree: &Path) -> Result<()> {
    let still = tree.join("static");
    fs::create_dir_all(still.join("below"))?;
    let steps: Vec<u8> = (0..9000).map(|at: u32| (at / 70) as u8).collect();
    fs::write(still.join("steps"), &steps)?;
    fs::write(still.join("text"), "what is written here stays written\n".repeat(200))?;
    fs::write(still.join("empty"), "")?;
    fs::hard_link(still.join("text"), still.join("below/text"))?;
    symlink("../text", still.join("below/link"))?;
    fs::write(tree.join("steps"), &steps)?;
    for path in ["static", "static/steps", "static/text", "steps"] {
        setxattr(tree.join(path), "user.shared", b"by all of them", XattrFlags::empty())?;
        setxattr(tree.join(path), "security.selinux", b"system_u:object_r:etc_t:s0\0", XattrFlags::empty())?;
    }
    Ok(())
}
