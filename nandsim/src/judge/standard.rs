//! What each reader may see: the tree before the update, and the one after it.

use std::collections::BTreeSet;

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::{Flash, Geometry};
use jffs2_tx::index::Index;
use jffs2_tx::scan::Rules;
use jffs2_tx::tree::show_path;
use jffs2_tx::tx::recover;
use jffs2_tx::wire::{CommitPoint, Endian};

use super::allowance::{Allowance, Allowances};
use super::kernel::{self, Kernel};
use super::library::Expected;
use super::listing::{self, Listing};
use crate::chip::{Chip, ChipError};
use crate::firmware::{Contents, Files, Firmware, FirmwareContent, FirmwareEntry, FirmwareError, Part};
use crate::reader::ByReader;

/// What each reader may see of an update's states: what it sees before the update, and after it was done without a cut.
/// What firmware sees there is compared with what the library sees.
#[derive(Clone, Debug)]
pub struct Standard {
    pub(super) geometry: Geometry,
    pub(super) endian: Endian,
    /// What the library's readers may see.
    pub library: ByReader<Expected>,
    pub(super) firmware: Vec<ByFirmware>,
    left_out: Vec<(Firmware, LeftOut)>,
}

/// Why a firmware is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// It cannot be what boots the device.
    #[error("it does not mount the flash before the update")]
    NotMounted,
    /// `FORMAT.md`, section 6: a commit block hides nothing from it.
    #[error("it wants more blank bytes at the head of an empty eraseblock than eraseblocks of this size have to spare")]
    SmallHead,
    /// `DESIGN.md`, section 8: of updates that follow each other it may see an earlier one.
    #[error(
        "it takes the later of two neighbouring dirents of a name, whatever its version, and there were updates before"
    )]
    EarlierUpdates,
}

/// What one firmware may see.
#[derive(Clone, Debug)]
pub(super) struct ByFirmware {
    pub(super) firmware: Firmware,
    pub(super) old: Wanted,
    pub(super) new: Wanted,
    /// U-Boot 2015: deleted names that may be seen, too.
    pub(super) deleted: BTreeSet<Vec<u8>>,
}

/// A tree that a firmware may see.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) listing: Listing,
    /// `None` if there is none to load.
    pub(super) kernel: Option<Kernel>,
    /// What was needed for it to be what the library sees.
    pub(super) allowances: Allowances,
    /// Names that nothing explains.
    wrong: BTreeSet<Vec<u8>>,
}

impl Wanted {
    fn is_wrong(&mut self, path: &[u8]) {
        self.allowances.insert(Allowance::WrongBefore);
        self.wrong.insert(path.to_vec());
    }
}

