//! One side of a comparison: an image, or a tree from a directory.

use std::io::Read;

use jffs2_tx::index::ROOT;
use jffs2_tx::inode_kind::{Device, FileKind, Meta};
use jffs2_tx::source::{self, SourceKind, SourceTree};

use super::content::ImageContent;
use crate::image::Image;
use crate::ls::type_name;
use crate::show;

/// A tree whose inodes have numbers.
#[derive(Clone, Copy)]
pub(super) enum Side<'a> {
    Image(&'a Image),
    Source(&'a SourceTree),
}

/// What is compared of an inode beside its contents.
pub(super) struct Entry {
    pub(super) kind: FileKind,
    pub(super) meta: Meta,
    /// Bytes of a file; 0 for anything else.
    pub(super) size: u32,
    pub(super) device: Option<Device>,
    pub(super) target: Vec<u8>,
    /// It may have several names.
    pub(super) linked: bool,
}

impl Entry {
    pub(super) fn type_name(&self) -> &'static str {
        type_name(self.kind)
    }

    pub(super) fn device_text(&self) -> String {
        self.device.map(|device| format!("{}:{}", device.major, device.minor)).unwrap_or_default()
    }
}

impl<'a> Side<'a> {
    pub(super) fn root(&self) -> u64 {
        match self {
            Self::Image(_) => ROOT.into(),
            Self::Source(_) => source::ROOT as u64,
        }
    }

    pub(super) fn is_directory(&self, id: u64) -> bool {
        match self {
            Self::Image(image) => image.index.is_directory(id as u32),
            Self::Source(tree) => matches!(tree.node(id as usize).kind, SourceKind::Directory(_)),
        }
    }

    /// Names in a directory, in byte order.
    pub(super) fn children(&self, id: u64) -> Vec<(&'a [u8], u64)> {
        match *self {
            Self::Image(image) => {
                image.tree().read_dir(id as u32).map(|(name, record)| (name, record.ino.into())).collect()
            }
            Self::Source(tree) => tree.children(id as usize).map(|(name, id)| (name, id as u64)).collect(),
        }
    }

    /// The inode, or why it cannot be read.
    pub(super) fn entry(&self, id: u64) -> Result<Entry, String> {
        match self {
            Self::Image(image) => image_entry(image, id as u32),
            Self::Source(tree) => Ok(source_entry(tree, id as usize)),
        }
    }

    /// Extended attributes in words; `None` where they are not known.
    pub(super) fn xattrs(&self, id: u64) -> Option<String> {
        let Self::Image(image) = self else { return None };
        Some(match image.tree().xattrs(id as u32) {
            Ok(all) => {
                let each =
                    all.iter().map(|xattr| format!("{}={}", show::text(&xattr.name), show::digits(&xattr.value)));
                each.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        })
    }

    /// A regular file's bytes, or why there are none.
    pub(super) fn content(&self, id: u64) -> Result<Box<dyn Read + 'a>, String> {
        match *self {
            Self::Image(image) => {
                let file = image.tree().open(id as u32).map_err(|error| error.to_string())?;
                Ok(Box::new(ImageContent::new(file)))
            }
            Self::Source(tree) => match &tree.node(id as usize).kind {
                SourceKind::File { content, .. } => content.open().map_err(|error| error.to_string()),
                _ => Err("is not a regular file".into()),
            },
        }
    }
}

fn image_entry(image: &Image, ino: u32) -> Result<Entry, String> {
    let tree = image.tree();
    let stat = tree.stat(ino).map_err(|error| error.to_string())?;
    let is_link = stat.kind == FileKind::Symlink;
    let target = if is_link { tree.read_link(ino).map_err(|error| error.to_string())? } else { Vec::new() };
    let mut meta = stat.meta;
    if is_link {
        // Whatever is written: Linux shows every symlink with this mode.
        meta.mode = 0o777;
    }
    let size = if stat.kind == FileKind::File { stat.size } else { 0 };
    Ok(Entry { kind: stat.kind, meta, size, device: stat.device, target, linked: stat.links > 1 })
}

fn source_entry(tree: &SourceTree, id: usize) -> Entry {
    let node = tree.node(id);
    let (mut size, mut device, mut target) = (0, None, Vec::new());
    match &node.kind {
        SourceKind::File { size: bytes, .. } => size = *bytes,
        SourceKind::Symlink(to) => target.clone_from(to),
        SourceKind::CharDevice(number) | SourceKind::BlockDevice(number) => device = Some(*number),
        SourceKind::Directory(_) | SourceKind::Fifo | SourceKind::Socket => {}
    }
    // Whether another path leads here is only known when it is met.
    Entry { kind: node.kind.file_kind(), meta: node.meta, size, device, target, linked: true }
}
