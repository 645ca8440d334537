//! `gc`: frees eraseblocks by moving what lives in them together.

use jffs2_tx::tx::{GcOptions, GcReport, gc, plan_gc};
use jffs2_tx::wire::Endian;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::image::{ImageArgs, Opened};
use crate::target::Target;
use crate::{progress, show};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Stop when so many eraseblocks are free; all that can be freed if not given.
    #[arg(long, value_name = "N")]
    free: Option<u32>,
    /// Give up the tree that readers without summaries still see since a summary commit: no such reader exists.
    #[arg(long)]
    summary_readers_only: bool,
    /// Write nothing: say what would be freed.
    #[arg(long)]
    dry_run: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// What was freed, or would be, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Collected {
    /// Nothing was written: what follows is what would be done if no eraseblock fails.
    dry_run: bool,
    /// Eraseblocks that were blank or clean before.
    free_before: u32,
    /// The same after it; exit code 4 if they are fewer than `--free` asks for.
    free_after: u32,
    /// Commits that were sealed.
    sealed: u32,
    /// Eraseblocks erased that a cut transaction had left hidden.
    erased_hidden: u32,
    /// Eraseblocks erased that held only nodes that nothing needs.
    erased_dead: u32,
    /// Nodes copied.
    moved_nodes: u32,
    /// Bytes of these.
    moved_bytes: u64,
    /// Eraseblocks that took them.
    eraseblocks_taken: u32,
    /// Eraseblocks that they came from, and those that held nothing but copies.
    eraseblocks_freed: u32,
    /// Erases in all.
    erases: u32,
    /// Eraseblocks that failed and were given up; exit code 1 if there are any.
    eraseblocks_failed: u32,
    /// Eraseblocks that hold live nodes and cannot be collected: damaged, or needed by readers without summaries.
    eraseblocks_pinned: u32,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let about = |failure: Failure| failure.about(args.image.path().display());
    let options = GcOptions { target_free: args.free, summary_readers_only: args.summary_readers_only };
    let report = if args.dry_run {
        let Opened { flash, endian, .. } = args.image.open_to_estimate()?;
        plan_gc(&flash, endian, &options).map_err(|error| about(error.into()))?.expected
    } else {
        let Opened { mut flash, endian, watch } = args.image.open_unmounted()?;
        let report = collect(&mut flash, endian, &options).map_err(about)?;
        flash.advise(args.image.path());
        watch.recovered();
        report
    };
    let collected = Collected::new(&report, args.dry_run);
    show::line(args.json, &collected, || collected.text())?;
    Ok(match args.free {
        Some(wanted) if report.free_after < wanted => {
            let what = format!("{} eraseblocks are all that can be free, not {wanted}", report.free_after);
            return Err(about(Failure::new(Exit::NoSpace, what)));
        }
        _ if collected.eraseblocks_failed > 0 => Exit::Findings,
        _ => Exit::Done,
    })
}

/// Collects on a flash that nothing has mounted.
pub(crate) fn collect(flash: &mut Target, endian: Endian, options: &GcOptions) -> Result<GcReport, Failure> {
    let bar = progress::eraseblocks();
    let report = gc(flash, endian, options, &mut |done, all| {
        bar.set_length(u64::from(all));
        bar.set_position(u64::from(done));
    });
    bar.finish_and_clear();
    Ok(report?)
}

impl Collected {
    fn new(report: &GcReport, dry_run: bool) -> Self {
        Self {
            dry_run,
            free_before: report.free_before,
            free_after: report.free_after,
            sealed: report.recovered.sealed,
            erased_hidden: report.recovered.erased_hidden,
            erased_dead: report.recovered.erased_dead,
            moved_nodes: report.moved_nodes,
            moved_bytes: report.moved_bytes,
            eraseblocks_taken: report.eraseblocks_taken,
            eraseblocks_freed: report.eraseblocks_freed,
            erases: report.erases,
            eraseblocks_failed: report.eraseblocks_failed + report.recovered.failed,
            eraseblocks_pinned: report.eraseblocks_pinned,
        }
    }

    fn text(&self) -> String {
        format!(
            "{}{} eraseblocks free, {} before: {} nodes ({} bytes) moved into {}, {} erases, {} failed, {} cannot be collected",
            if self.dry_run { "would be: " } else { "" },
            self.free_after,
            self.free_before,
            self.moved_nodes,
            self.moved_bytes,
            self.eraseblocks_taken,
            self.erases,
            self.eraseblocks_failed,
            self.eraseblocks_pinned
        )
    }
}
