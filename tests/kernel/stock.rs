//! The rig itself: does the stock kernel, by way of our guest, read what mkfs.jffs2 wrote, on every kind of device?

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use jffs2_tx_tests::kernel::{Block, Case, Device, Job, Kernel, Outcome, State};
use jffs2_tx_tests::listing::{self, DIRECTORY, Entry};

const NOR: Device = Device::Nor { block_size: 64 * 1024, blocks: 32 };
const LARGE: Device = Device::NandLargePage { blocks: 32 };
const SMALL: Device = Device::NandSmallPage { blocks: 128 };

#[test]
fn the_stock_kernel_reads_what_mkfs_wrote() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tree = folder.path().join("tree");
    make_tree(&tree)?;
    let full = host_listing(&tree)?;
    let trees = Trees { full: listing::digest(&full), empty: listing::digest(&[mkfs_root(0)]) };
    let jobs = [
        nor_job(&make_image(&tree, NOR)?, &trees)?,
        nand_job("large", LARGE, &make_image(&tree, LARGE)?, &trees)?,
        nand_job("small", SMALL, &make_image(&tree, SMALL)?, &trees)?,
    ];
    let kernel = Kernel::debian(None)?;
    let report = kernel.run_all(&jobs)?;
    println!(
        "{}: {:.1} s, boot {:.1} s, {:.0} mounts/s",
        kernel.version(),
        report.seconds,
        report.boot_seconds,
        report.mounts_per_second()
    );
    ensure!(report.log.is_empty(), "the kernel complains about itself: {:#?}", report.log);
    for result in &report.results {
        let (name, phase, outcome) = (&result.name, result.phase, &result.outcome);
        let wrong = || {
            format!("{name} {phase}: {outcome:?}\n{}\nexpected:\n{}", result.listing.join("\n"), listing::text(&full))
        };
        ensure!(is_expected(name, outcome, &trees), wrong());
    }
    Ok(())
}

/// Prints how many states of a kind the kernel judges in a second, where each changes one or two eraseblocks.
#[test]
#[ignore = "a measurement"]
fn how_fast() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tree = folder.path().join("tree");
    make_tree(&tree)?;
    let kernel = Kernel::debian(None)?;
    for device in [NOR, LARGE, SMALL] {
        for (what, make_case) in [("ro", Case::read_only as fn(String, State) -> Case), ("rw", Case::read_write)] {
            let whole = State::from_image(device, &make_image(&tree, device)?)?.with_cleanmarkers();
            let mut job = Job::new(device);
            job.cases.extend((0..300).map(|cut| make_case(format!("cut-{cut}"), torn(&whole, cut))));
            let report = kernel.run(&job)?;
            let (boot, speed) = (report.boot_seconds, report.mounts_per_second());
            println!(
                "{device:?} {what}: boot {boot:.1} s, {speed:.0} mounts/s, {:.1} s in all ({})",
                report.seconds, report.spent
            );
            ensure!(report.log.is_empty(), "the kernel complains about itself: {:#?}", report.log);
        }
    }
    Ok(())
}

/// The state with one eraseblock that ends early.
fn torn(whole: &State, cut: usize) -> State {
    let index = cut as u32 % 4;
    let mut block = whole.block(index).cloned().unwrap_or_default();
    block.data.truncate(block.data.len() * cut / 300);
    whole.with(index, block)
}

/// The digests of the two trees there are.
struct Trees {
    full: String,
    empty: String,
}

/// The end of a case's name tells what must come of it.
fn is_expected(name: &str, outcome: &Outcome, trees: &Trees) -> bool {
    let errors = |text: &str| matches!(outcome, Outcome::Error(error) if error.contains(text));
    match name.rsplit('-').next() {
        Some("full") => outcome.is(&trees.full),
        Some("empty") => outcome.is(&trees.empty),
        Some("garbage") => errors("mount: EIO"),
        _ => false,
    }
}

