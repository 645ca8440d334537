//! `log`: the transactions whose markers are on the flash.

use std::io::Write;

use jffs2_tx::history::{TxRecord, TxState, transactions};
use jffs2_tx::scan::MarkerRecord;
use jffs2_tx::tx::{DigestState, verify_digest};
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
    for tx in transactions(&image.flash, &image.index)? {
        let transaction = Transaction::of(&image, &tx)?;
        if args.json {
            show::json(&mut out, &transaction)?;
        } else {
            writeln!(out, "{}", transaction.text()).map_err(Failure::Stdout)?;
        }
    }
    out.flush().map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

impl Transaction {
    fn of(image: &Image, tx: &TxRecord) -> Result<Self, Failure> {
        let marker = tx.fields();
        let commit = tx.commit_block.map(|_| &tx.marker);
        Ok(Self {
            txid: show::digits(&marker.txid),
            sequence: marker.sequence,
            label: show::text(marker.label.as_bytes()),
            time: marker.time,
            commit_point: marker.commit_point.map_or_else(|| "undecided".into(), |point| point.to_string()),
            state: match tx.state {
                TxState::Committed => "committed",
                TxState::NotSealed => "committed-not-sealed",
                TxState::Leftover => "leftover",
            },
            payload_blocks: tx.payload_blocks.clone(),
            commit_block: tx.commit_block,
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

/// Whether what the transaction wrote agrees with the digest in its commit marker.
fn digest_state(image: &Image, commit: &MarkerRecord) -> Result<&'static str, Failure> {
    let index = &image.index;
    Ok(match verify_digest(&image.flash, index.rules().endian, index.markers(), commit)? {
        DigestState::Holds => "holds",
        DigestState::Changed => "changed",
        DigestState::Gone => "gone",
    })
}
