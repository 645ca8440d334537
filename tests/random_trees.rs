//! Random trees as images: our reader finds the tree, and jffs2dump of mtd-utils finds nothing wrong with a node.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use jffs2_mkimage::{Compress, Method, Options, Pad, build, verify};
use jffs2_tx::wire::Endian;
use jffs2_tx_tests::random_tree::random_tree;
use jffs2_tx_tests::tools::run;
use nandsim::Rng;

const SEEDS: u64 = 40;

fn options(rng: &mut Rng) -> Options {
    let mut coin = || rng.below(2) == 0;
    let mut options = Options {
        endian: if coin() { Endian::Little } else { Endian::Big },
        summary: coin(),
        sort: coin(),
        pad: if coin() { Pad::Eraseblock } else { Pad::None },
        ..Options::default()
    };
    let compress = [
        Compress::none(),
        Compress::fast(),
        Compress::default(),
        Compress::best(),
        Compress::only(Method::Lzo),
        Compress::only(Method::Rtime),
        Compress::only(Method::Lzma),
    ];
    options.compress = compress[rng.below(7) as usize].clone();
    options.eraseblock = 8192 << rng.below(6);
    options
}

/// What jffs2dump finds wrong with the image, and how many nodes it lists, without cleanmarkers and summaries.
fn dumped(image: &Path, options: &Options) -> (Vec<String>, u64) {
    let endian = if options.endian == Endian::Little { "-l" } else { "-b" };
    let output = run(Command::new("jffs2dump").arg("-c").arg(endian).arg(image));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let wrong = ["Wrong bitmask", "Wrong hdr_crc", "Wrong node_crc", "Wrong data_crc", "Wrong name_crc", "Unknown "];
    // Names may hold newlines, so a line need not begin with what jffs2dump says.
    let complaints = text.lines().filter(|line| wrong.iter().any(|wrong| line.contains(wrong)));
    let listed = ["Inode      node at 0x", "Dirent     node at 0x", "Xattr      node at 0x", "Xref       node at 0x"];
    let nodes: usize = listed.iter().map(|listed| text.matches(listed).count()).sum();
    (complaints.map(str::to_owned).collect(), nodes as u64)
}

#[test]
fn random_trees_read_back_and_dump_clean() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("image");
    let mut nodes = 0;
    for seed in 0..SEEDS {
        let options = options(&mut Rng::new(seed ^ 0x5eed));
        let tree = random_tree(seed, options.eraseblock).expect("the format holds it");
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("image");
        let report = build(&tree, &options, &mut file).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        nodes += report.nodes;
        verify(&tree, &file, &options).unwrap_or_else(|error| panic!("seed {seed}, {options:?}: {error}"));
        assert_eq!(dumped(&path, &options), (Vec::new(), report.nodes), "seed {seed}, {options:?}");
    }
    println!("{SEEDS} trees, {nodes} nodes");
    assert!(nodes > 10_000, "{nodes} nodes are no test");
}
