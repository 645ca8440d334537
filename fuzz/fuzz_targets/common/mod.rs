//! Transactions that the fuzzer makes up, and a map of paths that says what they should come to.
#![allow(dead_code, reason = "each target uses a part")]

pub mod input;
pub mod model;

use jffs2_tx::flash::{Flash, FlashMut};
use jffs2_tx::tx::{GcOptions, gc, recover};
use jffs2_tx::wire::CommitPoint;
use jffs2_tx::{Endian, Transaction, TxError, TxOptions};

use input::{After, Change, Ending, Op, Setup};
use model::Model;

/// What has become of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tree is the model with its operations.
    Committed(Option<CommitPoint>),
    /// The tree is what it was.
    NotCommitted,
}

/// Makes a transaction, and the model what it should make of the tree.
///
/// # Panics
/// When the library and the model disagree on what can be done, or the library fails for no reason.
pub fn run<F: FlashMut>(flash: &mut F, setup: &Setup, change: &Change, attempt: u8, model: &Model) -> (Outcome, Model) {
    let options = TxOptions {
        reserve: Some(1),
        commit_point: change.point.map(Into::into),
        txid: [attempt; 16],
        ..TxOptions::default()
    };
    let mut wanted = model.clone();
    let mut tx = Transaction::begin(flash, setup.endian(), options).unwrap_or_else(|e| panic!("begin: {e}"));
    for op in &change.ops {
        if !apply(&mut tx, op, &mut wanted) {
            let _ = tx.abort().map_err(|e| panic!("abort: {e}"));
            return (Outcome::NotCommitted, model.clone());
        }
    }
    match change.ending {
        Ending::Commit => match tx.commit() {
            Ok(report) => (Outcome::Committed(report.commit_point), wanted),
            Err(e) if is_refusal(&e) => (Outcome::NotCommitted, model.clone()),
            Err(e) => panic!("commit: {e}"),
        },
        Ending::Abort => {
            tx.abort().unwrap_or_else(|e| panic!("abort: {e}"));
            (Outcome::NotCommitted, model.clone())
        }
        Ending::Drop => (Outcome::NotCommitted, model.clone()),
    }
}

/// Whether the transaction can go on.
fn apply<F: FlashMut>(tx: &mut Transaction<'_, F>, op: &Op, model: &mut Model) -> bool {
    let mut wanted = model.clone();
    let can = wanted.apply(op);
    match op.apply(tx) {
        Ok(()) => {
            assert!(can, "{op:?} was done on {model:?}");
            *model = wanted;
            true
        }
        Err(TxError::Path { .. }) => {
            assert!(!can, "{op:?} was refused on {model:?}");
            true
        }
        Err(e) if is_refusal(&e) => false,
        Err(e) => panic!("{op:?}: {e}"),
    }
}

/// Whether an error only says that the change does not fit.
fn is_refusal<E>(error: &TxError<E>) -> bool {
    matches!(
        error,
        TxError::NoSpace { .. }
            | TxError::CommitBlockFull { .. }
            | TxError::CommitPoint { .. }
            | TxError::Exhausted { .. }
            | TxError::Poisoned
    )
}

/// Recovers or collects garbage.
///
/// # Panics
/// When that fails.
pub fn tidy<F: FlashMut>(flash: &mut F, endian: Endian, after: After) {
    match after {
        After::Nothing => {}
        After::Recover => drop(recover(flash, endian).unwrap_or_else(|e| panic!("recovery: {e}"))),
        After::Collect => match gc(flash, endian, &GcOptions::default(), &mut |_, _| {}) {
            Ok(_) => {}
            Err(e) if is_refusal(&e) => {}
            Err(e) => panic!("gc: {e}"),
        },
    }
}

/// What readers with and without summaries see.
pub fn read_both<F: Flash>(flash: &F, endian: Endian) -> [Result<Model, String>; 2] {
    [true, false].map(|summaries| model::read(flash, endian, summaries))
}
