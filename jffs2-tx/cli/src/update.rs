//! `apply` and `recover`: what changes an image.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jffs2_tx::flash::FlashMut;
use jffs2_tx::source::SourceTree;
use jffs2_tx::tx::{
    CommitReport, KernelSummaries, ReplaceReport, Transaction, TxError, TxOptions, recover as recover_flash,
};
use jffs2_tx::wire::{CommitPoint, Endian};
use serde::Serialize;

use crate::device::Watch;
use crate::device::summaries::of_this_kernel;
use crate::failure::{Exit, Failure};
use crate::image::{ImageArgs, Opened};
use crate::show;
use crate::target::Target;

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// Directory that the tree is to be equal to.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// What the log calls this transaction, say the new version: at most 64 bytes.
    #[arg(long, default_value = "", value_parser = parse_label)]
    label: String,
    /// What makes the new tree visible; chosen by the change and the flash if not given.
    #[arg(long, value_name = "KIND")]
    commit_point: Option<Point>,
    /// Eraseblocks that stay free, if not as many as the kernel needs to work.
    #[arg(long, value_name = "N")]
    reserve: Option<u32>,
    /// Give up the tree that readers without summaries still see since a summary commit: no such reader exists.
    #[arg(long)]
    summary_readers_only: bool,
    /// Whether the kernel that will mount the flash knows summaries (CONFIG_JFFS2_SUMMARY), without which it would not see
    /// a commit by summary. Found out on a device: from the kernel's configuration, or from summaries that it wrote.
    #[arg(long, value_name = "WHETHER", default_value = "auto")]
    kernel_summaries: Summaries,
    /// Transaction id, 32 hexadecimal digits; random if not given.
    #[arg(long, value_name = "HEX", value_parser = parse_txid)]
    txid: Option<[u8; 16]>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Summaries {
    Auto,
    Yes,
    No,
}

impl Summaries {
    /// An image is for some other machine: whoever builds it knows.
    fn of(self, watch: &Watch) -> KernelSummaries {
        match self {
            Self::Auto if watch.is_device() => of_this_kernel(),
            Self::Auto | Self::Yes => KernelSummaries::Known,
            Self::No => KernelSummaries::Unknown,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Point {
    Dirent,
    Head,
    Summary,
}

impl Point {
    fn commit_point(self) -> CommitPoint {
        match self {
            Self::Dirent => CommitPoint::Dirent,
            Self::Head => CommitPoint::Head,
            Self::Summary => CommitPoint::Summary,
        }
    }
}

/// A transaction that was committed, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Applied {
    /// Transaction id, 32 hexadecimal digits.
    txid: String,
    /// Sequence number.
    sequence: u64,
    /// Label, escaped as the crate's documentation says.
    label: String,
    /// `dirent`, `head` or `summary`; null if the tree was equal already: nothing was written then.
    commit_point: Option<String>,
    /// Inodes of the new tree.
    inodes: u32,
    /// Inodes that are new or have new contents.
    inodes_written: u32,
    /// Inodes of which only metadata changed.
    metadata_changed: u32,
    /// Names that went away, not counting what was below them.
    names_removed: u32,
    /// Bytes of file contents written, before compression.
    bytes_written: u64,
    /// Bytes programmed.
    bytes_programmed: u64,
    /// Nodes written.
    nodes: u32,
    /// Eraseblocks taken.
    eraseblocks_taken: u32,
    /// Eraseblocks erased.
    eraseblocks_erased: u32,
    /// Eraseblocks that failed and were replaced.
    eraseblocks_failed: u32,
    /// Eraseblocks free now, those that the kernel needs included.
    eraseblocks_free: u32,
    /// Directories that got a new inode so that the change fits.
    directories_shadowed: u32,
    /// Unchanged files that were copied so that the change fits.
    files_copied: u32,
}

/// What was cleaned up, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Recovered {
    /// Commits that were sealed.
    sealed: u32,
    /// Eraseblocks erased that a cut transaction had left hidden.
    erased_hidden: u32,
    /// Eraseblocks erased that held only nodes that nothing needs.
    erased_dead: u32,
    /// Eraseblocks that failed; exit code 1 if there are any.
    failed: u32,
}

pub(crate) fn apply(args: &ApplyArgs) -> Result<Exit, Failure> {
    // The new tree first: what the format cannot hold is refused before the image is touched.
    let tree = SourceTree::from_dir(&args.root).map_err(|error| Failure::new(Exit::Io, error))?;
    let Opened { mut flash, endian, watch } = args.image.open_to_write()?;
    let options = args.options(&watch)?;
    let applied = update(&mut flash, endian, &tree, &options, &watch)
        .map_err(|failure| failure.about(args.image.path().display()))?;
    show::line(args.json, &applied, || applied.text())?;
    Ok(Exit::Done)
}

pub(crate) fn recover(args: &RecoverArgs) -> Result<Exit, Failure> {
    let Opened { mut flash, endian, watch } = args.image.open_unmounted()?;
    let report =
        recover_flash(&mut flash, endian).map_err(|error| Failure::from(error).about(args.image.path().display()))?;
    watch.recovered();
    let recovered = Recovered {
        sealed: report.sealed,
        erased_hidden: report.erased_hidden,
        erased_dead: report.erased_dead,
        failed: report.failed,
    };
    let erased = recovered.erased_hidden + recovered.erased_dead;
    let text = || {
        format!(
            "{erased} eraseblocks erased, {} commits sealed, {} eraseblocks failed",
            recovered.sealed, recovered.failed
        )
    };
    show::line(args.json, &recovered, text)?;
    Ok(if recovered.failed == 0 { Exit::Done } else { Exit::Findings })
}

impl ApplyArgs {
    fn options(&self, watch: &Watch) -> Result<TxOptions, Failure> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(TxOptions {
            label: self.label.clone(),
            commit_point: self.commit_point.map(Point::commit_point),
            txid: self.txid.map_or_else(random_txid, Ok)?,
            time,
            reserve: self.reserve,
            summary_readers_only: self.summary_readers_only,
            online: watch.is_online(),
            kernel_summaries: self.kernel_summaries.of(watch),
            dry_run: false,
        })
    }
}

