//! `--tar`: the plan as a POSIX pax archive. The same image gives the same bytes.
//!
//! Extended attributes are `SCHILY.xattr.*` records, as GNU tar, bsdtar and Python have them. Files with holes of
//! [`SPARSE_MIN`] bytes or more are GNU sparse files, format 1.0; smaller holes are zeros. Of an inode with several names
//! the first holds it, the others are links to that. Sockets have no place in an archive.

use std::io::{self, Write};

use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::tree::{File, Stat};
use tar::{Builder, EntryType, Header};

use super::contents::{BUFFER, Hasher, copy, data_runs};
use super::outcome::{Outcome, Trouble};
use super::plan::Plan;
use super::progress::Progress;
use super::source::Source;
use super::to_dir::xattrs;

use crate::target::Target;

/// Bytes of holes from which a file is stored sparse. Some small tools know no sparse files; a small hostile image
/// must not become a huge archive.
const SPARSE_MIN: u64 = 64 << 10;
const RECORD: u64 = 512;
/// Longest path or link target that needs no pax record.
const PLAIN: usize = 100;

pub(super) struct ToTar<'a, W: Write> {
    plan: &'a Plan<'a>,
    source: Source<'a>,
    builder: Builder<W>,
    outcome: Outcome,
    xattrs: bool,
    hash_until: usize,
    /// By item.
    written: Vec<bool>,
    buf: Vec<u8>,
}

/// pax records of an entry.
type Records = Vec<(String, Vec<u8>)>;

impl<'a, W: Write> ToTar<'a, W> {
    pub(super) fn new(out: W, plan: &'a Plan<'a>, source: Source<'a>, xattrs: bool, hash_until: usize) -> Self {
        let written = vec![false; plan.items.len()];
        let (builder, outcome) = (Builder::new(out), Outcome::default());
        Self { plan, source, builder, outcome, xattrs, hash_until, written, buf: vec![0; BUFFER] }
    }

    pub(super) fn run(mut self) -> io::Result<Outcome> {
        let all = 0..self.plan.items.len();
        let progress = Progress::new(all.clone().map(|at| self.size(at)).sum());
        for at in all {
            if self.plan.items[at].first.is_some() {
                self.link(at)?;
            } else {
                self.written[at] = self.item(at)?;
            }
            progress.add(self.size(at));
        }
        progress.done();
        self.builder.into_inner()?.flush()?;
        Ok(self.outcome)
    }

    /// Size of a file that has its first name here, bytes.
    fn size(&self, at: usize) -> u64 {
        let item = &self.plan.items[at];
        let is_file = item.kind == FileKind::File && item.first.is_none();
        if is_file { self.source.size(item.ino).into() } else { 0 }
    }

    fn link(&mut self, at: usize) -> io::Result<()> {
        let first = self.plan.items[at].first.map_or(0, |first| first.get() as usize);
        if !self.written[first] {
            return Ok(());
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Link);
        let mut records = Records::new();
        set_link(&mut header, &path_of(self.plan, first), &mut records)?;
        self.entry(header, &path_of(self.plan, at), records, 0)?;
        self.outcome.counts.hard_links += 1;
        Ok(())
    }

    /// Writes an item; whether it is in the archive.
    fn item(&mut self, at: usize) -> io::Result<bool> {
        let item = &self.plan.items[at];
        let stat = match self.source.stat(item.ino) {
            Ok(stat) => stat,
            Err(error) => return Ok(self.damaged(at, error.to_string())),
        };
        let mut records = Records::new();
        if self.xattrs {
            for xattr in xattrs(self.source, at, item.ino, &mut self.outcome) {
                records.push((format!("SCHILY.xattr.{}", String::from_utf8_lossy(&xattr.name)), xattr.value));
            }
        }
        let mut header = header_of(item.kind, &stat)?;
        let path = path_of(self.plan, at);
        match item.kind {
            FileKind::Socket => {
                self.outcome.left_out.sockets += 1;
                return Ok(false);
            }
            FileKind::File => return self.file(at, &stat, header, records),
            FileKind::Symlink => match self.source.read_link(item.ino) {
                Ok(target) if target.contains(&0) => return Ok(self.damaged(at, "symlink target holds a NUL".into())),
                Ok(target) => set_link(&mut header, &target, &mut records)?,
                Err(error) => return Ok(self.damaged(at, error.to_string())),
            },
            _ => {}
        }
        self.entry(header, &path, records, 0)?;
        let counts = &mut self.outcome.counts;
        match item.kind {
            FileKind::Directory => counts.directories += 1,
            FileKind::Symlink => counts.symlinks += 1,
            FileKind::Fifo => counts.fifos += 1,
            _ => counts.devices += 1,
        }
        Ok(true)
    }

