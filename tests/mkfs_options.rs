//! Options that mkfs.jffs2 and its stand-in both take: whatever they are, the two images hold the same tree.
//!
//! What the README's table says of mkfs.jffs2 is allowed for: it writes no inode for the root, dates directories by what is
//! in them, gives what a device table makes the time of day, keeps eight bits of device numbers, and crashes on
//! large pages with LZO.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use jffs2_mkimage::{Options, build};
use jffs2_tx::flash::{Container, FlashKind, Geometry, ImageFlash};
use jffs2_tx::inode_kind::Device;
use jffs2_tx::source::{SourceKind, SourceTree};
use jffs2_tx::{Endian, Index, Rules, Tree};
use jffs2_tx_tests::listing::{self, Entry};
use jffs2_tx_tests::ours;
use jffs2_tx_tests::random_tree::random_tree;
use jffs2_tx_tests::tools::{binary, run};
use nandsim::Rng;
use tempfile::TempDir;

const SETS: u64 = 200;
/// Each with its own tree; the sets of a thread share it.
const THREADS: u64 = 4;
/// Another seed makes other trees and options.
const SEED: u64 = 0x1985_2003;
/// Nodes in a tree: of some, so that building hundreds of images does not take minutes.
const NODES: std::ops::Range<usize> = 60..160;

#[test]
fn the_same_tree_whatever_the_options() {
    let seed = std::env::var("MKFS_SEED").map_or(SEED, |text| text.parse().expect("MKFS_SEED is a number"));
    thread::scope(|scope| {
        for worker in 0..THREADS {
            scope.spawn(move || {
                let scene = Scene::new(seed.wrapping_add(worker));
                for set in 0..SETS / THREADS {
                    scene.compare(
                        &mut Rng::keyed(&[seed, worker, set]),
                        &format!("MKFS_SEED={seed}, set {worker}.{set}"),
                    );
                }
            });
        }
    });
}

/// A tree on the host, and names for the two programs' images.
struct Scene {
    dir: TempDir,
    mkfs: PathBuf,
    directories: Vec<Vec<u8>>,
    files: Vec<Vec<u8>>,
}

/// Options, and what they make different.
struct Set {
    args: Vec<String>,
    endian: Endian,
    eraseblock: u32,
    table: Table,
}

