//! `ls`: a directory as ls(1) lists it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use jffs2_tx::check::{Code, MAX_PATH};
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::tree::{Attribute, Stat, Tree};
use serde::Serialize;

use crate::damage;
use crate::failure::{Exit, Failure, complain};
use crate::image::{Image, ImageArgs};
use crate::show;
use crate::target::Target;

mod deleted;
mod versions;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Path in the image.
    #[arg(value_name = "PATH", default_value = "/")]
    path: OsString,
    /// Type and mode, links, owner, group, size or device number, time (UTC), name, target.
    #[arg(short)]
    long: bool,
    /// All directories below, too.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// What is gone but still on the flash, at PATH and below: names that were deleted or replaced, inodes without a
    /// name, and what transactions that were not committed would have changed. Standing, what can be recovered, when it
    /// went, inode number, size, path.
    #[arg(long, conflicts_with_all = ["long", "recursive", "xattrs"])]
    deleted: bool,
    /// Every version of a file that is on the flash (a node is a version; neighbours of the same size, time and mode
    /// are one line), or of all that is in a directory: versions, standing, mode, size, time, flash offset, inode
    /// number, path.
    #[arg(long, conflicts_with_all = ["long", "deleted", "xattrs"])]
    all_versions: bool,
    /// Extended attributes below each name: as text, or in hexadecimal with 0x in front. `--json` always has them.
    #[arg(long)]
    xattrs: bool,
    /// No extended attributes with `--json`.
    #[arg(long, conflicts_with = "xattrs")]
    no_xattrs: bool,
    /// One JSON object for each name, with its full path.
    #[arg(long)]
    json: bool,
}

/// A name in the listing, as `--json` shows it. Fields that do not apply are left out.
#[derive(Debug, Serialize)]
struct Row {
    /// Path from the root, with a slash in front; escaped as the crate's documentation says.
    path: String,
    /// Inode number.
    ino: u32,
    #[serde(flatten)]
    inode: Option<Known>,
    /// Why the inode cannot be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A row as `--json` shows it.
#[derive(Debug, Serialize)]
struct FullRow<'a> {
    #[serde(flatten)]
    row: &'a Row,
    /// Extended attributes: names, escaped like paths, and values in hexadecimal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
}

/// What is known of an inode.
#[derive(Debug, Serialize)]
struct Known {
    /// `file`, `directory`, `symlink`, `char`, `block`, `fifo` or `socket`.
    r#type: &'static str,
    /// Permissions, four octal digits.
    mode: String,
    /// Links, as Linux counts them.
    links: u32,
    /// Owner.
    uid: u16,
    /// Group.
    gid: u16,
    /// Bytes of a file, or of a symlink's target; otherwise 0.
    size: u32,
    /// Modification time, seconds since 1970.
    mtime: u32,
    /// Device number.
    #[serde(skip_serializing_if = "Option::is_none")]
    major: Option<u32>,
    /// Device number.
    #[serde(skip_serializing_if = "Option::is_none")]
    minor: Option<u32>,
    /// Target of a symlink, escaped like paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip)]
    kind: FileKind,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let tree = image.tree();
    let from = args.path.as_bytes();
    if args.deleted {
        return deleted::run(&image, from, args.json);
    }
    if args.all_versions {
        return versions::run(&image, from, args.recursive, args.json);
    }
    let ino = tree.lookup(from)?;
    let mut out = show::stdout();
    let mut listing = Listing { args, tree, out: &mut out, damaged: false };
    let is_dir = match tree.stat(ino) {
        Ok(stat) => stat.kind == FileKind::Directory,
        Err(_) => image.index.names(ino).next().is_some(),
    };
    if is_dir {
        listing.directories(trimmed(from), ino)?;
    } else {
        let row = listing.row(trimmed(from), ino);
        listing.print(&[(show::text(from), row)])?;
    }
    let damaged = listing.damaged;
    out.flush().map_err(Failure::Stdout)?;
    let more = damage::say(&image, &trimmed(from), &[Code::NoNode, Code::BadInode])?;
    Ok(if damaged || more > 0 { Exit::Findings } else { Exit::Done })
}

