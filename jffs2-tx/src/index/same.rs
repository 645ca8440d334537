//! Whether two indexes lead to the same tree, wherever its nodes stand.

use super::{Index, NameRecord, extents};
use crate::scan::{InodeRecord, XattrRecord};

impl Index {
    /// Whether the same names lead to the same inodes, by nodes of the same versions. A name's own version does not matter,
    /// as long as the time that it gives its directory is the same.
    pub(crate) fn is_same_tree(&self, other: &Self) -> bool {
        self.reachable.len() == other.reachable.len()
            && self.reachable().eq(other.reachable())
            && self.reachable().all(|ino| {
                self.has_same_names(other, ino) && self.has_same_data(other, ino) && self.has_same_xattrs(other, ino)
            })
    }

    fn has_same_names(&self, other: &Self, dir: u32) -> bool {
        let latest = |index: &Self| index.latest(dir).map_or(0, |node| node.version);
        let time =
            |index: &Self| index.newest_time(dir).filter(|name| name.version > latest(index)).map(|name| name.mctime);
        let leads = |name: &NameRecord| (name.ino, name.kind);
        time(self) == time(other)
            && self
                .names(dir)
                .map(|name| (self.name(name), leads(name)))
                .eq(other.names(dir).map(|name| (other.name(name), leads(name))))
    }

    fn has_same_data(&self, other: &Self, ino: u32) -> bool {
        let anywhere = |node: &InodeRecord| InodeRecord { at: 0, ..*node };
        let [ours, theirs] = [self, other].map(|index| index.nodes(ino));
        let [(size, held), (other_size, other_held)] = [extents(ours), extents(theirs)];
        let inode = |index: &Self| (index.latest(ino).map(anywhere), index.inode(ino).one_node);
        inode(self) == inode(other)
            && size == other_size
            && held.len() == other_held.len()
            && held.iter().zip(&other_held).all(|(a, b)| {
                (a.start, a.end) == (b.start, b.end) && anywhere(&ours[a.node]) == anywhere(&theirs[b.node])
            })
    }

    fn has_same_xattrs(&self, other: &Self, ino: u32) -> bool {
        let anywhere = |node: &XattrRecord| XattrRecord { at: 0, ..*node };
        self.xattrs(ino).map(anywhere).eq(other.xattrs(ino).map(anywhere))
    }
}
