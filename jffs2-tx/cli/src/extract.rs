//! `extract`: recreates the tree of an image in a directory of the host.
//!
//! The image may come from anyone. Every name is created new, relative to an open directory, and no symlink is ever
//! followed: see [`host`]. Names that could lead elsewhere are refused.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;

use jffs2_tx::check::MAX_PATH;
use jffs2_tx::error::ReadError;
use jffs2_tx::flash::{ImageError, ImageFlash};
use jffs2_tx::index::ROOT;
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::scan::{BlockScan, scan};
use jffs2_tx::tree::{self, Stat, Tree};

use crate::failure::{Exit, Failure, complain, note};
use crate::image::{Image, ImageArgs};
use crate::ls::join;
use crate::show;

mod host;
mod left_out;

use host::{Dir, NewFile};
use left_out::LeftOut;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Directory to extract to: empty, or to be created.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let root = Dir::create_empty(&args.dir).map_err(|failure| failure.about(args.dir.display()))?;
    let mut job = Extract {
        tree: image.tree(),
        root: &root,
        linked: HashMap::new(),
        entered: HashSet::from([ROOT]),
        directories: Vec::new(),
        left_out: LeftOut::default(),
        damaged: false,
    };
    job.run()?;
    let count = |_, found: BlockScan| job.left_out.xattrs += found.xattr_nodes() as u32;
    scan(&image.flash, image.index.rules(), count)?;
    if let Some(text) = job.left_out.text() {
        note(&format!("left out: {text}"));
    }
    Ok(if job.damaged { Exit::Findings } else { Exit::Done })
}

struct Extract<'a> {
    tree: Tree<'a, ImageFlash>,
    root: &'a Dir,
    /// Where an inode with several names was created first.
    linked: HashMap<u32, Vec<u8>>,
    entered: HashSet<u32>,
    /// In the order of their creation. What is created in one changes its time: their metadata comes last.
    directories: Vec<(Vec<u8>, Stat)>,
    left_out: LeftOut,
    damaged: bool,
}

impl Extract<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let stat = self.tree.stat(ROOT)?;
        self.directories.push((Vec::new(), stat));
        let mut next = 0;
        while let Some((path, stat)) = self.directories.get(next).cloned() {
            let dir = self.root.open_below(&path).map_err(|error| failed(&path, error))?;
            self.fill(&dir, &path, stat.ino)?;
            next += 1;
        }
        for (path, stat) in std::mem::take(&mut self.directories).iter().rev() {
            let dir = self.root.open_below(path).map_err(|error| failed(path, error))?;
            dir.set_own_meta(stat, &mut self.left_out).map_err(|error| failed(path, error))?;
        }
        Ok(())
    }

    /// Creates what is in a directory; directories in it stay empty until it is their turn.
    fn fill(&mut self, dir: &Dir, path: &[u8], ino: u32) -> Result<(), Failure> {
        let tree = self.tree;
        for (name, record) in tree.read_dir(ino) {
            let path = join(path, name);
            if matches!(name, b"." | b"..") || name.contains(&b'/') {
                self.damage(&path, "name refused");
                continue;
            }
            match self.tree.stat(record.ino) {
                Ok(stat) => self.create(dir, name, path, &stat)?,
                Err(error) => self.damage(&path, error),
            }
        }
        Ok(())
    }

    fn create(&mut self, dir: &Dir, name: &[u8], path: Vec<u8>, stat: &Stat) -> Result<(), Failure> {
        if stat.kind == FileKind::Directory {
            return self.create_directory(dir, name, path, stat);
        }
        if let Some(first) = self.linked.get(&stat.ino) {
            return self.root.link_below(first, dir, name).map_err(|error| failed(&path, error));
        }
        let outcome = match stat.kind {
            FileKind::File => self.create_file(dir, name, &path, stat).map(|()| true),
            FileKind::Symlink => self.create_symlink(dir, name, &path, stat),
            _ => dir.node(name, stat, &mut self.left_out),
        };
        let created = outcome.map_err(|error| failed(&path, error))?;
        if created && stat.links > 1 {
            self.linked.insert(stat.ino, path);
        }
        Ok(())
    }

    fn create_directory(&mut self, dir: &Dir, name: &[u8], path: Vec<u8>, stat: &Stat) -> Result<(), Failure> {
        if path.len() > MAX_PATH {
            self.damage(&path, "path is too long");
        } else if !self.entered.insert(stat.ino) {
            self.damage(&path, "directory with two names: extracted once");
        } else {
            dir.make_dir(name).map_err(|error| failed(&path, error))?;
            self.directories.push((path, *stat));
        }
        Ok(())
    }

    fn create_file(&mut self, dir: &Dir, name: &[u8], path: &[u8], stat: &Stat) -> io::Result<()> {
        let mut out = dir.make_file(name)?;
        let damage = match self.tree.open(stat.ino) {
            Ok(file) => copy(file, &mut out)?,
            Err(error) => Some(error),
        };
        if let Some(error) = damage {
            self.damage(path, error);
        }
        out.finish(stat, &mut self.left_out)
    }

    fn create_symlink(&mut self, dir: &Dir, name: &[u8], path: &[u8], stat: &Stat) -> io::Result<bool> {
        match self.tree.read_link(stat.ino) {
            Ok(target) if target.contains(&0) => self.damage(path, "symlink target holds a NUL"),
            Ok(target) => {
                dir.symlink(name, &target, stat, &mut self.left_out)?;
                return Ok(true);
            }
            Err(error) => self.damage(path, error),
        }
        Ok(false)
    }

    fn damage(&mut self, path: &[u8], what: impl std::fmt::Display) {
        self.damaged = true;
        complain(&format!("{}: {what}", show::path(path)));
    }
}

/// Writes what can be read, seeking over holes; the rest of a damaged file stays a hole. What is damaged first.
fn copy(mut file: tree::File<'_, ImageFlash>, out: &mut NewFile) -> io::Result<Option<ReadError<ImageError>>> {
    let mut damage = None;
    let mut buf = vec![0; 1 << 16];
    let ranges: Vec<(u32, u32)> = file.data_ranges().collect();
    for (mut at, end) in ranges {
        while at < end {
            let wanted = buf.len().min((end - at) as usize);
            if let Err(error) = file.read_at(at, &mut buf[..wanted]) {
                // A range is one node: none of it can be read.
                damage = damage.or(Some(error));
                break;
            }
            out.write_at(at, &buf[..wanted])?;
            at += wanted as u32;
        }
    }
    Ok(damage)
}

fn failed(path: &[u8], error: io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {error}", show::path(path)))
}
