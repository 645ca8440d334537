//! Inodes as some of their nodes leave them: what [`History`](crate::history::History) picks from the past.

use alloc::{collections::VecDeque, vec::Vec};

use super::{File, Result, Stat, Tree, changed};
use crate::error::ReadError;
use crate::flash::Flash;
use crate::index::extents;
use crate::inode_kind::{Device, FileKind, Meta};
use crate::scan::InodeRecord;

impl<'a, F: Flash> Tree<'a, F> {
    /// A file whose nodes are `nodes`, ascending by version, whatever the tree says.
    #[must_use]
    pub fn open_nodes(&self, nodes: &'a [InodeRecord]) -> File<'a, F> {
        let (size, extents) = extents(nodes);
        let suspects = nodes.last().map_or(&[][..], |newest| {
            let all = self.index.suspects(newest.ino);
            &all[..all.partition_point(|node| node.version <= newest.version)]
        });
        File { tree: *self, nodes, suspects, size, extents, decoded: VecDeque::new() }
    }

    /// What the newest good one of `nodes` says. Links are 1: names are not looked at. The size is the one it says.
    ///
    /// # Errors
    /// [`ReadError::NoNode`] for no good node, [`ReadError::Damaged`], [`ReadError::Device`].
    pub fn stat_nodes(&self, ino: u32, nodes: &[InodeRecord]) -> Result<Stat, F> {
        let latest = nodes.iter().rev().find(|node| node.good).ok_or(ReadError::NoNode { ino })?;
        let node = self.read_node(latest)?;
        let kind = FileKind::from_mode(node.mode).ok_or(changed(latest))?;
        let is_device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        let device = is_device.then(|| self.stored(latest)).transpose()?;
        Ok(Stat {
            ino,
            kind,
            meta: Meta { mode: node.mode & 0o7777, uid: node.uid, gid: node.gid, mtime: node.mtime },
            atime: node.atime,
            ctime: node.ctime,
            size: match kind {
                FileKind::File => node.isize,
                FileKind::Symlink => node.dsize,
                _ => 0,
            },
            links: 1,
            device: device.and_then(|data| Device::decode(self.index.rules().endian, &data)),
        })
    }

    /// The data of the newest good one of `nodes` as it is stored: a symlink's target.
    ///
    /// # Errors
    /// As [`Tree::stat_nodes`].
    pub fn read_link_nodes(&self, ino: u32, nodes: &[InodeRecord]) -> Result<Vec<u8>, F> {
        self.stored(nodes.iter().rev().find(|node| node.good).ok_or(ReadError::NoNode { ino })?)
    }
}
