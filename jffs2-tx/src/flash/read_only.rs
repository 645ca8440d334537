//! A flash that can only be read, where one to write to is asked for.

use core::fmt;

use super::{Ecc, Flash, FlashMut, Geometry};

/// Reads as the flash in it does and refuses to be written to: for dry runs.
#[derive(Clone, Debug)]
pub struct ReadOnly<F>(pub F);

/// An operation on a [`ReadOnly`] flash failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadOnlyError<E: fmt::Display> {
    /// The device's error.
    #[error("{0}")]
    Device(E),
    /// It was to be written to.
    #[error("opened for reading only")]
    ReadOnly,
}

impl<F: Flash> Flash for ReadOnly<F> {
    type Error = ReadOnlyError<F::Error>;

    fn geometry(&self) -> &Geometry {
        self.0.geometry()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, Self::Error> {
        self.0.read(offset, buf).map_err(ReadOnlyError::Device)
    }

    fn is_bad(&self, block: u32) -> Result<bool, Self::Error> {
        self.0.is_bad(block).map_err(ReadOnlyError::Device)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, Self::Error> {
        self.0.has_oob_cleanmarker(block).map_err(ReadOnlyError::Device)
    }
}

impl<F: Flash> FlashMut for ReadOnly<F> {
    fn program(&mut self, _offset: u32, _data: &[u8]) -> Result<(), Self::Error> {
        Err(ReadOnlyError::ReadOnly)
    }

    fn erase(&mut self, _block: u32) -> Result<(), Self::Error> {
        Err(ReadOnlyError::ReadOnly)
    }

    fn write_oob_cleanmarker(&mut self, _block: u32) -> Result<(), Self::Error> {
        Err(ReadOnlyError::ReadOnly)
    }

    fn mark_bad(&mut self, _block: u32) -> Result<(), Self::Error> {
        Err(ReadOnlyError::ReadOnly)
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        Err(ReadOnlyError::ReadOnly)
    }
}
