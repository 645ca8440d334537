//! What the fuzzer's bytes mean.

use arbitrary::Arbitrary;
use jffs2_tx::flash::{FlashKind, FlashMut, Geometry};
use jffs2_tx::wire::CommitPoint;
use jffs2_tx::{Device, Endian, Meta, Transaction, TxError};

use super::model::Model;

/// Eraseblocks of the flash.
const BLOCKS: u32 = 14;

/// A flash: numbers pick from what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Setup {
    kind: u8,
    eraseblock: u8,
    big: bool,
}

impl Setup {
    pub fn endian(&self) -> Endian {
        if self.big { Endian::Big } else { Endian::Little }
    }

    pub fn geometry(&self) -> Geometry {
        let (kind, write_size) = [
            (FlashKind::Nor, 1),
            (FlashKind::Nor, 4),
            (FlashKind::Nor, 32),
            (FlashKind::Nand, 512),
            (FlashKind::Nand, 2048),
        ][usize::from(self.kind % 5)];
        let eraseblock = [4096, 8192, 16384, 65536][usize::from(self.eraseblock % 4)].max(4 * write_size);
        Geometry::new(kind, u64::from(BLOCKS * eraseblock), eraseblock, write_size).expect("valid")
    }
}

/// A transaction, and what follows it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Change {
    pub ops: Vec<Op>,
    pub point: Option<Point>,
    pub ending: Ending,
    pub after: After,
}

impl Change {
    /// Makes a file system of an empty flash.
    pub fn first() -> Self {
        Self { ops: vec![Op::Mkdir(Path(1), 0o755)], point: None, ending: Ending::Commit, after: After::Nothing }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Point {
    Dirent,
    Head,
    Summary,
}

impl From<Point> for CommitPoint {
    fn from(point: Point) -> Self {
        match point {
            Point::Dirent => Self::Dirent,
            Point::Head => Self::Head,
            Point::Summary => Self::Summary,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Ending {
    Commit,
    Abort,
    Drop,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum After {
    Nothing,
    Recover,
    Collect,
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Op {
    Create(Path, Data),
    Write(Path, Data, u32),
    Mkdir(Path, u16),
    Symlink(Path, u8),
    Device(Path, bool, u8),
    Fifo(Path),
    Link(Path, Path),
    Rename(Path, Path),
    Remove(Path),
    RemoveAll(Path),
    Chmod(Path, u16),
    Chown(Path, u16, u16),
    Utimes(Path, u32),
    /// The tree that the operations make of an empty one.
    Replace(Vec<Op>),
}

/// One of a few names, up to three levels deep; the root, rarely.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Path(u8);

impl Path {
    pub fn bytes(self) -> Vec<u8> {
        let [a, b, c] = [self.0 >> 4 & 3, self.0 >> 2 & 3, self.0 & 3];
        match (a, b) {
            (0, 0) if self.0 & 0xc0 == 0xc0 => Vec::new(),
            (0, 0) => format!("n{c}").into_bytes(),
            (0, b) => format!("n{b}/n{c}").into_bytes(),
            (a, b) => format!("n{a}/n{b}/a longer name {c}").into_bytes(),
        }
    }
}

/// Contents of a file.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Data {
    len: u16,
    fill: u8,
    /// Nothing compresses it.
    noise: bool,
}

impl Data {
    pub fn bytes(self) -> Vec<u8> {
        let len = usize::from(self.len) % 9000;
        match self.noise {
            true => {
                (0..len as u32).map(|i| ((i ^ u32::from(self.fill)).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
            }
            false => vec![self.fill; len],
        }
    }
}

/// Metadata of what is made.
pub const META: Meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 7 };

pub fn target(number: u8) -> Vec<u8> {
    format!("../n{}", number % 8).into_bytes()
}

pub fn device(number: u8) -> Device {
    Device { major: u32::from(number % 3) * 200, minor: u32::from(number) * 7 }
}

impl Op {
    /// Does it in a transaction.
    pub fn apply<F: FlashMut>(&self, tx: &mut Transaction<'_, F>) -> Result<(), TxError<F::Error>> {
        match self {
            Self::Create(path, data) => tx.create_file(&path.bytes(), META, &data.bytes()),
            Self::Write(path, data, mtime) => tx.write_file(&path.bytes(), &data.bytes(), *mtime),
            Self::Mkdir(path, mode) => tx.mkdir(&path.bytes(), Meta { mode: u32::from(*mode & 0o7777), ..META }),
            Self::Symlink(path, number) => tx.symlink(&path.bytes(), META, &target(*number)),
            Self::Device(path, block, number) => tx.mknod(&path.bytes(), META, *block, device(*number)),
            Self::Fifo(path) => tx.mkfifo(&path.bytes(), META),
            Self::Link(existing, path) => tx.link(&existing.bytes(), &path.bytes()),
            Self::Rename(from, to) => tx.rename(&from.bytes(), &to.bytes()),
            Self::Remove(path) => tx.remove(&path.bytes()),
            Self::RemoveAll(path) => tx.remove_all(&path.bytes()),
            Self::Chmod(path, mode) => tx.chmod(&path.bytes(), u32::from(*mode & 0o7777)),
            Self::Chown(path, uid, gid) => tx.chown(&path.bytes(), *uid, *gid),
            Self::Utimes(path, mtime) => tx.utimes(&path.bytes(), *mtime),
            Self::Replace(ops) => tx.replace_tree(&Model::of(ops).source(), &mut |_, _| {}).map(drop),
        }
    }
}
