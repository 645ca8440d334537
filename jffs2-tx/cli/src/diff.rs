//! `diff`: stub.
use crate::failure::{Exit, Failure};
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
pub(crate) fn run(_args: &Args) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}
