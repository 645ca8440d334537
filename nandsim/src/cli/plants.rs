//! `nandsim plants`.

use std::io::{self, Write};

use anyhow::Result;
use nandsim::Plant;

pub(super) fn run() -> Result<()> {
    let width = Plant::all().map(|plant| plant.name.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for plant in Plant::all() {
        writeln!(out, "{:width$}  {} [{}]", plant.name, plant.what, plant.scene())?;
    }
    Ok(())
}
