//! Names that are gone, and the paths that they had.

use alloc::{collections::BTreeSet, vec, vec::Vec};
use core::cmp::Ordering;

use super::collect::Evidence;
use super::uncommitted::is_alive;
use super::{History, Life, PastDirent, Seen, Standing};
use crate::check::MAX_PATH;
use crate::index::{Index, ROOT};

/// What became of a name, or of an inode without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// There is no such name in its directory any more.
    Deleted,
    /// The name leads to another inode now.
    Replaced,
    /// The name stands, but nothing leads to its directory.
    WithDirectory,
    /// No reader sees that there was such a name, and no transaction explains it.
    Hidden,
    /// An uncommitted transaction would have made it lead here, or has made the inode without a name yet.
    WouldAppear,
    /// An uncommitted transaction would have deleted it.
    WouldVanish,
    /// An uncommitted transaction would have changed what the inode says of itself.
    WouldChange,
    /// The inode has no name anywhere.
    Orphan,
}

/// A name that is gone or never came to be, and the inode that it led to; or an inode without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostName {
    /// Inode number; 0 if the name would vanish and led to nothing.
    pub ino: u32,
    /// Which of the inodes of that number.
    pub life: Life,
    /// What became of it.
    pub fate: Fate,
    /// When its directory says that the name went, seconds since 1970. Of uncommitted names: the time in their dirent.
    pub when: Option<u32>,
    /// Index in [`History::transactions`] if it is uncommitted and the flash says of which.
    pub tx: Option<u32>,
    /// Newest dirent that led there, as an index into [`History::dirents`]; `None` for an inode without a name.
    pub dirent: Option<u32>,
}

/// A path that something had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastPath<'a> {
    /// `None` if the path starts at the root; otherwise the directory where it starts: no name of that is left but those
    /// that lead in a circle, or the path would be longer than [`MAX_PATH`].
    pub from: Option<u32>,
    /// Names, the first one first. They are as on the flash: `..` and names with slashes can be among them.
    pub names: Vec<&'a [u8]>,
}

impl History {
    /// Path of a lost name, or of what is nameless: of several names that its directories had the likeliest.
    #[must_use]
    pub fn path(&self, lost: &LostName) -> PastPath<'_> {
        let Some(dirent) = lost.dirent.and_then(|at| self.dirents.get(at as usize)) else {
            return self.path_of(lost.ino);
        };
        let mut path = self.path_of(dirent.pino);
        path.names.push(self.name(dirent));
        path
    }

    /// A path that leads to an inode: one from the root if there is one.
    #[must_use]
    pub fn path_of(&self, ino: u32) -> PastPath<'_> {
        let mut names = Vec::new();
        let (mut from, mut len) = (ino, 0);
        let mut parent = self.up(ino);
        while let Some(up) = parent.filter(|_| from != ROOT) {
            let dirent = &self.dirents[up.dirent as usize];
            let name = self.name(dirent);
            len += name.len() + 1;
            if len > MAX_PATH {
                break;
            }
            names.push(name);
            from = dirent.pino;
            parent = self.parents.get(up.up as usize);
        }
        names.reverse();
        PastPath { from: (from != ROOT).then_some(from), names }
    }

    /// The dirent to make an inode's path of: of the live tree, or else the likeliest of those that led to it.
    #[must_use]
    pub fn parent(&self, ino: u32) -> Option<&PastDirent> {
        self.up(ino).and_then(|up| self.dirents.get(up.dirent as usize))
    }

    fn up(&self, ino: u32) -> Option<&Parent> {
        self.parents.get(find_parent(&self.parents, ino)?)
    }

    /// Lost names that stood at a path.
    pub fn lost_at<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = &'a LostName> {
        let names: Vec<&[u8]> = crate::tree::components(path).collect();
        self.lost.iter().filter(move |lost| self.stood_at(lost, &names))
    }

    /// From the last name up: most lost names differ in that.
    fn stood_at(&self, lost: &LostName, names: &[&[u8]]) -> bool {
        let mut dirent = lost.dirent.and_then(|at| self.dirents.get(at as usize));
        for (above, name) in names.iter().enumerate().rev() {
            let Some(found) = dirent.filter(|found| self.name(found) == *name) else { return false };
            if above == 0 {
                return found.pino == ROOT;
            }
            dirent = self.parent(found.pino);
        }
        false
    }
}

pub(super) fn name<'a>(arena: &'a [u8], dirent: &PastDirent) -> &'a [u8] {
    let start = dirent.name_start as usize;
    arena.get(start..start + usize::from(dirent.name_len)).unwrap_or_default()
}

