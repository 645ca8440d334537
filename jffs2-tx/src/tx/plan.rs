//! How a change becomes visible at one instant: which directories get a new inode, which nodes stand in the commit
//! block, and which commit point it is (`DESIGN.md`, "Fitting any change").

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::overlay::{Directory, Entry, Overlay};
use super::{KernelSummaries, Result, Transaction, TxError};
use crate::flash::{FlashKind, FlashMut, Geometry};
use crate::index::{Index, ROOT};
use crate::inode_kind::FileKind;
use crate::wire::{CommitPoint, Dirent, Inode, MARKER_SIZE, Summary};

/// A node that makes a part of the change visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Direct {
    /// A name in an old directory leads elsewhere, or nowhere.
    Name { dir: u32, name: Vec<u8>, entry: Option<Entry> },
    /// An old inode has new metadata. `data` bytes go with it (symlinks, devices).
    Meta { ino: u32, data: usize },
}

impl Direct {
    /// Bytes of the node and of its summary entry.
    fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Name { name, .. } => (Dirent::flash_size(name.len()), 24 + name.len()),
            Self::Meta { data, .. } => (Inode::flash_size(*data), 18),
        }
    }
}

/// What a commit will do.
#[derive(Debug)]
pub(super) struct Plan {
    pub point: CommitPoint,
    /// Old directories that get a new inode.
    pub shadows: BTreeSet<u32>,
    /// Old files that get a new inode though only their metadata changes.
    pub copies: BTreeSet<u32>,
}

/// The new tree, and what of it is on the flash already.
pub(super) struct View<'a> {
    index: &'a Index,
    overlay: &'a Overlay,
    /// Directories, parents first.
    pub directories: Vec<Directory>,
    parents: BTreeMap<u32, (u32, Vec<u8>)>,
    /// Directories that have a name for an old inode whose metadata changes, and how many names it has.
    homes: BTreeMap<u32, (BTreeSet<u32>, u32)>,
    kinds: BTreeMap<u32, FileKind>,
    /// Inodes that cannot have their metadata changed by a node of their own size: data bytes to repeat.
    data: BTreeMap<u32, usize>,
}

impl<'a> View<'a> {
    pub(super) fn new(index: &'a Index, overlay: &'a Overlay) -> Self {
        let directories = overlay.directories(index);
        let parents = directories.iter().filter_map(|dir| dir.parent.clone().map(|parent| (dir.ino, parent))).collect();
        let mut homes: BTreeMap<u32, (BTreeSet<u32>, u32)> = BTreeMap::new();
        let mut kinds = BTreeMap::from([(ROOT, FileKind::Directory)]);
        for dir in &directories {
            for entry in dir.entries.values() {
                let home = homes.entry(entry.ino).or_default();
                home.0.insert(dir.ino);
                home.1 += 1;
                kinds.insert(entry.ino, entry.kind);
            }
        }
        let data = overlay.metas.keys().map(|ino| (*ino, repeated_data(index, *ino))).collect();
        Self { index, overlay, directories, parents, homes, kinds, data }
    }

    fn is_new(&self, ino: u32) -> bool {
        self.overlay.is_new(ino)
    }

    /// Whether an inode gets a new inode because the directory that holds its only name does: every symlink (boot
    /// firmware resolves a relative one by any directory that ever named it), and what needs new metadata and is small.
    pub(super) fn moves_with(&self, ino: u32, shadows: &BTreeSet<u32>) -> bool {
        let Some((dirs, names)) = self.homes.get(&ino) else { return false };
        let kind = self.kinds.get(&ino);
        let small = !matches!(kind, None | Some(FileKind::File | FileKind::Directory));
        small
            && !self.is_new(ino)
            && *names == 1
            && dirs.iter().all(|dir| shadows.contains(dir))
            && (kind == Some(&FileKind::Symlink) || self.overlay.metas.contains_key(&ino))
    }

    /// Old directories in which names change.
    fn changed_names(&self, dir: u32) -> impl Iterator<Item = (&Vec<u8>, &Option<Entry>)> {
        self.overlay.changes(dir)
    }

