//! What the bytes of an eraseblock are for.

use super::{BlockDump, Item, Standing};

/// Bytes by what they are to readers. Every byte counts once: together they are the flash, or the eraseblock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Live nodes.
    pub live: u64,
    /// Obsolete nodes, padding, filler: what the kernel calls dirty.
    pub obsolete: u64,
    /// Damaged nodes and garbage.
    pub torn: u64,
    /// Hidden nodes and those of uncommitted transactions.
    pub hidden: u64,
    /// 0xFF, wherever it is.
    pub free: u64,
    /// Eraseblocks marked bad.
    pub bad: u64,
}

impl Space {
    /// Adds what is in `other`.
    pub fn add(&mut self, other: &Self) {
        self.live += other.live;
        self.obsolete += other.obsolete;
        self.torn += other.torn;
        self.hidden += other.hidden;
        self.free += other.free;
        self.bad += other.bad;
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.live + self.obsolete + self.torn + self.hidden + self.free + self.bad
    }

    /// Adds an item.
    pub fn count(&mut self, item: &Item<'_>) {
        let (start, end) = item.range();
        *match item {
            Item::Node(node) => match node.standing {
                Standing::Live => &mut self.live,
                Standing::Obsolete => &mut self.obsolete,
                Standing::Torn => &mut self.torn,
                Standing::Hidden | Standing::Uncommitted => &mut self.hidden,
            },
            Item::Garbage { .. } => &mut self.torn,
            Item::Filler { .. } => &mut self.obsolete,
            Item::Blank { .. } => &mut self.free,
            Item::Bad { .. } => &mut self.bad,
        } += u64::from(end - start);
    }
}

impl BlockDump<'_> {
    /// What the eraseblock's bytes are for.
    #[must_use]
    pub fn space(&self) -> Space {
        let mut space = Space::default();
        self.items().for_each(|item| space.count(&item));
        space
    }
}
