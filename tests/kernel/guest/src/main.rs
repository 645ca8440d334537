//! The first process of the test kernel: reads a job from a disk and reports on the console what comes of it. Either it
//! puts flash states on an MTD device, has the kernel mount each, and tells what the kernel reads; or it plays scenarios,
//! in which programs run.
//!
//! What it prints, one line each (names and texts without line ends):
//!
//! - `READY` once the job is open, `DONE` after its last case;
//! - `RESULT case phase digest entries`, or `RESULT case phase ERROR text`;
//! - `LIST case line`: a line of the tree, before the result it belongs to;
//! - `WRITING number of number`: files of a case that writes much;
//! - `MOUNTED case number`: a file system that grows old has been mounted, worked in and unmounted;
//! - `AGED case key=number...`: what it took to age a file system;
//! - `ROUND case number`: kernel and library have both written, and agree (`alternate`);
//! - `ALTERNATED case key=number...`: what all rounds came to;
//! - `STEP scenario number OK text`, or `STEP scenario number ERROR text`: a step is done (`play`);
//! - `OUT scenario number line`, `ERR scenario number line`: what the program prints that this step has started;
//! - `SUSPECT case line`: the kernel complains about itself; `ERROR case line`: jffs2 tells of an error; `LOG case line`:
//!   all else it says, if wanted;
//! - `SPENT what=milliseconds...`: where the time has gone, at the end;
//! - `FATAL text`: the job can't go on.

mod age;
mod alternate;
mod boot;
mod chip;
mod clock;
mod disk;
mod judge;
mod kernel_log;
mod memo;
mod play;
mod sys;
mod work;

use anyhow::Result;
use kernel_guest::script::ScriptKind;

fn main() {
    if let Err(error) = run() {
        println!("FATAL {}", one_line(&error));
    }
    let error = sys::power_off();
    println!("FATAL power off: {error}");
}

fn run() -> Result<()> {
    boot::mount_kernel_file_systems()?;
    boot::load_base_modules()?;
    let disk = disk::Disk::open()?;
    println!("READY");
    match disk.kind() {
        ScriptKind::Cases => judge::Judge::new(&disk)?.run()?,
        ScriptKind::Scenarios => play::Player::new(&disk)?.run()?,
    }
    println!("DONE");
    Ok(())
}

/// An error and its causes, fit for a line of the console.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace(['\n', '\r'], " ")
}