struct Listing<'a, W> {
    args: &'a Args,
    tree: Tree<'a, Target>,
    out: &'a mut W,
    damaged: bool,
}

impl<W: Write> Listing<'_, W> {
    /// Lists a directory and, if wanted, those below it: depth first, each once.
    fn directories(&mut self, path: Vec<u8>, ino: u32) -> Result<(), Failure> {
        let mut entered = HashSet::from([ino]);
        let mut pending = vec![(path, ino)];
        let mut first = true;
        while let Some((path, ino)) = pending.pop() {
            if self.args.recursive && !self.args.json {
                let gap = if first { "" } else { "\n" };
                writeln!(self.out, "{gap}{}:", show::path(&path)).map_err(Failure::Stdout)?;
            }
            first = false;
            let below = self.directory(&path, ino)?;
            if !self.args.recursive {
                break;
            }
            for (path, ino) in below.into_iter().rev() {
                if path.len() > MAX_PATH {
                    self.damage(&path, "path is too long: not followed");
                } else if !entered.insert(ino) {
                    self.damage(&path, "directory with two names: listed once");
                } else {
                    pending.push((path, ino));
                }
            }
        }
        Ok(())
    }

    /// Lists one directory; the directories in it.
    fn directory(&mut self, path: &[u8], ino: u32) -> Result<Vec<(Vec<u8>, u32)>, Failure> {
        let mut below = Vec::new();
        let mut rows = Vec::new();
        let tree = self.tree;
        for (name, record) in tree.read_dir(ino) {
            let full = join(path, name);
            let row = self.row(full.clone(), record.ino);
            if row.inode.as_ref().is_some_and(|inode| inode.kind == FileKind::Directory) {
                below.push((full, record.ino));
            }
            rows.push((show::text(name), row));
        }
        self.print(&rows)?;
        Ok(below)
    }

    fn row(&mut self, path: Vec<u8>, ino: u32) -> Row {
        let known = self.tree.stat(ino).and_then(|stat| {
            let target = (stat.kind == FileKind::Symlink).then(|| self.tree.read_link(ino)).transpose()?;
            Ok(Known::new(&stat, target.as_deref()))
        });
        let (inode, error) = match known {
            Ok(known) => (Some(known), None),
            Err(error) => {
                self.damage(&path, &error.to_string());
                (None, Some(error.to_string()))
            }
        };
        Row { path: show::path(&path), ino, inode, error }
    }

    fn damage(&mut self, path: &[u8], text: &str) {
        self.damaged = true;
        complain(&format!("{}: {text}", show::path(path)));
    }

    /// Extended attributes of a row. Read as it is printed: those of a whole directory may not fit into memory.
    fn xattrs(&mut self, row: &Row) -> Vec<Attribute> {
        if self.args.no_xattrs || !(self.args.json || self.args.xattrs) || row.inode.is_none() {
            return Vec::new();
        }
        let read = self.tree.lost_xattrs(row.ino).and_then(|lost| Ok((lost, self.tree.xattrs(row.ino)?)));
        let (lost, found) = read.map_or_else(
            |error| (vec![error.to_string()], Vec::new()),
            |(lost, found)| (lost.iter().map(|lost| format!("{}, node at {:#x}", lost.what, lost.at)).collect(), found),
        );
        for what in lost {
            self.damaged = true;
            complain(&format!("{}: {what}", row.path));
        }
        found
    }

    fn print_json(&mut self, row: &Row) -> Result<(), Failure> {
        let found = self.xattrs(row);
        let xattrs = found.iter().map(|xattr| (show::text(&xattr.name), show::digits(&xattr.value))).collect();
        show::json(self.out, &FullRow { row, xattrs })
    }

    fn print(&mut self, rows: &[(String, Row)]) -> Result<(), Failure> {
        if self.args.json {
            return rows.iter().try_for_each(|(_, row)| self.print_json(row));
        }
        let cells: Vec<[String; 5]> = rows.iter().map(|(_, row)| row.cells()).collect();
        let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let [links, uid, gid, size] = [width(0), width(1), width(2), width(3)];
        for ((name, row), [l, u, g, s, time]) in rows.iter().zip(&cells) {
            if self.args.long {
                let mode = row.inode.as_ref().map_or("?".repeat(10), Known::letters);
                write!(self.out, "{mode} {l:>links$} {u:>uid$} {g:>gid$} {s:>size$} {time} ")
                    .map_err(Failure::Stdout)?;
            }
            let target = row.inode.as_ref().and_then(|inode| inode.target.as_ref()).filter(|_| self.args.long);
            let arrow = target.map(|target| format!(" -> {target}")).unwrap_or_default();
            writeln!(self.out, "{name}{arrow}").map_err(Failure::Stdout)?;
            for Attribute { name, value } in self.xattrs(row) {
                writeln!(self.out, "    {}={}", show::text(&name), value_text(&value)).map_err(Failure::Stdout)?;
            }
        }
        Ok(())
    }
}

