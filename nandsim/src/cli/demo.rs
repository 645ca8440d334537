//! `nandsim demo`: what a newcomer should see.

use std::io::{self, Write};

use anyhow::Result;
use jffs2_tx::flash::FlashKind;
use jffs2_tx::tx::TxOptions;
use jffs2_tx::wire::{CommitPoint, Endian};
use nandsim::{Report, Sample, Shape, Tier, Torture, Update, sample, sample_small_change};

use super::effort::{Cuts, threads};
use super::torture::try_cuts;
use super::{Outcome, show};

const INTRO: &str = "\
An update of a small root file system, in one transaction: a new kernel, a new busybox, files and directories
added, removed, renamed, relinked, changed in mode, owner or time. The power fails at every byte that it programs
(every page on NAND, torn in 20 ways) and in every erase. After each cut the whole tree is read by the rules of stock
Linux, without any repair; then after recovery; then after the update was done again.
";

const OUTRO: &str = "\
Every state was exactly the old tree or exactly the new one.

Go on:
  nandsim torture --sample --flash nand -b       another flash, another byte order
  nandsim torture --old DIR --new DIR            two trees of your own
  nandsim torture --sample --replay 17:before    one cut, and what each reader sees after it
";

pub(super) fn run() -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{INTRO}")?;
    let nor = Shape { kind: FlashKind::Nor, eraseblock: 64 << 10, write_size: 1, endian: Endian::Little };
    let nand = Shape { kind: FlashKind::Nand, eraseblock: 128 << 10, write_size: 2048, endian: Endian::Little };
    let mut fine = true;
    fine &= show(&mut out, "NOR, the whole update", &torture(nor, sample())?)?;
    fine &= show(&mut out, "NAND, the whole update", &torture(nand, sample())?)?;
    fine &= show(&mut out, "NOR, changes below /etc only", &torture(nor, sample_small_change())?)?;
    if fine {
        write!(out, "{OUTRO}")?;
    }
    Ok(fine)
}

fn torture(shape: Shape, Sample { old, new }: Sample) -> Result<Torture> {
    let image = shape.image(&old)?;
    let geometry = shape.geometry_for(image.len(), shape.image(&new)?.len())?;
    let start = shape.flashed(geometry, &image, 0)?;
    let options = TxOptions { label: "demo".into(), ..TxOptions::default() };
    Ok(Torture::record(start, Update::new(shape.endian, new, options), 0)?)
}

/// Tries all cuts; whether every state was old or new.
fn show(out: &mut impl Write, title: &str, torture: &Torture) -> Result<bool> {
    let threads = threads(None);
    let report = try_cuts(torture, Tier::One, Some(Cuts::All), threads);
    writeln!(out, "{title}\n{}", lines(torture, &report, threads))?;
    Ok(report.counts.is_fine())
}

fn lines(torture: &Torture, report: &Report, threads: usize) -> String {
    let text = show::report(torture, report, threads) + how(torture.oracle.point) + "\n";
    text.lines().map(|line| format!("  {line}\n")).collect()
}

fn how(point: CommitPoint) -> &'static str {
    match point {
        CommitPoint::Dirent => "one directory entry that becomes valid swings /etc to its new version",
        CommitPoint::Head => {
            "the first bit programmed in the blank head of an eraseblock shows all that stands behind it"
        }
        CommitPoint::Summary => "the summary of an eraseblock becomes valid, and with it all that it lists",
    }
}
