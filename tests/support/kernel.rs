//! A stock Linux kernel as the judge of flash states.
//!
//! The kernel of a Debian package boots in QEMU with nothing but a static first process (package `kernel-guest`). That
//! process gets a [`Job`]: a simulated flash and the states it shall be in, one after another. For each of them the
//! kernel mounts the flash as jffs2, and the [`Report`] says what tree it read, as the digest of a [`crate::listing`].
//!
//! ```no_run
//! use jffs2_tx_tests::kernel::{Block, Case, Device, Job, Kernel, State};
//!
//! let device = Device::Nor { block_size: 64 * 1024, blocks: 32 };
//! let image = std::fs::read("root.jffs2")?;
//! let whole = State::from_image(device, &image)?;
//! let torn = whole.with(3, Block::new(image[..1000].to_vec()));
//! let mut job = Job::new(device);
//! job.cases.push(Case::read_only("whole", whole));
//! job.cases.push(Case::read_write("torn", torn));
//! for result in Kernel::debian(None)?.run(&job)?.results {
//!     println!("{} {} {:?}", result.name, result.phase, result.outcome);
//! }
//! # anyhow::Ok(())
//! ```
//!
//! [`Scenario`]s are the other kind of job: lists of steps with devices, mounts and programs, among them the project's own
//! command line; [`Kernel::play`] plays them, and the [`Playback`] says what came of each step.
//!
//! # What it needs
//!
//! A Debian or Ubuntu machine, and `apt-get install qemu-system-x86 xz-utils zstd`. The kernel's package is fetched once with
//! `apt-get download`, not installed, and kept under `target/kernel`.
//!
//! # One case by hand
//!
//! These environment variables change every run:
//!
//! - `KERNEL_CASE=name` keeps only the case or the scenario of that name. Tests go through the results, so those of others
//!   don't get missed;
//! - `KERNEL_LOG=1` prints the console while it grows, with all that the kernel says about each case or scenario;
//! - `KERNEL_PACKAGE=linux-image-...` takes another kernel where a test asks for the default one.
//!
//! ```sh
//! KERNEL_CASE=garbage KERNEL_LOG=1 cargo test -p jffs2-tx-tests --test kernel stock:: -- --nocapture
//! ```

mod bzimage;
mod chip;
mod debian;
mod disk;
mod error;
mod guest;
mod initramfs;
mod job;
mod modules;
mod played;
mod qemu;
mod report;
mod scenario;
mod state;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

pub use chip::States;
pub use error::Error;
pub use job::{Case, Device, Job};
pub use kernel_guest::script::{Age, Compressor, Listing, Mode, Phase};
pub use played::{Exit, PlayError, Playback, Played};
pub use qemu::{Kill, ROM_ADDRESS};
pub use report::{CaseResult, Outcome, Report};
pub use scenario::{At, COMMAND_LINE, MOUNT_POINT, Scenario};
pub use state::{Block, NAND_CLEANMARKER, State};

/// What a machine has beside the disks of its job.
#[derive(Debug, Clone, Default)]
pub struct Setup<'a> {
    /// Files of the host, as the disks `/dev/vdc` and so on. What the guest's disks have taken is in the files, whatever
    /// becomes of the machine.
    pub disks: &'a [&'a Path],
    /// How many writes a second each of these disks takes, if not as many as the host can.
    pub writes_per_second: Option<u32>,
    /// A file that the guest has as memory at [`ROM_ADDRESS`], where writes do nothing.
    pub rom: Option<&'a Path>,
    /// An early end.
    pub kill: Option<Kill>,
}

/// A kernel ready to boot, with the modules and the first process it needs.
#[derive(Debug, Clone)]
pub struct Kernel {
    version: String,
    image: PathBuf,
    modules: modules::Modules,
    initramfs: Vec<u8>,
    /// The same with the project's command line.
    full_initramfs: OnceLock<Vec<u8>>,
    patience: Duration,
    memory_mib: u32,
}

impl Kernel {
    /// The kernel of a Debian package, fetched if it isn't there yet: of the one named, or of the one that
    /// `linux-image-amd64` stands for.
    pub fn debian(package: Option<&str>) -> Result<Self, Error> {
        qemu::check_installed()?;
        let package = match package {
            Some(package) => package.to_owned(),
            None => env::var("KERNEL_PACKAGE").or_else(|_| debian::default_package())?,
        };
        let files = debian::fetch(&package)?;
        let guest = guest::build()?;
        Ok(Self {
            version: package.trim_start_matches("linux-image-").to_owned(),
            initramfs: initramfs::build(&files.modules, &guest)?,
            full_initramfs: OnceLock::new(),
            image: files.image,
            modules: files.modules,
            patience: Duration::from_secs(120),
            memory_mib: 512,
        })
    }