    fn file(&mut self, at: usize, stat: &Stat, header: Header, mut records: Records) -> io::Result<bool> {
        let mut file = match self.source.open(self.plan.items[at].ino) {
            Ok(file) => file,
            Err(error) => return Ok(self.damaged(at, error.to_string())),
        };
        let path = path_of(self.plan, at);
        let (layout, map) = Layout::of(&file, stat.size);
        match &map {
            Some(map) => {
                records.push(("GNU.sparse.major".into(), b"1".to_vec()));
                records.push(("GNU.sparse.minor".into(), b"0".to_vec()));
                records.push(("GNU.sparse.name".into(), path.clone()));
                records.push(("GNU.sparse.realsize".into(), stat.size.to_string().into_bytes()));
                let shown = [b"./GNUSparseFile.0/", self.plan.items[at].name].concat();
                self.entry(header, &shown[..shown.len().min(PLAIN)], records, map.len() as u64 + layout.len())?;
                self.builder.get_mut().write_all(map)?;
            }
            None => self.entry(header, &path, records, layout.len())?,
        }
        self.content(at, &mut file, stat.size, &layout)?;
        self.outcome.counts.files += 1;
        Ok(true)
    }

    /// The bytes of a file that are in the archive, and the rest of their last record.
    fn content(&mut self, at: usize, file: &mut File<'_, Target>, size: u32, layout: &Layout) -> io::Result<()> {
        let mut hasher = (at < self.hash_until).then(Hasher::new);
        let out = self.builder.get_mut();
        let mut written = 0;
        let lost = copy(file, &mut self.buf, |offset, data| {
            if let Some(hasher) = &mut hasher {
                hasher.put(offset, data);
            }
            let place = layout.place(offset);
            zeros(out, place - written)?;
            written = place + data.len() as u64;
            out.write_all(data)
        })?;
        zeros(out, layout.len().next_multiple_of(RECORD) - written)?;
        self.outcome.counts.bytes += layout.len();
        self.outcome.troubles.extend(lost.into_iter().map(|lost| (at, Trouble::Lost(lost))));
        self.outcome.digests.extend(hasher.map(|hasher| (at, hasher.finish(size))));
        Ok(())
    }

    /// Writes an entry's header; `size` bytes are to follow, and what fills their last record.
    fn entry(&mut self, mut header: Header, path: &[u8], mut records: Records, size: u64) -> io::Result<()> {
        if path.len() > PLAIN {
            records.push(("path".into(), path.to_vec()));
        }
        let name = &path[..path.len().min(PLAIN)];
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_cksum();
        records.sort();
        self.builder.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        self.builder.get_mut().write_all(header.as_bytes())
    }

    fn damaged(&mut self, at: usize, why: String) -> bool {
        self.outcome.trouble(at, Trouble::Damaged(why));
        false
    }
}

/// `./`, the path, and a slash behind a directory's.
fn path_of(plan: &Plan<'_>, at: usize) -> Vec<u8> {
    let is_below = at != 0 && plan.items[at].kind == FileKind::Directory;
    let slash: &[u8] = if is_below { b"/" } else { b"" };
    [b"./", &plan.path(at)[..], slash].concat()
}

