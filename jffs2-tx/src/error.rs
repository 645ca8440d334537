//! Errors of reading. Writing has its own in `tx`.

use alloc::string::String;

use crate::codec::CodecError;

/// Reading a file system failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The device gave an error.
    #[error("read at {offset:#x}: {error}")]
    Device {
        /// Flash offset, bytes.
        offset: u32,
        /// The device's error.
        error: E,
    },
    /// No such name.
    #[error("{path}: no such file or directory")]
    NotFound {
        /// The path asked for.
        path: String,
    },
    /// A component of the path is no directory.
    #[error("{path}: not a directory")]
    NotADirectory {
        /// The path asked for.
        path: String,
    },
    /// The inode is not of the type that the operation needs.
    #[error("inode {ino} is not a {wanted}")]
    WrongKind {
        /// Inode number.
        ino: u32,
        /// What it should be.
        wanted: &'static str,
    },
    /// A name leads to this inode, but no good node of it is left.
    #[error("inode {ino} has no readable node")]
    NoNode {
        /// Inode number.
        ino: u32,
    },
    /// The nodes of an inode make no sense together.
    #[error("inode {ino} is damaged at {offset:#x}: {what}")]
    Damaged {
        /// Inode number.
        ino: u32,
        /// Flash offset, bytes.
        offset: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// A node's data cannot be decoded.
    #[error("inode {ino}, node at {offset:#x}: {error}")]
    Codec {
        /// Inode number.
        ino: u32,
        /// Flash offset, bytes.
        offset: u32,
        /// Why.
        error: CodecError,
    },
    /// A node forbids this reader to go on: Linux refuses such a mount too.
    #[error("node at {offset:#x} of type {nodetype:#06x} is incompatible: a newer reader is needed")]
    Incompatible {
        /// Flash offset, bytes.
        offset: u32,
        /// Node type.
        nodetype: u16,
    },
}
