//! Any sequence of operations in a transaction, against a map of paths as the model.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::index::ROOT;
use jffs2_tx::{Endian, FileKind, Index, Meta, Rules, Transaction, Tree, TxOptions};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Op {
    Create(Path, u16, u8),
    Mkdir(Path),
    Remove(Path),
    Rename(Path, Path),
    Chmod(Path, u16),
    Commit,
    Abort,
}

/// One of a few names, two levels deep.
#[derive(Arbitrary, Debug, Clone, Copy)]
struct Path(u8);

impl Path {
    fn bytes(self) -> Vec<u8> {
        let (dir, name) = (self.0 >> 4 & 3, self.0 & 3);
        if dir == 0 { format!("n{name}").into_bytes() } else { format!("n{dir}/n{name}").into_bytes() }
    }
}

/// Path to mode and content; `None` for a directory.
type Model = BTreeMap<Vec<u8>, (u32, Option<Vec<u8>>)>;

const META: Meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 7 };

fuzz_target!(|input: (bool, bool, Vec<Op>)| {
    let (nand, big, ops) = input;
    let (kind, write_size) = if nand { (FlashKind::Nand, 512) } else { (FlashKind::Nor, 1) };
    let endian = if big { Endian::Big } else { Endian::Little };
    let mut flash = MemFlash::new(Geometry::new(kind, 512 << 10, 16 << 10, write_size).expect("valid"));
    let mut committed = Model::new();
    let mut ops = ops.into_iter().take(64);
    for _ in 0..4 {
        let mut model = committed.clone();
        let options = TxOptions { reserve: Some(2), ..TxOptions::default() };
        let mut tx = Transaction::begin(&mut flash, endian, options).expect("begins");
        let mut commit = true;
        for op in ops.by_ref() {
            match op {
                Op::Commit => break,
                Op::Abort => {
                    commit = false;
                    break;
                }
                op => apply(&mut tx, &mut model, op),
            }
        }
        if commit && tx.commit().is_ok() {
            committed = model;
        }
        assert_eq!(read(&flash, endian), committed);
    }
});

fn apply(tx: &mut Transaction<'_, MemFlash>, model: &mut Model, op: Op) {
    match op {
        Op::Create(path, len, fill) => {
            let (path, data) = (path.bytes(), vec![fill; usize::from(len) % 9000]);
            if tx.create_file(&path, META, &data).is_ok() {
                model.insert(path, (META.mode, Some(data)));
            }
        }
        Op::Mkdir(path) => {
            let path = path.bytes();
            if tx.mkdir(&path, META).is_ok() {
                model.insert(path, (META.mode, None));
            }
        }
        Op::Remove(path) => {
            let path = path.bytes();
            if tx.remove_all(&path).is_ok() {
                take(model, &path);
            }
        }
        Op::Rename(from, to) => {
            let (from, to) = (from.bytes(), to.bytes());
            if tx.rename(&from, &to).is_ok() && from != to {
                let moved = take(model, &from);
                take(model, &to);
                model.extend(moved.into_iter().map(|(path, node)| ([&to, &path[from.len()..]].concat(), node)));
            }
        }
        Op::Chmod(path, mode) => {
            let (path, mode) = (path.bytes(), u32::from(mode) & 0o7777);
            if tx.chmod(&path, mode).is_ok() {
                model.get_mut(&path).expect("the model has it").0 = mode;
            }
        }
        Op::Commit | Op::Abort => {}
    }
}

/// Takes a path and all below it out of the model.
fn take(model: &mut Model, path: &[u8]) -> Model {
    let below = |other: &[u8]| other == path || (other.starts_with(path) && other.get(path.len()) == Some(&b'/'));
    let taken: Model = model.iter().filter(|(other, _)| below(other)).map(|(p, n)| (p.clone(), n.clone())).collect();
    model.retain(|other, _| !below(other));
    taken
}

fn read(flash: &MemFlash, endian: Endian) -> Model {
    let index = Index::open(flash, Rules { endian, summaries: true }).expect("opens");
    let tree = Tree::new(flash, &index);
    tree.walk(ROOT)
        .skip(1)
        .map(|entry| {
            let stat = tree.stat(entry.ino).expect("stat");
            let content = (stat.kind == FileKind::File).then(|| tree.read(entry.ino, u32::MAX).expect("content"));
            (entry.path, (stat.meta.mode, content))
        })
        .collect()
}
