//! What boot firmware makes of a flash: a small reader that stands in for four of them.
//!
//! Written from `FORMAT.md` and from what is known of the firmware; it shares no code with the library, so that a mistake
//! in one does not hide the same mistake in the other. It knows nothing of transactions.
//!
//! ```
//! use nandsim::firmware::{ByteOrder, Firmware, FirmwareError, Part, RawBlock};
//!
//! let part = Part { order: ByteOrder::Little, nand: false, page: 1 };
//! let cells = vec![0xff; 64 << 10];
//! let blocks = [RawBlock { cells: &cells, unreadable: Vec::new() }];
//! let files = Firmware::UBoot2026.mount(&part, &blocks)?;
//! assert_eq!(files.read(b"/boot/kernel"), Err(FirmwareError::NotFound));
//! # Ok::<(), FirmwareError>(())
//! ```
//!
//! # Where firmware differs
//! | | U-Boot 2026 | U-Boot 2015 | barebox | Open Firmware |
//! | --- | --- | --- | --- | --- |
//! | summaries | no | no | no | yes |
//! | blank head, bytes | 256 | 4096 | 256 | a page, at least 1024 |
//! | deleted names | gone | shown as before, while their inodes last | gone | gone |
//! | equal versions | later | later | later | first |
//! | neighbouring dirents of a name | | | | later, whatever its version |
//! | versions are | unsigned | unsigned | unsigned | signed |
//! | dirent with bad CRCs | dropped | dropped | dropped | believed |
//! | bytes of a file | as nodes stand | as nodes stand | by version | by version |
//! | newest node, bad data | gives size | gives size | dropped | dropped |
//! | hole, LZO | read | read | read | abort |
//! | links to directories | not followed | not followed | followed | followed |
//! | relative links start at | the newest dirent, even a dead one | the same | the link | the link |
//! | names over 216 bytes | crash a listing | crash a listing | read | read |
//! | unreadable page | what the eraseblock before had there | the same | fails the mount | as it stands |
//!
//! "Later" and "neighbouring" mean the order on the flash. What the table leaves open is as in `FORMAT.md`, section 3.

mod decode;
mod extents;
mod files;
mod node;
mod read;
mod resolve;
mod scan;
mod summary;
mod wire;

pub(crate) use files::Contents;
pub use files::{Files, FirmwareContent, FirmwareEntry, FirmwareKind, MAX_FILE};
pub use read::{Part, RawBlock};
pub use scan::Scan;
pub use wire::ByteOrder;

/// Firmware whose rules are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Firmware {
    /// U-Boot as of 2026, as its boards build it.
    UBoot2026,
    /// U-Boot 2009.01 to 2015.07.
    UBoot2015,
    /// barebox as of 2026: Linux's code.
    Barebox,
    /// Open Firmware, as on OLPC's laptops.
    OpenFirmware,
}

impl Firmware {
    /// Each once.
    pub const ALL: [Self; 4] = [Self::UBoot2026, Self::UBoot2015, Self::Barebox, Self::OpenFirmware];

    /// What to call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UBoot2026 => "U-Boot 2026",
            Self::UBoot2015 => "U-Boot 2015",
            Self::Barebox => "barebox",
            Self::OpenFirmware => "Open Firmware",
        }
    }

    /// Whether it believes summaries.
    #[must_use]
    pub fn knows_summaries(self) -> bool {
        self == Self::OpenFirmware
    }

    /// Bytes at the start of an eraseblock that make it count as empty if they are blank.
    #[must_use]
    pub fn blank_head(self, part: &Part) -> usize {
        match self {
            Self::UBoot2026 | Self::Barebox => 256,
            Self::UBoot2015 => 4096,
            Self::OpenFirmware => part.page.max(1024),
        }
    }

    pub(crate) fn is_u_boot(self) -> bool {
        matches!(self, Self::UBoot2026 | Self::UBoot2015)
    }

    /// Versions in the order that it sees.
    fn rank(self, version: u32) -> i64 {
        if self == Self::OpenFirmware { i64::from(version.cast_signed()) } else { i64::from(version) }
    }

    /// Reads all eraseblocks, in the order of the flash, bad ones left out.
    ///
    /// # Errors
    /// [`FirmwareError::Unreadable`] and [`FirmwareError::Incompatible`]: the mount fails.
    pub fn mount(self, part: &Part, blocks: &[RawBlock<'_>]) -> Result<Files, FirmwareError> {
        let mut scans = Vec::new();
        let mut before: &[u8] = &[];
        for block in blocks {
            scans.push(self.scan(part, block, before)?);
            before = block.cells;
        }
        Ok(self.files(scans.iter().map(|scan| &**scan)))
    }
}

/// Why firmware gets no file, or no tree at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// The mount fails on a page that error correction gives up on.
    #[error("mount fails: a page of an eraseblock in use cannot be read")]
    Unreadable,
    /// The mount fails on a node that says so.
    #[error("mount fails: a node of the incompatible type {0:#06x}")]
    Incompatible(u16),
    /// There is no such name.
    #[error("no such file")]
    NotFound,
    /// A path goes through something else than a directory.
    #[error("part of the path is no directory")]
    NotADirectory,
    /// There is nothing to load.
    #[error("not a file")]
    NotAFile,
    /// Symbolic links in a circle.
    #[error("too many symbolic links")]
    TooManyLinks,
    /// No good node says what it is.
    #[error("no good node is left of the inode")]
    Damaged,
    /// The firmware stops on such a node.
    #[error("the firmware aborts on a node with compressor {0}")]
    Abort(u8),
    /// The firmware does not know the compressor.
    #[error("compressor {0} is not known")]
    Compressor(u8),
    /// The data does not decode to what the node says.
    #[error("a node's data does not decode")]
    Undecodable,
    /// More than a loader has room for.
    #[error("{0} bytes are more than there is room for")]
    TooLarge(u32),
    /// The name overflows the firmware's buffer.
    #[error("a name of {0} bytes overflows the firmware's buffer")]
    LongName(usize),
}
