//! `status`: what updates have left, at a glance.

use jffs2_tx::flash::Flash;
use jffs2_tx::history::transactions;
use jffs2_tx::status::{UpdateState, status};
use jffs2_tx::tx::{DigestState, verify_digest};
use jffs2_tx::wire::{Endian, Marker};
use jffs2_tx::{Index, Rules};
use serde::Serialize;

use crate::device::flag::Flag;
use crate::device::{Mounted, mounted};
use crate::failure::{Exit, Failure};
use crate::image::{ImageArgs, endian_name};
use crate::show;
use crate::target::Target;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// The state of an image or device, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Line {
    /// `clean` (no sign of a transaction), `leftover` (one was cut: recover gets its space back) or `committed`.
    state: &'static str,
    /// An update was made under a mounted file system, which still shows the tree from before it: the new one appears
    /// at the next boot, and until then nobody may remount read-write.
    reboot_needed: bool,
    /// `no`, `read-only`, `read-write`, or `ubi`; always `no` for an image file.
    mounted: &'static str,
    /// The last transaction that was committed; null if there is none, or its markers are gone.
    last: Option<Transaction>,
    /// A transaction that was cut, if a marker of it is there; otherwise null.
    cut: Option<Transaction>,
    /// Commits of which one copy is missing: recover writes it.
    not_sealed: u32,
    /// `little-endian` or `big-endian`.
    endian: &'static str,
    /// Number of eraseblocks.
    blocks: u32,
    /// Eraseblocks marked bad.
    blocks_bad: u32,
    /// Eraseblocks that are blank or clean, as far as their first page tells.
    blocks_free: u32,
    /// Eraseblocks in which readers see nothing, but something is.
    blocks_hidden: u32,
    /// Free eraseblocks that Linux wants to see before it lets anyone write, and one to merge into.
    kernel_reserve: u32,
    /// Reads that error correction could not mend.
    uncorrectable: u32,
    /// Bytes read to know all this.
    bytes_read: u64,
}

/// A transaction, by one of its markers.
#[derive(Debug, Serialize)]
struct Transaction {
    /// Transaction id, 32 hexadecimal digits.
    txid: String,
    /// Sequence number.
    sequence: u64,
    /// Label, escaped as the crate's documentation says.
    label: String,
    /// When it began, seconds since 1970.
    time: u64,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let about = |failure: Failure| failure.about(args.image.path().display());
    let (target, endian) = args.image.open_to_look()?;
    let seen = status(&target, endian).map_err(|error| about(error.into()))?;
    let users = target.mtd().map_or(Ok(Mounted::No), |mtd| mounted(mtd.info())).map_err(about)?;
    let flag = target.mtd().and_then(|mtd| Flag::of(mtd.info(), &users));
    let line = Line {
        state: state_name(seen.state),
        reboot_needed: flag.is_some(),
        mounted: mounted_name(&users),
        last: seen.last.as_ref().map(Transaction::of),
        cut: seen.cut.as_ref().map(Transaction::of),
        not_sealed: seen.not_sealed,
        endian: endian_name(endian),
        blocks: seen.blocks,
        blocks_bad: seen.bad,
        blocks_free: seen.free,
        blocks_hidden: seen.hidden,
        kernel_reserve: target.geometry().kernel_reserve(),
        uncorrectable: seen.uncorrectable,
        bytes_read: seen.bytes_read,
    };
    show::line(args.json, &line, || line.text())?;
    target.advise(args.image.path());
    let Some(flag) = flag else { return Ok(Exit::Done) };
    match users {
        Mounted::Writable { place, .. } => Err(about(danger(&flag, &format!("mounted read-write on {place}")))),
        _ if is_changed(&target, endian, &flag).map_err(about)? => Err(about(danger(&flag, "written to"))),
        _ => Ok(Exit::Done),
    }
}

/// The kernel takes eraseblocks for free that hold the new tree.
fn danger(flag: &Flag, what: &str) -> Failure {
    let text = format!(
        "{what} after the update \"{}\" and before a reboot: its tree may be overwritten; mount it read-only and apply the \
         update again",
        flag.label
    );
    Failure::new(Exit::Findings, text)
}

/// Whether what the update wrote is not there any more, as it wrote it. Reads all of the flash.
fn is_changed(target: &Target, endian: Endian, flag: &Flag) -> Result<bool, Failure> {
    let index = Index::open(target, Rules { endian, summaries: true })?;
    for tx in transactions(target, &index)? {
        if tx.commit_block.is_some() && show::digits(&tx.fields().txid) == flag.txid {
            return Ok(verify_digest(target, endian, index.markers(), &tx.marker)? != DigestState::Holds);
        }
    }
    Ok(false)
}

fn state_name(state: UpdateState) -> &'static str {
    match state {
        UpdateState::Clean => "clean",
        UpdateState::Leftover => "leftover",
        UpdateState::Committed => "committed",
    }
}

fn mounted_name(users: &Mounted) -> &'static str {
    match users {
        Mounted::No => "no",
        Mounted::ReadOnly { .. } => "read-only",
        Mounted::Writable { .. } => "read-write",
        Mounted::Ubi { .. } => "ubi",
    }
}

impl Transaction {
    fn of(marker: &Marker) -> Self {
        Self {
            txid: show::digits(&marker.txid),
            sequence: marker.sequence,
            label: show::text(marker.label.as_bytes()),
            time: marker.time,
        }
    }

    fn text(&self) -> String {
        format!("{} \"{}\" of {}", self.sequence, self.label, show::time(self.time))
    }
}

impl Line {
    fn text(&self) -> String {
        let mut parts = vec![match &self.last {
            Some(last) => format!("{}: last committed {}", self.state, last.text()),
            None => self.state.into(),
        }];
        parts.extend(self.cut.as_ref().map(|cut| format!("cut: {} (recover gets its space back)", cut.text())));
        parts.push(format!(
            "{} eraseblocks, {} free, {} hidden, {} bad",
            self.blocks, self.blocks_free, self.blocks_hidden, self.blocks_bad
        ));
        if self.mounted != "no" {
            parts.push(format!("mounted: {}", self.mounted));
        }
        if self.reboot_needed {
            parts.push("reboot needed: the mounted tree is the one from before the update".into());
        }
        parts.join("; ")
    }
}