/// By directory, name, version and offset.
pub(super) fn sort(evidence: &mut Evidence) {
    let arena = &evidence.names;
    evidence.dirents.sort_by(|a, b| by_name(arena, a, b).then((a.version, a.at).cmp(&(b.version, b.at))));
}

fn by_name(arena: &[u8], a: &PastDirent, b: &PastDirent) -> Ordering {
    (a.pino, name(arena, a)).cmp(&(b.pino, name(arena, b)))
}

/// Gives the dirents that are not uncommitted their standing.
pub(super) fn judge(index: &Index, live: &[u32], evidence: &mut Evidence) {
    let Evidence { dirents, names, .. } = evidence;
    for dirent in dirents.iter_mut().filter(|dirent| dirent.standing != Standing::Uncommitted) {
        dirent.standing = match dirent.seen {
            Seen::Obsolete => Standing::MarkedObsolete,
            Seen::Hidden => Standing::Hidden,
            Seen::Visible if live.binary_search(&dirent.at).is_ok() => Standing::Current,
            Seen::Visible if !is_alive(index, dirent.pino) => Standing::Deleted,
            Seen::Visible => {
                let leads_there_still = target(index, dirent.pino, name(names, dirent)) == dirent.ino;
                if leads_there_still { Standing::Superseded } else { Standing::Deleted }
            }
        };
    }
}

/// What a name leads to in the live tree; 0 for nothing.
fn target(index: &Index, pino: u32, name: &[u8]) -> u32 {
    let found = index.find(pino, name).filter(|found| is_alive(index, pino) && index.exists(found.ino));
    found.map_or(0, |found| found.ino)
}

/// Inode numbers that a committed dirent leads to, ascending.
pub(super) fn ever_named(evidence: &Evidence) -> Vec<u32> {
    let committed = evidence.dirents.iter().filter(|dirent| dirent.standing != Standing::Uncommitted);
    let mut named: Vec<u32> = committed.map(|dirent| dirent.ino).filter(|ino| *ino != 0).collect();
    named.sort_unstable();
    named.dedup();
    named
}

/// The dirent to make an inode's path of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    ino: u32,
    /// Index into the dirents.
    dirent: u32,
    /// The directory's own [`Parent`]; `u32::MAX` if it has none.
    up: u32,
}

/// For every inode with a name, ascending, the dirent to make its path of: one of the live tree, or else the likeliest.
pub(super) fn parents(evidence: &Evidence) -> Vec<Parent> {
    let dirents = &evidence.dirents;
    let mut parents = live_parents(dirents);
    let alive = parents.len();
    let mut best: Vec<u32> = (0..dirents.len() as u32).collect();
    best.retain(|at| {
        let ino = dirents[*at as usize].ino;
        ino != 0 && ino != ROOT && find_parent(&parents, ino).is_none()
    });
    best.sort_by_key(|at| {
        let dirent = &dirents[*at as usize];
        (dirent.ino, dirent.standing != Standing::Uncommitted, dirent.seen, dirent.mctime, dirent.at)
    });
    for dirent in best {
        let ino = dirents[dirent as usize].ino;
        match parents[alive..].last_mut() {
            Some(last) if last.ino == ino => last.dirent = dirent,
            _ => parents.push(Parent { ino, dirent, up: u32::MAX }),
        }
    }
    parents.sort_unstable_by_key(|parent| parent.ino);
    tie(dirents, &mut parents);
    break_circles(&mut parents);
    tie(dirents, &mut parents);
    parents
}

fn tie(dirents: &[PastDirent], parents: &mut [Parent]) {
    for at in 0..parents.len() {
        let dir = dirents[parents[at].dirent as usize].pino;
        parents[at].up = find_parent(parents, dir).map_or(u32::MAX, |up| up as u32);
    }
}

/// Takes away the name of one directory of each circle: paths in it start there.
fn break_circles(parents: &mut Vec<Parent>) {
    // By which walk a directory was passed first, counted from 1.
    let mut passed = vec![0; parents.len()];
    let mut circular = BTreeSet::new();
    for walk in 1..=parents.len() {
        let mut at = walk - 1;
        while passed.get(at) == Some(&0) {
            passed[at] = walk;
            at = parents[at].up as usize;
        }
        if passed.get(at) == Some(&walk) {
            circular.insert(parents[at].ino);
        }
    }
    parents.retain(|parent| !circular.contains(&parent.ino));
}

fn find_parent(parents: &[Parent], ino: u32) -> Option<usize> {
    parents.binary_search_by_key(&ino, |parent| parent.ino).ok()
}

