//! Opening an image or a device: its geometry from what it shows and what was given.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jffs2_tx::detect::{DetectError, Detected, Survey, show_size, usual_page_size};
use jffs2_tx::flash::oob::OobError;
use jffs2_tx::flash::{
    Container, Flash, FlashKind, Geometry, GeometryError, ImageError, ImageFlash, MtdFlash, OobLayout,
};
use jffs2_tx::index::Index;
use jffs2_tx::scan::Rules;
use jffs2_tx::tree::Tree;
use jffs2_tx::wire::Endian;

use crate::device::{self, Watch};
use crate::failure::{Exit, Failure, note};
use crate::target::Target;

/// Which image, and how to read it. What is not given is found out.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ImageArgs {
    /// Image file, or MTD device: /dev/mtdN, /dev/mtdblockN, mtd:NAME.
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
    /// Where the image starts in the file: bytes, as `find` prints it.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = parse_offset)]
    offset: u64,
    /// Bytes of the file that the image takes; to the end if not given.
    #[arg(long, value_name = "BYTES", value_parser = parse_offset)]
    length: Option<u64>,
    /// Spare bytes (OOB) between the pages of a NAND dump, such as 2048+64, or `none`.
    #[arg(long, value_name = "PAGE+SPARE", value_parser = parse_oob)]
    oob: Option<Spare>,
    /// Read as a reader that ignores summaries, such as most boot firmware.
    #[arg(long)]
    no_summaries: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Nor,
    Nand,
}

/// What `--oob` says.
#[derive(Clone, Copy, Debug)]
struct Spare(Option<OobLayout>);

/// An image or a device, opened for writing.
pub(crate) struct Opened {
    pub(crate) flash: Target,
    pub(crate) endian: Endian,
    /// Who else uses the device.
    pub(crate) watch: Watch,
}

/// An image, opened for reading.
pub(crate) struct Image {
    pub(crate) flash: Target,
    pub(crate) index: Index,
    /// What the image is; what was given has replaced what was found.
    pub(crate) detected: Detected,
    /// Bytes of data that the file has of it, spare bytes not counted.
    pub(crate) file_size: u64,
}

impl Image {
    pub(crate) fn open(args: &ImageArgs) -> Result<Self, Failure> {
        Self::try_open(args).map_err(|failure| failure.about(args.image.display()))
    }

    fn try_open(args: &ImageArgs) -> Result<Self, Failure> {
        let (flash, detected) = args.open_flash(false)?;
        args.note_doubts(&detected);
        let index = Index::open(&flash, Rules { endian: detected.endian, summaries: !args.no_summaries })?;
        // All of the flash has been read.
        flash.advise(&args.image);
        let file_size = flash.container().data_len();
        Ok(Self { flash, index, detected, file_size })
    }

    pub(crate) fn tree(&self) -> Tree<'_, Target> {
        Tree::new(&self.flash, &self.index)
    }
}

impl ImageArgs {
    pub(crate) fn path(&self) -> &Path {
        &self.image
    }

    /// The same options for another file.
    pub(crate) fn of(&self, image: &Path) -> Self {
        Self { image: image.into(), ..self.clone() }
    }

    /// The image as flash to write to, for this process alone. A device may be mounted read-only.
    pub(crate) fn open_to_write(&self) -> Result<Opened, Failure> {
        self.try_open_to_write().map_err(|failure| failure.about(self.image.display()))
    }

    /// Likewise for what must not happen under a mounted file system.
    pub(crate) fn open_unmounted(&self) -> Result<Opened, Failure> {
        let opened = self.open_to_write()?;
        if opened.watch.is_online() {
            let text = "mounted read-only: the kernel may still read what this would erase; unmount it first";
            return Err(Failure::new(Exit::Busy, text).about(self.image.display()));
        }
        Ok(opened)
    }

    fn try_open_to_write(&self) -> Result<Opened, Failure> {
        let (flash, detected) = self.open_flash(true)?;
        let watch = Watch::start(flash.mtd().map(MtdFlash::info))?;
        Ok(Opened { flash, endian: detected.endian, watch })
    }

    /// The device, if it is one, to look at its state.
    pub(crate) fn open_to_look(&self) -> Result<(Target, Endian), Failure> {
        let (flash, detected) = self.open_flash(false).map_err(|failure| failure.about(self.image.display()))?;
        self.note_doubts(&detected);
        Ok((flash, detected.endian))
    }

