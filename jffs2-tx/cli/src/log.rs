//! `log`: the transactions whose markers are on the flash.

use std::collections::BTreeMap;
use std::io::Write;

use jffs2_tx::flash::Flash;
use jffs2_tx::index::Index;
use jffs2_tx::scan::{BlockState, MarkerRecord, scan_one};
use jffs2_tx::tx::{DigestState, verify_digest};
use jffs2_tx::wire::{CommitPoint, MarkerKind};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::image::{Image, ImageArgs};
use crate::show;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// One JSON object for each transaction.
    #[arg(long)]
    json: bool,
}

/// A transaction, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Transaction {
    /// Transaction id, 32 hexadecimal digits.
    txid: String,
    /// Sequence number: transactions are listed in this order.
    sequence: u64,
    /// Label, escaped as the crate's documentation says.
    label: String,
    /// When it began, seconds since 1970.
    time: u64,
    /// `dirent`, `head` or `summary`; `undecided` for a transaction of which no commit marker is left.
    commit_point: String,
    /// `committed`, `committed-not-sealed` (one copy in the head is missing: recover completes it) or `leftover`
    /// (never committed: recover erases it).
    state: &'static str,
    /// Eraseblocks with a begin marker of it that are still there.
    payload_blocks: Vec<u32>,
    /// Eraseblock of the commit; left out if no commit marker is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_block: Option<u32>,
    /// Whether what it wrote agrees with the digest in its commit marker: `holds`; `changed` (the kernel has written on
    /// in its eraseblocks, or bytes are damaged); `gone` (not all of them are there any more); `none` (no commit marker).
    digest: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let mut out = show::stdout();
    for transaction in transactions(&image)? {
        if args.json {
            show::json(&mut out, &transaction)?;
        } else {
            writeln!(out, "{}", transaction.text()).map_err(Failure::Stdout)?;
        }
    }
    out.flush().map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

/// Transactions by sequence number.
fn transactions(image: &Image) -> Result<Vec<Transaction>, Failure> {
    let mut by_id: BTreeMap<(u64, [u8; 16]), Vec<&MarkerRecord>> = BTreeMap::new();
    for record in image.index.markers() {
        by_id.entry((record.marker.sequence, record.marker.txid)).or_default().push(record);
    }
    by_id.into_values().map(|records| Transaction::of(image, &records)).collect()
}

impl Transaction {
    /// From all markers of one transaction, at least one.
    fn of(image: &Image, records: &[&MarkerRecord]) -> Result<Self, Failure> {
        let geometry = image.index.geometry();
        let of_kind = |kind| records.iter().copied().filter(move |record| record.marker.kind == kind);
        // The copy in the body has the whole label; those in a head may be all that power left.
        let commit = of_kind(MarkerKind::Commit).min_by_key(|record| record.in_head);
        let any = &commit.unwrap_or(records[0]).marker;
        Ok(Self {
            txid: show::digits(&any.txid),
            sequence: any.sequence,
            label: show::text(any.label.as_bytes()),
            time: any.time,
            commit_point: any.commit_point.map_or_else(|| "undecided".into(), |point| point.to_string()),
            state: commit.map_or(Ok("leftover"), |commit| state(image, records, commit))?,
            payload_blocks: of_kind(MarkerKind::Begin).map(|record| geometry.block_of(record.at)).collect(),
            commit_block: commit.map(|commit| geometry.block_of(commit.at)),
            digest: commit.map_or(Ok("none"), |commit| digest_state(image, commit))?,
        })
    }

    fn text(&self) -> String {
        let commit = self.commit_block.map(|block| format!(", commit block {block}")).unwrap_or_default();
        format!(
            "{} {} {} {} \"{}\": {}, payload blocks {}{commit}, digest {}",
            self.sequence,
            self.txid,
            show::time(self.time),
            self.commit_point,
            self.label,
            self.state,
            ranges(&self.payload_blocks),
            self.digest
        )
    }
}

/// Eraseblock numbers, neighbours joined: `3-7 9`.
fn ranges(blocks: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.1.checked_add(1) == Some(*block) => run.1 = *block,
            _ => runs.push((*block, *block)),
        }
    }
    let texts: Vec<String> =
        runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    if texts.is_empty() { "none".into() } else { texts.join(" ") }
}

/// What became of a transaction that has a commit marker.
fn state(image: &Image, records: &[&MarkerRecord], commit: &MarkerRecord) -> Result<&'static str, Failure> {
    let visible = is_visible(&image.index, commit);
    Ok(match commit.marker.commit_point {
        _ if !visible => "leftover",
        Some(CommitPoint::Head) if records.iter().filter(|record| record.in_head).count() < 2 => "committed-not-sealed",
        Some(CommitPoint::Dirent) if !has_dirent_behind(image, commit)? => "leftover",
        _ => "committed",
    })
}

fn is_visible(index: &Index, commit: &MarkerRecord) -> bool {
    let block = index.geometry().block_of(commit.at) as usize;
    index.blocks().get(block).is_some_and(|block| block.state == BlockState::Used)
}

/// A dirent commit: the marker is the last node before the one dirent that matters.
fn has_dirent_behind(image: &Image, commit: &MarkerRecord) -> Result<bool, Failure> {
    let geometry = image.flash.geometry();
    let mut bytes = vec![0; geometry.eraseblock() as usize];
    let found = scan_one(&image.flash, image.index.rules(), geometry.block_of(commit.at), &mut bytes)?;
    Ok(found.dirents.iter().any(|dirent| dirent.at > commit.at))
}

/// Whether what the transaction wrote agrees with the digest in its commit marker.
fn digest_state(image: &Image, commit: &MarkerRecord) -> Result<&'static str, Failure> {
    let index = &image.index;
    Ok(match verify_digest(&image.flash, index.rules().endian, index.markers(), commit)? {
        DigestState::Holds => "holds",
        DigestState::Changed => "changed",
        DigestState::Gone => "gone",
    })
}
