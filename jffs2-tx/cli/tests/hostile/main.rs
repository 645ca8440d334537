//! Images that were made to harm whoever reads them. Every reading command must end by itself, without a panic, within
//! the memory that README.md promises, and leave nothing but what it was asked for.
//!
//! Time is not measured. The limit on processor time is only what turns an endless loop into a failure.

#[allow(dead_code)]
#[path = "../cli/common.rs"]
mod common;
mod images;

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::Bench;
use nix::sys::resource::{UsageWho, getrusage};

/// Seconds of processor time after which a command counts as hanging.
const ENDLESS: u32 = 60;
/// What a command may take beside the image's multiple: its code, its threads' stacks, its buffers.
const FIXED: u64 = 64 << 20;
/// The index, and what it is sorted in, for an image of nothing but the shortest nodes.
const MULTIPLE: u64 = 4;
const HALVES: usize = 2;
/// Environment variable: which of them.
const HALF: &str = "JFFS2_TX_HOSTILE_HALF";

/// Commands that read an image; `OUT` stands for a directory that is not there yet, `IMAGE` for the image.
const COMMANDS: &[&[&str]] = &[
    &["ls", "-lR"],
    &["ls", "-R", "--json"],
    &["ls", "--deleted"],
    &["ls", "--all-versions", "-R"],
    &["cat", "--ino=2", "--version=1000"],
    &["info"],
    &["info", "--json", "--blocks"],
    &["check"],
    &["check", "--json"],
    &["dump"],
    &["dump", "--json"],
    &["find"],
    &["diff", "IMAGE"],
    &["log"],
    &["extract", "OUT"],
    &["extract", "--deleted", "OUT"],
    &["extract", "--tar", "/dev/null"],
    &["extract", "OUT", "--manifest", "/dev/null"],
];

/// The images are shared out to two processes: the memory that is asked for is the largest of all children of a process.
#[test]
fn every_command_ends_within_its_limits() {
    if let Ok(half) = env::var(HALF) {
        return half_of_the_images(half.parse().expect("a number"));
    }
    let halves: Vec<_> = (0..HALVES)
        .map(|half| {
            let mut test = Command::new(env::current_exe().expect("a path"));
            test.args(["--exact", "every_command_ends_within_its_limits"]).env(HALF, half.to_string());
            test.stdout(Stdio::piped()).spawn().expect("started")
        })
        .collect();
    for half in halves {
        let said = half.wait_with_output().expect("waited for").stdout;
        let said = String::from_utf8_lossy(&said);
        // None that passed would be none of this name.
        assert!(said.contains("1 passed"), "{said}");
    }
}

fn half_of_the_images(half: usize) {
    let mut largest = 0;
    for (name, make) in images::ALL.iter().skip(half).step_by(HALVES) {
        let bench = Bench::new();
        let image = bench.file("image", &make());
        // All children so far.
        largest = fs::metadata(&image).expect("written").len().max(largest);
        for command in COMMANDS {
            let what = format!("{} on {name}", command.join(" "));
            run(&bench, &image, command, &what);
            let used = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage").max_rss() as u64 * 1024;
            let allowed = FIXED + MULTIPLE * largest;
            assert!(used <= allowed, "{what}: {used} bytes of memory, allowed are {allowed}");
        }
    }
}

fn run(bench: &Bench, image: &Path, command: &[&str], what: &str) {
    let out = bench.path("out");
    let _ = fs::remove_dir_all(&out);
    let word = |word: &&str| match *word {
        "OUT" => out.as_os_str().to_owned(),
        "IMAGE" => image.as_os_str().to_owned(),
        other => other.into(),
    };
    let words: Vec<_> = command[1..].iter().map(word).collect();
    let errors = bench.path("errors");

    let status = Command::new("sh")
        .args(["-c", &format!("ulimit -t {ENDLESS}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_jffs2-tx"), command[0]])
        .arg(image)
        .args(words)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&errors).expect("created"))
        .status()
        .expect("started");
    let said = fs::read_to_string(&errors).expect("UTF-8");
    assert_eq!(status.signal(), None, "{what}: killed");
    let code = status.code().expect("not killed");
    assert!(matches!(code, 0 | 1 | 3 | 6 | 7), "{what}: exit code {code}: {}", first_lines(&said));
    assert!(!said.contains("panicked"), "{what}: {}", first_lines(&said));
    let inside: Vec<_> = fs::read_dir(bench.dir.path()).expect("read").map(|e| e.expect("entry").file_name()).collect();
    assert!(inside.len() <= 3, "{what}: left {inside:?}");
}

fn first_lines(text: &str) -> String {
    text.lines().take(5).collect::<Vec<_>>().join("\n")
}
