//! Where an image goes: whole, or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::TempPath;

/// What temporary names begin with.
const PREFIX: &str = ".jffs2-mkimage-";
/// Permissions of images, but for the umask.
const MODE: u32 = 0o666;
/// Where Linux shows the files that the program has open.
const OPEN_FILES: &str = "/proc/self/fd";

/// What has to hold of a written file before it gets its name.
pub(crate) type Check<'a> = Option<&'a mut dyn FnMut(&File) -> Result<()>>;

/// Writes an image to `path`: `-` is standard output; a file appears, or is replaced, when it is complete, checked and on
/// its disk; a device is written to.
pub(crate) fn write<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<T>, check: Check<'_>) -> Result<T> {
    if path == Path::new("-") {
        if let Some(check) = check {
            return write_checked(write, check);
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let written = write(&mut out)?;
        out.flush().context("standard output")?;
        return Ok(written);
    }
    // A symlink stays, what it leads to is replaced.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let shown = || path.display().to_string();
    match fs::metadata(&real) {
        Ok(there) if !there.is_file() => {
            ensure!(check.is_none(), "{}: --verify reads files back, no devices: write a file first", shown());
            let mut out = File::options().write(true).open(&real).with_context(shown)?;
            write(&mut out)
        }
        _ => replace(&real, shown, write, check),
    }
}

/// Writes a temporary file, and copies it to standard output when it has been checked.
fn write_checked<T>(
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
    check: &mut dyn FnMut(&File) -> Result<()>,
) -> Result<T> {
    let mut file = tempfile::tempfile().context("a temporary file")?;
    let written = write(&mut file)?;
    check(&file)?;
    file.rewind().context("a temporary file")?;
    let mut out = io::stdout().lock();
    io::copy(&mut file, &mut out).and_then(|_| out.flush()).context("standard output")?;
    Ok(written)
}

/// Writes a file that gets its name when it is complete.
fn replace<T>(
    path: &Path,
    shown: impl Fn() -> String,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
    check: Check<'_>,
) -> Result<T> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mut file, name) = unfinished(folder).with_context(&shown)?;
    let written = write(&mut file)?;
    file.sync_all().with_context(&shown)?;
    check.map_or(Ok(()), |check| check(&file)).with_context(&shown)?;
    let name = name.map_or_else(|| link(&file, folder), Ok).with_context(&shown)?;
    name.persist(path).map_err(|error| error.error).with_context(&shown)?;
    Ok(written)
}

/// A file to write to. It has no name where the host knows such files: nothing stays of it if the program is killed.
fn unfinished(folder: &Path) -> io::Result<(File, Option<TempPath>)> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::from_raw_mode(MODE)) {
        Ok(file) if Path::new(OPEN_FILES).is_dir() => Ok((file.into(), None)),
        Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let permissions = Permissions::from_mode(MODE);
            let named = tempfile::Builder::new().prefix(PREFIX).permissions(permissions).tempfile_in(folder)?;
            let (file, name) = named.into_parts();
            Ok((file, Some(name)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a file without a name one in `folder`, to be renamed: a link cannot replace the image that is there.
fn link(file: &File, folder: &Path) -> io::Result<TempPath> {
    let open = format!("{OPEN_FILES}/{}", file.as_raw_fd());
    let link = |name: &Path| Ok(rustix::fs::linkat(CWD, &open, CWD, name, AtFlags::SYMLINK_FOLLOW)?);
    Ok(tempfile::Builder::new().prefix(PREFIX).make_in(folder, link)?.into_temp_path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn an_image_has_its_name_when_it_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("img");
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let image = |out: &mut dyn Write| Ok(out.write_all(b"image")?);
        for before in [None, Some("old")] {
            if let Some(old) = before {
                fs::write(&path, old).unwrap();
            }
            let there = || fs::read_to_string(&path).ok();
            let mut check = |file: &File| {
                assert_eq!((file.metadata()?.len(), there().as_deref()), (5, before));
                bail!("it is wrong")
            };
            let error = write(&path, image, Some(&mut check)).unwrap_err();
            assert_eq!(format!("{error:#}"), format!("{}: it is wrong", path.display()));
            assert_eq!((there().as_deref(), names()), (before, usize::from(before.is_some())));
        }
        write(&path, image, Some(&mut |_| Ok(()))).unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"image".to_vec(), 1));
    }
}
