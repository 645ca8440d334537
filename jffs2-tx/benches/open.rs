//! How fast a file system opens: scan and index of a 64 MiB image in RAM, and what the index takes.
//!
//! `cargo bench -p jffs2-tx` prints the figures; `memcpy` and `crc` in the same run say what the machine can do.

use std::hint::black_box;
use std::time::Instant;

use jffs2_tx::crc::crc32;
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::{Endian, Index, Meta, Rules, Transaction, TxOptions};

const SIZE: u32 = 64 << 20;
const RUNS: usize = 7;

fn main() {
    let flash = full_flash();
    let rules = Rules { endian: Endian::Little, summaries: true };
    let index = Index::open(&flash, rules).expect("opens");
    let nodes = index.node_count();
    println!("image: {} MiB, {nodes} nodes, {} inodes", SIZE >> 20, index.reachable().count());
    println!("index: {} bytes, {} bytes per node", index.memory(), index.memory() / nodes);
    report("open", || {
        black_box(Index::open(&flash, rules).expect("opens"));
    });
    report("crc", || {
        black_box(crc32(flash.data()));
    });
    let mut copy = vec![0; SIZE as usize];
    report("memcpy", || copy.copy_from_slice(black_box(flash.data())));
}

/// A flash filled with files of 1 byte to 1 MiB, half of them compressible.
fn full_flash() -> MemFlash {
    let mut flash = MemFlash::new(Geometry::new(FlashKind::Nor, u64::from(SIZE), 64 << 10, 1).expect("valid"));
    let meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 1 };
    let mut tx = Transaction::begin(&mut flash, Endian::Little, TxOptions::default()).expect("begins");
    tx.mkdir(b"/d", meta).expect("makes a directory");
    let mut state = 1u32;
    let mut written = 0;
    for number in 0u32.. {
        let len = 1usize << (number % 21);
        let mut data = vec![0; len];
        for byte in &mut data {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = if number.is_multiple_of(2) { (state >> 24) as u8 } else { (state >> 29) as u8 };
        }
        tx.create_file(format!("/d/file{number}").as_bytes(), meta, &data).expect("writes");
        written += if number.is_multiple_of(2) { len } else { len / 2 };
        if written > SIZE as usize * 9 / 10 {
            break;
        }
    }
    tx.commit().expect("commits");
    flash
}

/// Prints the median of some runs over the whole image.
fn report(name: &str, mut run: impl FnMut()) {
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[RUNS / 2];
    println!("{name}: {:.0} MB/s ({:.1} ms)", f64::from(SIZE) / median / 1e6, median * 1e3);
}
