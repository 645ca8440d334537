//! Whether what a firmware sees is the old tree or the new one.

use super::allowance::{Allowance, Allowances};
use super::kernel::Kernel;
use super::listing::{self, Listing};
use super::seen::FirmwareSeen;
use super::standard::{ByFirmware, Wanted};
use crate::firmware::{Contents, Files, Firmware, FirmwareError};
use crate::reader::ByReader;
use crate::verdict::Verdict;

/// Differences that a description lists.
const SHOWN_DIFFERENCES: usize = 4;

/// How what a firmware sees fits what it may see.
#[derive(Debug)]
pub(super) enum Fit {
    Fails(FirmwareError),
    Tree {
        /// What must be allowed for it to be the old tree, if that is enough.
        old: Option<Allowances>,
        new: Option<Allowances>,
        /// How it differs from both.
        how: String,
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
    pub(super) fn of(wanted: &ByFirmware, files: &Files, contents: &mut Contents, torn_names: bool) -> Self {
        let is = listing::by_firmware(files, contents);
        let [old, new] = [&wanted.old, &wanted.new].map(|of| wanted.allows(of, &is, torn_names));
        let how = match (old, new) {
            (None, None) => {
                let list = |of: &Wanted| listing::differences(&is, &of.listing, SHOWN_DIFFERENCES).join(", ");
                format!("not old ({}) and not new ({})", list(&wanted.old), list(&wanted.new))
            }
            _ => String::new(),
        };
        Self::Tree { old, new, how, kernel: KernelFit::of(wanted, files), torn_names }
    }

    /// What the firmware sees, where the library's readers see `library`, and whether any page is `unreadable`.
    pub(super) fn seen(&self, firmware: Firmware, library: &ByReader<Verdict>, unreadable: bool) -> FirmwareSeen {
        let (old, new, how, kernel, torn_names) = match self {
            Self::Fails(error) => return failed(firmware, error),
            Self::Tree { old, new, how, kernel, torn_names } => (old, new, how, kernel, *torn_names),
        };
        let librarys = library.of(firmware);
        let (tree, mut allowances) = match (old, new) {
            // The two look alike to it: it is what the library says.
            (Some(_), Some(allowed)) if *librarys == Verdict::New => (Verdict::New, *allowed),
            (Some(allowed), _) => (Verdict::Old, *allowed),
            (None, Some(allowed)) => (Verdict::New, *allowed),
            (None, None) => (Verdict::Mixed(how.clone()), Allowances::default()),
        };
        match (&tree, librarys) {
            (Verdict::Old, Verdict::Old) if library.with_summaries == Verdict::New => {
                allowances.insert(Allowance::NoSummaries);
            }
            (Verdict::Old, Verdict::New) if unreadable && firmware.is_u_boot() => {
                allowances.insert(Allowance::UBootStalePage);
            }
            (Verdict::New, Verdict::Old) | (Verdict::Old, Verdict::New) | (Verdict::Mixed(_), _) if torn_names => {
                allowances.insert(Allowance::OpenFirmwareTornDirent);
            }
            _ => {}
        }
        let kernel = kernel.seen(if tree.is_fine() { &tree } else { librarys });
        FirmwareSeen { firmware, kernel, tree, allowances }
    }
}

fn failed(firmware: Firmware, error: &FirmwareError) -> FirmwareSeen {
    let by_design = (firmware, error) == (Firmware::Barebox, &FirmwareError::Unreadable);
    let allowances = by_design.then_some(Allowance::BareboxUnreadable).into_iter().collect();
    FirmwareSeen { firmware, tree: Verdict::Unreadable(error.to_string()), kernel: None, allowances }
}

impl KernelFit {
    fn of(wanted: &ByFirmware, files: &Files) -> Self {
        let fit = |of: &Kernel| of.compared(&Kernel::loaded(files, &of.path));
        let (old, new) = (wanted.old.kernel.as_ref(), wanted.new.kernel.as_ref());
        match (old, new) {
            // Most often it is the same path.
            (Some(old), Some(new)) if old.path == new.path => {
                let loaded = Kernel::loaded(files, &old.path);
                Self { old: Some(old.compared(&loaded)), new: Some(new.compared(&loaded)) }
            }
            _ => Self { old: old.map(fit), new: new.map(fit) },
        }
    }

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
