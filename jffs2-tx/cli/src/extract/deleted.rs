//! `--deleted`: what is gone from the tree and still on the flash, below a directory of its own.
//!
//! | below DIR | what |
//! | --- | --- |
//! | `deleted/PATH~N` | what had the name PATH and inode number N; `deleted/<M>/...` if nothing names directory M |
//! | `orphans/N` | inode N, which no name leads to |
//! | `uncommitted/TXID/PATH` | what a transaction that was not committed would have put there |
//!
//! `~former` behind a name: an earlier inode of the number. Directories are made as paths need them.

use std::collections::HashMap;
use std::num::NonZeroU32;

use jffs2_tx::check::MAX_PATH;
use jffs2_tx::history::{Fate, History, Life, LostName, Recovery};
use jffs2_tx::index::ROOT;
use jffs2_tx::inode_kind::FileKind;

use super::host::Dir;
use super::outcome::{Outcome, Trouble};
use super::plan::{Item, Plan, is_plain};
use super::source::{MADE_UP, Source};
use super::to_dir::Job;
use super::to_tar::ToTar;
use super::{Args, Output, failed};
use crate::failure::{Exit, Failure, complain, note};
use crate::image::Image;
use crate::{past, show};

/// Longest name on the host, bytes.
const HOST_NAME: usize = 255;
const REFUSED: &str = "name refused";

pub(super) fn run(args: &Args, image: &Image, root: Option<&Dir>) -> Result<Exit, Failure> {
    let history = past::history(image)?;
    let mut found = Found::new(&history);
    history.lost().iter().for_each(|lost| found.take(lost));
    let plan = Plan { items: found.items.iter().map(Named::item).collect() };
    let source = Source::Past(image.tree(), &history);
    let mut outcome = match &args.tar {
        None => Job { plan: &plan, source, root, xattrs: false, hash_until: 0 }.run()?,
        Some(tar) => {
            let Output { path, to } = Output::create(tar)?;
            ToTar::new(to, &plan, source, false, 0).run().map_err(|error| failed(path, error))?
        }
    };
    say_unsure(&history, &plan, &mut outcome);
    let exit = outcome.say(&plan, found.refused, args.json)?;
    if found.nothing_left > 0 {
        note(&format!("{} names are known of which nothing is left (ls --deleted shows them)", found.nothing_left));
    }
    Ok(exit)
}

/// Files of which every byte is there, but perhaps not the last one written.
fn say_unsure(history: &History, plan: &Plan<'_>, outcome: &mut Outcome) {
    for (at, item) in plan.items.iter().enumerate() {
        let inode = history.inodes().get(item.ino as usize).filter(|_| item.ino != MADE_UP);
        if item.first.is_none() && inode.is_some_and(|inode| inode.recovery == Recovery::Likely) {
            outcome.trouble(at, Trouble::Damaged("versions are missing: some bytes may be older".into()));
        }
    }
    outcome.sort();
}

/// An item that owns its name.
struct Named {
    parent: u32,
    name: Vec<u8>,
    ino: u32,
    kind: FileKind,
    first: Option<NonZeroU32>,
}

impl Named {
    fn item(&self) -> Item<'_> {
        Item { parent: self.parent, name: &self.name, ino: self.ino, kind: self.kind, first: self.first }
    }
}

/// What is found, in the order of [`History::lost`].
struct Found<'h> {
    history: &'h History,
    items: Vec<Named>,
    /// By directory and name.
    names: HashMap<(u32, Vec<u8>), u32>,
    /// Directories of the flash, each made once below a base however much is in it; `None` for one that is refused.
    directories: HashMap<(u32, u32), Option<Below>>,
    /// First names of inodes.
    first: HashMap<u32, NonZeroU32>,
    refused: u64,
    nothing_left: u64,
}

/// A directory that is made, and the length of its path below its base.
#[derive(Clone, Copy)]
struct Below {
    item: u32,
    len: usize,
}

impl<'h> Found<'h> {
    fn new(history: &'h History) -> Self {
        let root = Named { parent: 0, name: Vec::new(), ino: MADE_UP, kind: FileKind::Directory, first: None };
        Self {
            history,
            items: vec![root],
            names: HashMap::new(),
            directories: HashMap::new(),
            first: HashMap::new(),
            refused: 0,
            nothing_left: 0,
        }
    }

