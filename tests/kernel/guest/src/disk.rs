//! The disk with the job.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use kernel_guest::scenario::Line;
use kernel_guest::script::{Header, SECTOR, ScriptKind, Step};

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

    /// What the job's script is made of.
    pub(crate) fn kind(&self) -> ScriptKind {
        self.header.kind
    }

    /// All steps of the job.
    pub(crate) fn steps(&self) -> Result<Vec<Step>> {
        self.script()?.lines().map(|line| Ok(line.parse()?)).collect()
    }

    /// All lines of the scenarios.
    pub(crate) fn lines(&self) -> Result<Vec<Line>> {
        self.script()?.lines().map(|line| Ok(line.parse()?)).collect()
    }

    fn script(&self) -> Result<String> {
        let mut script = vec![0; usize::try_from(self.header.script_len)?];
        self.file.read_exact_at(&mut script, self.header.script_start).context("read the script")?;
        Ok(String::from_utf8(script)?)
    }

    /// Bytes that a step speaks of.
    pub(crate) fn content(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len)?];
        self.file.read_exact_at(&mut bytes, offset).context("read from the disk with the job")?;
        Ok(bytes)
    }
}
