//! `mount`: the tree of an image as a read-only file system of the host, through FUSE.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{SigSet, Signal};

use crate::failure::{Exit, Failure, note};
use crate::image::{Image, ImageArgs};
use crate::show;

mod view;

use view::View;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Directory to mount on: empty.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Let other users in; permissions count then.
    #[arg(long)]
    allow_other: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let _updates_wait = hold(args.image.path())?;
    let image = Image::open(&args.image)?;
    let dir = check(&args.dir).map_err(|failure| failure.about(args.dir.display()))?;
    // Before any thread starts: they inherit it, and the one that waits for the signals gets them.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().map_err(|errno| Failure::new(Exit::Io, errno))?;
    // Open files refer to it as long as the process lives.
    let view = View::new(Box::leak(Box::new(image)));
    let failed = |error| cannot_mount(error).about(args.dir.display());
    let mut session = Session::new(view, &dir, &config(args)).map_err(failed)?;
    let unmounter = session.unmount_callable();
    let asked = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&asked);
    thread::spawn(move || unmount_at(signals, &told, unmounter, &dir));
    note(&format!("mounted on {}, until Ctrl-C or fusermount3 -u", args.dir.display()));
    match session.run() {
        // The last answers may find the file system gone.
        Err(error) if !asked.load(Ordering::SeqCst) => Err(failed(error)),
        _ => Ok(Exit::Done),
    }
}

/// Keeps updates away as long as the file is open: what was indexed must stay.
fn hold(image: &Path) -> Result<Option<File>, Failure> {
    // Anything else is refused later; opening a pipe would wait for ever.
    let Some(file) = image.is_file().then(|| File::open(image).ok()).flatten() else { return Ok(None) };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(Failure::new(Exit::Busy, "in use by an update").about(image.display())),
        // Without locks nobody updates: that needs one.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// The directory's own path, if something can be mounted on it.
fn check(dir: &Path) -> Result<PathBuf, Failure> {
    let io_failure = |error: io::Error| Failure::new(Exit::Io, error);
    if fs::read_dir(dir).map_err(io_failure)?.next().is_some() {
        return Err(Failure::new(Exit::Usage, "directory is not empty"));
    }
    if !Path::new("/dev/fuse").exists() {
        return Err(Failure::new(Exit::Io, "cannot mount: /dev/fuse is missing (as root: modprobe fuse)"));
    }
    dir.canonicalize().map_err(io_failure)
}

fn cannot_mount(error: io::Error) -> Failure {
    let text = match error.kind() {
        ErrorKind::NotFound => "fusermount3 is missing: install fuse3".into(),
        _ => error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    Failure::new(Exit::Io, format!("cannot mount: {text}"))
}

fn config(args: &Args) -> Config {
    // A comma would start the next option.
    let source = show::text(args.image.path().as_os_str().as_encoded_bytes()).replace(',', "\\x2c");
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoDev,
        MountOption::NoSuid,
        MountOption::FSName(source),
        MountOption::Subtype("jffs2-tx".into()),
    ];
    if args.allow_other {
        config.acl = SessionACL::All;
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    config
}

/// Waits for a signal and unmounts; while somebody is still in there, as soon as nobody is. A second signal kills.
fn unmount_at(signals: SigSet, asked: &AtomicBool, mut unmounter: SessionUnmounter, dir: &Path) {
    if signals.wait().is_ok() {
        asked.store(true, Ordering::SeqCst);
        if unmounter.unmount().is_err() {
            note("still in use: to be unmounted when no longer");
            // It can only have been unmounted meanwhile.
            let _ = umount2(dir, MntFlags::MNT_DETACH);
        }
        let _ = signals.thread_unblock();
    }
}
