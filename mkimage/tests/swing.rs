//! `--swing`: updates of the image by the library, on NOR and NAND, take one dirent.

use jffs2_mkimage::source::swing::swing;
use jffs2_mkimage::{Options, Pad, build};
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::inode_kind::Meta;
use jffs2_tx::source::{Content, NodeId, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::tx::{Transaction, TxError, TxOptions};
use jffs2_tx::wire::{CommitPoint, Endian};
use jffs2_tx::{Index, Rules, Tree};

const ERASEBLOCK: u32 = 64 << 10;
const SIZE: u64 = 2 << 20;

/// One release: everything in it has this time and these contents.
fn release(time: u32) -> SourceTree {
    let meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: time };
    let mut tree = SourceTree::new(meta);
    let mut add =
        |parent: NodeId, name: &str, kind| tree.add(parent, name.as_bytes(), SourceNode { meta, kind }).unwrap();
    let directory = || SourceKind::Directory(Default::default());
    let file = |len: usize| SourceKind::File { size: len as u32, content: Content::Bytes(vec![time as u8; len]) };
    let [bin, etc, _, _] = ["bin", "etc", "proc", "dev"].map(|name| add(ROOT, name, directory()));
    add(bin, "sh", file(90_000));
    add(etc, "version", file(4));
    add(etc, "mtab", SourceKind::Symlink(b"../proc/mounts".to_vec()));
    add(etc, &format!("only in {time}"), file(4));
    add(ROOT, "init", file(8));
    tree
}

fn flash(tree: &SourceTree, kind: FlashKind) -> MemFlash {
    let cleanmarkers = kind == FlashKind::Nor;
    let options = Options { eraseblock: ERASEBLOCK, pad: Pad::To(SIZE), cleanmarkers, ..Options::default() };
    let mut image = Vec::new();
    build(tree, &options, &mut image).unwrap();
    let page = if kind == FlashKind::Nor { 1 } else { 2048 };
    MemFlash::with_data(Geometry::new(kind, SIZE, ERASEBLOCK, page).unwrap(), image)
}

/// Makes the flash equal to a tree by one dirent.
fn update(flash: &mut MemFlash, tree: &SourceTree) -> Result<Option<CommitPoint>, String> {
    let options = TxOptions {
        label: String::new(),
        commit_point: Some(CommitPoint::Dirent),
        txid: [1; 16],
        time: 1,
        reserve: None,
        summary_readers_only: false,
        online: false,
        kernel_summaries: Default::default(),
        dry_run: false,
    };
    let mut tx = Transaction::begin(flash, Endian::Little, options).map_err(|error| error.to_string())?;
    tx.replace_tree(tree, &mut |_, _| {}).map_err(|error| error.to_string())?;
    match tx.commit() {
        Ok(report) => Ok(report.commit_point),
        Err(TxError::CommitPoint { reason, .. }) => Err(reason.into()),
        Err(error) => panic!("{error}"),
    }
}

fn read(flash: &MemFlash, path: &str) -> Option<Vec<u8>> {
    // Boot firmware knows no summaries.
    let index = Index::open(flash, Rules { endian: Endian::Little, summaries: false }).unwrap();
    let tree = Tree::new(flash, &index);
    tree.lookup(path.as_bytes()).ok().map(|ino| tree.read(ino, u32::MAX).unwrap())
}

#[test]
fn an_update_takes_one_dirent() {
    for kind in [FlashKind::Nor, FlashKind::Nand] {
        let mut flash = flash(&swing(&release(1), b"sys1").unwrap(), kind);
        assert_eq!(read(&flash, "sys1/etc/version"), Some(vec![1; 4]));
        for time in [2, 3] {
            let new = swing(&release(time), b"sys1").unwrap();
            assert_eq!(update(&mut flash, &new), Ok(Some(CommitPoint::Dirent)), "{kind:?}");
            assert_eq!(read(&flash, "sys1/etc/version"), Some(vec![time as u8; 4]));
            assert_eq!(read(&flash, "sys1/bin/sh"), Some(vec![time as u8; 90_000]));
            assert_eq!(read(&flash, &format!("sys1/etc/only in {}", time - 1)), None);
        }
    }
}

#[test]
fn without_it_an_update_touches_the_root() {
    let mut flash = flash(&release(1), FlashKind::Nor);
    let refused = update(&mut flash, &release(2)).unwrap_err();
    assert!(refused.contains("no single dirent can carry it"), "{refused}");
}
