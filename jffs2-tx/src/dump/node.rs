//! A node with its fields, its CRC verdicts, and what it is to readers.

use super::BlockDump;
use crate::crc::crc32;
use crate::scan::BlockState;
use crate::wire::{
    Compat, CopyMarker, DIRENT_SIZE, Dirent, Endian, Header, INODE_SIZE, Inode, Marker, Summary, WireError, Xattr,
    Xref, nodetype,
};

/// What a node is to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// The tree needs it, or the reader does: a cleanmarker, a summary, a marker of a committed transaction.
    Live,
    /// Superseded by a newer one, marked as obsolete, of nothing that the root leads to, or padding.
    Obsolete,
    /// Damaged: a CRC is bad, or lengths do not agree.
    Torn,
    /// No reader sees it.
    Hidden,
    /// Of a transaction that was not committed.
    Uncommitted,
}

/// A node as it is dumped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedNode<'a> {
    /// Flash offset, bytes.
    pub at: u32,
    /// Flash offset of its end, up to a multiple of 4.
    pub end: u32,
    /// Its header; the CRC of that is good.
    pub header: Header,
    /// What it is to readers.
    pub standing: Standing,
    /// Whether the CRC of its fields is good, if it has one.
    pub node_crc: Option<bool>,
    /// Whether the CRC of its data is good, or of its name, if it has one.
    pub data_crc: Option<bool>,
    /// Why it is not the node that it says it is.
    pub problem: Option<WireError>,
    /// What it says. Of a damaged node every field may be wrong.
    pub fields: Fields<'a>,
}

/// The fields of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fields<'a> {
    /// Metadata of an inode and a range of its data.
    Inode(Inode),
    /// A name in a directory.
    Dirent(Dirent<'a>),
    /// An extended attribute.
    Xattr(Xattr<'a>),
    /// Its tie to an inode.
    Xref(Xref),
    /// The eraseblock was erased completely.
    Cleanmarker,
    /// Fills space.
    Padding,
    /// Lists so many nodes of its eraseblock.
    Summary(usize),
    /// Of a transaction.
    Marker(Marker),
    /// Of a collection.
    CopyMarker(CopyMarker),
    /// A type that is not known, or too damaged to say.
    Unknown,
}

impl<'a> Fields<'a> {
    /// Reads a node whose header is good, marked obsolete or not. `node` is all of it. The second is why it is damaged, if
    /// it is: every field may be wrong then.
    #[must_use]
    pub fn read(endian: Endian, header: &Header, node: &'a [u8]) -> (Self, Option<WireError>) {
        let (fields, (_, data_crc), problem) = parse(endian, header, node);
        (fields, problem.or((data_crc == Some(false)).then_some(WireError::DataCrc)))
    }
}

/// Verdicts on the CRCs of the fields and of the data.
type Verdicts = (Option<bool>, Option<bool>);

pub(super) fn dump_node<'a>(
    block: &BlockDump<'_>,
    at: u32,
    end: u32,
    header: Header,
    bytes: &'a [u8],
) -> DumpedNode<'a> {
    let endian = block.endian;
    let (fields, (node_crc, data_crc), problem) = parse(endian, &header, bytes);
    let torn = problem.is_some() || node_crc == Some(false) || data_crc == Some(false);
    let standing = if header.obsolete {
        Standing::Obsolete
    } else if torn {
        Standing::Torn
    } else {
        standing(block, at, header.nodetype, &fields)
    };
    DumpedNode { at, end, header, standing, node_crc, data_crc, problem, fields }
}

fn standing(block: &BlockDump<'_>, at: u32, nodetype: u16, fields: &Fields<'_>) -> Standing {
    let unseen = if block.uncommitted { Standing::Uncommitted } else { Standing::Hidden };
    let superseded = if block.uncommitted { Standing::Uncommitted } else { Standing::Obsolete };
    let of_tree = |visible: bool| match () {
        () if !visible => unseen,
        () if block.live.binary_search(&at).is_ok() => Standing::Live,
        () => superseded,
    };
    let found = &block.found;
    match fields {
        _ if block.state == BlockState::Hidden => unseen,
        Fields::Inode(_) => of_tree(found.inodes.binary_search_by_key(&at, |node| node.at).is_ok()),
        Fields::Dirent(_) => of_tree(found.dirents.binary_search_by_key(&at, |node| node.at).is_ok()),
        Fields::Xattr(_) => of_tree(found.xattrs.iter().any(|node| node.at == at)),
        Fields::Xref(_) => of_tree(found.xrefs.iter().any(|node| node.at == at)),
        Fields::Marker(_) if block.uncommitted => Standing::Uncommitted,
        Fields::Padding | Fields::CopyMarker(_) => Standing::Obsolete,
        Fields::Unknown if Compat::of(nodetype) == Compat::Delete => Standing::Obsolete,
        _ => Standing::Live,
    }
}

/// Reads a node that may be marked obsolete: its CRCs are those from before.
fn parse<'a>(endian: Endian, header: &Header, node: &'a [u8]) -> (Fields<'a>, Verdicts, Option<WireError>) {
    let good = (Some(true), Some(true));
    let only_node = |ok: bool| (Some(ok), None);
    match header.nodetype {
        nodetype::INODE if node.len() >= INODE_SIZE => {
            let inode = Inode::fields(endian, node);
            let problem = Inode::parse(endian, node).err();
            let node_crc = problem != Some(WireError::NodeCrc);
            let data_crc = inode.data_is_good(node);
            (Fields::Inode(inode), (Some(node_crc), Some(data_crc)), problem)
        }
        nodetype::DIRENT if node.len() >= DIRENT_SIZE => {
            let dirent = Dirent::fields(endian, node);
            let problem = Dirent::parse(endian, node).err();
            let node_crc = problem != Some(WireError::NodeCrc);
            let name_crc = crc32(dirent.name) == endian.u32(node, 36);
            (Fields::Dirent(dirent), (Some(node_crc), Some(name_crc)), problem)
        }
        nodetype::XATTR => match Xattr::parse(endian, node) {
            Ok(xattr) => (Fields::Xattr(xattr), good, None),
            Err(error) => (Fields::Unknown, (Some(Xattr::identity(endian, node).is_ok()), Some(false)), Some(error)),
        },
        nodetype::XREF => match Xref::parse(endian, node) {
            Ok(xref) => (Fields::Xref(xref), only_node(true), None),
            Err(error) => (Fields::Unknown, only_node(false), Some(error)),
        },
        nodetype::SUMMARY => match Summary::parse(endian, node) {
            Ok(summary) => (Fields::Summary(summary.entries.len()), good, None),
            Err(error) => (Fields::Unknown, (None, None), Some(error)),
        },
        nodetype::TX_MARKER => match Marker::parse(endian, node) {
            Ok(marker) => (Fields::Marker(marker), only_node(true), None),
            Err(error) => (Fields::Unknown, only_node(error != WireError::NodeCrc), Some(error)),
        },
        nodetype::COPY_MARKER => match CopyMarker::parse(endian, node) {
            Ok(marker) => (Fields::CopyMarker(marker), only_node(true), None),
            Err(error) => (Fields::Unknown, only_node(error != WireError::NodeCrc), Some(error)),
        },
        nodetype::CLEANMARKER => (Fields::Cleanmarker, (None, None), None),
        nodetype::PADDING => (Fields::Padding, (None, None), None),
        nodetype::INODE | nodetype::DIRENT => (Fields::Unknown, (None, None), Some(WireError::Length)),
        _ => (Fields::Unknown, (None, None), None),
    }
}
