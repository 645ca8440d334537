//! What a command reads or changes: an image file, or an MTD device.

use std::path::Path;

use jffs2_tx::flash::{Container, Ecc, Flash, FlashMut, Geometry, ImageError, ImageFlash, MtdError, MtdFlash};

use crate::device::advice;
use crate::failure::note;

/// An image file or an MTD device.
#[derive(Debug)]
pub(crate) enum Target {
    Image(ImageFlash),
    Mtd(MtdFlash),
}

/// What either of them reports.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Mtd(#[from] MtdError),
}

impl Target {
    /// Where in its file the image is; a device is all of it.
    pub(crate) fn container(&self) -> Container {
        match self {
            Self::Image(image) => *image.container(),
            Self::Mtd(mtd) => Container::whole(mtd.geometry().size().into()),
        }
    }

    /// Says what error correction had to do since a device was opened.
    pub(crate) fn advise(&self, path: &Path) {
        if let Some(advice) = self.mtd().and_then(advice) {
            note(&format!("{}: {advice}", path.display()));
        }
    }

    pub(crate) fn mtd(&self) -> Option<&MtdFlash> {
        match self {
            Self::Image(_) => None,
            Self::Mtd(mtd) => Some(mtd),
        }
    }
}

/// The same operation of whichever it is.
macro_rules! either {
    ($target:expr, $flash:ident => $operation:expr) => {
        match $target {
            Target::Image($flash) => Ok($operation?),
            Target::Mtd($flash) => Ok($operation?),
        }
    };
}

impl Flash for Target {
    type Error = TargetError;

    fn geometry(&self) -> &Geometry {
        match self {
            Self::Image(image) => image.geometry(),
            Self::Mtd(mtd) => mtd.geometry(),
        }
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, TargetError> {
        either!(self, flash => flash.read(offset, buf))
    }

    fn is_bad(&self, block: u32) -> Result<bool, TargetError> {
        either!(self, flash => flash.is_bad(block))
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, TargetError> {
        either!(self, flash => flash.has_oob_cleanmarker(block))
    }
}

impl FlashMut for Target {
    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), TargetError> {
        either!(self, flash => flash.program(offset, data))
    }

    fn erase(&mut self, block: u32) -> Result<(), TargetError> {
        either!(self, flash => flash.erase(block))
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), TargetError> {
        either!(self, flash => flash.write_oob_cleanmarker(block))
    }

    fn mark_bad(&mut self, block: u32) -> Result<(), TargetError> {
        either!(self, flash => flash.mark_bad(block))
    }

    fn sync(&mut self) -> Result<(), TargetError> {
        either!(self, flash => flash.sync())
    }

    fn is_lasting(&self, error: &TargetError) -> bool {
        match (self, error) {
            (Self::Image(image), TargetError::Image(error)) => image.is_lasting(error),
            (Self::Mtd(mtd), TargetError::Mtd(error)) => mtd.is_lasting(error),
            _ => false,
        }
    }
}