fn header_of(kind: FileKind, stat: &Stat) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_entry_type(match kind {
        FileKind::Directory => EntryType::Directory,
        FileKind::Symlink => EntryType::Symlink,
        FileKind::CharDevice => EntryType::Char,
        FileKind::BlockDevice => EntryType::Block,
        FileKind::Fifo => EntryType::Fifo,
        FileKind::File | FileKind::Socket => EntryType::Regular,
    });
    header.set_mode(stat.meta.mode);
    header.set_uid(stat.meta.uid.into());
    header.set_gid(stat.meta.gid.into());
    header.set_mtime(stat.meta.mtime.into());
    if let Some(device) = stat.device {
        header.set_device_major(device.major)?;
        header.set_device_minor(device.minor)?;
    }
    Ok(header)
}

fn set_link(header: &mut Header, target: &[u8], records: &mut Records) -> io::Result<()> {
    if target.len() > PLAIN {
        records.push(("linkpath".into(), target.to_vec()));
    }
    header.set_link_name_literal(&target[..target.len().min(PLAIN)])
}

fn zeros(out: &mut impl Write, mut len: u64) -> io::Result<()> {
    const ZEROS: &[u8] = &[0; 4096];
    while len > 0 {
        let now = len.min(ZEROS.len() as u64);
        out.write_all(&ZEROS[..now as usize])?;
        len -= now;
    }
    Ok(())
}

/// Which ranges of a file are stored, one after the other.
struct Layout {
    runs: Vec<(u32, u32)>,
    /// Where each is stored.
    places: Vec<u64>,
    len: u64,
}

impl Layout {
    /// All of a file; or what holds data, and the map that says so, if that saves something.
    fn of(file: &File<'_, Target>, size: u32) -> (Self, Option<Vec<u8>>) {
        let runs = whole_records(&data_runs(file), size);
        let data: u64 = runs.iter().map(|(start, end)| u64::from(end - start)).sum();
        let map = map(&runs, size);
        if u64::from(size) - data < SPARSE_MIN || data + map.len() as u64 >= size.into() {
            return (Self { runs: vec![(0, size)], places: vec![0], len: size.into() }, None);
        }
        let mut len = 0;
        let mut places = Vec::with_capacity(runs.len());
        for (start, end) in &runs {
            places.push(len);
            len += u64::from(end - start);
        }
        (Self { runs, places, len }, Some(map))
    }

    fn len(&self) -> u64 {
        self.len
    }

    /// Where the byte at `offset`, which is stored, stands.
    fn place(&self, offset: u32) -> u64 {
        let run = self.runs.partition_point(|run| run.0 <= offset).saturating_sub(1);
        self.places[run] + u64::from(offset - self.runs[run].0)
    }
}

/// The ranges, each made to start and end at a multiple of [`RECORD`] or at the file's end: GNU tar starts each in a
/// record of its own.
fn whole_records(runs: &[(u32, u32)], size: u32) -> Vec<(u32, u32)> {
    let record = RECORD as u32;
    let mut whole: Vec<(u32, u32)> = Vec::new();
    for (start, end) in runs {
        let (start, end) =
            (start / record * record, end.checked_next_multiple_of(record).map_or(size, |end| end.min(size)));
        match whole.last_mut() {
            Some(last) if last.1 >= start => last.1 = end,
            _ => whole.push((start, end)),
        }
    }
    whole
}

/// The map in front of a sparse file's data: number of ranges, and start and length of each, in decimal lines. The last
/// one is empty and says how long the file is.
fn map(runs: &[(u32, u32)], size: u32) -> Vec<u8> {
    let ends_in_hole = runs.last().is_none_or(|last| last.1 < size);
    let mut text = format!("{}\n", runs.len() + usize::from(ends_in_hole));
    for (start, end) in runs {
        text += &format!("{start}\n{}\n", end - start);
    }
    if ends_in_hole {
        text += &format!("{size}\n0\n");
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(RECORD as usize), 0);
    map
}
