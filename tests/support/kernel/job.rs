//! What the kernel is to judge.

use std::collections::HashSet;

use kernel_guest::script::{Age, Alternate, DeviceStep, Listing, Mode};

use super::{Error, State};

/// A flash that the kernel simulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// NOR flash or RAM (`mtdram`).
    Nor {
        /// Bytes in an eraseblock, a multiple of 1024.
        block_size: u32,
        /// Number of eraseblocks.
        blocks: u32,
    },
    /// The first blocks of a NAND chip with pages of 2048 bytes in eraseblocks of 128 KiB (`nandsim`).
    NandLargePage {
        /// Number of eraseblocks, at most 1024.
        blocks: u32,
    },
    /// The first blocks of a NAND chip with pages of 512 bytes in eraseblocks of 16 KiB (`nandsim`).
    NandSmallPage {
        /// Number of eraseblocks, at most 1024.
        blocks: u32,
    },
}

impl Device {
    /// Number of eraseblocks.
    pub fn blocks(self) -> u32 {
        match self {
            Self::Nor { blocks, .. } | Self::NandLargePage { blocks } | Self::NandSmallPage { blocks } => blocks,
        }
    }

    /// Bytes in an eraseblock.
    pub fn block_size(self) -> u32 {
        match self {
            Self::Nor { block_size, .. } => block_size,
            Self::NandLargePage { .. } => 128 * 1024,
            Self::NandSmallPage { .. } => 16 * 1024,
        }
    }

    /// Bytes in a page; none on NOR.
    pub fn page_size(self) -> Option<u32> {
        match self {
            Self::Nor { .. } => None,
            Self::NandLargePage { .. } => Some(2048),
            Self::NandSmallPage { .. } => Some(512),
        }
    }

    pub(super) fn step(self) -> DeviceStep {
        let (module, parameters) = match self {
            Self::Nor { block_size, blocks } => ("mtdram", mtdram_parameters(block_size, blocks)),
            Self::NandLargePage { blocks } => ("nandsim", nandsim_parameters(&[0x20, 0xa1, 0x00, 0x15], blocks)),
            Self::NandSmallPage { blocks } => ("nandsim", nandsim_parameters(&[0x20, 0x35], blocks)),
        };
        DeviceStep {
            module: module.to_owned(),
            blocks: self.blocks(),
            block_size: self.block_size(),
            page_size: self.page_size().unwrap_or(self.block_size()),
            parameters,
        }
    }
}

fn mtdram_parameters(block_size: u32, blocks: u32) -> Vec<String> {
    let total_kib = u64::from(block_size / 1024) * u64::from(blocks);
    vec![format!("total_size={total_kib}"), format!("erase_size={}", block_size / 1024)]
}

/// A chip is known by its first bytes; of its blocks, the first partition is ours.
fn nandsim_parameters(id: &[u8], blocks: u32) -> Vec<String> {
    let names = ["first_id_byte", "second_id_byte", "third_id_byte", "fourth_id_byte"];
    let bytes = names.iter().zip(id).map(|(name, byte)| format!("{name}={byte:#04x}"));
    bytes.chain([format!("parts={blocks}")]).collect()
}

/// One state to judge.
#[derive(Debug, Clone)]
pub struct Case {
    /// A word to know it by; no other case of the run may have it.
    pub name: String,
    /// How it is judged.
    pub mode: Mode,
    /// What the flash holds.
    pub state: State,
    /// When the result shall have all lines of the tree, not its digest only.
    pub listing: Listing,
    /// Whether the report shall have what the flash holds after the case.
    pub dump: bool,
}

impl Case {
    /// A case that is mounted read-only: [`super::Phase::ReadOnly`].
    pub fn read_only(name: impl Into<String>, state: State) -> Self {
        Self { name: name.into(), mode: Mode::ReadOnly, state, listing: Listing::Never, dump: false }
    }

    /// A case that is mounted for writing and worked in, then mounted read-only: [`super::Phase::ReadWrite`], then
    /// [`super::Phase::Remount`]. The tree must be the same in both.
    pub fn read_write(name: impl Into<String>, state: State) -> Self {
        Self { mode: Mode::ReadWrite, ..Self::read_only(name, state) }
    }

