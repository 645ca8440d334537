//! File systems that a stock kernel has aged, kept with what it listed of them (see `kernel/aged.rs`): our reader must
//! show the same, also of the same file systems in the other byte order.

use anyhow::{Context, Result, ensure};
use jffs2_tx_tests::aged::Aged;
use jffs2_tx_tests::tools::workspace;

/// Fewer would not be all that are kept.
const FIXTURES: usize = 5;

/// How many differences are told.
const TOLD: usize = 20;

fn fixtures() -> Result<Vec<Aged>> {
    ensure!(nix::unistd::geteuid().is_root(), "only root can extract owners, devices and extended attributes");
    let fixtures = Aged::kept(&workspace().join("tests/data/aged"))?;
    ensure!(fixtures.len() >= FIXTURES, "only {} fixtures", fixtures.len());
    Ok(fixtures)
}

fn all_shown(flashes: &[Aged]) -> Result<()> {
    for flash in flashes {
        let differences = flash.differences().with_context(|| flash.name.clone())?;
        let told = differences[..differences.len().min(TOLD)].join("\n");
        ensure!(differences.is_empty(), "{} differences:\n{told}", differences.len());
    }
    Ok(())
}

#[test]
fn what_the_kernel_listed_we_show() -> Result<()> {
    all_shown(&fixtures()?)
}

#[test]
fn in_the_other_byte_order_too() -> Result<()> {
    let swapped: Vec<Aged> = fixtures()?.iter().map(Aged::swapped).collect();
    all_shown(&swapped)
}

#[test]
fn swapped_twice_is_the_same_again() -> Result<()> {
    for flash in fixtures()? {
        let again = flash.swapped().swapped().image;
        let differs = again.iter().zip(&flash.image).position(|(new, old)| new != old);
        ensure!(differs.is_none(), "{} differs at {differs:#x?}", flash.name);
    }
    Ok(())
}
