//! Opening an image: its geometry from what it shows and what was given.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jffs2_tx::detect::{DetectError, Detected, Survey, usual_page_size};
use jffs2_tx::flash::{FlashKind, Geometry, GeometryError, ImageFlash};
use jffs2_tx::index::Index;
use jffs2_tx::scan::Rules;
use jffs2_tx::tree::Tree;
use jffs2_tx::wire::Endian;

use crate::failure::{Exit, Failure};

/// Which image, and how to read it. What is not given is found out.
#[derive(Debug, clap::Args)]
pub(crate) struct ImageArgs {
    /// Image file.
    #[arg(value_name = "IMG")]
    image: PathBuf,
    /// Eraseblock size: 65536, 0x10000, 64k and 64KiB are the same.
    #[arg(short, long, value_name = "SIZE", value_parser = parse_size)]
    eraseblock: Option<u32>,
    /// The image is little-endian.
    #[arg(short, long, conflicts_with = "big_endian")]
    little_endian: bool,
    /// The image is big-endian.
    #[arg(short, long)]
    big_endian: bool,
    /// Kind of flash.
    #[arg(long, value_name = "KIND")]
    flash: Option<Kind>,
    /// NAND page size, or write unit of NOR: bytes.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    page_size: Option<u32>,
    /// Read as a reader that ignores summaries, such as most boot firmware.
    #[arg(long)]
    no_summaries: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Nor,
    Nand,
}

/// An image, opened for reading.
pub(crate) struct Image {
    pub(crate) flash: ImageFlash,
    pub(crate) index: Index,
    /// What the image is; what was given has replaced what was found.
    pub(crate) detected: Detected,
    /// Length of the file, bytes.
    pub(crate) file_size: u64,
}

impl Image {
    pub(crate) fn open(args: &ImageArgs) -> Result<Self, Failure> {
        Self::try_open(args).map_err(|failure| failure.about(args.image.display()))
    }

    fn try_open(args: &ImageArgs) -> Result<Self, Failure> {
        let (flash, detected, file_size) = args.open_flash(false)?;
        let index = Index::open(&flash, Rules { endian: detected.endian, summaries: !args.no_summaries })?;
        Ok(Self { flash, index, detected, file_size })
    }

    pub(crate) fn tree(&self) -> Tree<'_, ImageFlash> {
        Tree::new(&self.flash, &self.index)
    }
}

impl ImageArgs {
    pub(crate) fn path(&self) -> &Path {
        &self.image
    }

    /// The image as flash to write to, for this process alone.
    pub(crate) fn open_to_write(&self) -> Result<(ImageFlash, Endian), Failure> {
        let opened = self.open_flash(true).map_err(|failure| failure.about(self.image.display()));
        opened.map(|(flash, detected, _)| (flash, detected.endian))
    }

    /// The image, what it is, and its length in bytes.
    fn open_flash(&self, write: bool) -> Result<(ImageFlash, Detected, u64), Failure> {
        let io_failure = |error: io::Error| Failure::new(Exit::Io, error);
        let metadata = fs::metadata(&self.image).map_err(io_failure)?;
        // Opening a pipe would wait for ever, reading a directory would fail late.
        if !metadata.is_file() {
            return Err(Failure::new(Exit::Io, "not a regular file"));
        }
        let file = File::options().read(true).write(write).open(&self.image).map_err(io_failure)?;
        if write {
            file.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => Failure::new(Exit::Busy, "in use by another update"),
                TryLockError::Error(error) => io_failure(error),
            })?;
        }
        let detected = self.detect(&Survey::of(&file)?)?;
        let geometry = self.geometry(&detected, metadata.len())?;
        Ok((ImageFlash::new(file, geometry), detected, metadata.len()))
    }

    /// What the image is; what is given counts unless the image contradicts it.
    fn detect(&self, survey: &Survey) -> Result<Detected, Failure> {
        let mut detected = match (survey.detect(), self.complete()) {
            (Err(DetectError::Blank), Some(given)) => return Ok(given),
            (found, _) => found?,
        };
        if let Some(given) = self.endian().filter(|given| *given != detected.endian) {
            let nodes = survey.nodes(given);
            let text = format!("the image is {}: {nodes} nodes in the other byte order", endian_name(detected.endian));
            return Err(Failure::new(Exit::NotJffs2, text));
        }
        if let Some(given) = self.eraseblock {
            survey.check_eraseblock(given)?;
            (detected.eraseblock, detected.evidence, detected.sure) = (given, "given".into(), true);
            (detected.kind, detected.page_size) = survey.kind(given)?;
        }
        if let Some(kind) = self.kind().filter(|kind| *kind != detected.kind) {
            (detected.kind, detected.page_size) = (kind, usual_page_size(kind, detected.eraseblock));
        }
        detected.page_size = self.page_size.unwrap_or(detected.page_size);
        Ok(detected)
    }

    /// What is given, if it is all that there is to know: even a blank image is a file system then.
    fn complete(&self) -> Option<Detected> {
        let (endian, eraseblock, kind) = (self.endian()?, self.eraseblock?, self.kind()?);
        let page_size = self.page_size.unwrap_or(usual_page_size(kind, eraseblock));
        Some(Detected { endian, eraseblock, kind, page_size, evidence: "given".into(), sure: true })
    }

    fn endian(&self) -> Option<Endian> {
        match (self.little_endian, self.big_endian) {
            (true, _) => Some(Endian::Little),
            (_, true) => Some(Endian::Big),
            _ => None,
        }
    }

    fn kind(&self) -> Option<FlashKind> {
        self.flash.map(|kind| match kind {
            Kind::Nor => FlashKind::Nor,
            Kind::Nand => FlashKind::Nand,
        })
    }

    fn geometry(&self, detected: &Detected, file_size: u64) -> Result<Geometry, Failure> {
        let size = file_size.next_multiple_of(u64::from(detected.eraseblock.max(1)));
        Geometry::new(detected.kind, size, detected.eraseblock, detected.page_size).map_err(|error| {
            let exit = if matches!(error, GeometryError::Size { .. }) { Exit::NotJffs2 } else { Exit::Usage };
            Failure::new(exit, error)
        })
    }
}

/// The byte order in words.
pub(crate) fn endian_name(endian: Endian) -> &'static str {
    match endian {
        Endian::Little => "little-endian",
        Endian::Big => "big-endian",
    }
}

/// A size in bytes: decimal or 0x, with k, KiB, M or MiB behind it if wanted.
fn parse_size(text: &str) -> Result<u32, String> {
    let (digits, shift) = [("KiB", 10), ("MiB", 20), ("k", 10), ("K", 10), ("M", 20)]
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .unwrap_or((text, 0));
    let digits = digits.trim_end();
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let bytes = number.ok().and_then(|number: u32| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "not a size such as 65536, 0x10000, 64k or 64KiB".into())
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_in_every_spelling() {
        for text in ["65536", "0x10000", "64k", "64K", "64KiB", "64 KiB"] {
            assert_eq!(parse_size(text), Ok(65536));
        }
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        for text in ["", "k", "0", "64kB", "-1", "0x", "4096M", "1.5k"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
