//! `apply`: makes the tree of an image equal to a directory or a tar archive, or says what that would take.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{ArgGroup, ValueEnum};
use jffs2_tx::flash::{FlashMut, ReadOnly};
use jffs2_tx::tx::{GcOptions, KernelSummaries, Transaction, TxError, TxOptions};
use jffs2_tx::wire::{CommitPoint, Endian};

use crate::device::Watch;
use crate::device::summaries::of_this_kernel;
use crate::failure::{Exit, Failure};
use crate::gc::collect;
use crate::image::{ImageArgs, Opened};

mod new_tree;
mod report;

use new_tree::NewTree;
use report::{Applied, Estimated, Outcome};

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("new-tree").required(true).args(["root", "tar"]))]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Directory that the tree is to be equal to.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Tar archive that the tree is to be equal to; - for standard input. It is read once, nothing of it is stored elsewhere.
    ///
    /// Directories that the archive has no entry for belong to root, with mode 0755 and time 0; the root of the tree keeps what it has.
    /// Of entries with one path the last counts. Leading slashes are ignored, `..` is refused, and so is what would go below a symlink.
    /// Extended attributes are left out, with a note. A compressed archive is piped in: zcat root.tar.gz | jffs2-tx apply IMG --tar -
    #[arg(long, value_name = "FILE")]
    tar: Option<PathBuf>,
    /// Write nothing: say what would be written, and whether it fits (exit code 4 if not).
    #[arg(long)]
    dry_run: bool,
    /// If the update does not fit, free eraseblocks as `gc` does, and try once more. For an archive from standard input, which
    /// can be read only once, all that can be freed is freed before.
    #[arg(long, conflicts_with = "dry_run")]
    gc: bool,
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

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    // The new tree first: what the format cannot hold is refused before the image is touched.
    let tree = args.new_tree()?;
    let outcome = if args.dry_run {
        let Opened { flash, endian, watch } = args.image.open_to_estimate()?;
        update(&mut ReadOnly(flash), endian, tree, &args.options(&watch)?, &watch)
    } else {
        let mut opened = args.image.open_to_write()?;
        let outcome = args.apply(&mut opened, tree);
        opened.flash.advise(args.image.path());
        outcome
    };
    outcome.and_then(|outcome| outcome.show(args.json)).map_err(|failure| failure.about(args.image.path().display()))
}

impl Args {
    fn new_tree(&self) -> Result<NewTree, Failure> {
        NewTree::open(self.root.as_deref(), self.tar.as_deref())
    }

    /// Updates; with `--gc` frees eraseblocks if that lacks them, and tries once more.
    fn apply(&self, opened: &mut Opened, tree: NewTree) -> Result<Outcome, Failure> {
        let Opened { flash, endian, watch } = opened;
        let options = self.options(watch)?;
        if self.gc && watch.is_online() {
            let text = "mounted read-only: --gc moves what the kernel may still read; unmount it first";
            return Err(Failure::new(Exit::Busy, text));
        }
        let collection = |target_free| GcOptions { target_free, summary_readers_only: self.summary_readers_only };
        // What comes through a pipe comes once.
        let is_read_once = self.tar.as_deref() == Some(Path::new("-"));
        if self.gc && is_read_once {
            collect(flash, *endian, &collection(None))?;
        }
        match update(flash, *endian, tree, &options, watch)? {
            Outcome::Full { needed, reserve, .. } if self.gc && !is_read_once => {
                collect(flash, *endian, &collection(Some(needed.saturating_add(reserve))))?;
                update(flash, *endian, self.new_tree()?, &options, watch)
            }
            outcome => Ok(outcome),
        }
    }

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
            dry_run: self.dry_run,
        })
    }
}

fn random_txid() -> Result<[u8; 16], Failure> {
    let mut txid = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut txid));
    read.map_err(|error| Failure::new(Exit::Io, format!("/dev/urandom: {error}")))?;
    Ok(txid)
}

/// Makes the tree on the flash equal to `tree`, or finds out what that takes.
fn update<F: FlashMut>(
    flash: &mut F,
    endian: Endian,
    tree: NewTree,
    options: &TxOptions,
    watch: &Watch,
) -> Result<Outcome, Failure> {
    let mut tx = Transaction::begin(flash, endian, options.clone())?;
    let replaced = match tree.replace(&mut tx).and_then(|replaced| watch.check().map(|()| replaced)) {
        Ok(replaced) => replaced,
        Err(failure) => {
            // Takes back what was written; the error that matters is the first.
            let _ = tx.abort();
            return Err(failure);
        }
    };
    if options.dry_run {
        return Ok(Outcome::Estimated(Estimated::new(replaced, &tx.estimate()?)));
    }
    let flag = watch.committing(options);
    let outcome = tx.commit();
    let surely_old = match &outcome {
        Ok(report) => report.commit_point.is_none(),
        Err(error) => !matches!(error, TxError::Uncertain { .. }),
    };
    if surely_old {
        watch.not_committed(flag);
    }
    let report = match outcome {
        Err(TxError::NoSpace { needed, free, reserve }) => {
            return Ok(Outcome::Full { needed, free, reserve, online: options.online });
        }
        report => report?,
    };
    if report.commit_point.is_some() {
        watch.committed();
    }
    Ok(Outcome::Applied(Applied::new(options, replaced, &report)))
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