/// A device table.
#[derive(Default)]
struct Table {
    text: Vec<u8>,
    /// Paths of what it makes.
    makes: Vec<Vec<u8>>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        // Where the tests are built there are extended attributes; a /tmp in memory may have none.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("temporary directory");
        let source = dir.path().join("source");
        write_tree(&small_tree(seed), dir.path(), &source);
        symlink(binary("jffs2-mkimage").get_program(), dir.path().join("mkfs.jffs2")).expect("link is made");
        let entries = listing::walk(&source).expect("source is read");
        let of = |kind: u32| {
            // A table changes all names of a file; mkfs.jffs2 one of them.
            let fits = move |entry: &&Entry| {
                entry.mode & listing::TYPE_MASK == kind && (entry.is_directory() || entry.nlink == 1)
            };
            // Blanks end a name in a device table, and # begins a comment.
            let plain =
                |path: &Vec<u8>| !path.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'#' | 0x0b));
            entries.iter().filter(fits).map(|entry| entry.path[1..].to_vec()).filter(plain).collect()
        };
        let (directories, files): (Vec<_>, Vec<_>) = (of(listing::DIRECTORY), of(listing::REGULAR));
        if nix::unistd::geteuid().is_root() {
            for path in files.iter().take(5) {
                let label = [b"label of ", &path[..]].concat();
                xattr::set(on_host(&source, path), "security.selinux", &label).expect("attribute is set");
            }
        }
        Self { mkfs: dir.path().join("mkfs.jffs2"), dir, directories, files }
    }

    fn compare(&self, rng: &mut Rng, context: &str) {
        let set = self.options(rng);
        let table = self.dir.path().join("table");
        fs::write(&table, &set.table.text).expect("table is written");
        let image = |program: &Path, name: &str| {
            let image = self.dir.path().join(name);
            let mut command = Command::new(program);
            command.current_dir(self.dir.path()).arg("-o").arg(&image).args(&set.args);
            run(command.env_remove("SOURCE_DATE_EPOCH"));
            image
        };
        let theirs = Found::read(&image(Path::new("mkfs.jffs2"), "theirs"), &set);
        let ours = Found::read(&image(&self.mkfs, "ours"), &set);
        let difference = theirs.difference(&ours);
        assert!(difference.is_empty(), "{context}: {:?} {:?}\n{difference}", set.args, escaped(&set.table.text));
        assert!(theirs.lines.len() > NODES.start / 2, "{context}: only {} paths", theirs.lines.len());
        assert_eq!(theirs.padded, ours.padded, "{context}: {:?}", set.args);
    }

    fn options(&self, rng: &mut Rng) -> Set {
        let mut args = vec![pick(rng, &["-d", "-r", "--root"]), "source".into()];
        let endian = if rng.below(2) == 0 { Endian::Little } else { Endian::Big };
        args.push(match endian {
            Endian::Little => pick(rng, &["-l", "--little-endian", "--lit", "-bl"]),
            Endian::Big => pick(rng, &["-b", "--big-endian", "--big", "-lb"]),
        });
        let eraseblock = 8192 << rng.below(6);
        args.push(match rng.below(4) {
            0 => format!("-e{}", eraseblock / 1024),
            1 => format!("--eraseblock={eraseblock:#x}"),
            2 => format!("-e{}KiB", eraseblock / 1024),
            _ => format!("--erase=0{eraseblock:o}"),
        });
        for (chance, choices) in [
            (2, &["-n", "--no-cleanmarkers", "-c12", "-c16", "--cleanmarker=20", "-c1024"][..]),
            (2, &["-s4096", "--pagesize=0x200", "-s 01000", "-s1024", "-s256"]),
            (4, &["-f", "--faketime"]),
            (4, &["-q", "--squash"]),
            (5, &["-U", "--squash-uids", "--squash-u"]),
            (5, &["-P", "--squash-perms"]),
            (3, &["-mnone", "--compression-mode=size", "-msize", "--compression-m=priority"]),
            (4, &["-Xlzo", "--enable-compressor=lzo"]),
            (4, &["-xzlib", "--disable-compressor=zlib", "-xrtime", "-xlzo"]),
            (4, &["-y90:rtime", "--compressor-priority=1:zlib", "-y70:zlib"]),
            (5, &["--with-xattr", "--with-selinux", "--with-posix-acl", "--with-x"]),
            (9, &["-t", "--test-compression"]),
        ] {
            if rng.below(chance) == 0 {
                args.push(pick(rng, choices));
            }
        }
        // More than any tree here takes, in whole eraseblocks: without cleanmarkers mkfs.jffs2 pads to any size.
        match rng.below(5) {
            0 => args.push(pick(rng, &["-p", "--pad"])),
            1 => args.push(format!("--pad={:#x}", 8 << 20)),
            2 => args.push(format!("-p{}", (8 << 20) + (rng.below(8) << 18))),
            _ => {}
        }
        let table = if rng.below(2) == 0 { self.table(rng) } else { Table::default() };
        if table.text.len() >= 10 {
            args.extend([pick(rng, &["-D", "--devtable"]), "table".into()]);
        }
        if rng.below(8) == 0 {
            args.extend(["--".into(), "-Z".into()]);
        }
        Set { args, endian, eraseblock, table }
    }

    /// Lines that both take: of every type, with counts, and for files and directories that are there.
    fn table(&self, rng: &mut Rng) -> Table {
        let mut table =
            Table { text: b"# name type mode uid gid major minor start inc count\n".to_vec(), makes: Vec::new() };
        for number in 0..rng.below(12) {
            let directory = &self.directories[rng.below(self.directories.len() as u64) as usize];
            let tail = format!("/made{number}");
            let made = [directory, tail.as_bytes()].concat();
            let (mode, uid, gid) = (rng.below(0o10000), rng.below(1 << 16), rng.below(1 << 16));
            let (path, rest) = match rng.below(6) {
                0 if !self.files.is_empty() => {
                    let file = self.files[rng.below(self.files.len() as u64) as usize].clone();
                    (file, format!("f {mode:o} {uid} {gid} - - - - -"))
                }
                1 if !directory.is_empty() => (directory.clone(), format!("d {mode:o} {uid} {gid} - - - - -")),
                1 | 2 => (made, format!("d {mode:o} {uid} {gid} - - - - -")),
                0 | 3 => (made, format!("p {mode:o} {uid} {gid}")),
                kind => {
                    let (major, minor) = (rng.below(256), rng.below(200));
                    let (start, inc, count) = (rng.below(3), rng.below(3), rng.below(4));
                    let kind = if kind == 4 { 'c' } else { 'b' };
                    (made, format!("{kind} {mode:o} {uid} {gid} {major} {minor} {start} {inc} {count}"))
                }
            };
            table.text.extend([&path[..], b"\t", rest.as_bytes(), b"\n"].concat());
            if path.ends_with(tail.as_bytes()) {
                table.makes.push(path);
            }
        }
        table
    }
}

