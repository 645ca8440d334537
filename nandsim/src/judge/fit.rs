//! Whether what a firmware sees is the old tree or the new one.

use super::allowance::{Allowance, Allowances};
use super::listing::{self, Listing};
use super::seen::FirmwareSeen;
use super::standard::{ByFirmware, Wanted};
use crate::firmware::{Files, Firmware, FirmwareError};
use crate::reader::ByReader;
use crate::verdict::Verdict;

/// Differences that a description lists.
const SHOWN_DIFFERENCES: usize = 4;

/// How what a firmware sees fits what it may see.
#[derive(Debug)]
pub(super) enum Fit {
    Fails(FirmwareError),
    Tree {
        /// What must be allowed for it to be the old tree, or how it differs.
        old: Result<Allowances, String>,
        new: Result<Allowances, String>,
        kernel: KernelFit,
        /// Dirents with bad CRCs are believed.
        torn_names: bool,
    },
}

/// Whether the kernel that is loaded is that of the tree; `None` if there is none to be loaded.
#[derive(Debug)]
pub(super) struct KernelFit {
    old: Option<Result<(), Verdict>>,
    new: Option<Result<(), Verdict>>,
}

impl Fit {
    pub(super) fn of(wanted: &ByFirmware, files: &Files, torn_names: bool) -> Self {
        let is = listing::by_firmware(files);
        let tree = |of: &Wanted| {
            let differences = || listing::differences(&is, &of.listing, SHOWN_DIFFERENCES).join(", ");
            wanted.allows(of, &is, torn_names).ok_or_else(differences)
        };
        let kernel = |of: &Wanted| of.kernel.as_ref().map(|kernel| kernel.is_loaded(files));
        let kernel = KernelFit { old: kernel(&wanted.old), new: kernel(&wanted.new) };
        Self::Tree { old: tree(&wanted.old), new: tree(&wanted.new), kernel, torn_names }
    }

    /// What the firmware sees, where the library's readers see `library`, and whether any page is `unreadable`.
    pub(super) fn seen(&self, firmware: Firmware, library: &ByReader<Verdict>, unreadable: bool) -> FirmwareSeen {
        let (old, new, kernel, torn_names) = match self {
            Self::Fails(error) => return failed(firmware, error),
            Self::Tree { old, new, kernel, torn_names } => (old, new, kernel, *torn_names),
        };
        let librarys = library.of(firmware);
        let (tree, mut allowances) = match (old, new) {
            // The two look alike to it: it is what the library says.
            (Ok(_), Ok(allowed)) if *librarys == Verdict::New => (Verdict::New, *allowed),
            (Ok(allowed), _) => (Verdict::Old, *allowed),
            (Err(_), Ok(allowed)) => (Verdict::New, *allowed),
            (Err(old), Err(new)) => {
                (Verdict::Mixed(format!("not old ({old}) and not new ({new})")), Allowances::default())
            }
        };
        match (&tree, librarys) {
            (Verdict::Old, Verdict::Old) if library.with_summaries == Verdict::New => {
                allowances.insert(Allowance::NoSummaries);
            }
            (Verdict::Old, Verdict::New) if unreadable && firmware.is_u_boot() => {
                allowances.insert(Allowance::UBootStalePage);
            }
            (Verdict::New, Verdict::Old) if torn_names => allowances.insert(Allowance::OpenFirmwareTornDirent),
            _ => {}
        }
        FirmwareSeen { firmware, kernel: kernel.seen(&tree), tree, allowances }
    }
}

fn failed(firmware: Firmware, error: &FirmwareError) -> FirmwareSeen {
    let by_design = (firmware, error) == (Firmware::Barebox, &FirmwareError::Unreadable);
    let allowances = by_design.then_some(Allowance::BareboxUnreadable).into_iter().collect();
    FirmwareSeen { firmware, tree: Verdict::Unreadable(error.to_string()), kernel: None, allowances }
}

impl KernelFit {
    /// The kernel must be the one of the tree.
    fn seen(&self, tree: &Verdict) -> Option<Verdict> {
        let is = |fit: &Option<Result<(), Verdict>>| matches!(fit, Some(Ok(())));
        let of_tree = if *tree == Verdict::New { &self.new } else { &self.old };
        match of_tree {
            None => None,
            Some(Ok(())) => Some(if *tree == Verdict::New { Verdict::New } else { Verdict::Old }),
            Some(Err(_)) if is(&self.new) => Some(Verdict::New),
            Some(Err(_)) if is(&self.old) => Some(Verdict::Old),
            Some(Err(wrong)) => Some(wrong.clone()),
        }
    }
}

impl ByFirmware {
    /// What must be allowed for the tree to be the one wanted; `None` if that is not enough.
    fn allows(&self, wanted: &Wanted, is: &Listing, torn_names: bool) -> Option<Allowances> {
        if !wanted.listing.iter().all(|(path, entry)| is.get(path) == Some(entry)) {
            return None;
        }
        let mut allowances = wanted.allowances;
        for path in is.keys().filter(|path| !wanted.listing.contains_key(*path)) {
            match self.firmware {
                Firmware::UBoot2015 if self.deleted.contains(path) => allowances.insert(Allowance::UBoot2015Deleted),
                Firmware::OpenFirmware if torn_names => allowances.insert(Allowance::OpenFirmwareExtraName),
                _ => return None,
            }
        }
        Some(allowances)
    }
}
