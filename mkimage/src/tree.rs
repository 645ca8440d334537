//! One inode after the other: metadata, names, contents.

use std::io::Write;

use jffs2_tx::inode_kind::{FileKind, Meta};
use jffs2_tx::source::{NodeId, SourceKind, SourceTree};
use jffs2_tx::wire::{Compression, Dirent, Inode};

use crate::compress::Encoder;
use crate::file::FileWriter;
use crate::packer::{Packer, Size};
use crate::pages::{Compressed, Pages};
use crate::plan::Plan;
use crate::xattrs::Xattrs;
use crate::{BuildError, Built, Options, Pad, Report};

/// The version of an inode's first node.
const FIRST_VERSION: u32 = 1;

pub(crate) struct TreeWriter<'t, W, I> {
    tree: &'t SourceTree,
    plan: &'t Plan,
    page_size: u32,
    packer: Packer<W>,
    pages: Pages<'t, I>,
    /// For what is split.
    encoder: Encoder,
    xattrs: Xattrs<'t>,
    report: Report,
    /// Of each node of the tree.
    flash_bytes: Vec<u64>,
}

impl<'t, W: Write, I: Iterator<Item = Compressed>> TreeWriter<'t, W, I> {
    /// `pages` are those of the plan's files.
    pub(crate) fn new(tree: &'t SourceTree, plan: &'t Plan, options: &Options, out: W, pages: Pages<'t, I>) -> Self {
        Self {
            tree,
            plan,
            page_size: options.page_size,
            packer: Packer::new(out, options),
            pages,
            encoder: Encoder::new(&options.compress),
            xattrs: Xattrs::default(),
            report: Report::default(),
            flash_bytes: vec![0; tree.nodes().len()],
        }
    }

    /// Writes all nodes of one inode.
    pub(crate) fn write(&mut self, id: NodeId) -> Result<(), BuildError> {
        let before = self.packer.node_bytes();
        self.report.inodes += 1;
        self.inode_nodes(id)?;
        self.flash_bytes[id] = self.packer.node_bytes() - before;
        Ok(())
    }

    fn inode_nodes(&mut self, id: NodeId) -> Result<(), BuildError> {
        match &self.tree.node(id).kind {
            SourceKind::Directory(_) => self.directory(id)?,
            SourceKind::File { size, .. } => self.file(id, *size)?,
            SourceKind::Symlink(target) => {
                self.special(Inode { isize: target.len() as u32, ..self.inode(id) }, target)?;
            }
            SourceKind::CharDevice(device) | SourceKind::BlockDevice(device) => {
                self.special(self.inode(id), &device.encode(self.packer.endian()))?;
            }
            SourceKind::Fifo | SourceKind::Socket => self.special(self.inode(id), &[])?,
        }
        match self.tree.extra(id) {
            Some(extra) => self.xattrs.write(&mut self.packer, self.plan.ino(id), &extra.xattrs),
            None => Ok(()),
        }
    }

    /// Ends the image.
    pub(crate) fn finish(self, pad: Pad) -> Result<Built, BuildError> {
        self.pages.finish();
        let Size { bytes, eraseblocks, nodes, .. } = self.packer.finish(pad)?;
        let report = Report { bytes, eraseblocks, nodes, ..self.report };
        Ok(Built { report, flash_bytes: self.flash_bytes })
    }

    fn directory(&mut self, id: NodeId) -> Result<(), BuildError> {
        let mut inode = self.inode(id);
        let tree = self.tree;
        for (name, child) in tree.children(id) {
            self.packer.dirent(&Dirent {
                pino: inode.ino,
                version: inode.version,
                ino: self.plan.ino(child),
                mctime: inode.mtime,
                kind: tree.node(child).kind.file_kind().dirent_type(),
                name,
            })?;
            inode.version += 1;
        }
        // Linux takes a directory's time from its highest version: this one.
        self.packer.inode(&inode, &[])
    }

    fn file(&mut self, id: NodeId, size: u32) -> Result<(), BuildError> {
        let mut writer = FileWriter {
            next: Inode { isize: size, ..self.inode(id) },
            packer: &mut self.packer,
            report: &mut self.report,
            encoder: &mut self.encoder,
            page_size: self.page_size,
            zeros: 0,
        };
        while let Some(page) = self.pages.next()? {
            writer.page(page)?;
        }
        writer.finish()
    }

    /// Writes an inode whose data, if any, is stored as it is in one node.
    fn special(&mut self, inode: Inode, data: &[u8]) -> Result<(), BuildError> {
        self.packer.inode(&Inode { dsize: data.len() as u32, ..inode }, data)
    }

    /// The inode's first node, without data.
    fn inode(&self, id: NodeId) -> Inode {
        let node = self.tree.node(id);
        let Meta { mode, uid, gid, mtime } = node.meta;
        let kind = node.kind.file_kind();
        let (atime, ctime) = self.tree.extra(id).and_then(|extra| extra.times).unwrap_or((mtime, mtime));
        Inode {
            ino: self.plan.ino(id),
            version: FIRST_VERSION,
            mode: kind.mode_bits() | if kind == FileKind::Symlink { 0o777 } else { mode },
            uid,
            gid,
            isize: 0,
            atime,
            mtime,
            ctime,
            offset: 0,
            csize: 0,
            dsize: 0,
            compression: Compression::None,
            data_crc: 0,
        }
    }
}
