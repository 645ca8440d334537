//! Damage: every action at every place, the exact findings, and never a wrong byte that is presented as right.
//!
//! `damage.expected` has the findings, one case a line. They were checked by hand; `BLESS=1` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::common::{Bench, Builder, Layout, run};
use jffs2_tx::dump::{Dump, Fields, Item};
use jffs2_tx::flash::{FlashKind, Geometry, MemFlash};
use jffs2_tx::inode_kind::FileKind::{self, CharDevice, Directory, File, Symlink};
use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::wire::{Endian, Xattr, Xref};
use jffs2_tx::{Index, Rules, Tree};

const EXPECTED: &str = include_str!("damage.expected");
const ERASEBLOCK: usize = 16384;

fn layout(summaries: bool) -> Layout {
    Layout { endian: Endian::Little, eraseblock: ERASEBLOCK, cleanmarkers: true, summaries }
}

/// Bytes that are nowhere else.
fn bytes(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..len).map(step).collect()
}

fn image(summaries: bool) -> Vec<u8> {
    let mut image = Builder::new(layout(summaries));
    image.inode(1, 0o040_755, &[], |_| {});
    image.put(1, "dir", 2, Directory, 0o750, &[]);
    image.put(2, "file", 3, File, 0o644, &bytes(3, 600));
    image.put(1, "link", 4, Symlink, 0o777, b"dir/file");
    image.put(1, "tty", 5, CharDevice, 0o600, &Device { major: 5, minor: 1 }.encode(Endian::Little));
    image.dirent(1, "log", 6, File);
    for (at, offset) in [0, 1000, 2000].into_iter().enumerate() {
        image.inode(6, 0o100_644, &bytes(6 + at as u32, 1000), |node| {
            (node.offset, node.isize) = (offset, offset + 1000);
        });
    }
    // Written over in the middle, and then made shorter.
    image.inode(6, 0o100_644, &bytes(9, 800), |node| (node.offset, node.isize) = (900, 3000));
    image.inode(6, 0o100_600, &[], |node| node.isize = 2900);
    // Renamed over, and deleted.
    image.dirent(1, "name", 4, Symlink);
    image.dirent(1, "name", 3, File);
    image.dirent(1, "gone", 3, File);
    image.dirent(1, "gone", 0, File);
    let mut nodes = [Vec::new(), Vec::new()];
    Xattr { xid: 1, version: 1, prefix: 1, name: b"mime", value: b"text/plain" }.emit(Endian::Little, &mut nodes[0]);
    Xref { ino: 3, xid: 1, seqno: 2 }.emit(Endian::Little, &mut nodes[1]);
    nodes.iter().for_each(|node| image.raw(node));
    image.end_block();
    image.put(1, "last", 7, File, 0o644, &bytes(7, 3000));
    image.finish(12)
}

/// Where nodes are, by what they are.
fn nodes(image: &[u8]) -> BTreeMap<String, (usize, usize)> {
    let flash = flash(image);
    let index = open(&flash);
    let mut found = BTreeMap::new();
    for block in Dump::new(&flash, &index).unwrap().blocks() {
        let block = block.unwrap();
        for item in block.items() {
            let Item::Node(node) = item else { continue };
            let name = match &node.fields {
                Fields::Inode(inode) => format!("inode{}.{}", inode.ino, inode.version),
                Fields::Dirent(dirent) => format!("{}.{}", dirent.name.escape_ascii(), dirent.version),
                Fields::Xattr(_) => "xattr".into(),
                Fields::Xref(_) => "xref".into(),
                Fields::Summary(_) => format!("summary{}", block.block),
                Fields::Cleanmarker => format!("cleanmarker{}", block.block),
                _ => continue,
            };
            found.insert(name, (node.at as usize, node.end as usize));
        }
    }
    found
}

fn flash(image: &[u8]) -> MemFlash {
    let size = image.len().next_multiple_of(ERASEBLOCK) as u64;
    MemFlash::with_data(Geometry::new(FlashKind::Nor, size, ERASEBLOCK as u32, 1).unwrap(), image.to_vec())
}

fn open(flash: &MemFlash) -> Index {
    Index::open(flash, Rules { endian: Endian::Little, summaries: true }).unwrap()
}

#[derive(Clone, Copy)]
enum Action {
    Flip,
    Zero,
    Blank,
    Random,
    Truncate,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::Zero => "zero",
            Self::Blank => "blank",
            Self::Random => "random",
            Self::Truncate => "truncate",
        }
    }

    fn apply(self, image: &mut Vec<u8>, (start, end): (usize, usize)) {
        match self {
            Self::Flip => image[start] ^= 0x04,
            Self::Zero => image[start..end].fill(0),
            Self::Blank => image[start..end].fill(0xff),
            Self::Random => image[start..end].copy_from_slice(&bytes(77, end - start)),
            Self::Truncate => image.truncate(start + (end - start) / 2),
        }
    }
}

