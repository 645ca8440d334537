//! `nandsim parts`.

use std::io::{self, Write};

use anyhow::Result;
use jffs2_tx::flash::FlashKind;
use nandsim::{PARTS, Pairing, Part, Span, Times, TimesFrom};
use serde::Serialize;

use super::setup::Kind;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A part, as JSON.
#[derive(Serialize)]
struct Json {
    name: &'static str,
    what: &'static str,
    flash: Kind,
    size: u64,
    eraseblocks: &'static [u32],
    write_size: u32,
    oob: u32,
    program_unit: u32,
    page_programs: Option<u8>,
    oob_counts: bool,
    any_page_order: bool,
    write_buffer: Option<u32>,
    paired_pages: bool,
    times: Times,
}

impl Json {
    fn of(part: &Part) -> Self {
        let is_nor = part.kind == FlashKind::Nor;
        Self {
            name: part.name,
            what: part.what,
            flash: part.kind.into(),
            size: part.size,
            eraseblocks: part.eraseblocks,
            write_size: part.write_size,
            oob: part.oob,
            program_unit: part.rules.program_unit,
            page_programs: (!is_nor).then_some(part.rules.page_programs),
            oob_counts: part.rules.oob_counts,
            any_page_order: part.rules.any_page_order,
            write_buffer: is_nor.then_some(part.rules.write_buffer),
            paired_pages: part.rules.pairing == Pairing::FourAndSix,
            times: part.times,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        for part in PARTS {
            writeln!(out, "{}", serde_json::to_string(&Json::of(part))?)?;
        }
        return Ok(());
    }
    writeln!(
        out,
        "{:<13} {:>8}  {:<11} {:>10} {:>7}  {:<15} {:<15} kind",
        "name", "size", "eraseblock", "write", "buffer", "program", "erase"
    )?;
    for part in PARTS {
        writeln!(out, "{}", row(part))?;
    }
    writeln!(out, "\nTimes: typical, then the longest; ~ where they are usual for the kind of part, not its own.")?;
    Ok(())
}

fn row(part: &Part) -> String {
    let eraseblocks: Vec<String> = part.eraseblocks.iter().map(|size| format!("{}", size >> 10)).collect();
    let (unit, buffer) = match part.kind {
        FlashKind::Nor => (format!("{} B", part.write_size), format!("{} B", part.rules.write_buffer)),
        FlashKind::Nand => (format!("{}+{} B", part.write_size, part.oob), "-".into()),
    };
    let about = if part.times.from == TimesFrom::Class { "~" } else { "" };
    format!(
        "{:<13} {:>8}  {:<11} {unit:>10} {buffer:>7}  {:<15} {:<15} {}",
        part.name,
        format!("{} MiB", part.size >> 20),
        format!("{} KiB", eraseblocks.join(", ")),
        format!("{about}{}", time(part.times.program_us)),
        format!("{about}{}", time(part.times.erase_us)),
        part.what,
    )
}

fn time(span: Span) -> String {
    let ms = |us: u32| format!("{}", f64::from(us) / 1000.0);
    match span.max {
        Some(max) => format!("{}-{} ms", ms(span.typical), ms(max)),
        None => format!("{} ms", ms(span.typical)),
    }
}