    /// Plans what a name led to, unless it is in the tree.
    fn take(&mut self, lost: &LostName) {
        let history = self.history;
        let found = history.place(lost.ino, lost.life);
        let Some((at, inode)) = found.and_then(|at| Some((at, history.inodes().get(at as usize)?))) else {
            self.nothing_left += u64::from(lost.fate != Fate::WouldVanish);
            return;
        };
        if inode.alive || matches!(lost.fate, Fate::WouldVanish | Fate::WouldChange) {
            return;
        }
        let kind = past::newest(history, inode).and_then(past::kind);
        match (kind, inode.recovery) {
            (Some(FileKind::Directory), _) => {
                if lost.dirent.is_some() {
                    let base = self.base(lost);
                    self.directory(base, lost.ino);
                }
            }
            (None, _) | (_, Recovery::Gone) => self.nothing_left += 1,
            (_, Recovery::Mixed) => self.refuse(lost, "nodes of several inodes of this number cannot be told apart"),
            (Some(kind), Recovery::Whole | Recovery::Likely | Recovery::Partly) => {
                if let Err(why) = self.place(lost, at, kind) {
                    self.refuse(lost, why);
                }
            }
        }
    }

    fn refuse(&mut self, lost: &LostName, why: &str) {
        self.refused += 1;
        complain(&format!("{}: {why}", past::path(&self.history.path(lost))));
    }

    fn place(&mut self, lost: &LostName, at: u32, kind: FileKind) -> Result<(), &'static str> {
        let base = self.base(lost);
        let dirent = lost.dirent.and_then(|at| self.history.dirents().get(at as usize));
        let (parent, mut name) = match dirent {
            Some(dirent) => {
                (self.directory(base, dirent.pino).ok_or(REFUSED)?.item, self.history.name(dirent).to_vec())
            }
            None => (base, Vec::new()),
        };
        let suffix = match (is_plain(&name), lost.life) {
            _ if name.is_empty() => lost.ino.to_string(),
            (false, _) => return Err(REFUSED),
            (true, Life::Uncommitted { .. }) => String::new(),
            (true, _) => format!("~{}", lost.ino),
        };
        let former = if lost.life == Life::Former { "~former" } else { "" };
        name.truncate(HOST_NAME - suffix.len() - former.len());
        name.extend_from_slice(suffix.as_bytes());
        name.extend_from_slice(former.as_bytes());
        let first = self.first.get(&at).copied();
        let item = self.add(Named { parent, name, ino: at, kind, first });
        if first.is_none() {
            self.first.extend(NonZeroU32::new(item).map(|item| (at, item)));
        }
        Ok(())
    }

    /// The directory that everything of its kind goes to.
    fn base(&mut self, lost: &LostName) -> u32 {
        if past::is_uncommitted(lost) {
            let all = self.made_up(0, b"uncommitted".to_vec());
            let tx = past::transaction(self.history, lost);
            return self.made_up(all, tx.map_or("unknown".into(), |tx| show::digits(&tx.fields().txid)).into_bytes());
        }
        let name: &[u8] = if lost.dirent.is_some() { b"deleted" } else { b"orphans" };
        self.made_up(0, name.to_vec())
    }

    /// A directory of the flash, made with those above it; one of which no name is left, or whose path is too
    /// long, starts at its base. `None` if a name is refused.
    fn directory(&mut self, base: u32, ino: u32) -> Option<Below> {
        let (mut above, mut at, mut len) = (Vec::new(), ino, 0);
        let mut found = loop {
            if at == ROOT {
                break Some(Below { item: base, len: 0 });
            }
            if let Some(known) = self.directories.get(&(base, at)) {
                break *known;
            }
            let dirent = self.history.parent(at).filter(|_| len <= MAX_PATH);
            let Some(dirent) = dirent else { break Some(self.nameless(base, at)) };
            let name = self.history.name(dirent);
            len += name.len() + 1;
            above.push((at, name));
            at = dirent.pino;
        };
        for (ino, name) in above.into_iter().rev() {
            found = found.filter(|_| is_plain(name)).map(|dir| {
                let len = dir.len + name.len() + 1;
                let too_long = len > MAX_PATH;
                if too_long {
                    self.nameless(base, ino)
                } else {
                    Below { item: self.made_up(dir.item, name.to_vec()), len }
                }
            });
            self.directories.insert((base, ino), found);
        }
        found
    }

    fn nameless(&mut self, base: u32, ino: u32) -> Below {
        let name = format!("<{ino}>").into_bytes();
        let below = Below { len: name.len() + 1, item: self.made_up(base, name) };
        self.directories.insert((base, ino), Some(below));
        below
    }

    fn made_up(&mut self, parent: u32, name: Vec<u8>) -> u32 {
        self.add(Named { parent, name, ino: MADE_UP, kind: FileKind::Directory, first: None })
    }

    /// Its item; directories of one name are one. A name that is taken by something else gets a tilde more.
    fn add(&mut self, mut named: Named) -> u32 {
        loop {
            let key = (named.parent, named.name.clone());
            match self.names.get(&key) {
                Some(taken) if named.ino == MADE_UP && self.items[*taken as usize].ino == MADE_UP => return *taken,
                Some(_) => named.name.push(b'~'),
                None => {
                    let item = self.items.len() as u32;
                    self.names.insert(key, item);
                    self.items.push(named);
                    return item;
                }
            }
        }
    }
}