const FIELDS: [(&str, usize, usize); 4] = [("magic", 0, 2), ("type", 2, 4), ("totlen", 4, 8), ("hdr_crc", 8, 12)];
const INODE_FIELDS: [(&str, usize, usize); 12] = [
    ("ino", 12, 16),
    ("version", 16, 20),
    ("mode", 20, 24),
    ("uid", 24, 26),
    ("isize", 28, 32),
    ("mtime", 36, 40),
    ("offset", 44, 48),
    ("csize", 48, 52),
    ("dsize", 52, 56),
    ("compr", 56, 57),
    ("data_crc", 60, 64),
    ("node_crc", 64, 68),
];
const DIRENT_FIELDS: [(&str, usize, usize); 8] = [
    ("pino", 12, 16),
    ("version", 16, 20),
    ("ino", 20, 24),
    ("mctime", 24, 28),
    ("nsize", 28, 29),
    ("type", 29, 30),
    ("node_crc", 32, 36),
    ("name_crc", 36, 40),
];

/// Every place and what is done to it.
fn cases(nodes: &BTreeMap<String, (usize, usize)>, image_len: usize) -> Vec<(String, Action, (usize, usize))> {
    use Action::{Blank, Flip, Random, Truncate, Zero};
    let mut cases = Vec::new();
    let mut put = |what: String, actions: &[Action], range: (usize, usize)| {
        cases.extend(actions.iter().map(|action| (what.clone(), *action, range)));
    };
    let of = |start: &str| nodes.iter().find(|(name, _)| name.starts_with(start)).map(|(_, range)| *range).unwrap();
    // The node that wrote over the middle, and a name: field by field.
    let all = [("over", of("inode6.14"), &INODE_FIELDS[..]), ("name", of("name.17"), &DIRENT_FIELDS[..])];
    for (node, (start, end), fields) in all {
        for (field, from, to) in FIELDS.iter().chain(fields) {
            put(format!("{node}.{field}"), &[Flip, Zero, Random], (start + from, start + to));
        }
        let data = if node == "over" { 68 } else { 40 };
        put(format!("{node}.data"), &[Flip, Zero, Blank, Random], (start + data, end));
    }
    for (name, range) in nodes {
        put(format!("node {name}"), &[Zero, Blank, Random], *range);
        let body = (range.0 + 12, range.1);
        if body.0 < body.1 {
            put(format!("body {name}"), &[Flip, Zero, Random], body);
        }
    }
    let value = of("xattr");
    put("xattr.value".into(), &[Flip], (value.0 + 40, value.1));
    put("page".into(), &[Zero, Blank, Random], (1024, 2048));
    put("eraseblock 0".into(), &[Zero, Blank, Random], (0, ERASEBLOCK));
    put("eraseblock 1".into(), &[Zero, Blank, Random], (ERASEBLOCK, 2 * ERASEBLOCK));
    for name in ["inode6.14", "inode7", "dir.3", "name.17"] {
        put(format!("file at {name}"), &[Truncate], of(name));
    }
    put("file".into(), &[Truncate], (0, image_len));
    cases
}

/// An inode as it is seen.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    ino: u32,
    kind: FileKind,
    meta: Meta,
    device: Option<Device>,
    /// Of a file, or a symlink's target.
    content: Vec<u8>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

fn tree(image: &[u8]) -> BTreeMap<Vec<u8>, Seen> {
    let flash = flash(image);
    let index = open(&flash);
    let tree = Tree::new(&flash, &index);
    let see = |ino| {
        let stat = tree.stat(ino).ok()?;
        let content = match stat.kind {
            File => {
                let mut file = tree.open(ino).ok()?;
                let mut all = vec![0; file.size() as usize];
                file.salvage_at(0, &mut all, &mut Vec::new()).unwrap();
                all
            }
            Symlink => tree.read_link(ino).ok()?,
            _ => Vec::new(),
        };
        let xattrs = tree.xattrs(ino).unwrap().into_iter().map(|xattr| (xattr.name, xattr.value)).collect();
        Some(Seen { ino, kind: stat.kind, meta: stat.meta, device: stat.device, content, xattrs })
    };
    tree.walk(1).filter_map(|step| Some((step.path, see(step.ino)?))).collect()
}

/// Findings, as `check --json` gives them.
struct Found {
    code: String,
    offset: Option<u64>,
    path: Option<Vec<u8>>,
    ino: Option<u64>,
    range: Option<(u64, u64)>,
    note: bool,
    unknown: bool,
}

fn check(image: &Path) -> Vec<Found> {
    let eraseblock = ERASEBLOCK.to_string();
    let checked = run("check", image, &[&"--json", &"-l", &"-e", &eraseblock, &"--flash", &"nor"]);
    let of = |line: &serde_json::Value| Found {
        code: line["code"].as_str().unwrap().into(),
        offset: line["offset"].as_u64(),
        path: line["path"].as_str().map(|path| path.trim_start_matches('/').into()),
        ino: line["ino"].as_u64(),
        range: line["start"].as_u64().zip(line["end"].as_u64()),
        note: line["severity"] == "note",
        unknown: line["fate"] == "unknown",
    };
    let found: Vec<Found> = checked.json().iter().map(of).collect();
    assert_eq!(checked.code, i32::from(found.iter().any(|finding| !finding.note)), "{}", checked.err);
    found
}

