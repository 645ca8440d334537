//! `nandsim faults`.

use std::io::{self, Write};

use anyhow::Result;
use nandsim::{FlashClass, Hazard, Promise, Tier};
use serde::Serialize;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A fault on a kind of flash, as JSON.
#[derive(Serialize)]
struct Json {
    name: &'static str,
    what: &'static str,
    flash: FlashClass,
    tier: Tier,
    promise: Promise,
}

const FLASHES: [FlashClass; 3] = [FlashClass::Nor, FlashClass::Slc, FlashClass::Mlc];

pub(super) fn run(args: &Args) -> Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        for hazard in Hazard::ALL {
            for flash in FLASHES {
                let Some(tier) = hazard.tier(flash) else { continue };
                let promise = hazard.promise(flash);
                let row = Json { name: hazard.name(), what: hazard.what(), flash, tier, promise };
                writeln!(out, "{}", serde_json::to_string(&row)?)?;
            }
        }
        return Ok(());
    }
    writeln!(out, "{:<18} {:<10} {:<10} {:<10} what happens", "name", "NOR", "SLC NAND", "MLC NAND")?;
    for hazard in Hazard::ALL {
        let [nor, slc, mlc] = FLASHES.map(|flash| {
            hazard.tier(flash).map_or("-".into(), |tier| format!("{} {}", u8::from(tier), hazard.promise(flash)))
        });
        writeln!(out, "{hazard:<18} {nor:<10} {slc:<10} {mlc:<10} {}", hazard.what())?;
    }
    writeln!(out, "\nTier 1: in every run. 2: in long campaigns. 3: beyond any datasheet, nothing is promised.")?;
    Ok(())
}
