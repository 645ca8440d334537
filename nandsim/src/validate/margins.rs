//! What an update leaves to spare.

use std::collections::BTreeMap;

use jffs2_tx::flash::Flash;
use serde::Serialize;

use super::free_blocks;
use crate::report::{Log, Role};
use crate::torture::Torture;
use crate::trace::Op;

/// How near an update comes to the limits of the flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Margins {
    /// Eraseblocks of the flash, bad ones included.
    pub blocks: u32,
    /// Free ones before the update: blank, or marked clean.
    pub free_before: u32,
    /// Free ones after it, until the kernel frees more.
    pub free_after: u32,
    /// Those that must stay free for the kernel.
    pub kernel_reserve: u32,
    /// Bytes in the commit block, of the eraseblock's; `None` if one dirent commits.
    pub commit_block_used: Option<u32>,
    /// Eraseblock, bytes.
    pub eraseblock: u32,
    /// Most erases of one eraseblock in the update.
    pub most_erases: u32,
    /// Erases in the update.
    pub erases: u32,
}

impl Margins {
    /// Of a recorded update and its log.
    #[must_use]
    pub fn of(torture: &Torture, log: &Log) -> Self {
        let geometry = torture.start.geometry();
        let mut end = torture.start.clone();
        let mut erases: BTreeMap<u32, u32> = BTreeMap::new();
        for op in &torture.trace.ops {
            // What failed when it was recorded fails again.
            let _ = op.apply(&mut end);
            if let Op::Erase { block } = op {
                *erases.entry(*block).or_default() += 1;
            }
        }
        let in_commit_block = |role| matches!(role, Role::CommitBlock | Role::Head | Role::Summary);
        let commit_block: u32 = log.steps.iter().filter(|step| in_commit_block(step.role)).map(|step| step.len).sum();
        Self {
            blocks: geometry.blocks(),
            free_before: free_blocks(torture, &torture.start),
            free_after: free_blocks(torture, &end),
            kernel_reserve: geometry.kernel_reserve(),
            commit_block_used: (commit_block > 0).then_some(commit_block),
            eraseblock: geometry.eraseblock(),
            most_erases: erases.values().copied().max().unwrap_or(0),
            erases: erases.values().sum(),
        }
    }
}