    /// The image as an update would write to it, but for reading only.
    pub(crate) fn open_to_estimate(&self) -> Result<Opened, Failure> {
        self.try_open_to_estimate().map_err(|failure| failure.about(self.image.display()))
    }

    fn try_open_to_estimate(&self) -> Result<Opened, Failure> {
        let (flash, detected) = self.open_flash(false)?;
        if let Target::Image(image) = &flash {
            let file_len = fs::metadata(&self.image).map_err(io_failure)?.len();
            refuse_to_write(&detected, image.container(), image.geometry(), file_len)?;
        }
        let watch = Watch::start(flash.mtd().map(MtdFlash::info))?;
        Ok(Opened { flash, endian: detected.endian, watch })
    }

    /// The image, and what it is.
    fn open_flash(&self, write: bool) -> Result<(Target, Detected), Failure> {
        if MtdFlash::is_device_name(&self.image) {
            return self.open_device(write);
        }
        let (flash, detected) = self.open_file(write)?;
        Ok((Target::Image(flash), detected))
    }

    /// A device: what is given must be what it is.
    fn open_device(&self, write: bool) -> Result<(Target, Detected), Failure> {
        if self.offset != 0 || self.length.is_some() || self.oob.is_some() {
            return Err(Failure::new(Exit::Usage, "--offset, --length and --oob are for image files"));
        }
        let mut mtd = device::open(&self.image, write)?;
        let geometry = *mtd.geometry();
        let differs = |given: Option<u32>, is: u32| given.is_some_and(|given| given != is);
        if differs(self.eraseblock, geometry.eraseblock()) || differs(self.page_size, geometry.write_size()) {
            let (eraseblock, unit) = (show_size(geometry.eraseblock()), geometry.write_size());
            let text = format!("the device has eraseblocks of {eraseblock} and is written in units of {unit} bytes");
            return Err(Failure::new(Exit::NotJffs2, text));
        }
        if self.kind().is_some_and(|given| given != geometry.kind()) {
            return Err(Failure::new(Exit::NotJffs2, format!("the device is {:?} flash", mtd.info().kind)));
        }
        let detected = device::detect(&mut mtd, self.endian())?;
        Ok((Target::Mtd(mtd), detected))
    }

