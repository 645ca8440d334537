//! Any bytes as an image, through the commands that look at all of it, `extract` first: nothing may appear outside of the
//! directory that it was given. The input is that of `scan`.
#![no_main]

#[path = "common/repair.rs"]
mod repair;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jffs2_tx::Endian;
use libfuzzer_sys::fuzz_target;
use repair::repair;

const ERASEBLOCK: usize = 4096;
const BLOCKS: usize = 4;

/// Where everything happens: in memory if the machine lets it, for speed.
static BASE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let base = parent.join(format!("jffs2-tx-fuzz-{}", std::process::id()));
    fs::create_dir_all(&base).expect("created");
    base
});

fuzz_target!(|data: &[u8]| {
    let Some((first, data)) = data.split_first() else { return };
    let (endian, order) =
        if first & 2 == 0 { (Endian::Little, "--little-endian") } else { (Endian::Big, "--big-endian") };
    let kind = if first & 1 == 0 { "nor" } else { "nand" };
    let mut bytes = data.to_vec();
    bytes.resize(ERASEBLOCK * BLOCKS, 0xff);
    repair(endian, &mut bytes);
    let image = BASE.join("image");
    fs::write(&image, bytes).expect("written");
    let out = BASE.join("out");
    let common = ["-e", "4096", order, "--flash", kind];
    let run = |command: &[&str]| {
        let mut args: Vec<OsString> = ["jffs2-tx", command[0]].map(OsString::from).into();
        args.push(image.clone().into_os_string());
        args.extend(command[1..].iter().chain(&common).map(OsString::from));
        let _ = jffs2_tx_cli::main(args);
    };
    run(&["extract", out.to_str().expect("UTF-8")]);
    for entry in fs::read_dir(&*BASE).expect("read") {
        let name = entry.expect("entry").file_name();
        assert!(name == "image" || name == "out", "{name:?} appeared beside the directory");
    }
    run(&["ls", "-lR"]);
    run(&["check", "--json"]);
    run(&["info"]);
    run(&["dump", "--json"]);
    let _ = fs::remove_dir_all(&out);
});