    /// Like [`Case::read_write`], but the kernel writes twice what the flash can hold.
    pub fn heavy(name: impl Into<String>, state: State) -> Self {
        Self { mode: Mode::Heavy, ..Self::read_only(name, state) }
    }

    /// A case in which a file system grows old. There is a [`super::Phase::ReadOnly`] for it and for each copy taken on
    /// the way, under [`Age::cut_name`]; all of them are dumped, and listed as a [`crate::manifest`].
    pub fn age(name: impl Into<String>, state: State, age: Age) -> Self {
        Self { mode: Mode::Age(age), dump: true, ..Self::read_only(name, state) }
    }

    /// A case in which the kernel and the library write in turns, from this state on; [`super::Phase::ReadOnly`] has the
    /// last tree, or the first difference.
    pub fn alternate(name: impl Into<String>, state: State, seed: u32, rounds: u32) -> Self {
        Self { mode: Mode::Alternate(Alternate { seed, rounds }), ..Self::read_only(name, state) }
    }

    /// What the flashes are called that the report shall have.
    pub(super) fn dumped_names(&self) -> Vec<String> {
        let cuts = if let Mode::Age(age) = self.mode { age.cuts } else { 0 };
        let own = self.dump.then(|| self.name.clone());
        own.into_iter().chain((1..=cuts).map(|number| Age::cut_name(&self.name, number))).collect()
    }

    /// The same case, with what the flash holds after it: [`super::Report::dumps`].
    #[must_use]
    pub fn dumped(self) -> Self {
        Self { dump: true, ..self }
    }

    /// The same case, with all lines of the tree if its digest is none of these.
    #[must_use]
    pub fn listed_unless(self, digests: &[String]) -> Self {
        Self { listing: Listing::Unless(digests.to_vec()), ..self }
    }

    /// The same case, always with all lines of the tree.
    #[must_use]
    pub fn listed(self) -> Self {
        Self { listing: Listing::Always, ..self }
    }
}

/// A device and the states to judge on it, in this order.
#[derive(Debug, Clone)]
pub struct Job {
    /// The simulated flash.
    pub device: Device,
    /// The states. It is faster if one resembles the one before.
    pub cases: Vec<Case>,
}

impl Job {
    /// A job without cases.
    pub fn new(device: Device) -> Self {
        Self { device, cases: Vec::new() }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let (device, limit) = (self.device, if self.device.page_size().is_some() { 1024 } else { u32::MAX });
        let whole_kib = device.block_size() > 0 && device.block_size().is_multiple_of(1024);
        if device.blocks() == 0 || device.blocks() > limit || !whole_kib {
            return Err(Error::Geometry(format!("{device:?} can't be simulated")));
        }
        self.cases.iter().try_for_each(|case| self.check_case(case))
    }

    fn check_case(&self, case: &Case) -> Result<(), Error> {
        if case.state.device != self.device {
            return Err(Error::Geometry(format!("case {} is not for {:?}", case.name, self.device)));
        }
        let nand = self.device.page_size().is_some();
        for (index, block) in case.state.blocks.iter().enumerate() {
            let nand_only = !block.oob.is_empty() || block.bad || !block.unreadable.is_empty();
            if block.data.len() > self.device.block_size() as usize || (nand_only && !nand) {
                return Err(Error::Geometry(format!("case {}: block {index} doesn't fit the device", case.name)));
            }
        }
        Ok(())
    }
}

/// The jobs with only the cases of that name, if one is given.
pub(super) fn selected(jobs: &[Job], only: Option<&str>) -> Vec<Job> {
    let mut jobs = jobs.to_vec();
    if let Some(only) = only {
        jobs.iter_mut().for_each(|job| job.cases.retain(|case| case.name == only));
    }
    jobs
}

/// Fails unless every name is a word and stands for one case.
pub(super) fn check_names(jobs: &[Job]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for case in jobs.iter().flat_map(|job| &job.cases) {
        let word = !case.name.is_empty() && case.name.bytes().all(|byte| byte.is_ascii_graphic());
        if !word || !seen.insert(case.name.as_str()) {
            return Err(Error::Name(case.name.clone()));
        }
    }
    Ok(())
}
