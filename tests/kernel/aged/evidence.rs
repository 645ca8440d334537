//! Whether the file systems have grown old at all, and hold all that there is to compare.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, ensure};
use jffs2_tx::flash::MemFlash;
use jffs2_tx::scan::scan;
use jffs2_tx::wire::Compression;
use jffs2_tx_tests::aged::Aged;
use jffs2_tx_tests::kernel::Age;
use jffs2_tx_tests::ours::RULES;

type Is = fn(&Line) -> bool;

/// What must be in one line or another of what the kernel lists.
const PIECES: [(&str, Is); 16] = [
    ("a file", |line| line.mode & 0o170_000 == 0o100_000),
    ("an empty file", |line| line.mode & 0o170_000 == 0o100_000 && line.size == 0),
    ("a large file", |line| line.size > 32 << 10),
    ("a hard link", |line| line.mode & 0o170_000 == 0o100_000 && line.links > 1),
    ("a symlink with a long target", |line| line.mode & 0o170_000 == 0o120_000 && line.size > 200),
    ("a character device with a small number", |line| {
        line.mode & 0o170_000 == 0o020_000 && line.major < 256 && line.minor < 256
    }),
    ("a block device with a large number", |line| line.mode & 0o170_000 == 0o060_000 && line.minor > 255),
    ("a pipe", |line| line.mode & 0o170_000 == 0o010_000),
    ("a socket", |line| line.mode & 0o170_000 == 0o140_000),
    ("a long name", |line| line.path.len() > 254),
    ("a deep path", |line| line.path.split('/').count() > 4),
    ("an attribute of users", |line| line.xattrs.contains("user.")),
    ("a trusted attribute", |line| line.xattrs.contains("trusted.")),
    ("a security attribute", |line| line.xattrs.contains("security.")),
    ("an ACL", |line| line.xattrs.contains("system.posix_acl_access")),
    ("a default ACL", |line| line.xattrs.contains("system.posix_acl_default")),
];

/// Fails unless every file system was aged, none of what there is to compare is missing, and every compressor is there.
pub(crate) fn check(aged: &[Aged], console: &str) -> Result<()> {
    let by_name: HashMap<&str, &Aged> = aged.iter().map(|flash| (flash.name.as_str(), flash)).collect();
    let mut compressors = BTreeSet::new();
    for flash in aged.iter().filter(|flash| !flash.name.contains("/cut")) {
        let name = &flash.name;
        let told = console.lines().find(|line| line.starts_with(&format!("AGED {name} ")));
        let cuts = (1..).map_while(|cut| by_name.get(Age::cut_name(name, cut).as_str()).copied());
        let states: Vec<Vec<Node>> = cuts.chain([flash]).map(nodes).collect::<Result<_>>()?;
        let moved: usize = states.windows(2).map(|pair| moved(&pair[0], &pair[1])).sum();
        println!("{} moved={moved}", told.unwrap_or_default());
        ensure!(told.is_some() && moved > 0, "{name}: the kernel has moved no node");
        compressors.extend(states.iter().flatten().map(|node| node.compressor));
    }
    let wanted = [Compression::None, Compression::Zero, Compression::Rtime, Compression::Zlib, Compression::Lzo];
    ensure!(compressors == wanted.map(Compression::id).into(), "nodes compressed with {compressors:?} only");
    let lines: Vec<Line> = aged.iter().flat_map(|flash| &flash.manifest).filter_map(|line| Line::parse(line)).collect();
    for (what, is_it) in PIECES {
        ensure!(lines.iter().any(is_it), "{what} is in none of the file systems");
    }
    Ok(())
}

/// A data node.
struct Node {
    /// What stays the same when the kernel moves a node as it is.
    identity: (u32, u32, u32, u32),
    at: u32,
    compressor: u8,
}

fn nodes(flash: &Aged) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    scan(&MemFlash::with_data(flash.device.geometry()?, flash.image.clone()), RULES, |_, block| {
        nodes.extend(block.inodes.iter().filter(|node| node.good).map(|node| Node {
            identity: (node.ino, node.version, node.offset, node.csize),
            at: node.at,
            compressor: node.compression,
        }));
    })?;
    Ok(nodes)
}

/// Number of nodes that stand elsewhere in the end than they did before.
fn moved(before: &[Node], after: &[Node]) -> usize {
    let places: HashMap<_, u32> = before.iter().map(|node| (node.identity, node.at)).collect();
    after.iter().filter(|node| places.get(&node.identity).is_some_and(|at| *at != node.at)).count()
}

/// A line of a manifest, as far as it is asked about.
struct Line {
    path: String,
    mode: u32,
    size: u64,
    links: u64,
    major: u32,
    minor: u32,
    xattrs: String,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('|').collect();
        let [path, meta, _, _, xattrs] = fields[..] else { return None };
        let words: Vec<&str> = meta.split([' ', ':']).collect();
        let [mode, _, _, size, _, links, major, minor] = words[..] else { return None };
        Some(Self {
            path: path.to_owned(),
            mode: u32::from_str_radix(mode, 16).ok()?,
            size: size.parse().ok()?,
            links: links.parse().ok()?,
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            xattrs: xattrs.to_owned(),
        })
    }
}
