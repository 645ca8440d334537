//! What `apply --tar` takes of memory. Alone in its binary: a process counts as its own what its parent had.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use tar::{EntryType, Header};

const FILE: u64 = 200 << 20;
const PAGE: usize = 4096;
const MEMORY: i64 = 64 << 20;

/// 200 MB through a pipe, twice; the second time all but the last byte is there already, and is copied on the flash.
#[test]
fn it_does_not_grow_with_files() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let mut blank = File::create(&image).unwrap();
    (0..24 << 8).for_each(|_| blank.write_all(&[0xff; PAGE]).unwrap());
    for last in [b'x', b'y'] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_jffs2-tx"));
        child.arg("apply").arg(&image).args(["-l", "-e64k", "--flash=nor", "--tar", "-", "--json"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        send(&mut BufWriter::new(child.stdin.take().unwrap()), last);
        let done = child.wait_with_output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!((report["inodes_written"].as_u64(), report["bytes_written"].as_u64()), (Some(1), Some(FILE)));
    }
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() * 1024;
    println!("peak memory {} KiB", peak / 1024);
    assert!(peak < MEMORY, "{peak} bytes");
}

/// An archive of one file: half of it zeros in runs, the rest all different.
fn send(to: &mut impl Write, last: u8) {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_path("large").unwrap();
    header.set_mode(0o644);
    header.set_size(FILE);
    header.set_cksum();
    to.write_all(header.as_bytes()).unwrap();
    let pages = FILE / PAGE as u64;
    for number in 0..pages {
        let mut page = [0; PAGE];
        if number / 1000 % 2 == 0 {
            page.fill(number as u8);
            page[..8].copy_from_slice(&number.to_le_bytes());
        }
        if number + 1 == pages {
            page[PAGE - 1] = last;
        }
        to.write_all(&page).unwrap();
    }
    to.write_all(&[0; 1024]).unwrap();
    to.flush().unwrap();
}