fn nor_job(image: &[u8], trees: &Trees) -> Result<Job> {
    let mut job = Job::new(NOR);
    let blank = State::erased(NOR);
    let full = State::from_image(NOR, image)?;
    let garbage = State::from_image(NOR, &vec![0x5a; image.len()])?;
    job.cases.extend([
        Case::read_only("nor-blank-empty", blank.clone()),
        Case::read_only("nor-full", full.clone()),
        Case::read_write("nor-garbage", garbage),
        Case::read_write("nor-written-full", full.clone()),
        Case::read_only("nor-again-full", full),
        Case::read_write("nor-blank-written-empty", blank),
    ]);
    Ok(listed(job, trees))
}

fn nand_job(kind: &str, device: Device, image: &[u8], trees: &Trees) -> Result<Job> {
    let named = |name: &str| format!("{kind}-{name}");
    let mut job = Job::new(device);
    let blank = State::erased(device);
    let full = State::from_image(device, image)?;
    let marked = full.with_cleanmarkers();
    let bad = marked.with(device.blocks() - 1, Block::bad());
    let unreadable = marked.with(0, Block { unreadable: vec![0], ..full.block(0).context("no block")?.clone() });
    job.cases.extend([
        Case::read_only(named("blank-empty"), blank.clone()),
        Case::read_only(named("unmarked-full"), full),
        Case::read_only(named("marked-full"), marked.clone()),
        Case::read_only(named("unreadable-full"), unreadable),
        Case::read_write(named("bad-block-full"), bad),
        Case::read_write(named("garbage"), State::from_image(device, &vec![0x5a; image.len()])?),
        Case::read_write(named("written-full"), marked),
        Case::read_write(named("blank-written-empty"), blank.with_cleanmarkers()),
    ]);
    Ok(listed(job, trees))
}

fn listed(mut job: Job, trees: &Trees) -> Job {
    let known = [trees.full.clone(), trees.empty.clone()];
    job.cases = job.cases.into_iter().map(|case| case.listed_unless(&known)).collect();
    job
}

/// A small tree with a bit of everything that needs no privileges.
fn make_tree(tree: &Path) -> Result<()> {
    fs::create_dir_all(tree.join("etc/deep/er"))?;
    fs::create_dir(tree.join("etc-not"))?;
    fs::write(tree.join("etc/empty"), b"")?;
    fs::write(tree.join("etc/hello"), b"hello\n")?;
    fs::write(tree.join("etc/deep/er/zeros"), vec![0; 20_000])?;
    fs::write(tree.join("big"), noise(300_000))?;
    fs::write(tree.join("a|b\\c\u{e9}"), b"a name that needs escapes")?;
    fs::set_permissions(tree.join("etc/hello"), fs::Permissions::from_mode(0o4711))?;
    fs::hard_link(tree.join("etc/hello"), tree.join("etc/deep/hello"))?;
    symlink("../big", tree.join("etc/link"))?;
    Ok(())
}

/// Bytes that don't compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// What the kernel will show of the tree's image.
fn host_listing(tree: &Path) -> Result<Vec<Entry>> {
    let mut entries = listing::walk(tree)?;
    listing::count_links_as_jffs2(&mut entries);
    for root in entries.iter_mut().filter(|entry| entry.path == b".") {
        *root = mkfs_root(root.nlink - Entry::directory_links(b".", 0));
    }
    Ok(entries)
}

/// mkfs.jffs2 writes no inode for the root; this is what the kernel makes up.
fn mkfs_root(subdirectories: u64) -> Entry {
    Entry {
        path: b".".to_vec(),
        mode: DIRECTORY | 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 0,
        nlink: Entry::directory_links(b".", subdirectories),
        rdev: (0, 0),
        sha256: None,
        target: Vec::new(),
    }
}

fn make_image(tree: &Path, device: Device) -> Result<Vec<u8>> {
    let image = tree.with_extension("jffs2");
    let mut command = Command::new("mkfs.jffs2");
    command.args(["-l", "-p", "-e", &format!("{}KiB", device.block_size() / 1024)]);
    if device.page_size().is_some() {
        command.arg("-n");
    }
    command.arg("-r").arg(tree).arg("-o").arg(&image);
    let status = command.status().context("mkfs.jffs2; on Debian: apt-get install mtd-utils")?;
    ensure!(status.success(), "mkfs.jffs2 failed");
    Ok(fs::read(image)?)
}
