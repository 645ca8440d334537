//! `dump`: every node with its offset, what it is to readers, its CRCs and its fields; and what lies between nodes.
//!
//! One line each, `offset-end kind standing key=value ...`; `--json` gives the same keys. All of them:
//!
//! | key | meaning |
//! | --- | --- |
//! | `offset`, `end` | on the flash, bytes; nodes with their padding to a multiple of 4 |
//! | `block` | eraseblock |
//! | `kind` | `inode`, `dirent`, `xattr`, `xref`, `cleanmarker`, `padding`, `summary`, `marker`, `copy-marker`, `unknown`; between nodes `garbage`, `filler` (zeros), `blank`, `bad` (an eraseblock marked so) |
//! | `standing` | of nodes: `live`, `obsolete`, `torn`, `hidden` or `uncommitted` |
//! | `node_crc`, `data_crc` | `true` if it is good (text: `ok` or `BAD`); `data_crc` is that of names, too. The header's is good, or there is no node |
//! | `problem` | why it is not the node that it says it is, or why there is none |
//! | `totlen` | length in the header |
//! | `marked_obsolete` | the ACCURATE bit is cleared |
//! | others | the node's fields by the names in FORMAT.md section 2 |

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use jffs2_tx::dump::{Dump, DumpedNode, Fields, Item, Standing};
use jffs2_tx::wire::{Compression, CopyStage, MarkerKind, WireError, join_xattr_name};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::failure::{Exit, Failure};
use crate::image::{Image, ImageArgs};
use crate::show;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Only nodes of this inode: its data and attributes, the names in it, the names that lead to it.
    #[arg(long, value_name = "N")]
    ino: Option<u32>,
    /// The same for the inode that the path leads to.
    #[arg(long, value_name = "PATH", conflicts_with = "ino")]
    path: Option<OsString>,
    /// Only this eraseblock.
    #[arg(long, value_name = "N")]
    block: Option<u32>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let ino = match &args.path {
        Some(path) => Some(image.tree().lookup(path.as_bytes())?),
        None => args.ino,
    };
    let blocks = image.index.geometry().blocks();
    if let Some(block) = args.block.filter(|block| *block >= blocks) {
        return Err(Failure::new(Exit::Usage, format!("there is no eraseblock {block}: the image has {blocks}")));
    }
    let dump = Dump::new(&image.flash, &image.index)?;
    let mut out = show::stdout();
    for block in args.block.map_or(0..blocks, |block| block..block + 1) {
        let block = dump.block(block)?;
        for item in block.items().filter(|item| ino.is_none_or(|ino| concerns(item, ino))) {
            let row = Row::of(block.block, &item);
            if args.json {
                show::json(&mut out, &row)?;
            } else {
                writeln!(out, "{}", row.text()).map_err(Failure::Stdout)?;
            }
        }
    }
    out.flush().map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

fn concerns(item: &Item<'_>, ino: u32) -> bool {
    let Item::Node(node) = item else { return false };
    match &node.fields {
        Fields::Inode(inode) => inode.ino == ino,
        Fields::Dirent(dirent) => dirent.pino == ino || dirent.ino == ino,
        Fields::Xref(xref) => xref.ino == ino,
        _ => false,
    }
}

