//! `diff`: what differs between an image and another image, or a directory.
//!
//! One line for each path: `A` is only in the second, `D` only in the first, `M` is in both and differs, with what
//! differs. `--json` has the same as objects. Contents are compared piece by piece. Extended attributes are compared
//! where both sides are images; a directory is taken as `jffs2-mkimage` would take it.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;

use jffs2_tx::check::MAX_PATH;
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::source::SourceTree;
use serde::Serialize;

use crate::failure::{Exit, Failure, complain};
use crate::image::{Image, ImageArgs};
use crate::show;

mod content;
mod side;

use content::first_difference;
use side::{Entry, Side};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Another image, read with the same options, or a directory.
    #[arg(value_name = "IMG|DIR")]
    other: PathBuf,
    /// One JSON object for each path.
    #[arg(long)]
    json: bool,
}

/// A path that differs, as `--json` shows it.
#[derive(Debug, Serialize)]
struct Line {
    /// Path from the root, with a slash in front; escaped as the crate's documentation says.
    path: String,
    /// `added`, `removed` or `changed`.
    change: &'static str,
    /// What differs in both, if it is changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
}

/// Something that differs.
#[derive(Debug, Serialize)]
struct Field {
    /// `type`, `mode`, `owner`, `size`, `mtime`, `content`, `target`, `device`, `xattrs`, `links` (the other names of
    /// the file) or `unreadable`.
    field: &'static str,
    /// In the first: as words, times in seconds since 1970; of contents the first offset that differs.
    a: String,
    /// In the second.
    b: String,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let first = Image::open(&args.image)?;
    let (image, source);
    let second = if args.other.is_dir() {
        source = SourceTree::from_dir(&args.other).map_err(|error| Failure::new(Exit::Io, error))?;
        Side::Source(&source)
    } else {
        image = Image::open(&args.image.of(&args.other))?;
        Side::Image(&image)
    };
    let mut out = show::stdout();
    let mut compare = Compare {
        sides: [Side::Image(&first), second],
        as_json: args.json,
        out: &mut out,
        first_names: [HashMap::new(), HashMap::new()],
        compared: HashMap::new(),
        entered: [HashSet::new(), HashSet::new()],
        differs: false,
    };
    compare.run()?;
    let differs = compare.differs;
    out.flush().map_err(Failure::Stdout)?;
    Ok(if differs { Exit::Findings } else { Exit::Done })
}

struct Compare<'a, W> {
    sides: [Side<'a>; 2],
    as_json: bool,
    out: &'a mut W,
    /// The first path of every inode that may have several.
    first_names: [HashMap<u64, Vec<u8>>; 2],
    /// What was found of files with several names.
    compared: HashMap<[u64; 2], Option<[String; 2]>>,
    /// Directories, each to be entered once.
    entered: [HashSet<u64>; 2],
    differs: bool,
}

/// A name on either side, and what it leads to.
type Pair<'a> = (&'a [u8], [Option<u64>; 2]);

