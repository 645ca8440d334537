//! The disk with the job.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use kernel_guest::script::{BlockStep, Header, SECTOR, Step};

/// The job's disk, open for reading.
pub(crate) struct Disk {
    file: File,
    header: Header,
}

impl Disk {
    pub(crate) fn open() -> Result<Self> {
        let file = File::open("/dev/vda").context("disk with the job")?;
        let mut sector = [0; SECTOR as usize];
        file.read_exact_at(&mut sector, 0).context("read the job's header")?;
        let header = String::from_utf8_lossy(&sector).parse()?;
        Ok(Self { file, header })
    }

    /// Whether the kernel's log is wanted.
    pub(crate) fn wants_log(&self) -> bool {
        self.header.log
    }

    /// All steps of the job.
    pub(crate) fn steps(&self) -> Result<Vec<Step>> {
        let mut script = vec![0; usize::try_from(self.header.script_len)?];
        self.file.read_exact_at(&mut script, SECTOR).context("read the script")?;
        let text = String::from_utf8(script)?;
        text.lines().map(|line| Ok(line.parse()?)).collect()
    }

    /// The bytes of a block.
    pub(crate) fn content(&self, block: &BlockStep) -> Result<Vec<u8>> {
        let mut bytes = vec![0; block.len as usize];
        self.file.read_exact_at(&mut bytes, block.offset).context("read a block from the disk")?;
        Ok(bytes)
    }
}
