//! A little work in a mounted file system, all of which is undone: the tree must be the same afterwards.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use kernel_guest::listing::Entry;

/// How much to write: files of so many bytes, so many times.
pub(crate) struct Amount {
    pub(crate) file: usize,
    pub(crate) times: u32,
}

/// How many of the files there are at a time; the oldest makes room for the next.
const FILES: u32 = 3;
/// After so many files it says that it is still at work: silence is taken for a hang, and on a busy machine this takes long.
const TOLD: u32 = 8;

/// Works in the root and in its first directory, and sets their times back.
pub(crate) fn work(root: &Path, entries: &[Entry], amount: &Amount) -> Result<()> {
    let places = places(root, entries);
    let times: Vec<SystemTime> =
        places.iter().map(|place| Ok(fs::metadata(place)?.modified()?)).collect::<Result<_>>()?;
    let outcome = places.iter().try_for_each(|place| work_in(place)).and_then(|()| churn(root, amount));
    for (place, time) in places.iter().zip(times) {
        clear(place);
        let directory = File::open(place).context("open a directory")?;
        directory.set_times(FileTimes::new().set_modified(time)).context("set a directory's time back")?;
    }
    outcome
}

fn places(root: &Path, entries: &[Entry]) -> Vec<PathBuf> {
    let depth = |entry: &Entry| entry.path.iter().filter(|&&byte| byte == b'/').count();
    let first = entries.iter().find(|entry| entry.is_directory() && depth(entry) == 1);
    let first = first.map(|entry| root.join(OsString::from_vec(entry.path.clone())));
    [Some(root.to_owned()), first].into_iter().flatten().collect()
}

fn work_in(place: &Path) -> Result<()> {
    let name = |suffix: &str| place.join(format!(".judge-{suffix}"));
    let (one, two, directory) = (name("1"), name("2"), name("dir"));
    write_and_rename(&one, &two)?;
    links(&two, &directory)?;
    fs::rename(&two, directory.join("moved")).context("move into a directory")?;
    fs::remove_file(directory.join("moved")).context("unlink")?;
    fs::remove_dir(&directory).context("rmdir")
}

/// Creates a file, replaces another one by it, appends to it.
fn write_and_rename(one: &Path, two: &Path) -> Result<()> {
    fs::write(two, b"to be replaced").context("create")?;
    fs::write(one, b"hello").context("create")?;
    fs::rename(one, two).context("rename")?;
    let mut file = OpenOptions::new().append(true).open(two).context("open")?;
    file.write_all(b", flash").context("append")?;
    file.sync_all().context("fsync")?;
    let content = fs::read(two).context("read back")?;
    ensure!(content == b"hello, flash", "read back something else");
    Ok(())
}

/// Makes a directory with a hard link and a symbolic link in it, and removes the links.
fn links(file: &Path, directory: &Path) -> Result<()> {
    fs::create_dir(directory).context("mkdir")?;
    let (hard, soft) = (directory.join("hard"), directory.join("soft"));
    fs::hard_link(file, &hard).context("link")?;
    symlink("../nowhere", &soft).context("symlink")?;
    fs::remove_file(&hard).context("unlink")?;
    fs::remove_file(&soft).context("unlink")
}

/// Writes and removes files again and again, so that eraseblocks fill up with what is obsolete among what is not.
fn churn(root: &Path, amount: &Amount) -> Result<()> {
    let file = |turn: u32| root.join(format!(".judge-churn{}", turn % FILES));
    let mut seed = 1;
    for turn in 0..amount.times {
        if turn % TOLD == TOLD - 1 {
            println!("WRITING {turn} of {}", amount.times);
        }
        if turn >= FILES {
            fs::remove_file(file(turn)).context("unlink")?;
        }
        fs::write(file(turn), noise(&mut seed, amount.file)).context("write")?;
    }
    (0..FILES).try_for_each(|turn| fs::remove_file(file(turn)).context("unlink"))
}

/// Bytes that no compressor makes smaller.
fn noise(seed: &mut u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Removes what work that failed has left; what can't be removed shows up in the walk after the remount.
fn clear(place: &Path) {
    for name in ["1", "2", "churn0", "churn1", "churn2", "dir"] {
        let path = place.join(format!(".judge-{name}"));
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}
