//! What all readers see of a state, and what of it must not be.

use jffs2_tx::wire::CommitPoint;

use super::allowance::{Allowance, Allowances};
use crate::firmware::Firmware;
use crate::harness::Sight;
use crate::reader::ByReader;
use crate::verdict::Verdict;

/// What all readers see of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// By the library's reader.
    pub library: ByReader<Verdict>,
    /// By each firmware that mounts the flash before the update, in the order of [`Firmware::ALL`].
    pub firmware: Vec<FirmwareSeen>,
}

/// What a firmware sees of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareSeen {
    /// Which.
    pub firmware: Firmware,
    /// The whole tree.
    pub tree: Verdict,
    /// The kernel image, loaded whole; `None` if the update has none, or none that the firmware can load, or if the
    /// mount fails.
    pub kernel: Option<Verdict>,
    /// What must be allowed for that.
    pub allowances: Allowances,
}

impl Seen {
    /// What was allowed, for all firmware.
    #[must_use]
    pub fn allowances(&self) -> Allowances {
        self.firmware.iter().fold(Allowances::default(), |all, seen| all.with(seen.allowances))
    }

    /// Each reader's verdict on the tree, with what to call the reader.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        self.library.named().chain(self.firmware.iter().map(|seen| (seen.firmware.name(), &seen.tree)))
    }

    /// Whether each of [`named`](Self::named) believes summaries.
    pub(super) fn knowing_summaries(&self) -> Vec<bool> {
        let library = ByReader { with_summaries: true, without_summaries: false };
        let firmware = self.firmware.iter().map(|seen| seen.firmware.knows_summaries());
        library.named().map(|(_, knows)| *knows).chain(firmware).collect()
    }

    /// Whether every reader sees the old tree or the new one, whole, kernel included, and all the same one; only a
    /// *summary* commit may show it to those alone who know summaries.
    ///
    /// # Errors
    /// What must not be.
    pub fn fine(&self, point: CommitPoint) -> Result<(), Verdict> {
        self.firmware_agrees()?;
        let ByReader { with_summaries, without_summaries } = &self.library;
        if Self::may_differ(point, with_summaries, without_summaries) {
            return Ok(());
        }
        Err(Verdict::Mixed(format!("readers see different trees: {}", self.listed())))
    }

    /// Whether recovery has left the tree alone; barebox must mount after it, unless a *dirent* commits.
    ///
    /// # Errors
    /// What has changed.
    pub fn kept_by_recovery(before: &Self, after: &Self, point: CommitPoint) -> Result<(), Verdict> {
        after.firmware_agrees()?;
        let mounts = point == CommitPoint::Dirent || !after.allowances().contains(Allowance::BareboxUnreadable);
        if before.library == after.library && mounts {
            return Ok(());
        }
        Err(Verdict::Mixed(format!("recovery changed the tree: {} before, {} after", before.listed(), after.listed())))
    }

    /// Whether the library's readers see a tree, and all firmware sees the same one as the library does by its rules.
    fn firmware_agrees(&self) -> Result<(), Verdict> {
        for (reader, verdict) in self.library.named() {
            fine(reader, verdict)?;
        }
        self.firmware.iter().try_for_each(|seen| seen.agrees_with(self.library.of(seen.firmware)))
    }

    /// Whether readers with and without summaries may see this under way.
    pub(crate) fn may_differ(point: CommitPoint, with_summaries: &Verdict, without_summaries: &Verdict) -> bool {
        match point {
            CommitPoint::Summary => *without_summaries != Verdict::New,
            CommitPoint::Dirent | CommitPoint::Head => with_summaries == without_summaries,
        }
    }

    /// For the harness: the library's readers first, with summaries before without; a kernel where it is not the tree's.
    pub(crate) fn sight(&self) -> Sight {
        let verdict = self.firmware_agrees().err().unwrap_or_else(|| self.library.with_summaries.clone());
        let readers = self.named().map(|(reader, verdict)| (reader, verdict.clone())).collect();
        Sight { verdict, readers, allowed: self.allowances().iter().map(Allowance::name).collect() }
    }

    /// Each reader's verdict, in words.
    #[must_use]
    pub fn listed(&self) -> String {
        let trees = self.named().map(|(reader, verdict)| format!("{reader} {verdict}"));
        let kernels = self.firmware.iter().filter_map(|seen| {
            let kernel = seen.kernel.as_ref().filter(|kernel| **kernel != seen.tree)?;
            Some(format!("kernel of {} {kernel}", seen.firmware.name()))
        });
        trees.chain(kernels).collect::<Vec<_>>().join(", ")
    }
}

impl FirmwareSeen {
    /// Whether it sees the same tree as the library, and that tree's kernel.
    fn agrees_with(&self, library: &Verdict) -> Result<(), Verdict> {
        let name = self.firmware.name();
        if self.is_unmounted() {
            return Ok(());
        }
        let torn = self.allowances.contains(Allowance::OpenFirmwareTornDirent);
        if !torn {
            fine(name, &self.tree)?;
        }
        let stale = self.allowances.contains(Allowance::UBootStalePage);
        if self.tree != *library && !torn && !stale {
            return Err(Verdict::Mixed(format!("{name} sees the {} tree, the library the {library} one", self.tree)));
        }
        let tree = if self.tree.is_fine() { &self.tree } else { library };
        match &self.kernel {
            Some(kernel) if kernel != tree => {
                fine(&format!("{name}, kernel"), kernel)?;
                Err(Verdict::Mixed(format!("{name} loads the {kernel} kernel beside the {tree} tree")))
            }
            _ => Ok(()),
        }
    }

    /// barebox before recovery.
    fn is_unmounted(&self) -> bool {
        self.allowances.contains(Allowance::BareboxUnreadable)
    }
}

fn fine(reader: &str, verdict: &Verdict) -> Result<(), Verdict> {
    if verdict.is_fine() { Ok(()) } else { Err(verdict.clone().about(reader)) }
}
