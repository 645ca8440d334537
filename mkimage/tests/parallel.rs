//! Threads and compressors: the same bytes however many work, every compressor read back by the library, and a clean
//! end when something fails on the way.

use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use jffs2_mkimage::{BuildError, Compress, HOLE_MIN, Method, Options, Pick, Report, build, build_with, verify};
use jffs2_tx::source::{Content, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::wire::Endian;
use trees::{META, file, noise, tree_of};

mod trees;

const THREADS: [Option<NonZeroUsize>; 4] = [None, NonZeroUsize::new(1), NonZeroUsize::new(2), NonZeroUsize::new(7)];

fn policies() -> [(&'static str, Compress); 9] {
    let all = vec![Method::Rtime, Method::Lzo, Method::Zlib(9), Method::Lzma];
    [
        ("none", Compress::none()),
        ("fast", Compress::fast()),
        ("default", Compress::default()),
        ("best", Compress::best()),
        ("lzo", Compress::only(Method::Lzo)),
        ("rtime", Compress::only(Method::Rtime)),
        ("lzma", Compress::only(Method::Lzma)),
        ("first of all", Compress { candidates: all.clone(), pick: Pick::First }),
        ("smallest of all", Compress { candidates: all, pick: Pick::Smallest }),
    ]
}

/// Bytes that compress to about half.
fn half_noise(len: usize, seed: u32) -> Vec<u8> {
    noise(len, seed).into_iter().map(|byte| byte & 0x0f).collect()
}

/// Of many sizes: nodes of all compressors, many splits, holes, and more than is in flight at once.
fn mixed() -> SourceTree {
    let hole = HOLE_MIN as usize;
    let mut files: Vec<Vec<u8>> = (0..100).map(|i| half_noise(i * 97 % 9000, i as u32)).collect();
    for (len, seed) in [(150_000, 1), (70_000, 2)] {
        files.push(half_noise(len, seed));
        files.push(noise(len, seed));
        files.push(b"words that come again and again, ".iter().copied().cycle().take(len).collect());
        files.push([noise(5000, seed), vec![0; hole + 9], half_noise(5000, seed), vec![0; hole - 4096]].concat());
    }
    files.extend((0..3000).map(|_| vec![]));
    files.push(vec![0; 4_000_000]);
    tree_of(&files)
}

fn image(tree: &SourceTree, options: &Options) -> (Vec<u8>, Report) {
    let mut image = Vec::new();
    let report = build(tree, options, &mut image).unwrap();
    (image, report)
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let tree = mixed();
    for eraseblock in [4 << 10, 64 << 10] {
        for (name, compress) in [("first", Compress::default()), ("smallest", policies()[8].1.clone())] {
            let of = |threads| {
                image(&tree, &Options { compress: compress.clone(), threads, eraseblock, ..Options::default() })
            };
            let one = of(THREADS[1]);
            for threads in THREADS {
                assert!(of(threads) == one, "{name}, eraseblocks of {eraseblock}, {threads:?} threads");
            }
        }
    }
}

#[test]
fn the_library_reads_back_every_compressor_in_both_byte_orders() {
    let tree = mixed();
    for endian in [Endian::Little, Endian::Big] {
        for (name, compress) in policies() {
            let options = Options { endian, compress, ..Options::default() };
            let mut file = tempfile::tempfile().unwrap();
            let report = build(&tree, &options, &mut file).unwrap();
            verify(&tree, &file, &options).unwrap_or_else(|error| panic!("{name}, {endian:?}: {error}"));
            check_counts(name, &report);
        }
    }
}

/// Each compressor is there if it is in the policy, and the sums agree.
fn check_counts(name: &str, report: &Report) {
    let by = report.compressors;
    let each = [by.none, by.zlib, by.lzo, by.rtime, by.lzma];
    let used = each.map(|stored| stored.nodes > 0);
    let expected = match name {
        "none" => [true, false, false, false, false],
        "fast" | "default" => [true, true, false, false, false],
        "best" => [true, true, false, used[3], false],
        "lzo" => [true, false, true, false, false],
        "rtime" => [true, false, false, true, false],
        "lzma" => [true, false, false, false, true],
        "first of all" => [true, used[1], true, true, used[4]],
        _ => [true, used[1], used[2], used[3], true],
    };
    assert_eq!(used, expected, "{name}: {by:?}");
    assert_eq!(each.iter().map(|stored| stored.bytes).sum::<u64>(), report.data_bytes - report.hole_bytes);
    assert_eq!(each.iter().map(|stored| stored.stored).sum::<u64>(), report.stored_bytes);
}

#[test]
fn presets_get_smaller_in_their_order() {
    let bin = fs::read(env!("CARGO_BIN_EXE_jffs2-mkimage")).unwrap();
    let tree = tree_of(&[bin[..bin.len().min(2 << 20)].to_vec()]);
    let size = |compress| image(&tree, &Options { compress, ..Options::default() }).1.bytes;
    let sizes = [Compress::none(), Compress::fast(), Compress::default(), Compress::best()].map(size);
    assert!(sizes.is_sorted_by(|larger, smaller| larger > smaller), "{sizes:?}");
}

#[test]
fn little_is_left_unused_where_pages_are_split() {
    let pages = (0..700).map(|i| half_noise(4096 - i as usize % 7 * 500, i).repeat(4)[..4096].to_vec());
    let tree = tree_of(&[pages.collect::<Vec<_>>().concat()]);
    for eraseblock in [16 << 10, 64 << 10] {
        let options = Options { eraseblock, cleanmarkers: false, ..Options::default() };
        let report = image(&tree, &options).1;
        let headers = report.nodes * 68;
        let unused = report.bytes - report.stored_bytes - headers;
        // Rounding to words takes less than two bytes a node, a split leaves up to 16; what is too little to split adds.
        let limit = 2 * report.nodes + 24 * u64::from(report.eraseblocks);
        assert!(unused <= limit, "{unused} bytes, more than {limit}");
        // Both parts of a split page are compressed; few are too short for that.
        assert!(report.compressors.none.bytes < 4096, "{:?}", report.compressors);
    }
}

/// 200 files of 20,000 bytes; those at `bad` are directories, which open but cannot be read.
fn with_unreadable(bad: &[usize]) -> SourceTree {
    let mut tree = SourceTree::new(META);
    for i in 0..200 {
        let mut node = file(half_noise(20_000, i as u32));
        if bad.contains(&i) {
            node.kind = SourceKind::File { size: 20_000, content: Content::Path(std::env::temp_dir()) };
        }
        tree.add(ROOT, format!("{i:03}").as_bytes(), node).unwrap();
    }
    tree
}

#[test]
fn a_file_that_cannot_be_read_ends_the_build() {
    for threads in THREADS {
        for bad in [0, 1, 100, 199] {
            let options = Options { threads, ..Options::default() };
            let error = build(&with_unreadable(&[bad]), &options, &mut io::sink()).unwrap_err();
            assert!(matches!(&error, BuildError::Read { source, .. } if source.kind() == io::ErrorKind::IsADirectory));
        }
    }
}

#[test]
fn the_first_failure_in_order_is_reported() {
    let missing = |name: &str| {
        let kind = SourceKind::File { size: 5, content: Content::Path(PathBuf::from(name)) };
        SourceNode { meta: META, kind }
    };
    for threads in THREADS {
        let mut tree = with_unreadable(&[150]);
        tree.add(ROOT, b"100a", missing("/none/first")).unwrap();
        tree.add(ROOT, b"100b", missing("/none/second")).unwrap();
        let options = Options { threads, ..Options::default() };
        let error = build(&tree, &options, &mut io::sink()).unwrap_err();
        assert!(matches!(&error, BuildError::Read { path, .. } if path == "/none/first"), "{error}");
        // What is too long is found at its end, and comes before what is wrong with the next file.
        let SourceKind::File { size, .. } = &mut tree.node_mut(1).kind else { panic!() };
        *size -= 1;
        let error = build(&tree, &options, &mut io::sink()).unwrap_err();
        assert!(matches!(&error, BuildError::Changed { path } if path == "/000"), "{error}");
        // The image is as far as that when the disk is full: the first failure is that one.
        let error = build(&tree, &options, &mut Full(0)).unwrap_err();
        assert!(matches!(error, BuildError::Changed { .. }), "{error}");
        let error = build(&with_unreadable(&[150]), &options, &mut Full(100_000)).unwrap_err();
        assert!(matches!(error, BuildError::Write(_)), "{error}");
        // The names take three eraseblocks: the disk is full in file 0, though 1, read together with it, has failed by then.
        let small = Options { eraseblock: 4096, ..options };
        let error = build(&with_unreadable(&[1]), &small, &mut Full(14_000)).unwrap_err();
        assert!(matches!(error, BuildError::Write(_)), "{error}");
    }
}

/// Takes so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_failing_writer_ends_the_build() {
    let tree = mixed();
    for threads in THREADS {
        for room in [0, 200_000, 800_000] {
            let options = Options { threads, ..Options::default() };
            let error = build(&tree, &options, &mut Full(room)).unwrap_err();
            assert!(matches!(error, BuildError::Write(_)), "{error}");
        }
    }
}

#[test]
fn progress_counts_up_to_the_bytes_in_files() {
    let tree = mixed();
    for threads in THREADS {
        let mut seen = Vec::new();
        let options = Options { threads, ..Options::default() };
        let report = build_with(&tree, &options, &mut io::sink(), &mut |done| seen.push(done)).unwrap().report;
        assert!(seen.is_sorted() && seen.len() > 10, "{seen:?}");
        assert_eq!(seen.last(), Some(&report.data_bytes));
    }
    // It is told for each batch: those have an end with empty files, too, or memory would not be bounded.
    let mut count = 0;
    build_with(&tree_of(&vec![vec![]; 5000]), &Options::default(), &mut io::sink(), &mut |_| count += 1).unwrap();
    assert!(count > 4, "{count}");
}