impl<'a, W: Write> Compare<'a, W> {
    fn run(&mut self) -> Result<(), Failure> {
        let roots = self.sides.map(|side| Some(side.root()));
        let mut path = Vec::new();
        self.compare(&path, roots)?;
        let mut open = vec![(0, self.names(&path, roots).into_iter())];
        while let Some((len, names)) = open.last_mut() {
            path.truncate(*len);
            let Some((name, ids)) = names.next() else {
                open.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            self.compare(&path, ids)?;
            open.push((path.len(), self.names(&path, ids).into_iter()));
        }
        Ok(())
    }

    /// Names in a directory of either side, in byte order; none for what is no directory, or was entered before.
    fn names(&mut self, path: &[u8], ids: [Option<u64>; 2]) -> Vec<Pair<'a>> {
        let mut found: [Vec<(&'a [u8], u64)>; 2] = [Vec::new(), Vec::new()];
        for (at, id) in ids.into_iter().enumerate() {
            let Some(id) = id.filter(|id| self.sides[at].is_directory(*id)) else { continue };
            if path.len() > MAX_PATH {
                self.damage(path, "path is too long: not followed");
            } else if !self.entered[at].insert(id) {
                self.damage(path, "directory with two names: compared once");
            } else {
                found[at] = self.sides[at].children(id);
            }
        }
        merge(&found)
    }

    fn damage(&mut self, path: &[u8], text: &str) {
        self.differs = true;
        complain(&format!("{}: {text}", show::path(path)));
    }

    fn compare(&mut self, path: &[u8], ids: [Option<u64>; 2]) -> Result<(), Failure> {
        let (change, fields) = match ids {
            [Some(a), Some(b)] => ("changed", self.fields(path, [a, b])),
            [None, _] => ("added", Vec::new()),
            [_, None] => ("removed", Vec::new()),
        };
        if change == "changed" && fields.is_empty() {
            return Ok(());
        }
        self.differs = true;
        let line = Line { path: show::path(path), change, fields };
        if self.as_json {
            return show::json(self.out, &line);
        }
        writeln!(self.out, "{}", line.text()).map_err(Failure::Stdout)
    }

    /// What differs in what the path leads to on both sides.
    fn fields(&mut self, path: &[u8], ids: [u64; 2]) -> Vec<Field> {
        let [a, b] = match [self.sides[0].entry(ids[0]), self.sides[1].entry(ids[1])] {
            [Ok(a), Ok(b)] => [a, b],
            unreadable => {
                let [a, b] = unreadable.map(|entry| entry.err().unwrap_or_else(|| "can be read".into()));
                return vec![Field { field: "unreadable", a, b }];
            }
        };
        let mut fields = Vec::new();
        let mut put = |field, a: String, b: String| {
            if a != b {
                fields.push(Field { field, a, b });
            }
        };
        put("type", a.type_name().into(), b.type_name().into());
        if a.kind == b.kind {
            put("mode", format!("{:04o}", a.meta.mode), format!("{:04o}", b.meta.mode));
            let owner = |entry: &Entry| format!("{}:{}", entry.meta.uid, entry.meta.gid);
            put("owner", owner(&a), owner(&b));
            put("size", a.size.to_string(), b.size.to_string());
            put("mtime", a.meta.mtime.to_string(), b.meta.mtime.to_string());
            put("device", a.device_text(), b.device_text());
            put("target", show::text(&a.target), show::text(&b.target));
            let [links_a, links_b] = [(0, &a), (1, &b)].map(|(at, entry)| self.link_text(at, ids[at], entry, path));
            put("links", links_a, links_b);
            if let [Some(a), Some(b)] = [self.sides[0].xattrs(ids[0]), self.sides[1].xattrs(ids[1])] {
                put("xattrs", a, b);
            }
            let linked = a.linked && b.linked;
            if a.kind == FileKind::File
                && let Some([at_a, at_b]) = self.content(ids, linked)
            {
                put("content", at_a, at_b);
            }
        }
        fields
    }

    /// Where the contents differ first; once for two files with several names each.
    fn content(&mut self, ids: [u64; 2], linked: bool) -> Option<[String; 2]> {
        if let Some(known) = self.compared.get(&ids) {
            return known.clone();
        }
        let found = first_difference([self.sides[0].content(ids[0]), self.sides[1].content(ids[1])]);
        if linked {
            self.compared.insert(ids, found.clone());
        }
        found
    }

    /// The first path that led to the same file, if it was another one.
    fn link_text(&mut self, side: usize, id: u64, entry: &Entry, path: &[u8]) -> String {
        if entry.kind == FileKind::Directory || !entry.linked {
            return String::new();
        }
        let first = self.first_names[side].entry(id).or_insert_with(|| path.to_vec());
        if first == path { String::new() } else { show::path(first) }
    }
}

impl Line {
    /// `M /etc/passwd: mode 0644 -> 0600, content`
    fn text(&self) -> String {
        let letter = self.change.chars().next().map_or('M', |c| if c == 'a' { 'A' } else { 'D' });
        if self.fields.is_empty() {
            return format!("{letter} {}", self.path);
        }
        let fields: Vec<String> = self.fields.iter().map(Field::text).collect();
        format!("M {}: {}", self.path, fields.join(", "))
    }
}

impl Field {
    fn text(&self) -> String {
        let word = |text: &str| if text.is_empty() { "none".into() } else { String::from(text) };
        format!("{} {} -> {}", self.field, word(&self.a), word(&self.b))
    }
}

/// Names of both sides, each in byte order, as one list.
fn merge<'a>([a, b]: &[Vec<(&'a [u8], u64)>; 2]) -> Vec<Pair<'a>> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut all = Vec::new();
    loop {
        let name = match (a.peek(), b.peek()) {
            (Some((a, _)), Some((b, _))) => *a.min(b),
            (Some((name, _)), None) | (None, Some((name, _))) => *name,
            (None, None) => return all,
        };
        let id_a = a.next_if(|(other, _)| *other == name).map(|(_, id)| *id);
        let id_b = b.next_if(|(other, _)| *other == name).map(|(_, id)| *id);
        all.push((name, [id_a, id_b]));
    }
}