    /// The nodes that must become visible together if these directories and files get new inodes.
    pub(super) fn direct(&self, shadows: &BTreeSet<u32>, copies: &BTreeSet<u32>) -> Vec<Direct> {
        let remapped = |ino: u32| shadows.contains(&ino) || copies.contains(&ino);
        let mut nodes = Vec::new();
        for dir in self.directories.iter().filter(|dir| !self.is_new(dir.ino) && !shadows.contains(&dir.ino)) {
            let first = nodes.len();
            let changed: BTreeMap<&Vec<u8>, &Option<Entry>> = self.changed_names(dir.ino).collect();
            let name_node = |name: &Vec<u8>, entry| Direct::Name { dir: dir.ino, name: name.clone(), entry };
            nodes.extend(changed.iter().map(|(name, entry)| name_node(name, **entry)));
            let swung = dir.entries.iter().filter(|(name, e)| remapped(e.ino) && !changed.contains_key(name));
            nodes.extend(swung.map(|(name, entry)| name_node(name, Some(*entry))));
            if self.needs_meta_node(dir.ino, nodes.len() > first) {
                nodes.push(Direct::Meta { ino: dir.ino, data: 0 });
            }
        }
        for ino in self.overlay.metas.keys().filter(|ino| self.homes.contains_key(ino)) {
            let is_dir = self.kinds.get(ino) == Some(&FileKind::Directory);
            if !is_dir && !copies.contains(ino) && !self.moves_with(*ino, shadows) {
                nodes.push(Direct::Meta { ino: *ino, data: self.data.get(ino).copied().unwrap_or(0) });
            }
        }
        nodes
    }

    /// A directory's new time can go with its new names; anything else needs a node.
    fn needs_meta_node(&self, dir: u32, has_names: bool) -> bool {
        let Some(meta) = self.overlay.metas.get(&dir) else { return false };
        // A directory without an inode node has the time 0, whatever its dirents say.
        let rides = meta.mtime != 0 && self.overlay.time_only.contains(&dir) && self.index.latest(dir).is_some();
        !(has_names && rides)
    }

    /// Directories that hold a change: of names, of their own metadata, or of that of a file in them.
    fn touched(&self) -> BTreeSet<u32> {
        let mut touched = BTreeSet::new();
        for dir in self.directories.iter().filter(|dir| !self.is_new(dir.ino)) {
            if self.changed_names(dir.ino).next().is_some() || self.overlay.metas.contains_key(&dir.ino) {
                touched.insert(dir.ino);
            }
        }
        for ino in self.overlay.metas.keys().filter(|ino| self.kinds.get(ino) != Some(&FileKind::Directory)) {
            touched.extend(self.homes.get(ino).into_iter().flat_map(|home| &home.0));
        }
        touched
    }

    /// From the root down to `dir`, both included.
    fn path_to(&self, dir: u32) -> Vec<u32> {
        let mut path = Vec::from([dir]);
        while let Some((parent, _)) = path.last().and_then(|ino| self.parents.get(ino)) {
            path.push(*parent);
        }
        path.reverse();
        path
    }

    /// All old directories from `top` down to those touched.
    fn fold(&self, top: u32, touched: &BTreeSet<u32>) -> BTreeSet<u32> {
        let below = |dir: &u32| {
            let path = self.path_to(*dir);
            path.into_iter().skip_while(|ino| *ino != top).collect::<Vec<_>>()
        };
        touched.iter().flat_map(below).filter(|ino| *ino != ROOT && !self.is_new(*ino)).collect()
    }

    /// The deepest directory that everything touched lies in or below.
    fn common(&self, touched: &BTreeSet<u32>) -> u32 {
        let mut paths = touched.iter().map(|dir| self.path_to(*dir));
        let mut common = paths.next().unwrap_or_default();
        for path in paths {
            let same = common.iter().zip(&path).take_while(|(a, b)| a == b).count();
            common.truncate(same);
        }
        common.last().copied().unwrap_or(ROOT)
    }

    /// Old files whose metadata changes, those with little data first.
    fn changed_files(&self) -> Vec<(u64, u32)> {
        let stored = |ino: u32| self.index.nodes(ino).iter().map(|node| u64::from(node.csize)).sum();
        let mut files: Vec<(u64, u32)> = self
            .overlay
            .metas
            .keys()
            .filter(|ino| self.kinds.get(ino) == Some(&FileKind::File))
            .map(|ino| (stored(*ino), *ino))
            .collect();
        files.sort_unstable();
        files
    }
}