/// The update is not one that firmware and the library see alike.
#[derive(Debug, thiserror::Error)]
pub enum StandardError {
    /// The library cannot read the tree.
    #[error("the tree cannot be read")]
    Library(#[from] ReadError<ChipError>),
    /// The path given leads to no file.
    #[error("{0}: no such file in the old tree or the new one; name the kernel that the firmware loads")]
    NoKernel(String),
    /// The firmware mounts the flash before the update, and not after it.
    #[error("{firmware} cannot mount the flash after the update: {error}")]
    Mount {
        /// Which.
        firmware: &'static str,
        /// Why.
        error: FirmwareError,
    },
    /// The firmware loads the kernel before the update, and not after it.
    #[error("{firmware} cannot load the kernel after the update: {error}")]
    Kernel {
        /// Which.
        firmware: &'static str,
        /// Why.
        error: FirmwareError,
    },
    /// The firmware sees another tree than the library, beyond what is allowed.
    #[error("{firmware} sees another tree than the library after the update: {}", first(.differences))]
    Differs {
        /// Which.
        firmware: &'static str,
        /// Where, and how.
        differences: Vec<String>,
    },
}

fn first(differences: &[String]) -> String {
    match differences {
        [] | [_] => differences.concat(),
        [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
    }
}

/// The library's word on an update, by the rules of one kind of reader.
struct Library {
    old: Listing,
    /// After the update.
    end: Listing,
    /// What was committed, whether this reader sees it or not.
    new: Listing,
}

impl Standard {
    /// For an update that led from one state to another; `library`: what the library's readers may see of it. `kernel`:
    /// path of the file that firmware loads; without it, the first of the usual ones.
    ///
    /// A firmware that does not load the kernel before the update is not asked for the kernel after it.
    ///
    /// # Errors
    /// [`StandardError`].
    pub fn new(
        start: &Chip,
        end: &Chip,
        endian: Endian,
        point: CommitPoint,
        library: ByReader<Expected>,
        kernel: Option<&[u8]>,
    ) -> Result<Self, StandardError> {
        let rules = ByReader::rules(endian);
        let new = listing::by_library(end, rules.with_summaries)?;
        let of = |rules| -> Result<Library, StandardError> {
            let (old, end) = (listing::by_library(start, rules)?, listing::by_library(end, rules)?);
            Ok(Library { old, end, new: new.clone() })
        };
        let by_library =
            ByReader { with_summaries: of(rules.with_summaries)?, without_summaries: of(rules.without_summaries)? };
        let old = &by_library.with_summaries.old;
        let paths = [old, &new].map(|tree| kernel::path(tree, kernel));
        if let (Some(given), [None, None]) = (kernel, &paths) {
            return Err(StandardError::NoKernel(show_path(given)));
        }
        let geometry = *start.geometry();
        let mut standard = Self { geometry, endian, library, firmware: Vec::new(), left_out: Vec::new() };
        for of in Firmware::ALL {
            match boots(of, start, endian, point) {
                Ok(before) => {
                    let known = by_library.of(of);
                    standard.firmware.push(by_firmware(of, &before, end, endian, known, &paths)?);
                }
                Err(why) => standard.left_out.push((of, why)),
            }
        }
        Ok(standard)
    }

    /// The same, no firmware asked.
    #[must_use]
    pub(crate) fn of_library(&self) -> Self {
        Self { firmware: Vec::new(), ..self.clone() }
    }

    /// The firmware that is asked.
    pub fn firmware(&self) -> impl Iterator<Item = Firmware> {
        self.firmware.iter().map(|of| of.firmware)
    }

    /// The firmware that is not.
    #[must_use]
    pub fn left_out(&self) -> &[(Firmware, LeftOut)] {
        &self.left_out
    }
}

impl<T> ByReader<T> {
    /// That of the reader that believes what the firmware believes.
    pub(super) fn of(&self, firmware: Firmware) -> &T {
        if firmware.knows_summaries() { &self.with_summaries } else { &self.without_summaries }
    }
}

/// The flash before the update.
fn boots(firmware: Firmware, start: &Chip, endian: Endian, point: CommitPoint) -> Result<Files, LeftOut> {
    let part = Part::of(start.geometry(), endian);
    if point != CommitPoint::Dirent && firmware.blank_head(&part) > start.geometry().blank_head() as usize {
        return Err(LeftOut::SmallHead);
    }
    if firmware == Firmware::OpenFirmware && was_updated(start, endian) {
        return Err(LeftOut::EarlierUpdates);
    }
    firmware.boot(start, endian).map_err(|_| LeftOut::NotMounted)
}

/// Whether there are markers of transactions.
fn was_updated(start: &Chip, endian: Endian) -> bool {
    Index::open(start, Rules { endian, summaries: true }).is_ok_and(|index| !index.markers().is_empty())
}

fn by_firmware(
    firmware: Firmware,
    before: &Files,
    end: &Chip,
    endian: Endian,
    library: &Library,
    [old_kernel, new_kernel]: &[Option<Vec<u8>>; 2],
) -> Result<ByFirmware, StandardError> {
    let after = mounted_after(firmware, end, endian)?;
    let [before_listing, after_listing] =
        [before, &after].map(|files| listing::by_firmware(files, &mut Contents::default()));
    let deleted = match firmware {
        Firmware::UBoot2015 => before_listing.keys().chain(after_listing.keys()).cloned().collect(),
        _ => BTreeSet::new(),
    };
    let mut old = wanted_before(firmware, before_listing, library);
    let mut new = match library.end == library.new {
        true => wanted_after(firmware, after_listing, &old, &library.new)?,
        false => {
            // It does not see the commit: its tree is to be the old one, and may one day be the new one.
            wanted_after(firmware, after_listing, &old, &library.old)?;
            unseen(firmware, library.new.clone())
        }
    };
    old.kernel = old_kernel.as_ref().and_then(|path| Kernel::loaded(before, path).ok());
    new.kernel = match (&old.kernel, new_kernel) {
        (None, _) if old_kernel.is_some() => None,
        (_, None) => None,
        (_, Some(path)) if library.end == library.new => {
            let named = |error| StandardError::Kernel { firmware: firmware.name(), error };
            Some(Kernel::loaded(&after, path).map_err(named)?)
        }
        (_, Some(path)) => Kernel::listed(&new.listing, path),
    };
    Ok(ByFirmware { firmware, old, new, deleted })
}

/// barebox may need recovery first.
fn mounted_after(firmware: Firmware, end: &Chip, endian: Endian) -> Result<Files, StandardError> {
    let failed = |error| StandardError::Mount { firmware: firmware.name(), error };
    match firmware.boot(end, endian) {
        Err(error @ FirmwareError::Unreadable) if firmware == Firmware::Barebox => {
            let mut recovered = end.clone();
            recover(&mut recovered, endian).map_err(|_| failed(error))?;
            firmware.boot(&recovered, endian).map_err(failed)
        }
        mounted => mounted.map_err(failed),
    }
}

/// The tree before the update is taken as the firmware sees it: what is wrong there, the update has not made.
fn wanted_before(firmware: Firmware, is: Listing, library: &Library) -> Wanted {
    let mut wanted = Wanted { listing: is.clone(), ..Wanted::default() };
    for path in listing::differing(&is, &library.old) {
        match by_design(firmware, path, is.get(path), library.old.get(path)) {
            Some(Allowance::UBoot2015Deleted) => drop(wanted.listing.remove(path)),
            Some(allowance) => wanted.allowances.insert(allowance),
            None => wanted.is_wrong(path),
        }
    }
    wanted
}

/// The tree after the update must be what the library sees, but for what is allowed.
fn wanted_after(firmware: Firmware, is: Listing, old: &Wanted, library: &Listing) -> Result<Wanted, StandardError> {
    let mut wanted = Wanted { listing: is.clone(), ..Wanted::default() };
    let mut differences = Vec::new();
    for path in listing::differing(&is, library) {
        let (entry, right) = (is.get(path), library.get(path));
        let as_before = old.wrong.contains(path) && entry == old.listing.get(path);
        match by_design(firmware, path, entry, right) {
            Some(Allowance::UBoot2015Deleted) => drop(wanted.listing.remove(path)),
            Some(allowance) => wanted.allowances.insert(allowance),
            None if as_before => wanted.is_wrong(path),
            None => differences.push(listing::difference(path, entry, right)),
        }
    }
    match differences.is_empty() {
        true => Ok(wanted),
        false => Err(StandardError::Differs { firmware: firmware.name(), differences }),
    }
}

/// A tree that the firmware has not seen yet, as it would.
fn unseen(firmware: Firmware, mut listing: Listing) -> Wanted {
    let mut allowances = Allowances::default();
    for (path, entry) in &mut listing {
        if let Some(error) = firmware.cannot_list(path) {
            entry.content = FirmwareContent::Failed(error);
            allowances.insert(Allowance::UBootLongName);
        }
    }
    Wanted { listing, allowances, ..Wanted::default() }
}

/// Whether firmware is known to show something else than the library.
fn by_design(
    firmware: Firmware,
    path: &[u8],
    is: Option<&FirmwareEntry>,
    library: Option<&FirmwareEntry>,
) -> Option<Allowance> {
    let (is, library) = match (is, library) {
        (Some(is), Some(library)) => (is, library),
        (Some(_), None) if firmware == Firmware::UBoot2015 => return Some(Allowance::UBoot2015Deleted),
        _ => return None,
    };
    let rest_is_equal = FirmwareEntry { content: library.content.clone(), ..is.clone() } == *library;
    match &is.content {
        _ if !rest_is_equal => None,
        FirmwareContent::Failed(FirmwareError::Abort(_)) => Some(Allowance::OpenFirmwareAborts),
        FirmwareContent::Failed(error) if firmware.cannot_list(path).as_ref() == Some(error) => {
            Some(Allowance::UBootLongName)
        }
        _ => None,
    }
}
