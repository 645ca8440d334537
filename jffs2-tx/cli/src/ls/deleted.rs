//! `ls --deleted`: what is gone but still on the flash.

use std::io::Write;

use jffs2_tx::history::{Fate, History, Life, LostName, Recovery, TxRecord};
use jffs2_tx::inode_kind::FileKind;
use serde::Serialize;

use super::type_name;
use crate::failure::{Exit, Failure};
use crate::image::Image;
use crate::{past, show};

/// A name that is gone, or an inode without one, as `--json` shows it. Fields that do not apply are left out.
#[derive(Debug, Serialize)]
struct Row {
    /// Path that it had, escaped as the crate's documentation says: from the root with a slash in front, or `<N>/...`
    /// below inode N, of which no name is left, or `<N>` for inode N itself.
    path: String,
    /// Inode number; left out if nothing is known but the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    ino: Option<u32>,
    /// An earlier inode of that number, which the kernel has given away again since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    former: bool,
    /// Type, as without `--deleted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    /// `deleted`; `replaced`: the name leads to another inode now; `with-directory`: the name stands, but its directory
    /// is gone; `hidden`: only nodes that no reader sees say so; `orphan`: an inode without a name; and of transactions
    /// that were not committed `would-appear`, `would-vanish`, `would-change` (metadata of an inode).
    standing: &'static str,
    /// `whole`; `likely`: every byte, but versions are missing that may have changed some; `partly`; `no`; `mixed`:
    /// nodes of several inodes of this number cannot be told apart. Of a name whose inode is in the tree: `whole`.
    recoverable: &'static str,
    /// When the name went, seconds since 1970, if its directory says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<u32>,
    /// Bytes of a file, as of its newest node.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    /// Modification time of the inode, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<u32>,
    /// Where the inode still is in the tree: the name was one of several, or was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<String>,
    /// Of what was not committed: id, sequence number and label of the transaction, if the flash says which.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    transaction: Option<Transaction>,
}

#[derive(Debug, Serialize)]
struct Transaction {
    txid: String,
    sequence: u64,
    label: String,
}

pub(super) fn run(image: &Image, below: &[u8], json: bool) -> Result<Exit, Failure> {
    let history = past::history(image)?;
    let mut out = show::stdout();
    // Stable: of one transaction in the order of the names. What was committed, without one, comes first.
    let mut lost: Vec<&LostName> = history.lost().iter().filter(|lost| is_below(&history, lost, below)).collect();
    lost.sort_by_key(|lost| (past::is_uncommitted(lost), lost.tx));
    let same = |a: &&LostName, b: &&LostName| (past::is_uncommitted(a), a.tx) == (past::is_uncommitted(b), b.tx);
    for together in lost.chunk_by(same) {
        if !json && past::is_uncommitted(together[0]) {
            let transaction = past::transaction(&history, together[0]);
            writeln!(out, "{}:", transaction.map_or("uncommitted".into(), headline)).map_err(Failure::Stdout)?;
        }
        for lost in together {
            let row = Row::of(&history, lost);
            if json {
                show::json(&mut out, &row)?;
            } else {
                writeln!(out, "{}", row.text()).map_err(Failure::Stdout)?;
            }
        }
    }
    out.flush().map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

fn headline(tx: &TxRecord) -> String {
    let marker = tx.fields();
    let (id, time, label) = (show::digits(&marker.txid), show::time(marker.time), show::text(marker.label.as_bytes()));
    format!("uncommitted: {} {id} {time} \"{label}\"", marker.sequence)
}

/// Whether it stood at a path or below.
fn is_below(history: &History, lost: &LostName, below: &[u8]) -> bool {
    let mut wanted = below.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").peekable();
    if wanted.peek().is_none() {
        return true;
    }
    let path = history.path(lost);
    let mut names = path.names.iter();
    path.from.is_none() && wanted.all(|name| names.next() == Some(&name))
}

impl Row {
    fn of(history: &History, lost: &LostName) -> Self {
        let inode = history.inode(lost.ino, lost.life);
        let node = inode.and_then(|inode| past::newest(history, inode));
        let named = lost.dirent.and_then(|at| history.dirents().get(at as usize));
        let kind = node.and_then(past::kind).or(named.and_then(|name| FileKind::from_dirent_type(name.kind)));
        let alive = history.inode(lost.ino, Life::Last).is_some_and(|inode| inode.alive);
        let notes = inode.map(|inode| history.nodes(inode).iter().zip(history.notes(inode)));
        let note = notes.and_then(|mut notes| notes.rfind(|(node, _)| node.good));
        let lives_on = alive && lost.dirent.is_some() && lost.life == Life::Last && lost.fate != Fate::WouldVanish;
        Self {
            path: past::path(&history.path(lost)),
            ino: Some(lost.ino).filter(|ino| *ino != 0),
            former: lost.life == Life::Former,
            r#type: kind.map(type_name),
            standing: past::fate(lost.fate),
            recoverable: past::recovery(inode.map_or(Recovery::Gone, |inode| inode.recovery)),
            when: lost.when,
            size: node.filter(|_| kind == Some(FileKind::File)).map(|node| node.isize),
            mtime: note.map(|(_, note)| note.mtime),
            now: lives_on.then(|| past::path(&history.path_of(lost.ino))),
            transaction: past::transaction(history, lost).map(|tx| Transaction {
                txid: show::digits(&tx.fields().txid),
                sequence: tx.fields().sequence,
                label: show::text(tx.fields().label.as_bytes()),
            }),
        }
    }

    /// Standing, what is left, when, inode number, size, path, and where the inode is now.
    fn text(&self) -> String {
        let when = self.when.map_or("-".into(), |when| show::time(when.into()));
        let number = |number: Option<u32>| number.map_or("-".into(), |number| number.to_string());
        let former = if self.former { " (an earlier inode of this number)" } else { "" };
        let now = self.now.as_ref().map(|now| format!(" (now {now})")).unwrap_or_default();
        format!(
            "{:<14} {:<6} {when:<20} {:>7} {:>10} {}{former}{now}",
            self.standing,
            self.recoverable,
            number(self.ino),
            number(self.size),
            self.path
        )
    }
}
