//! Every inode node and dirent with good CRCs, whoever sees it.

use alloc::{vec, vec::Vec};

use super::{Life, PastDirent, Seen, Standing};
use crate::error::ReadError;
use crate::flash::{Flash, Geometry};
use crate::index::Index;
use crate::scan::{BlockScan, BlockState, InodeRecord, Place, Places, blank_prefix, scan_one};
use crate::wire::{Dirent, Endian, Header, Inode, nodetype};

/// An inode node while it is sorted out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub record: InodeRecord,
    pub mtime: u32,
    /// CRCs of its fields and of its data: copies of one node have the same.
    pub sums: (u32, u32),
    pub seen: Seen,
    pub life: Life,
}

/// What an eraseblock says of the nodes in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockNote {
    /// Readers see nothing in it, and its head is blank as that of a commit block that never was committed.
    pub unfinished: bool,
    /// Inode number of its first inode node.
    pub first_ino: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub nodes: Vec<Node>,
    pub dirents: Vec<PastDirent>,
    pub names: Vec<u8>,
    pub blocks: Vec<BlockNote>,
}

impl Evidence {
    pub(super) fn read<F: Flash>(flash: &F, index: &Index) -> Result<Self, ReadError<F::Error>> {
        let geometry = *flash.geometry();
        let mut all = Self::default();
        let mut bytes = vec![0; geometry.eraseblock() as usize];
        for block in 0..geometry.blocks() {
            let found = scan_one(flash, index.rules(), block, &mut bytes)?;
            let note = match found.state {
                BlockState::Used | BlockState::Hidden => all.take_block(&geometry, index, block, &bytes, &found),
                BlockState::Bad | BlockState::Blank | BlockState::Clean => BlockNote::default(),
            };
            all.blocks.push(note);
        }
        Ok(all)
    }

    fn take_block(
        &mut self,
        geometry: &Geometry,
        index: &Index,
        block: u32,
        bytes: &[u8],
        found: &BlockScan,
    ) -> BlockNote {
        let (endian, start) = (index.rules().endian, geometry.offset_of(block));
        let (first_node, nodes) = (self.nodes.len(), Places::new(endian, bytes, 0));
        for place in nodes {
            if let Place::Node { at, header, bytes } = place {
                self.take(endian, start + at as u32, &header, bytes, found);
            }
        }
        BlockNote {
            unfinished: found.state == BlockState::Hidden && blank_prefix(bytes) as u32 >= geometry.blank_head(),
            first_ino: self.nodes.get(first_node).map(|node| node.record.ino),
        }
    }

    fn take(&mut self, endian: Endian, at: u32, header: &Header, bytes: &[u8], found: &BlockScan) {
        match header.nodetype {
            nodetype::INODE => {
                let Ok(inode) = Inode::parse(endian, bytes) else { return };
                let visible = found.inodes.binary_search_by_key(&at, |node| node.at).is_ok();
                self.nodes.push(Node {
                    record: InodeRecord::of(at, &inode, bytes),
                    mtime: inode.mtime,
                    sums: (endian.u32(bytes, 64), inode.data_crc),
                    seen: Seen::of(header, visible),
                    life: Life::Last,
                });
            }
            nodetype::DIRENT => {
                let Ok(dirent) = Dirent::parse(endian, bytes) else { return };
                let visible = found.dirents.binary_search_by_key(&at, |node| node.at).is_ok();
                self.take_dirent(at, &dirent, Seen::of(header, visible));
            }
            _ => {}
        }
    }

    fn take_dirent(&mut self, at: u32, dirent: &Dirent<'_>, seen: Seen) {
        self.dirents.push(PastDirent {
            pino: dirent.pino,
            version: dirent.version,
            ino: dirent.ino,
            mctime: dirent.mctime,
            at,
            kind: dirent.kind,
            standing: Standing::Deleted,
            tx: None,
            seen,
            name_start: self.names.len() as u32,
            name_len: dirent.name.len() as u8,
        });
        self.names.extend_from_slice(dirent.name);
    }
}

impl Seen {
    fn of(header: &Header, visible: bool) -> Self {
        match (header.obsolete, visible) {
            (true, _) => Self::Obsolete,
            (false, true) => Self::Visible,
            (false, false) => Self::Hidden,
        }
    }
}