impl Row {
    /// Links, owner, group, size, time, as the long listing shows them.
    fn cells(&self) -> [String; 5] {
        let Some(inode) = &self.inode else { return std::array::from_fn(|_| "?".into()) };
        let size = match (inode.major, inode.minor) {
            (Some(major), Some(minor)) => format!("{major}, {minor}"),
            _ => inode.size.to_string(),
        };
        let [links, uid, gid] = [inode.links, inode.uid.into(), inode.gid.into()].map(|number| number.to_string());
        [links, uid, gid, size, show::time(inode.mtime.into())]
    }
}

impl Known {
    fn new(stat: &Stat, target: Option<&[u8]>) -> Self {
        Self {
            r#type: type_name(stat.kind),
            mode: format!("{:04o}", stat.meta.mode),
            links: stat.links,
            uid: stat.meta.uid,
            gid: stat.meta.gid,
            size: stat.size,
            mtime: stat.meta.mtime,
            major: stat.device.map(|device| device.major),
            minor: stat.device.map(|device| device.minor),
            target: target.map(show::text),
            kind: stat.kind,
        }
    }

    /// `drwxr-sr-t`
    fn letters(&self) -> String {
        let mode = u32::from_str_radix(&self.mode, 8).unwrap_or(0);
        let mut letters: Vec<char> = vec![self.kind.letter()];
        letters.extend((0..9).map(|bit| if mode & 0o400 >> bit == 0 { '-' } else { ['r', 'w', 'x'][bit % 3] }));
        for (bit, at, set) in [(0o4000, 3, 's'), (0o2000, 6, 's'), (0o1000, 9, 't')] {
            if mode & bit != 0 {
                letters[at] = if letters[at] == 'x' { set } else { set.to_ascii_uppercase() };
            }
        }
        letters.into_iter().collect()
    }
}

pub(crate) fn type_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharDevice => "char",
        FileKind::BlockDevice => "block",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// The value of an extended attribute: in quotes if it is text, which may end in a NUL.
fn value_text(value: &[u8]) -> String {
    match std::str::from_utf8(value.strip_suffix(b"\0").unwrap_or(value)) {
        Ok(text) if !text.contains(char::is_control) => format!("{:?}", String::from_utf8_lossy(value)),
        _ => format!("0x{}", show::digits(value)),
    }
}

/// A path without the slashes and dots that mean nothing.
pub(crate) fn trimmed(path: &[u8]) -> Vec<u8> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.collect::<Vec<_>>().join(&b'/')
}

/// Path of a name in a directory.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}
