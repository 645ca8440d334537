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
//! # What it needs
//!
//! A Debian or Ubuntu machine, and `apt-get install qemu-system-x86 xz-utils zstd`. The kernel's package is fetched once with
//! `apt-get download`, not installed, and kept under `target/kernel`.
//!
//! # One case by hand
//!
//! These environment variables change every run:
//!
//! - `KERNEL_CASE=name` keeps only the case of that name. Tests go through the results, so those of other cases don't
//!   get missed;
//! - `KERNEL_LOG=1` prints the console while it grows, with all that the kernel says about each case;
//! - `KERNEL_PACKAGE=linux-image-...` takes another kernel where a test asks for the default one.
//!
//! ```sh
//! KERNEL_CASE=garbage KERNEL_LOG=1 cargo test -p jffs2-tx-tests --test kernel_stock -- --nocapture
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
mod qemu;
mod report;
mod state;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

pub use chip::States;
pub use error::Error;
pub use job::{Case, Device, Job};
pub use kernel_guest::script::{Age, Compressor, Listing, Mode, Phase};
pub use report::{CaseResult, Outcome, Report};
pub use state::{Block, NAND_CLEANMARKER, State};

/// A kernel ready to boot, with the modules and the first process it needs.
#[derive(Debug, Clone)]
pub struct Kernel {
    version: String,
    image: PathBuf,
    initramfs: Vec<u8>,
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
            image: files.image,
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
            disks: &disks,
            memory_mib: self.memory_mib,
            patience: self.patience,
            echo: log,
        };
        let report = report::parse(machine.run()?)?;
        Ok(Report { dumps: disks.dumps()?, ..report })
    }
}
