//! Updates that come entry by entry survive, too: after sampled cuts the tree is the old one or the new one.

use std::collections::BTreeMap;

use jffs2_tx::source::{NodeId, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::tx::Transaction;
use jffs2_tx::wire::CommitPoint::{self, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use nandsim::{Recorder, Rng, Shape, Torture, Update, sample};

mod common;

use common::{SEED, nand, nor, prepared, sample_survives};

const CUTS: usize = 400;

/// Every path and its node, in any order.
fn shuffled(tree: &SourceTree) -> Vec<(Vec<u8>, NodeId)> {
    let mut all = vec![(Vec::new(), ROOT)];
    let mut at = 0;
    while at < all.len() {
        let (path, id) = all[at].clone();
        all.extend(tree.children(id).map(|(name, child)| ([&path[..], b"/", name].concat(), child)));
        at += 1;
    }
    let mut rng = Rng::new(SEED);
    (1..all.len()).rev().for_each(|last| all.swap(last, rng.below(last as u64 + 1) as usize));
    all
}

/// The update as an archive would bring it: of what has several names, the first that comes has the contents.
fn stream(flash: &mut Recorder, update: &Update) -> CommitPoint {
    let mut tx = Transaction::begin(flash, update.endian, update.options.clone()).expect("begins");
    let mut stream = tx.replace_stream();
    let mut first: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
    for (path, id) in shuffled(&update.tree) {
        let SourceNode { meta, kind } = update.tree.node(id).clone();
        match (&kind, first.get(&id)) {
            (SourceKind::Directory(_), _) => {
                stream.node(&path, SourceNode { meta, kind: SourceKind::Directory(BTreeMap::new()) })
            }
            (_, Some(target)) => stream.link(&path, target),
            (_, None) => stream.node(&path, SourceNode { meta, kind }),
        }
        .expect("is taken");
        first.entry(id).or_insert(path);
    }
    stream.finish().expect("finishes");
    tx.commit().expect("commits").commit_point.expect("something changes")
}

/// The update recorded as a stream in the place of the one of a tree; what it makes is the same.
fn survives(shape: Shape, point: CommitPoint) {
    let (start, update) = prepared(shape, sample(), Some(point));
    let mut recorder = Recorder::new(start.clone());
    assert_eq!(stream(&mut recorder, &update), point);
    let (mut end, trace) = recorder.into_parts();
    assert_eq!(end.take_violation(), None);
    let by_tree = Torture::record(start, update, SEED).expect("records");
    assert_ne!(by_tree.trace.ops, trace.ops, "another order");
    sample_survives(&Torture { trace, ..by_tree }, CUTS);
}

#[test]
fn nor_by_head() {
    survives(nor(64, 1, Little), Head);
    survives(nor(4, 4, Big), Head);
}

#[test]
fn nand_by_summary() {
    survives(nand(16, 512, Little), Summary);
    survives(nand(128, 2048, Big), Summary);
}