/// Symlinks and devices must have all their data in their newest node.
fn repeated_data(index: &Index, ino: u32) -> usize {
    let keeps_data =
        |mode: u16| !matches!(FileKind::from_mode(u32::from(mode)), None | Some(FileKind::File | FileKind::Directory));
    index.latest(ino).filter(|node| keeps_data(node.mode)).map_or(0, |node| node.csize as usize)
}

/// Bytes that a commit block has for its body and what ends it.
pub(super) fn commit_room(geometry: &Geometry) -> usize {
    (geometry.eraseblock() - geometry.blank_head()) as usize
}

/// Bytes that a commit block needs for these nodes.
fn commit_size(geometry: &Geometry, point: CommitPoint, label: usize, nodes: &[Direct]) -> usize {
    let unit = geometry.write_size() as usize;
    let (body, entries) = nodes.iter().map(Direct::sizes).fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    let body = (body + (MARKER_SIZE + label).next_multiple_of(4)).next_multiple_of(unit);
    match point {
        CommitPoint::Summary => body + Summary::flash_size(entries).next_multiple_of(unit),
        CommitPoint::Head | CommitPoint::Dirent => body,
    }
}

impl<F: FlashMut> Transaction<'_, F> {
    /// Chooses how to commit; `None` if nothing has changed.
    pub(super) fn plan(&self, view: &View<'_>) -> Result<Option<Plan>, F> {
        let none = BTreeSet::new();
        let direct = view.direct(&none, &none);
        if direct.is_empty() {
            return Ok(None);
        }
        let wanted = self.options.commit_point;
        if let Some(wanted) = wanted.filter(|point| self.is_behind() && *point != CommitPoint::Summary) {
            let reason =
                "readers without summaries still see the tree from before a summary commit, and would see a mixture";
            return Err(TxError::CommitPoint { wanted, reason });
        }
        if matches!(wanted, None | Some(CommitPoint::Dirent))
            && let Some(plan) = self.plan_dirent(view, &direct)
        {
            return Ok(Some(plan));
        }
        let point = self.block_point(wanted)?;
        self.plan_block(view, point).map(Some)
    }

    /// One dirent, if one can carry it all.
    fn plan_dirent(&self, view: &View<'_>, direct: &[Direct]) -> Option<Plan> {
        let wanted = self.options.commit_point;
        // Copies are dear, but a commit that the kernel does not see is none.
        let forced = wanted.is_some() || self.must_not_choose(self.usual_point());
        // A reader without summaries is behind already: a dirent would show it a mixture.
        if self.is_behind() {
            return None;
        }
        let point = CommitPoint::Dirent;
        if matches!(direct, [Direct::Name { .. }]) {
            return Some(Plan { point, shadows: BTreeSet::new(), copies: BTreeSet::new() });
        }
        let touched = view.touched();
        let top = view.common(&touched);
        if top == ROOT {
            return None;
        }
        let files = view.changed_files();
        let copied: u64 = files.iter().map(|file| file.0).sum();
        if !forced && copied > u64::from(self.index.geometry().eraseblock()) {
            return None;
        }
        let shadows = view.fold(top, &touched);
        let copies = files.into_iter().map(|file| file.1).collect();
        let one = matches!(view.direct(&shadows, &copies)[..], [Direct::Name { .. }]);
        one.then_some(Plan { point, shadows, copies })
    }

    /// The commit point for a change that takes a commit block.
    fn block_point(&self, wanted: Option<CommitPoint>) -> Result<CommitPoint, F> {
        let geometry = self.index.geometry();
        let refuse = |wanted, reason| Err(TxError::CommitPoint { wanted, reason });
        match wanted {
            Some(CommitPoint::Dirent) => refuse(
                CommitPoint::Dirent,
                "the change is not below one directory, or touches the root: no single dirent can carry it",
            ),
            Some(CommitPoint::Head) if geometry.kind() == FlashKind::Nand => {
                refuse(CommitPoint::Head, "NAND pages are programmed in order, and the head would be the last")
            }
            Some(CommitPoint::Head) if !geometry.can_overwrite() => {
                refuse(CommitPoint::Head, "this flash cannot program a write unit again to seal the head")
            }
            Some(point) => Ok(point),
            None if self.must_not_choose(self.usual_point()) => Err(TxError::NoSummaryReader),
            None => Ok(self.usual_point()),
        }
    }

    /// The commit point that this flash allows for any change.
    fn usual_point(&self) -> CommitPoint {
        let any = self.index.geometry().can_overwrite() && !self.is_behind();
        if any { CommitPoint::Head } else { CommitPoint::Summary }
    }

    fn must_not_choose(&self, point: CommitPoint) -> bool {
        let known = match self.options.kernel_summaries {
            KernelSummaries::Known => true,
            KernelSummaries::IfSeen => self.index.kernel_summaries(),
            KernelSummaries::Unknown => false,
        };
        point == CommitPoint::Summary && !known
    }

    /// Whether readers without summaries, where there are any, still see the tree from before a *summary* commit.
    fn is_behind(&self) -> bool {
        !self.options.summary_readers_only && self.index.blocks().iter().any(|info| info.summary_only)
    }

    /// Shadows directories, those that save most first, until the change fits one commit block; then copies files
    /// whose metadata changes, small ones first.
    fn plan_block(&self, view: &View<'_>, point: CommitPoint) -> Result<Plan, F> {
        let room = commit_room(self.index.geometry());
        let size = |nodes: &[Direct]| commit_size(self.index.geometry(), point, self.options.label.len(), nodes);
        let mut plan = Plan { point, shadows: BTreeSet::new(), copies: BTreeSet::new() };
        let mut nodes = view.direct(&plan.shadows, &plan.copies);
        while size(&nodes) > room {
            let Some(dir) = best_shadow(view, &plan.shadows, &nodes) else { break };
            plan.shadows.insert(dir);
            nodes = view.direct(&plan.shadows, &plan.copies);
        }
        if size(&nodes) <= room {
            return Ok(plan);
        }
        plan.shadows = view.fold(ROOT, &view.touched());
        for (_, file) in view.changed_files() {
            nodes = view.direct(&plan.shadows, &plan.copies);
            if size(&nodes) <= room {
                return Ok(plan);
            }
            plan.copies.insert(file);
        }
        nodes = view.direct(&plan.shadows, &plan.copies);
        match size(&nodes) {
            needed if needed <= room => Ok(plan),
            needed => Err(TxError::CommitBlockFull { needed, room }),
        }
    }
}