fn on_host(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(&path[1..]))
}

fn pick(rng: &mut Rng, choices: &[&str]) -> String {
    choices[rng.below(choices.len() as u64) as usize].into()
}

fn escaped(text: &[u8]) -> String {
    listing::escape(text)
}

/// The first tree from a seed on that is neither tiny nor large.
fn small_tree(seed: u64) -> SourceTree {
    let trees = (0..).map(|at| random_tree(seed.wrapping_mul(1000).wrapping_add(at), 8192).expect("tree is made"));
    let mut small = trees.filter(|tree| NODES.contains(&tree.nodes().len()));
    let mut tree = small.next().expect("one of many is small");
    for id in 0..tree.nodes().len() {
        // mkfs.jffs2 keeps eight bits of either number.
        if let SourceKind::CharDevice(device) | SourceKind::BlockDevice(device) = &mut tree.node_mut(id).kind {
            *device = Device { major: device.major & 0xff, minor: device.minor & 0xff };
        }
    }
    tree
}

/// Makes the tree on the host: by our own reader, from an image.
fn write_tree(tree: &SourceTree, place: &Path, to: &Path) {
    let image = place.join("image");
    let mut file = fs::File::create(&image).expect("image is made");
    build(tree, &Options::default(), &mut file).expect("image is built");
    let done = binary("jffs2-tx").args(["extract", "-l", "-e", "65536"]).arg(&image).arg(to).output().expect("it runs");
    // Without root it cannot make devices, or give files away.
    let is_root = nix::unistd::geteuid().is_root();
    assert!(done.status.success() || !is_root, "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!is_root || listing::walk(to).expect("tree is there").len() >= NODES.start / 2);
}

/// What an image holds, as lines that are equal for equal trees.
struct Found {
    lines: Vec<String>,
    /// Size of the image, bytes; 0 if it is not padded to a size.
    padded: u64,
}

impl Found {
    fn read(image: &Path, set: &Set) -> Self {
        let size = image.metadata().expect("image is there").len();
        let whole = size.next_multiple_of(set.eraseblock.into());
        // As on a flash, where the rest is erased.
        let geometry = Geometry::new(FlashKind::Nor, whole, set.eraseblock, 1).expect("valid geometry");
        let file = fs::File::open(image).expect("image opens");
        let flash = ImageFlash::inside(file, geometry, Container::whole(size)).expect("image opens");
        let rules = Rules { endian: set.endian, summaries: true };
        let index = Index::open(&flash, rules).expect("image is read");
        let tree = Tree::new(&flash, &index);
        let mut xattrs: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
        for step in tree.walk(jffs2_tx::index::ROOT) {
            let found = tree.xattrs(step.ino).expect("attributes are read");
            let text = |name: &[u8], value: &[u8]| format!("{}={}", listing::escape(name), listing::hex(value));
            let mut found: Vec<_> = found.iter().map(|xattr| text(&xattr.name, &xattr.value)).collect();
            found.sort();
            xattrs.insert(step.path, found);
        }
        let mut entries = ours::list(&flash, rules).expect("every path is read");
        entries.retain(|entry| entry.path != b".");
        for entry in &mut entries {
            if entry.is_directory() || set.table.makes.iter().any(|path| entry.path[1..].starts_with(path)) {
                entry.mtime = 0;
            }
        }
        let xattrs_of = |entry: &Entry| xattrs.get(&entry.path[2..]).map(|found| found.join(" ")).unwrap_or_default();
        let lines = entries.iter().map(|entry| format!("{} {}", entry.line(), xattrs_of(entry))).collect();
        let padded =
            if set.args.iter().any(|arg| arg.starts_with("-p1") || arg.starts_with("--pad=")) { size } else { 0 };
        Self { lines, padded }
    }

    /// A few lines that only one of them has.
    fn difference(&self, other: &Self) -> String {
        let only = |sign: char, a: &[String], b: &[String]| {
            let lines = a.iter().filter(|line| !b.contains(line)).take(3);
            lines.map(|line| format!("{sign} {line}\n")).collect::<String>()
        };
        only('-', &self.lines, &other.lines) + &only('+', &other.lines, &self.lines)
    }
}
