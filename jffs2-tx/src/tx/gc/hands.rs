//! What a collection does to the flash, or only says that it would.

use alloc::{vec, vec::Vec};
use core::marker::PhantomData;

use super::inventory::{Kind, Node, Twins};
use crate::error::ReadError;
use crate::flash::{Ecc, Flash, FlashMut, Geometry};
use crate::log::{WriteError, erase, forget_summary, free_block, is_lasting, program, sync};
use crate::scan::{BlockScan, BlockState, Rules, scan_block, scan_one};
use crate::tx::TxError;
use crate::tx::recover::{copies_start, copy_marker, vouch, write_copies};
use crate::wire::{CopyMarker, Dirent, Endian, HEADER_SIZE, emit_padding, pad4};

/// What became of a copy.
pub(super) enum Copied<E> {
    /// It is durable and reads back.
    Done,
    /// A node reads differently than before.
    SourceChanged { at: u32 },
    /// The eraseblock that was to take it failed.
    Failed(E),
}

/// What became of an eraseblock that was to be freed.
pub(super) enum Freed<E> {
    /// It is free.
    Done,
    /// A copy is not what it was copied from: nothing was done.
    Differs,
    /// It failed.
    Failed(E),
}

/// Does the steps of a collection.
pub(super) trait Hands {
    type Error;

    /// Copies nodes into an eraseblock that is free, one behind the other, the marker before them.
    fn copy(&mut self, nodes: &[Node], begun: CopyMarker) -> Result<Copied<Self::Error>, Self::Error>;

    /// Erases an eraseblock whose live nodes all stand elsewhere, too.
    fn free(&mut self, block: u32, twins: &[Twins]) -> Result<Freed<Self::Error>, Self::Error>;
}

/// Does nothing, and never fails.
pub(super) struct Dry<F>(PhantomData<F>);

impl<F> Dry<F> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F: Flash> Hands for Dry<F> {
    type Error = TxError<F::Error>;

    fn copy(&mut self, _: &[Node], _: CopyMarker) -> Result<Copied<Self::Error>, Self::Error> {
        Ok(Copied::Done)
    }

    fn free(&mut self, _: u32, _: &[Twins]) -> Result<Freed<Self::Error>, Self::Error> {
        Ok(Freed::Done)
    }
}

/// Does it.
pub(super) struct OnFlash<'f, F, P> {
    flash: &'f mut F,
    endian: Endian,
    freed: u32,
    progress: P,
}

impl<'f, F: FlashMut, P: FnMut(u32)> OnFlash<'f, F, P> {
    pub(super) fn new(flash: &'f mut F, endian: Endian, progress: P) -> Self {
        Self { flash, endian, freed: 0, progress }
    }

    /// The bytes of a node as they are to stand in the other place.
    fn read(&self, node: Node) -> Result<Vec<u8>, ReadError<F::Error>> {
        let mut bytes = vec![0; node.len as usize];
        let offset = node.at;
        self.flash.read(offset, &mut bytes).map_err(|error| ReadError::Device { offset, error })?;
        // One that does not parse any more is found out by whoever looks at the copy.
        if let (Some(anew), Ok(dirent)) = (node.anew, Dirent::parse(self.endian, &bytes)) {
            let mctime = if anew.timed { dirent.mctime } else { 0 };
            let mut written = Vec::with_capacity(bytes.len());
            Dirent { version: anew.version, mctime, ..dirent }.emit(self.endian, &mut written);
            written.truncate(bytes.len());
            return Ok(written);
        }
        Ok(bytes)
    }

    /// The bytes of an eraseblock with these nodes in it, up to the last one's end and the filler behind it.
    fn image(&self, begun: CopyMarker, nodes: &[Node]) -> Result<Vec<u8>, ReadError<F::Error>> {
        let geometry = *self.flash.geometry();
        let mut image = copy_marker(&geometry, self.endian, begun, copies_start(&geometry));
        for node in nodes {
            image.extend(self.read(*node)?);
            image.resize(pad4(image.len() as u32) as usize, 0xff);
        }
        let unit = geometry.write_size() as usize;
        let filler = image.len().next_multiple_of(unit) - image.len();
        emit_padding(self.endian, &mut image, filler as u32);
        Ok(image)
    }

    fn rules(&self) -> Rules {
        Rules { endian: self.endian, summaries: true }
    }

