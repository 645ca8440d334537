//! The update under test: make the tree equal to another one, in one transaction.

use jffs2_tx::flash::FlashMut;
use jffs2_tx::source::SourceTree;
use jffs2_tx::tx::{CommitReport, GcOptions, Transaction, TxError, TxOptions, gc};
use jffs2_tx::wire::Endian;

use crate::plant::Plant;

/// An update that can be done again and again.
#[derive(Clone, Debug)]
pub struct Update {
    /// Byte order of the file system.
    pub endian: Endian,
    /// What the tree is to become.
    pub tree: SourceTree,
    /// How.
    pub options: TxOptions,
    /// What is done right before it.
    pub first: First,
    /// A mistake to make, to see that it is found.
    pub plant: Option<&'static Plant>,
}

/// What is done before an update, and must leave the old tree as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum First {
    /// Nothing.
    #[default]
    Nothing,
    /// The same update, given up when all is written but the commit.
    Abort,
    /// A garbage collection of all that can be collected.
    Collection,
}

impl Update {
    /// Nothing before it, and no mistake in it.
    #[must_use]
    pub fn new(endian: Endian, tree: SourceTree, options: TxOptions) -> Self {
        Self { endian, tree, options, first: First::Nothing, plant: None }
    }

    /// Does it, as it should be done. `attempt` is part of the transaction's id, which differs from one attempt to the next.
    ///
    /// # Errors
    /// The transaction's.
    pub fn apply<F: FlashMut>(&self, flash: &mut F, attempt: u8) -> Result<CommitReport, TxError<F::Error>> {
        match self.first {
            First::Abort if attempt == 0 => self.written(flash, u8::MAX)?.abort()?,
            // What a cut one has cost the next one gets back, so it is done again, too.
            First::Collection => {
                gc(flash, self.endian, &GcOptions::default(), &mut |_, _| {})?;
            }
            _ => {}
        }
        self.written(flash, attempt)?.commit()
    }

    fn written<'f, F: FlashMut>(&self, flash: &'f mut F, attempt: u8) -> Result<Transaction<'f, F>, TxError<F::Error>> {
        let mut options = self.options.clone();
        options.txid[15] ^= attempt;
        let mut tx = Transaction::begin(flash, self.endian, options)?;
        tx.replace_tree(&self.tree, &mut |_, _| {})?;
        Ok(tx)
    }
}
