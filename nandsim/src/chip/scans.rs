//! What scans found in an eraseblock: a harness scans the same ones over and over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jffs2_tx::scan::{BlockScan, Rules};

use crate::content::ContentId;

/// Scans of one eraseblock, by what it held and what it was scanned by.
#[derive(Debug, Default)]
pub(super) struct Scans(Mutex<HashMap<Key, Arc<BlockScan>>>);

/// A blank eraseblock stands in many places at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    pub(super) content: ContentId,
    pub(super) block: u32,
    pub(super) rules: Rules,
}

/// Scans that are kept. Eraseblocks that change are copied, and a copy begins with none.
const KEPT: usize = 1 << 15;

impl Scans {
    pub(super) fn get(&self, key: Key, scan: impl FnOnce() -> Option<BlockScan>) -> Option<Arc<BlockScan>> {
        let scans = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = scans().get(&key) {
            return Some(Arc::clone(known));
        }
        let found = Arc::new(scan()?);
        let mut scans = scans();
        if scans.len() == KEPT {
            scans.clear();
        }
        scans.insert(key, Arc::clone(&found));
        Some(found)
    }
}