/// Blank flash behind the last node looks like flash that was never written: nobody can tell.
const NO_TRACE: [&str; 6] = [
    "plain node last.21 blank",
    "plain node xref blank",
    "plain eraseblock 0 blank",
    "plain eraseblock 1 blank",
    "summaries eraseblock 0 blank",
    "summaries eraseblock 1 blank",
];

/// What is wrong and not listed.
fn unlisted(was: &BTreeMap<Vec<u8>, Seen>, is: &BTreeMap<Vec<u8>, Seen>, found: &[Found]) -> Vec<String> {
    // Damage of which nobody knows what it was stands for anything.
    if found.iter().any(|finding| finding.unknown && !finding.note) {
        return Vec::new();
    }
    let listed = |codes: &[&str], path: &[u8]| {
        found.iter().any(|f| codes.contains(&&*f.code) && f.path.as_deref().is_some_and(|p| path.starts_with(p)))
    };
    // A summary says what a node was, but not of which range.
    let lost_inode = found.iter().any(|f| f.code == "listed-node-damaged" && !f.note);
    let mut wrong = Vec::new();
    for path in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
        if listed(&["lost-name", "dangling-name", "no-readable-node", "bad-inode", "lost-deletion"], path) {
            continue;
        }
        if lost_inode {
            continue;
        }
        let (Some(was), Some(is)) = (was.get(path), is.get(path)) else {
            wrong.push(format!("{} comes or goes", path.escape_ascii()));
            continue;
        };
        // Of a file with several names findings give one.
        let ino = u64::from(was.ino);
        let exact = |codes: &[&str]| found.iter().any(|f| codes.contains(&&*f.code) && f.ino == Some(ino));
        if was.kind != is.kind
            || was.device != is.device
            || was.meta != is.meta && !exact(&["lost-metadata", "lost-data"])
        {
            wrong.push(format!("{} is {:?}", path.escape_ascii(), is.meta));
        }
        if was.xattrs != is.xattrs && !exact(&["lost-xattr"]) && found.iter().all(|f| f.code != "dangling-xattr") {
            wrong.push(format!("{} has other attributes", path.escape_ascii()));
        }
        for at in 0..was.content.len().max(is.content.len()) {
            let lost = |f: &Found| {
                f.ino == Some(ino) && f.range.is_some_and(|range| (range.0..range.1).contains(&(at as u64)))
            };
            if was.content.get(at) != is.content.get(at) && !found.iter().any(lost) {
                wrong.push(format!("{} differs at {at}", path.escape_ascii()));
                break;
            }
        }
    }
    wrong
}

/// `code@place path start-end`
fn shown(finding: &Found, nodes: &BTreeMap<String, (usize, usize)>) -> String {
    let mut text = finding.code.clone();
    if finding.note {
        text.insert(0, '~');
    }
    if let Some(offset) = finding.offset {
        let name = nodes.iter().find(|(_, range)| range.0 as u64 == offset).map(|(name, _)| name.clone());
        let _ = write!(text, "@{}", name.unwrap_or_else(|| format!("{offset:#x}")));
    }
    if let Some(path) = &finding.path {
        let _ = write!(text, " /{}", path.escape_ascii());
    }
    if let Some((start, end)) = finding.range {
        let _ = write!(text, " {start}-{end}");
    }
    text
}

#[test]
fn every_action_at_every_place() {
    let bench = Bench::new();
    let mut got = String::new();
    let mut wrong = Vec::new();
    for summaries in [false, true] {
        let image = image(summaries);
        let (nodes, was) = (nodes(&image), tree(&image));
        assert_eq!(was.len(), 8, "{was:?}");
        let quiet = check(&bench.file("image", &image));
        assert!(quiet.is_empty(), "{}", shown(&quiet[0], &nodes));
        for (place, action, range) in cases(&nodes, image.len()) {
            let mut damaged = image.clone();
            action.apply(&mut damaged, range);
            let found = check(&bench.file("image", &damaged));
            let kind = if summaries { "summaries" } else { "plain" };
            let case = format!("{kind} {place} {}", action.name());
            let traceless = NO_TRACE.contains(&case.as_str());
            wrong.extend(
                unlisted(&was, &tree(&damaged), &found)
                    .iter()
                    .filter(|_| !traceless)
                    .map(|what| format!("{case}: {what}")),
            );
            let findings: Vec<String> = found.iter().map(|finding| shown(finding, &nodes)).collect();
            let _ = writeln!(got, "{case}: {}", findings.join("; "));
        }
    }
    if std::env::var_os("BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/damage.expected");
        std::fs::write(path, &got).unwrap();
    }
    assert!(wrong.is_empty(), "{} wrong and not listed:\n{}", wrong.len(), wrong.join("\n"));
    let differs = got.lines().zip(EXPECTED.lines()).find(|(got, expected)| got != expected);
    assert!(got == EXPECTED, "first of other findings than before: {differs:?}");
}