/// The directory whose shadow takes most bytes off the commit block.
fn best_shadow(view: &View<'_>, shadows: &BTreeSet<u32>, nodes: &[Direct]) -> Option<u32> {
    let mut saved: BTreeMap<u32, usize> = BTreeMap::new();
    let mut swung: BTreeSet<(u32, &[u8])> = BTreeSet::new();
    for node in nodes {
        let bytes = node.sizes().0 + node.sizes().1;
        match node {
            Direct::Name { dir, name, .. } => {
                *saved.entry(*dir).or_default() += bytes;
                swung.insert((*dir, name));
            }
            Direct::Meta { ino, .. } if view.kinds.get(ino) == Some(&FileKind::Directory) => {
                *saved.entry(*ino).or_default() += bytes;
            }
            Direct::Meta { ino, .. } => {
                let Some((dirs, 1)) = view.homes.get(ino) else { continue };
                if let Some(dir) = dirs.first().filter(|_| view.kinds.get(ino) != Some(&FileKind::File)) {
                    *saved.entry(*dir).or_default() += bytes;
                }
            }
        }
    }
    let cost = |dir: u32| match view.parents.get(&dir) {
        Some((parent, _)) if view.is_new(*parent) || shadows.contains(parent) => 0,
        Some((parent, name)) if swung.contains(&(*parent, name.as_slice())) => 0,
        Some((_, name)) => Dirent::flash_size(name.len()) + 24 + name.len(),
        None => usize::MAX,
    };
    let gain = |(dir, bytes): (u32, usize)| bytes.checked_sub(cost(dir)).filter(|gain| *gain > 0).map(|g| (g, dir));
    saved
        .into_iter()
        .filter(|(dir, _)| *dir != ROOT)
        .filter_map(gain)
        .max_by_key(|(gain, dir)| (*gain, !*dir))
        .map(|best| best.1)
}
