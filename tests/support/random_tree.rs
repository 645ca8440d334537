//! Trees that follow from a seed, with all that is awkward to store: sizes around those of pages and eraseblocks, holes,
//! names in any bytes, deep and wide directories, every type, hard links, extended attributes.

use std::collections::BTreeMap;

use anyhow::Result;
use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::source::{Content, Extra, NodeId, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::tree::Attribute;
use nandsim::Rng;

/// Most names in a directory that is not the wide one.
const NAMES: u64 = 12;
/// Most directories, one in the other.
const DEEP: usize = 40;
/// Names in the wide directory.
const WIDE: u64 = 700;
const HOLE: usize = 32 << 10;

/// The tree of a seed. `eraseblock` is the size in bytes that some files come near to.
pub fn random_tree(seed: u64, eraseblock: u32) -> Result<SourceTree> {
    let mut rng = Rng::new(seed);
    let mut maker = Maker { tree: SourceTree::new(meta(&mut rng)), rng, eraseblock, files: Vec::new() };
    let wide = maker.directory(ROOT, b"wide")?;
    for number in 0..maker.rng.below(WIDE) {
        maker.add(wide, format!("{number}").as_bytes())?;
    }
    let mut at = ROOT;
    for _ in 0..maker.rng.below(DEEP as u64) {
        maker.some(at)?;
        let name = maker.name();
        at = maker.directory(at, &name)?;
    }
    maker.some(at)?;
    Ok(maker.tree)
}

struct Maker {
    rng: Rng,
    tree: SourceTree,
    eraseblock: u32,
    /// What hard links can lead to.
    files: Vec<NodeId>,
}

impl Maker {
    fn some(&mut self, parent: NodeId) -> Result<()> {
        for _ in 0..self.rng.below(NAMES) {
            let name = self.name();
            self.add(parent, &name)?;
        }
        Ok(())
    }

    fn directory(&mut self, parent: NodeId, name: &[u8]) -> Result<NodeId> {
        let node = SourceNode { meta: meta(&mut self.rng), kind: SourceKind::Directory(BTreeMap::new()) };
        let id = self.tree.add(parent, name, node)?;
        self.attributes(id)?;
        Ok(id)
    }

    /// Anything but a directory.
    fn add(&mut self, parent: NodeId, name: &[u8]) -> Result<()> {
        if self.rng.below(10) == 0 && !self.files.is_empty() {
            let file = self.files[self.rng.below(self.files.len() as u64) as usize];
            return Ok(self.tree.link(parent, name, file)?);
        }
        let device = Device { major: self.rng.below(4096) as u32, minor: self.rng.below(1 << 20) as u32 };
        let kind = match self.rng.below(16) {
            0 => SourceKind::Symlink(self.bytes_without(b"", 254)),
            1 => SourceKind::CharDevice(device),
            2 => SourceKind::BlockDevice(device),
            3 => SourceKind::Fifo,
            4 => SourceKind::Socket,
            _ => self.file(),
        };
        let id = self.tree.add(parent, name, SourceNode { meta: meta(&mut self.rng), kind })?;
        self.files.push(id);
        self.attributes(id)
    }

    fn file(&mut self) -> SourceKind {
        let near = [0, 1, 4095, 4096, 4097, 8192, self.eraseblock as usize, HOLE, HOLE + 4096];
        let size = match self.rng.below(12) {
            at @ 0..9 => near[at as usize].saturating_add_signed(self.rng.below(3) as isize - 1),
            9 => self.rng.below(4 * u64::from(self.eraseblock)) as usize,
            _ => self.rng.below(6000) as usize,
        };
        let mut bytes = vec![0; size];
        match self.rng.below(4) {
            0 => {}
            1 => bytes.iter_mut().for_each(|byte| *byte = self.rng.below(256) as u8),
            2 => bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at / 7 % 251) as u8),
            _ => {
                // Data with holes around it.
                let (start, len) = (self.rng.below(size as u64 + 1) as usize, self.rng.below(9000) as usize);
                let end = (start + len).min(size);
                bytes[start..end].iter_mut().for_each(|byte| *byte = b'a' + self.rng.below(9) as u8);
            }
        }
        SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes) }
    }

    /// One that no other name has: names in a directory must differ.
    fn name(&mut self) -> Vec<u8> {
        let tail = format!("-{}", self.tree.nodes().len() * 1000 + self.rng.below(1000) as usize);
        let mut name = self.bytes_without(b"/", 254 - tail.len());
        name.extend_from_slice(tail.as_bytes());
        name
    }

    /// At least one byte, no NUL.
    fn bytes_without(&mut self, unwanted: &[u8], limit: usize) -> Vec<u8> {
        let len = if self.rng.below(5) == 0 { limit } else { 1 + self.rng.below(30.min(limit as u64)) as usize };
        let bytes = std::iter::repeat_with(|| 1 + self.rng.below(255) as u8);
        bytes.filter(|byte| !unwanted.contains(byte)).take(len).collect()
    }

    fn attributes(&mut self, id: NodeId) -> Result<()> {
        if self.rng.below(8) != 0 {
            return Ok(());
        }
        let value = |rng: &mut Rng| (0..rng.below(300)).map(|_| rng.below(256) as u8).collect();
        let mut xattrs = vec![Attribute { name: b"user.shared".to_vec(), value: b"by many".to_vec() }];
        xattrs.push(Attribute { name: b"trusted.own".to_vec(), value: value(&mut self.rng) });
        let times = Some((self.rng.below(1 << 32) as u32, self.rng.below(1 << 32) as u32));
        Ok(self.tree.set_extra(id, Extra { times, xattrs })?)
    }
}

fn meta(rng: &mut Rng) -> Meta {
    let owner = |rng: &mut Rng| rng.below(1 << 16) as u16;
    Meta { mode: rng.below(0o10000) as u32, uid: owner(rng), gid: owner(rng), mtime: rng.below(1 << 32) as u32 }
}