    /// Writes an eraseblock and makes sure that readers see the nodes in it.
    fn write(&mut self, begun: CopyMarker, image: &[u8], nodes: &[Node]) -> Result<(), WriteError<F::Error>> {
        let geometry = *self.flash.geometry();
        let (to, start) = (begun.block, copies_start(&geometry) as usize);
        let offset = geometry.offset_of(to);
        write_copies(self.flash, begun.block, image.split_at(start))?;
        let mut back = vec![0; geometry.eraseblock() as usize];
        let found = scan_one(&*self.flash, self.rules(), to, &mut back).map_err(|error| match error {
            ReadError::Device { offset, error } => WriteError::Device { operation: "read back", offset, error },
            _ => WriteError::ReadBack { operation: "program", offset },
        })?;
        let same = back.starts_with(image) && back[image.len()..].iter().all(|byte| *byte == 0xff);
        if !same || found.uncorrectable || unseen(&geometry, &found, nodes, to).is_some() {
            return Err(WriteError::ReadBack { operation: "program", offset });
        }
        vouch(self.flash, self.endian, begun, image.len() as u32)
    }

    /// Whether every node reads the same in both places.
    fn all_equal(&self, twins: &[Twins]) -> Result<bool, ReadError<F::Error>> {
        for twin in twins {
            let mut copy = vec![0; twin.node.len as usize];
            let offset = twin.copy;
            let ecc = self.flash.read(offset, &mut copy).map_err(|error| ReadError::Device { offset, error })?;
            if ecc == Ecc::Uncorrectable || copy != self.read(twin.node)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes attributes unreadable before their erase: a value that an erase has damaged counts. The summary goes first: Linux
    /// would believe it, and miss an attribute that it lists.
    fn forget_attributes(&mut self, block: u32, twins: &[Twins]) -> Result<(), WriteError<F::Error>> {
        if !self.flash.geometry().can_overwrite() {
            return Ok(());
        }
        forget_summary(self.flash, block)?;
        for twin in twins.iter().filter(|twin| twin.node.kind == Kind::Xattr) {
            program(self.flash, twin.node.at, &[0; HEADER_SIZE])?;
            sync(self.flash, twin.node.at)?;
        }
        Ok(())
    }
}

/// The first of the nodes, copied to eraseblock `to`, that is not seen there; `None` if all are, and nothing is damaged.
fn unseen(geometry: &Geometry, found: &BlockScan, nodes: &[Node], to: u32) -> Option<u32> {
    let mut at = geometry.offset_of(to) + copies_start(geometry);
    for node in nodes {
        let seen = match node.kind {
            Kind::Inode => found.inodes.binary_search_by_key(&at, |node| node.at).is_ok(),
            Kind::Dirent => found.dirents.binary_search_by_key(&at, |node| node.at).is_ok(),
            Kind::Xattr => found.xattrs.binary_search_by_key(&at, |node| node.at).is_ok(),
            Kind::Xref => found.xrefs.binary_search_by_key(&at, |node| node.at).is_ok(),
        };
        if !seen {
            return Some(node.at);
        }
        at += node.room();
    }
    let whole = found.state == BlockState::Used && found.damage_count == 0;
    nodes.first().filter(|_| !whole || found.visible_nodes() != nodes.len()).map(|node| node.at)
}

impl<F: FlashMut, P: FnMut(u32)> Hands for OnFlash<'_, F, P> {
    type Error = TxError<F::Error>;

    fn copy(&mut self, nodes: &[Node], begun: CopyMarker) -> Result<Copied<Self::Error>, Self::Error> {
        let to = begun.block;
        let geometry = *self.flash.geometry();
        let image = self.image(begun, nodes)?;
        let mut whole = image.clone();
        whole.resize(geometry.eraseblock() as usize, 0xff);
        if let Some(at) = unseen(&geometry, &scan_block(&geometry, self.rules(), to, &whole, false), nodes, to) {
            return Ok(Copied::SourceChanged { at });
        }
        match self.write(begun, &image, nodes) {
            Ok(()) => Ok(Copied::Done),
            Err(error) if is_lasting(self.flash, &error) => Err(error.into()),
            Err(error) => {
                // Where there are no bad-block marks what is there may be seen: it says nothing new, but it is in the way.
                if geometry.can_overwrite() {
                    let _ = erase(self.flash, to);
                }
                let _ = self.flash.mark_bad(to);
                Ok(Copied::Failed(error.into()))
            }
        }
    }

    fn free(&mut self, block: u32, twins: &[Twins]) -> Result<Freed<Self::Error>, Self::Error> {
        if !self.all_equal(twins)? {
            return Ok(Freed::Differs);
        }
        let freed = self.forget_attributes(block, twins).and_then(|()| free_block(self.flash, self.endian, block));
        if let Err(error) = freed {
            if is_lasting(self.flash, &error) {
                return Err(error.into());
            }
            let _ = self.flash.mark_bad(block);
            return Ok(Freed::Failed(error.into()));
        }
        self.freed += 1;
        (self.progress)(self.freed);
        Ok(Freed::Done)
    }
}
