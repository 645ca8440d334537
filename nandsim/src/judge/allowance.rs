//! Where firmware differs from Linux by design, and is allowed to.

use std::fmt;

use serde::{Serialize, Serializer};

/// A difference that is allowed. Reports say how often each was needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allowance {
    /// A reader without summaries keeps the old tree where a summary commits the new one.
    NoSummaries,
    /// barebox fails to mount while a page of a visible eraseblock cannot be read: until recovery, but for one beside a
    /// *dirent* commit.
    BareboxUnreadable,
    /// U-Boot keeps the old tree where Linux takes a *dirent* commit from a page that error correction gives up on.
    UBootStalePage,
    /// Open Firmware believes a torn dirent, and shows its name beside the right ones.
    OpenFirmwareExtraName,
    /// Open Firmware believes a torn dirent in place of the right one: it sees the new tree before Linux does, or misses
    /// the name and all below it until recovery. It still loads the right kernel.
    OpenFirmwareTornDirent,
    /// Open Firmware aborts on a file, not the kernel, with a hole or LZO in it.
    OpenFirmwareAborts,
    /// U-Boot 2015 shows deleted names while their inodes last.
    UBoot2015Deleted,
    /// U-Boot's listing crashes on a name over 216 bytes.
    UBootLongName,
    /// The firmware had something wrong before the update, and has it as wrong now.
    WrongBefore,
}

impl Allowance {
    /// Each once.
    pub const ALL: [Self; 9] = [
        Self::NoSummaries,
        Self::BareboxUnreadable,
        Self::UBootStalePage,
        Self::OpenFirmwareExtraName,
        Self::OpenFirmwareTornDirent,
        Self::OpenFirmwareAborts,
        Self::UBoot2015Deleted,
        Self::UBootLongName,
        Self::WrongBefore,
    ];

    /// What to call it in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSummaries => "no-summaries",
            Self::BareboxUnreadable => "barebox-unreadable",
            Self::UBootStalePage => "u-boot-stale-page",
            Self::OpenFirmwareExtraName => "open-firmware-extra-name",
            Self::OpenFirmwareTornDirent => "open-firmware-torn-dirent",
            Self::OpenFirmwareAborts => "open-firmware-aborts",
            Self::UBoot2015Deleted => "u-boot-2015-deleted",
            Self::UBootLongName => "u-boot-long-name",
            Self::WrongBefore => "wrong-before",
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowances(u16);

impl Allowances {
    /// Adds one.
    pub fn insert(&mut self, allowance: Allowance) {
        self.0 |= 1 << allowance as u8;
    }

    /// Those of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(self, allowance: Allowance) -> bool {
        self.0 & 1 << allowance as u8 != 0
    }

    /// In the order of [`Allowance::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Allowance> {
        Allowance::ALL.into_iter().filter(move |allowance| self.contains(*allowance))
    }
}

impl FromIterator<Allowance> for Allowances {
    fn from_iter<I: IntoIterator<Item = Allowance>>(all: I) -> Self {
        let mut set = Self::default();
        all.into_iter().for_each(|allowance| set.insert(allowance));
        set
    }
}

/// In how many states each was needed. Serializes to an object with their names, those never needed left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllowanceCounts([u64; Allowance::ALL.len()]);

impl AllowanceCounts {
    /// Counts one state's.
    pub fn add(&mut self, needed: Allowances) {
        needed.iter().for_each(|allowance| self.0[allowance as usize] += 1);
    }

    /// Those of both.
    #[must_use]
    pub fn plus(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
        self
    }

    /// How often it was needed.
    #[must_use]
    pub fn of(&self, allowance: Allowance) -> u64 {
        self.0[allowance as usize]
    }

    /// Those that were needed, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Allowance, u64)> {
        Allowance::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

impl Serialize for AllowanceCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(allowance, count)| (allowance.name(), count)))
    }
}