    /// The newest kernel of a series, such as `6.12`, that Debian's package lists have here.
    pub fn debian_series(series: &str) -> Result<Self, Error> {
        Self::debian(Some(&debian::newest_package(series)?))
    }

    /// How long the guest may say nothing before it is taken for hung and ended; 120 s unless set.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The guest's memory in MiB, which must hold the flash; 512 unless set.
    #[must_use]
    pub fn with_memory(self, memory_mib: u32) -> Self {
        Self { memory_mib, ..self }
    }

    /// The kernel's version, such as `6.1.0-50-amd64`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Boots once and judges all cases of a job.
    pub fn run(&self, job: &Job) -> Result<Report, Error> {
        self.run_all(std::slice::from_ref(job))
    }

    /// Boots once and judges the cases of several jobs, one device after another. Names of cases must differ
    /// between the jobs, too.
    pub fn run_all(&self, jobs: &[Job]) -> Result<Report, Error> {
        let jobs = job::selected(jobs, env::var("KERNEL_CASE").ok().as_deref());
        if jobs.iter().all(|job| job.cases.is_empty()) {
            return Ok(Report::default());
        }
        let log = env::var_os("KERNEL_LOG").is_some_and(|value| value != "0");
        let disks = disk::write(&jobs, log)?;
        let machine = qemu::Machine {
            kernel: &self.image,
            initramfs: &self.initramfs,
            words: "",
            drives: disks.drives(),
            memory_mib: self.memory_mib,
            patience: self.patience,
            rom: None,
            echo: log,
            kill: None,
        };
        let report = report::parse(machine.run()?)?;
        Ok(Report { dumps: disks.dumps()?, ..report })
    }

    /// Boots once and plays the scenarios, one behind the other.
    pub fn play(&self, scenarios: &[Scenario]) -> Result<Playback, Error> {
        self.play_with(scenarios, &Setup::default())
    }

    /// Likewise, with more in the machine.
    pub fn play_with(&self, scenarios: &[Scenario], setup: &Setup<'_>) -> Result<Playback, Error> {
        let only = env::var("KERNEL_CASE").ok();
        let wanted = |scenario: &&Scenario| only.as_ref().is_none_or(|only| *only == scenario.name());
        let scenarios: Vec<&Scenario> = scenarios.iter().filter(wanted).collect();
        if scenarios.is_empty() {
            return Ok(Playback::default());
        }
        scenario::check_names(&scenarios)?;
        let log = env::var_os("KERNEL_LOG").is_some_and(|value| value != "0");
        let stage = scenario::Stage::build(&scenarios, log)?;
        let mut drives = stage.drives();
        let writes_per_second = setup.writes_per_second;
        drives.extend(setup.disks.iter().map(|file| qemu::Drive { file, read_only: false, writes_per_second }));
        let machine = qemu::Machine {
            kernel: &self.image,
            initramfs: self.full_initramfs()?,
            words: "",
            drives,
            memory_mib: self.memory_mib,
            patience: self.patience,
            rom: setup.rom,
            echo: log,
            kill: setup.kill.clone(),
        };
        let console = machine.run()?;
        played::parse(&console, &scenarios, stage)
    }

    /// Boots with an initramfs made elsewhere and more words on the kernel's command line. Files of the host are the disks,
    /// as for [`Kernel::play_with`]. The lines of the console.
    pub fn boot(&self, initramfs: &[u8], words: &str, disks: &[&Path]) -> Result<Vec<String>, Error> {
        let machine = qemu::Machine {
            kernel: &self.image,
            initramfs,
            words,
            drives: disks.iter().map(|file| qemu::Drive { file, read_only: false, writes_per_second: None }).collect(),
            memory_mib: self.memory_mib,
            patience: self.patience,
            rom: None,
            echo: env::var_os("KERNEL_LOG").is_some_and(|value| value != "0"),
            kill: None,
        };
        let console = machine.run()?;
        let lines: Vec<String> = console.lines.into_iter().map(|(_, line)| line).collect();
        match console.silence {
            Some(silence) => Err(Error::Silent { silence, last: "boot".to_owned(), tail: lines.join("\n") }),
            None => Ok(lines),
        }
    }

    /// The folder of the modules that the rig keeps of this kernel: `NAME.ko`, uncompressed.
    pub fn modules(&self) -> &Path {
        self.modules.folder()
    }

    fn full_initramfs(&self) -> Result<&[u8], Error> {
        if self.full_initramfs.get().is_none() {
            let full = initramfs::with_programs(self.initramfs.clone(), &guest::command_line()?);
            // Another thread may have been faster: it has the same.
            let _ = self.full_initramfs.set(full);
        }
        Ok(self.full_initramfs.get().map_or(&[], Vec::as_slice))
    }
}
