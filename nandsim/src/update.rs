//! The update under test: make the tree equal to another one, in one transaction.

use jffs2_tx::flash::FlashMut;
use jffs2_tx::source::SourceTree;
use jffs2_tx::tx::{CommitReport, Transaction, TxError, TxOptions};
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
    /// A mistake to make, to see that it is found.
    pub plant: Option<&'static Plant>,
}

impl Update {
    /// Does it, as it should be done. `attempt` is part of the transaction's id, which differs from one attempt to the next.
    ///
    /// # Errors
    /// The transaction's.
    pub fn apply<F: FlashMut>(&self, flash: &mut F, attempt: u8) -> Result<CommitReport, TxError<F::Error>> {
        let mut options = self.options.clone();
        options.txid[15] ^= attempt;
        let mut tx = Transaction::begin(flash, self.endian, options)?;
        tx.replace_tree(&self.tree, &mut |_, _| {})?;
        tx.commit()
    }
}