/// Keys and values in the order that they are shown in.
struct Row(Vec<(&'static str, Value)>);

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl Row {
    fn of(block: u32, item: &Item<'_>) -> Self {
        let (start, end) = item.range();
        let mut row = Self(Vec::new());
        row.put("offset", start);
        row.put("end", end);
        row.put("block", block);
        match item {
            Item::Node(node) => row.node(node),
            Item::Garbage { reason, .. } => {
                row.put("kind", "garbage");
                row.problem(Some(*reason));
            }
            Item::Filler { .. } => row.put("kind", "filler"),
            Item::Blank { .. } => row.put("kind", "blank"),
            Item::Bad { .. } => row.put("kind", "bad"),
        }
        row
    }

    fn put(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.push((key, value.into()));
    }

    fn problem(&mut self, problem: Option<WireError>) {
        if let Some(problem) = problem {
            self.put("problem", problem.to_string());
        }
    }

    fn node(&mut self, node: &DumpedNode<'_>) {
        self.put("kind", kind(&node.fields, node.header.nodetype));
        self.put("standing", standing(node.standing));
        self.fields(&node.fields);
        if matches!(node.fields, Fields::Unknown) {
            self.put("nodetype", format!("{:#06x}", node.header.nodetype));
        }
        self.put("totlen", node.header.totlen);
        if node.header.obsolete {
            self.put("marked_obsolete", true);
        }
        for (key, verdict) in [("node_crc", node.node_crc), ("data_crc", node.data_crc)] {
            if let Some(good) = verdict {
                self.put(key, good);
            }
        }
        self.problem(node.problem);
    }

    fn fields(&mut self, fields: &Fields<'_>) {
        match fields {
            Fields::Inode(inode) => {
                self.put("ino", inode.ino);
                self.put("version", inode.version);
                self.put("mode", format!("{:06o}", inode.mode));
                self.put("uid", inode.uid);
                self.put("gid", inode.gid);
                self.put("isize", inode.isize);
                self.put("atime", inode.atime);
                self.put("mtime", inode.mtime);
                self.put("ctime", inode.ctime);
                self.put("offset_in_file", inode.offset);
                self.put("csize", inode.csize);
                self.put("dsize", inode.dsize);
                self.put("compressor", compressor(inode.compression));
            }
            Fields::Dirent(dirent) => {
                self.put("pino", dirent.pino);
                self.put("version", dirent.version);
                self.put("ino", dirent.ino);
                self.put("mctime", dirent.mctime);
                self.put("type", dirent.kind);
                self.put("name", show::text(dirent.name));
            }
            Fields::Xattr(xattr) => {
                let name = join_xattr_name(xattr.prefix, xattr.name).unwrap_or_else(|| xattr.name.to_vec());
                self.put("xid", xattr.xid);
                self.put("version", xattr.version);
                self.put("prefix", xattr.prefix);
                self.put("name", show::text(&name));
                self.put("value_length", xattr.value.len());
            }
            Fields::Xref(xref) => {
                self.put("ino", xref.ino);
                self.put("xid", xref.xid);
                self.put("seqno", xref.seqno);
            }
            Fields::Summary(entries) => self.put("entries", *entries),
            Fields::Marker(marker) => {
                let kind = match marker.kind {
                    MarkerKind::Begin => "begin",
                    MarkerKind::Commit => "commit",
                    MarkerKind::Repeat => "repeat",
                    MarkerKind::Undo => "undo",
                };
                self.put("marker", kind);
                self.put("commit_point", marker.commit_point.map_or("undecided".into(), |point| point.to_string()));
                self.put("sequence", marker.sequence);
                self.put("txid", show::digits(&marker.txid));
                self.put("time", marker.time);
                self.put("label", show::text(marker.label.as_bytes()));
            }
            Fields::CopyMarker(marker) => {
                self.put("marker", if marker.stage == CopyStage::Begun { "begun" } else { "done" });
            }
            Fields::Cleanmarker | Fields::Padding | Fields::Unknown => {}
        }
    }

    /// `0x00000c-0x000054 inode live ino=2 ... node_crc=ok`
    fn text(&self) -> String {
        let mut line = String::new();
        for (key, value) in &self.0 {
            match (*key, value) {
                ("offset", value) => line.push_str(&format!("{:#010x}", value.as_u64().unwrap_or(0))),
                ("end", value) => line.push_str(&format!("-{:#010x}", value.as_u64().unwrap_or(0))),
                ("block", _) => {}
                ("kind" | "standing", Value::String(word)) => line.push_str(&format!(" {word}")),
                ("node_crc" | "data_crc", good) => {
                    line.push_str(&format!(" {key}={}", if *good == true { "ok" } else { "BAD" }));
                }
                ("name" | "label" | "problem", Value::String(text)) => line.push_str(&format!(" {key}=\"{text}\"")),
                (_, Value::String(text)) => line.push_str(&format!(" {key}={text}")),
                (_, value) => line.push_str(&format!(" {key}={value}")),
            }
        }
        line
    }
}

fn kind(fields: &Fields<'_>, nodetype: u16) -> &'static str {
    use jffs2_tx::wire::nodetype::{COPY_MARKER, DIRENT, INODE, SUMMARY, TX_MARKER, XATTR, XREF};
    match (fields, nodetype) {
        (Fields::Cleanmarker, _) => "cleanmarker",
        (Fields::Padding, _) => "padding",
        (_, INODE) => "inode",
        (_, DIRENT) => "dirent",
        (_, XATTR) => "xattr",
        (_, XREF) => "xref",
        (_, SUMMARY) => "summary",
        (_, TX_MARKER) => "marker",
        (_, COPY_MARKER) => "copy-marker",
        _ => "unknown",
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Live => "live",
        Standing::Obsolete => "obsolete",
        Standing::Torn => "torn",
        Standing::Hidden => "hidden",
        Standing::Uncommitted => "uncommitted",
    }
}

/// A compressor's name, or its number where it has none.
pub(crate) fn compressor(compression: Compression) -> String {
    match compression {
        Compression::Other(id) => id.to_string(),
        known => known.name().into(),
    }
}