    fn open_file(&self, write: bool) -> Result<(ImageFlash, Detected), Failure> {
        let (file, file_len) = open_regular(&self.image, write)?;
        if write {
            file.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => Failure::new(Exit::Busy, "in use by another update"),
                TryLockError::Error(error) => io_failure(error),
            })?;
        }
        let part = self.part(file_len)?;
        let survey = Survey::of_file(&file, part, self.oob.map(|Spare(given)| given))?;
        let detected = self.detect(&survey)?;
        let container = Container { oob: detected.oob.as_ref().map(|oob| oob.layout), ..part };
        let geometry = self.geometry(&detected, container.data_len())?;
        if write {
            refuse_to_write(&detected, &container, &geometry, file_len)?;
        }
        Ok((ImageFlash::inside(file, geometry, container).map_err(|error| image_failure(&error))?, detected))
    }

    /// The part of the file that is to be read.
    fn part(&self, file_len: u64) -> Result<Container, Failure> {
        let past_the_end = || {
            let what = format!("the file ends at {file_len:#x}: --offset and --length do not fit it");
            Failure::new(Exit::NotJffs2, what)
        };
        let rest = file_len.checked_sub(self.offset).ok_or_else(past_the_end)?;
        let length = self.length.unwrap_or(rest);
        if length > rest || self.offset > 0 && rest == 0 {
            return Err(past_the_end());
        }
        Ok(Container { offset: self.offset, length, oob: None })
    }

    /// Says on stderr what a reader goes on with, but is not sure of.
    fn note_doubts(&self, detected: &Detected) {
        let say = |text: String| note(&format!("{}: {text}", self.image.display()));
        if !detected.sure {
            let size = show_size(detected.eraseblock);
            say(format!("eraseblock size {size} is a guess ({}): give -e if you know it", detected.evidence));
        }
        if let Some(oob) = detected.oob.as_ref().filter(|oob| !oob.sure) {
            say(format!("spare bytes {} are a guess ({}): give --oob if you know", oob.layout, oob.evidence));
        }
        if let Some(cut) = &detected.cut {
            say(format!(
                "truncated: the file ends in the node at {:#x}, {} bytes of it are missing",
                cut.at, cut.missing
            ));
        }
    }

    /// What the image is; what is given counts unless the image contradicts it.
    fn detect(&self, survey: &Survey) -> Result<Detected, Failure> {
        let mut detected = match (survey.detect(), self.complete()) {
            (Err(DetectError::Blank), Some(given)) => return Ok(Detected { oob: survey.oob().cloned(), ..given }),
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
            detected.end = survey.end(given);
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
        let evidence = "given".into();
        Some(Detected { endian, eraseblock, kind, page_size, evidence, sure: true, oob: None, end: None, cut: None })
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

    fn geometry(&self, detected: &Detected, data_len: u64) -> Result<Geometry, Failure> {
        let whole = data_len.checked_next_multiple_of(u64::from(detected.eraseblock.max(1))).unwrap_or(u64::MAX);
        let size = detected.end.unwrap_or(whole);
        Geometry::new(detected.kind, size, detected.eraseblock, detected.page_size).map_err(|error| {
            let exit = if matches!(error, GeometryError::Size { .. }) { Exit::NotJffs2 } else { Exit::Usage };
            Failure::new(exit, error)
        })
    }
}

/// A regular file, and its length in bytes.
pub(crate) fn open_regular(path: &Path, write: bool) -> Result<(File, u64), Failure> {
    let metadata = fs::metadata(path).map_err(io_failure)?;
    // Opening a pipe would wait for ever, reading a directory would fail late.
    if !metadata.is_file() {
        return Err(device::refusal(&metadata));
    }
    let file = File::options().read(true).write(write).open(path).map_err(io_failure)?;
    Ok((file, metadata.len()))
}

/// Refuses what could destroy something: an update on a guess, on a dump, or past the image's end.
fn refuse_to_write(
    detected: &Detected,
    container: &Container,
    geometry: &Geometry,
    file_len: u64,
) -> Result<(), Failure> {
    if container.oob.is_some() {
        return Err(Failure::new(Exit::Unsupported, ImageError::ReadOnly));
    }
    if !detected.sure {
        let size = show_size(detected.eraseblock);
        let what = format!("eraseblock size {size} is a guess ({}): give it with -e", detected.evidence);
        return Err(Failure::new(Exit::NotJffs2, what));
    }
    let goes_on = container.offset + container.length < file_len;
    if goes_on && u64::from(geometry.size()) > container.length {
        let what = "--length ends inside an eraseblock: what is behind it in the file would be overwritten";
        return Err(Failure::new(Exit::NotJffs2, what));
    }
    Ok(())
}

fn io_failure(error: io::Error) -> Failure {
    Failure::new(Exit::Io, error)
}

fn image_failure(error: &ImageError) -> Failure {
    let exit = if matches!(error, ImageError::Layout { .. }) { Exit::NotJffs2 } else { Exit::Io };
    Failure::new(exit, error)
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
    let bytes = parse_bytes(text).and_then(|bytes| u32::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "not a size such as 65536, 0x10000, 64k or 64KiB".into())
}

/// An offset or length in a file, spelled as a size.
fn parse_offset(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "not a number of bytes such as 65536, 0x10000, 64k or 64KiB".into())
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, shift) = [("KiB", 10), ("MiB", 20), ("k", 10), ("K", 10), ("M", 20)]
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .unwrap_or((text, 0));
    let digits = digits.trim_end();
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    number.ok().and_then(|number: u64| number.checked_mul(1 << shift))
}

fn parse_oob(text: &str) -> Result<Spare, OobError> {
    if text == "none" { Ok(Spare(None)) } else { text.parse().map(|layout| Spare(Some(layout))) }
}

#[cfg(test)]
mod tests {
    use super::{parse_offset, parse_size};

    #[test]
    fn sizes_in_every_spelling() {
        for text in ["65536", "0x10000", "64k", "64K", "64KiB", "64 KiB"] {
            assert_eq!(parse_size(text), Ok(65536));
        }
        assert_eq!(parse_size("1MiB"), Ok(1 << 20));
        for text in ["", "k", "0", "64kB", "-1", "0x", "4096M", "1.5k"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!((parse_offset("0"), parse_offset("8192M")), (Ok(0), Ok(8 << 30)));
        for text in ["", "0x10000000000000000", "99999999999999999999", "17592186044416M", "-1"] {
            assert!(parse_offset(text).is_err(), "{text}");
        }
    }
}