/// The first name of each inode that the root leads to: from the root down, so that circles are not entered.
fn live_parents(dirents: &[PastDirent]) -> Vec<Parent> {
    let mut parents = Vec::new();
    let mut entered = BTreeSet::from([ROOT]);
    let mut queue = vec![ROOT];
    let mut next = 0;
    while let Some(dir) = queue.get(next).copied() {
        next += 1;
        let first = dirents.partition_point(|dirent| dirent.pino < dir);
        for (at, dirent) in dirents.iter().enumerate().skip(first).take_while(|(_, dirent)| dirent.pino == dir) {
            if dirent.standing == Standing::Current && dirent.ino != 0 && entered.insert(dirent.ino) {
                parents.push(Parent { ino: dirent.ino, dirent: at as u32, up: u32::MAX });
                queue.push(dirent.ino);
            }
        }
    }
    parents.sort_unstable_by_key(|parent| parent.ino);
    parents
}

/// Every name that is lost, in the order of the dirents; then inodes without a name.
pub(super) fn lost(index: &Index, history: &History) -> Vec<LostName> {
    let mut lost = Vec::new();
    let mut first = 0;
    let same_name = |a: &PastDirent, b: &PastDirent| by_name(&history.arena, a, b) == Ordering::Equal;
    for dirents in history.dirents.chunk_by(same_name) {
        lost_of_name(index, history, first, dirents, &mut lost);
        first += dirents.len();
    }
    nameless(index, history, &mut lost);
    lost
}

/// What the dirents of one name led to, each inode once.
fn lost_of_name(index: &Index, history: &History, first: usize, dirents: &[PastDirent], lost: &mut Vec<LostName>) {
    let is_committed = |dirent: &PastDirent| dirent.standing != Standing::Uncommitted;
    let committed: Vec<usize> = (0..dirents.len()).filter(|at| is_committed(&dirents[*at])).collect();
    let pino = dirents[0].pino;
    let now = target(index, pino, history.name(&dirents[0]));
    // For each inode the last dirent that led to it, as a place in `committed`.
    let mut last: Vec<(u32, usize)> = committed.iter().enumerate().map(|(n, at)| (dirents[*at].ino, n)).collect();
    last.sort_unstable();
    for same in last.chunk_by(|a, b| a.0 == b.0) {
        let (ino, n) = same[same.len() - 1];
        if ino == 0 || ino == now {
            continue;
        }
        let next = committed.get(n + 1).map(|at| &dirents[*at]);
        let fate = match next {
            None if dirents[committed[n]].seen == Seen::Hidden => Fate::Hidden,
            None if !is_alive(index, pino) => Fate::WithDirectory,
            _ if now != 0 => Fate::Replaced,
            _ => Fate::Deleted,
        };
        let at = committed[n];
        lost.push(LostName {
            ino,
            life: life(history, &dirents[at]),
            fate,
            when: next.map(|next| next.mctime).filter(|time| *time != 0),
            tx: None,
            dirent: Some((first + at) as u32),
        });
    }
    for (at, dirent) in dirents.iter().enumerate().filter(|(_, dirent)| !is_committed(dirent)) {
        let (fate, ino) = if dirent.ino == 0 { (Fate::WouldVanish, now) } else { (Fate::WouldAppear, dirent.ino) };
        lost.push(LostName {
            ino,
            life: uncommitted_life(history, ino, dirent.tx),
            fate,
            when: Some(dirent.mctime).filter(|time| *time != 0),
            tx: dirent.tx,
            dirent: Some((first + at) as u32),
        });
    }
}

/// Which inode a committed dirent leads to: if its number was given away again, one that readers do not see leads to
/// the former.
fn life(history: &History, dirent: &PastDirent) -> Life {
    let former = dirent.seen != Seen::Visible && history.inode(dirent.ino, Life::Former).is_some();
    if former { Life::Former } else { Life::Last }
}

/// What an uncommitted name leads to: a new inode, or an old one.
fn uncommitted_life(history: &History, ino: u32, tx: Option<u32>) -> Life {
    let new = Life::Uncommitted { tx };
    if history.inode(ino, new).is_some() { new } else { Life::Last }
}

/// Inodes that nothing in `lost` is about and that are not alive.
fn nameless(index: &Index, history: &History, lost: &mut Vec<LostName>) {
    let mut told: Vec<(u32, Life)> = lost.iter().map(|name| (name.ino, name.life)).collect();
    told.sort_unstable();
    for inode in history.inodes.iter().filter(|inode| !inode.alive) {
        if told.binary_search(&(inode.ino, inode.life)).is_err() {
            let (fate, tx) = match inode.life {
                Life::Uncommitted { tx } if is_alive(index, inode.ino) => (Fate::WouldChange, tx),
                Life::Uncommitted { tx } => (Fate::WouldAppear, tx),
                Life::Former | Life::Last => (Fate::Orphan, None),
            };
            lost.push(LostName { ino: inode.ino, life: inode.life, fate, when: None, tx, dirent: None });
        }
    }
}
