//! A kernel out of a Debian package, unpacked but not installed.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::bzimage;
use super::guest::target_folder;
use super::modules::Modules;

/// What is kept of a package.
pub(super) struct KernelFiles {
    pub(super) image: PathBuf,
    pub(super) modules: Modules,
}

impl KernelFiles {
    fn in_folder(folder: &Path) -> Self {
        Self { image: folder.join("kernel"), modules: Modules::in_folder(folder.join("modules")) }
    }
}

/// The package that stands behind `linux-image-amd64`.
pub(super) fn default_package() -> Result<String, Error> {
    const META: &str = "linux-image-amd64";
    let text = output(Command::new("apt-cache").args(["depends", "--important", META]), "apt-cache", "apt")?;
    let text = String::from_utf8_lossy(&text);
    let needed = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let package = needed.into_iter().find(|name| name.starts_with("linux-image-"));
    package.map(str::to_owned).ok_or_else(|| Error::NoPackage(META.to_owned()))
}

/// The newest package of a series, such as `6.12`, that is for any machine.
pub(super) fn newest_package(series: &str) -> Result<String, Error> {
    let start = format!("linux-image-{series}.");
    let text = output(Command::new("apt-cache").args(["pkgnames", &start]), "apt-cache", "apt")?;
    let text = String::from_utf8_lossy(&text);
    // Names such as linux-image-6.12.117+deb12-amd64; others have one word more, such as cloud, rt or unsigned.
    let version = |name: &str| -> Option<Vec<u32>> {
        let numbers = name.strip_prefix(&start)?.strip_suffix("-amd64").filter(|numbers| !numbers.contains('-'))?;
        Some(numbers.split(|char: char| !char.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect())
    };
    let newest = text.lines().filter_map(|name| Some((version(name)?, name))).max();
    newest.map(|(_, name)| name.to_owned()).ok_or_else(|| Error::NoPackage(format!("{start}*")))
}

/// The kernel of a package: from the cache, else from Debian.
pub(super) fn fetch(package: &str) -> Result<KernelFiles, Error> {
    let cache = target_folder()?.join("kernel");
    let folder = cache.join(package.trim_start_matches("linux-image-"));
    let files = KernelFiles::in_folder(&folder);
    if !files.modules.are_complete() {
        fs::create_dir_all(&cache).map_err(Error::file(&cache))?;
        let work = tempfile::tempdir_in(&cache).map_err(Error::file(&cache))?;
        let kept = work.path().join("kept");
        unpack(package, work.path(), &kept)?;
        put_in_place(&kept, &folder, &work.path().join("old"))?;
    }
    Ok(files)
}

/// Downloads and unpacks the package in `work`, and keeps what is needed in `kept`.
fn unpack(package: &str, work: &Path, kept: &Path) -> Result<(), Error> {
    download(package, work)?;
    let archive = find(work, |name| name.ends_with(".deb")).ok_or_else(|| Error::NoPackage(package.to_owned()))?;
    let tree = work.join("tree");
    output(Command::new("dpkg").arg("-x").args([&archive, &tree]), "dpkg", "dpkg")?;
    // Where /lib is a link to /usr/lib, packages of late put their files behind the link.
    let modules = [tree.join("lib/modules"), tree.join("usr/lib/modules")].into_iter().find(|folder| folder.is_dir());
    Modules::collect(&modules.unwrap_or(tree.clone()), kept.join("modules"))?;
    let boot = tree.join("boot");
    let image = find(&boot, |name| name.starts_with("vmlinuz-")).ok_or(Error::NoImage(boot))?;
    bzimage::write_kernel(&image, work, &kept.join("kernel"))
}

fn download(package: &str, folder: &Path) -> Result<(), Error> {
    let mut command = Command::new("apt-get");
    // As root, apt would rather download as another user, who may not write here.
    command.args(["-q", "-o", "APT::Sandbox::User=root", "download", package]).current_dir(folder);
    match output(&mut command, "apt-get", "apt") {
        Err(Error::Failed { message, .. }) if message.contains("Unable to locate") => {
            Err(Error::NoPackage(package.to_owned()))
        }
        other => other.map(drop),
    }
}

fn find(folder: &Path, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let items = fs::read_dir(folder).ok()?.flatten().map(|item| item.path());
    items.into_iter().find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted))
}

/// Renames the finished folder, so that no one ever sees half of it; another process may have been faster.
fn put_in_place(kept: &Path, folder: &Path, old: &Path) -> Result<(), Error> {
    // There is none, mostly.
    let _ = fs::rename(folder, old);
    match fs::rename(kept, folder) {
        Err(error) if !folder.is_dir() => Err(Error::file(folder)(error)),
        _ => Ok(()),
    }
}

/// What a program prints.
pub(super) fn output(command: &mut Command, program: &'static str, package: &'static str) -> Result<Vec<u8>, Error> {
    let outcome = command.output();
    let failed = |message| Error::Failed { program: format!("{command:?}"), message };
    match outcome {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Missing { program, package }),
        Err(error) => Err(failed(error.to_string())),
    }
}