fn random_txid() -> Result<[u8; 16], Failure> {
    let mut txid = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut txid));
    read.map_err(|error| Failure::new(Exit::Io, format!("/dev/urandom: {error}")))?;
    Ok(txid)
}

/// Makes the tree on the flash equal to `tree`.
fn update(
    flash: &mut Target,
    endian: Endian,
    tree: &SourceTree,
    options: &TxOptions,
    watch: &Watch,
) -> Result<Applied, Failure> {
    let mut tx = Transaction::begin(flash, endian, options.clone())?;
    let bar = progress_bar(tree.nodes().len());
    let replaced = tx.replace_tree(tree, &mut |done, _| bar.set_position(u64::from(done)));
    bar.finish_and_clear();
    match replaced {
        Ok(replaced) => {
            if let Err(failure) = watch.check() {
                let _ = tx.abort();
                return Err(failure);
            }
            let report = tx.commit()?;
            if report.commit_point.is_some() {
                watch.committed(options);
            }
            Ok(Applied::new(options, replaced, &report))
        }
        Err(error) => Err(give_up(tx, error)),
    }
}

/// Takes back what was written; the error that matters is the first.
fn give_up<F: FlashMut>(tx: Transaction<'_, F>, error: TxError<F::Error>) -> Failure {
    let _ = tx.abort();
    error.into()
}

fn progress_bar(inodes: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} inodes, {eta} left");
    ProgressBar::new(inodes as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl Applied {
    fn new(options: &TxOptions, replaced: ReplaceReport, report: &CommitReport) -> Self {
        Self {
            txid: show::digits(&options.txid),
            sequence: report.sequence,
            label: show::text(options.label.as_bytes()),
            commit_point: report.commit_point.map(|point| point.to_string()),
            inodes: replaced.inodes,
            inodes_written: replaced.written,
            metadata_changed: replaced.metadata_changed,
            names_removed: replaced.names_removed,
            bytes_written: replaced.bytes_written,
            bytes_programmed: report.bytes_programmed,
            nodes: report.nodes,
            eraseblocks_taken: report.eraseblocks_taken,
            eraseblocks_erased: report.eraseblocks_erased,
            eraseblocks_failed: report.eraseblocks_failed,
            eraseblocks_free: report.eraseblocks_free,
            directories_shadowed: report.directories_shadowed,
            files_copied: report.files_copied,
        }
    }

    fn text(&self) -> String {
        let Some(point) = &self.commit_point else { return "equal already: nothing was written".into() };
        format!(
            "committed by {point}, sequence {}: {} inodes written, {} with new metadata, {} names removed; \
             {} bytes programmed in {} eraseblocks, {} eraseblocks free",
            self.sequence,
            self.inodes_written,
            self.metadata_changed,
            self.names_removed,
            self.bytes_programmed,
            self.eraseblocks_taken,
            self.eraseblocks_free
        )
    }
}

fn parse_txid(text: &str) -> Result<[u8; 16], String> {
    let wrong = || String::from("not 32 hexadecimal digits");
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| digits).ok_or_else(wrong)?;
    Ok(number.to_be_bytes())
}

fn parse_label(text: &str) -> Result<String, String> {
    let fits = text.len() <= jffs2_tx::wire::MAX_LABEL;
    if fits { Ok(text.into()) } else { Err(format!("over {} bytes", jffs2_tx::wire::MAX_LABEL)) }
}
