//! `recover`: cleans up behind a transaction that was cut.

use jffs2_tx::tx::recover as recover_flash;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::image::{ImageArgs, Opened};
use crate::show;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// What was cleaned up, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Recovered {
    /// Commits that were sealed, or written again.
    sealed: u32,
    /// Eraseblocks erased that a cut transaction had left hidden.
    erased_hidden: u32,
    /// Eraseblocks erased that held only nodes that nothing needs.
    erased_dead: u32,
    /// Eraseblocks that failed; exit code 1 if there are any.
    failed: u32,
    /// Commits that may not last, with no eraseblock free to write them again; exit code 1 if there are any.
    unsettled: u32,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let Opened { mut flash, endian, watch } = args.image.open_unmounted()?;
    let report =
        recover_flash(&mut flash, endian).map_err(|error| Failure::from(error).about(args.image.path().display()))?;
    flash.advise(args.image.path());
    watch.recovered();
    let recovered = Recovered {
        sealed: report.sealed,
        erased_hidden: report.erased_hidden,
        erased_dead: report.erased_dead,
        failed: report.failed,
        unsettled: report.unsettled,
    };
    let erased = recovered.erased_hidden + recovered.erased_dead;
    let text = || {
        let unsettled = match recovered.unsettled {
            0 => String::new(),
            commits => format!("; {commits} commits may not last, as no eraseblock is free"),
        };
        format!(
            "{erased} eraseblocks erased, {} commits sealed, {} eraseblocks failed{unsettled}",
            recovered.sealed, recovered.failed
        )
    };
    show::line(args.json, &recovered, text)?;
    Ok(if recovered.failed + recovered.unsettled == 0 { Exit::Done } else { Exit::Findings })
}
