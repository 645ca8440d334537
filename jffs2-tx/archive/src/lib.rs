//! Tar archives, read once from start to end: ustar, GNU and pax.
//!
//! [`Archive`] gives one [`Member`] after the other. The bytes of a file are read on the way ([`Archive::contents`]), or later
//! if the archive can be read at any offset ([`Archive::place`]).
//!
//! Headers are those of the `tar` crate; its iteration is not used. That takes an archive which ends between two members for
//! a whole one, splits pax records at newlines (an attribute with one in its value hides the path behind it), reads extensions
//! of any size into memory, and does not know sparse files of pax archives.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};

use jffs2_tx::inode_kind::{Device, Meta};
use jffs2_tx::manifest::escape;
use jffs2_tx::source::{Refusal, SourceKind};
use jffs2_tx::tree::Attribute;
use tar::Header;

mod attributes;
mod place;
mod records;
mod sparse;

pub use attributes::AttributeError;
pub use place::{Place, Stored};

use records::Records;
use sparse::{MapText, Run, Sparse};

const RECORD: usize = 512;
/// Longest extension (long name, pax records, sparse map), bytes.
const MAX_EXTENSION: u64 = 1 << 20;

const BAD_MAP: &str = "the map of a sparse file is not right, or larger than 1 MiB";

/// What compressed files begin with, and what reads them.
const COMPRESSED: [(&[u8], &str, &str); 6] = [
    (b"\x1f\x8b", "gzip", "zcat"),
    (b"\xfd7zXZ\0", "xz", "xzcat"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    (b"BZh", "bzip2", "bzcat"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4cat"),
    (b"LZIP", "lzip", "lzip -dc"),
];

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The host cannot read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not plain tar.
    #[error("compressed by {by}: pipe it in as `{reader}` writes it")]
    Compressed {
        /// The program that made it.
        by: &'static str,
        /// The command that reads it.
        reader: &'static str,
    },
    /// Not what an archive has there.
    #[error("{what}, at byte {at} of the archive")]
    Bad {
        /// How far the archive has been read, bytes.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// A member that JFFS2 cannot hold.
    #[error("{}: {reason}", escape(path))]
    Refused {
        /// Its path.
        path: Vec<u8>,
        /// Why.
        reason: Refusal,
    },
}

/// A member of an archive.
#[derive(Debug)]
pub struct Member {
    /// Path, as it stands in the archive.
    pub path: Vec<u8>,
    /// Permissions, owner by number, modification time.
    pub meta: Meta,
    /// Type, and what belongs to it.
    pub kind: Kind,
    /// Records of extended attributes and ACLs.
    attributes: Records,
}

impl Member {
    /// Whether it has extended attributes or ACLs.
    #[must_use]
    pub fn has_attributes(&self) -> bool {
        !self.attributes.is_empty()
    }

    /// Its extended attributes and ACLs, as `getxattr` gives them, sorted by name.
    ///
    /// # Errors
    /// [`AttributeError`] for the first record that says something else.
    pub fn xattrs(&self) -> Result<Vec<Attribute>, AttributeError> {
        attributes::decode(&self.attributes)
    }
}

/// Type of a member.
#[derive(Debug)]
pub enum Kind {
    /// A file of so many bytes, to be had of [`Archive::contents`].
    File(u64),
    /// A hard link to a path.
    Link(Vec<u8>),
    /// Neither; a directory has no names.
    Special(SourceKind),
}

/// An archive that is read from start to end.
#[derive(Debug)]
pub struct Archive<R> {
    source: R,
    /// Bytes read.
    at: u64,
    /// A record that was read in advance.
    first: Option<Box<[u8; RECORD]>>,
    globals: Records,
    /// Stored bytes of the member that were not read yet, and what fills their last record.
    stored: u64,
    padding: u64,
    /// Where the stored bytes belong, if that is not one after the other.
    sparse: Option<Sparse>,
    owner: Option<(u16, u16)>,
}

/// Headers in front of a member that say more of it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<Records>,
}

impl<R: Read> Archive<R> {
    /// Reads the first record: whether it is an archive at all.
    ///
    /// # Errors
    /// [`ArchiveError`], if it is none.
    pub fn open(source: R) -> Result<Self, ArchiveError> {
        let globals = Records::default();
        let mut archive =
            Self { source, at: 0, first: None, globals, stored: 0, padding: 0, sparse: None, owner: None };
        let mut start = Box::new([0; RECORD]);
        let len = archive.fill(&mut start[..])?;
        if let Some((_, by, reader)) = COMPRESSED.into_iter().find(|(magic, ..)| start[..len].starts_with(magic)) {
            return Err(ArchiveError::Compressed { by, reader });
        }
        if len < RECORD || start.iter().any(|byte| *byte != 0) && !has_good_checksum(&start) {
            return Err(archive.bad("not a tar archive"));
        }
        archive.first = Some(start);
        Ok(archive)
    }

    /// Gives all members to this user and group, if any; those in the archive need not fit then.
    #[must_use]
    pub fn with_owner(self, owner: Option<(u16, u16)>) -> Self {
        Self { owner, ..self }
    }

    /// The next member; `None` at the end, where all of the source has been read.
    ///
    /// # Errors
    /// [`ArchiveError`]: the archive is cut short or damaged, holds what is not supported, or what JFFS2 cannot hold.
    #[expect(clippy::should_implement_trait, reason = "a member's contents are to be had of the archive, too")]
    pub fn next(&mut self) -> Result<Option<Member>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let record = self.record()?.ok_or_else(|| self.bad("the archive ends without its end mark: cut short?"))?;
            if record.iter().all(|byte| *byte == 0) {
                self.end()?;
                return Ok(None);
            }
            if !has_good_checksum(&record) {
                return Err(self.bad("damaged header: its checksum is wrong"));
            }
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(&record[..]);
            match header.entry_type().as_byte() {
                b'L' => extensions.path = Some(self.name(&header)?),
                b'K' => extensions.link = Some(self.name(&header)?),
                b'x' => extensions.records = Some(self.records(&header)?),
                b'g' => {
                    let records = self.records(&header)?;
                    self.globals.extend(records);
                }
                // A volume's label.
                b'V' => self.begin(header.entry_size()?),
                _ => return self.member(&header, extensions).map(Some),
            }
        }
    }

    /// The bytes of the member that is a file.
    pub fn contents(&mut self) -> impl Read + '_ {
        Contents { archive: self }
    }

    /// Where the bytes of the member that is a file are, to be read later. The source must have been read from its start.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { offset: self.at, stored: self.stored, sparse: self.sparse.clone() }
    }

    fn member(&mut self, header: &Header, mut extensions: Extensions) -> Result<Member, ArchiveError> {
        let local = extensions.records.take().unwrap_or_default();
        let is_sparse = local.has_prefix("GNU.sparse.");
        let version = ["GNU.sparse.major", "GNU.sparse.minor"].map(|key| local.find(key));
        if is_sparse && version != [Some(&b"1"[..]), Some(b"0")] {
            let what =
                "sparse file of another format than 1.0: archive it with --sparse-version=1.0 or without --sparse";
            return Err(self.bad(what));
        }
        let find = |key| local.find(key).or_else(|| self.globals.find(key));
        let path = find(if is_sparse { "GNU.sparse.name" } else { "path" }).map(<[u8]>::to_vec);
        let path = path.or(extensions.path.take()).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = find("linkpath").map(<[u8]>::to_vec).or(extensions.link.take());
        let link = link.or_else(|| header.link_name_bytes().map(Cow::into_owned)).unwrap_or_default();
        let size =
            self.number(&local, "size")?.map_or_else(|| field(&header.as_old().size, header.entry_size()), Ok)?;
        let real_size = self.number(&local, "GNU.sparse.realsize")?;
        let meta = self.meta(header, &local, &path)?;
        let directory = || Kind::Special(SourceKind::Directory(BTreeMap::new()));
        let kind = match header.entry_type().as_byte() {
            // Before there was a type for directories, a slash behind the name made one.
            0 | b'0' | b'7' if path.ends_with(b"/") => directory(),
            0 | b'0' | b'7' if is_sparse => Kind::File(self.begin_sparse(size, real_size)?),
            0 | b'0' | b'7' => {
                self.begin(size);
                Kind::File(size)
            }
            b'S' => Kind::File(self.begin_old_sparse(header, size)?),
            b'1' => {
                // The contents may stand here, too; they are those of what it leads to.
                self.begin(size);
                Kind::Link(link)
            }
            b'2' => Kind::Special(SourceKind::Symlink(link)),
            b'3' => Kind::Special(SourceKind::CharDevice(device(header)?)),
            b'4' => Kind::Special(SourceKind::BlockDevice(device(header)?)),
            b'5' => directory(),
            b'6' => Kind::Special(SourceKind::Fifo),
            other => {
                let what = format!("{}: entry of type '{}' is not supported", escape(&path), other.escape_ascii());
                return Err(self.bad(&what));
            }
        };
        Ok(Member { path, meta, kind, attributes: local.filtered(attributes::is_one) })
    }

    /// A number of the member's records, or of those for all members.
    fn number(&self, local: &Records, key: &str) -> Result<Option<u64>, ArchiveError> {
        let text = local.find(key).or_else(|| self.globals.find(key));
        let number = |text| records::number(text).ok_or_else(|| self.bad(&format!("malformed pax record {key}")));
        text.map(number).transpose()
    }

    /// Permissions, owner and time, if JFFS2 can hold them.
    fn meta(&self, header: &Header, local: &Records, path: &[u8]) -> Result<Meta, ArchiveError> {
        let refused = |reason| ArchiveError::Refused { path: path.into(), reason };
        let (uid, gid) = match self.owner {
            Some(owner) => owner,
            None => {
                let uid = self.number(local, "uid")?.map_or_else(|| field(&header.as_old().uid, header.uid()), Ok)?;
                let gid = self.number(local, "gid")?.map_or_else(|| field(&header.as_old().gid, header.gid()), Ok)?;
                let uid = u16::try_from(uid).map_err(|_| refused(Refusal::Uid(uid)))?;
                (uid, u16::try_from(gid).map_err(|_| refused(Refusal::Gid(gid)))?)
            }
        };
        let time = match local.find("mtime").or_else(|| self.globals.find("mtime")) {
            Some(text) => records::seconds(text).ok_or_else(|| self.bad("malformed pax record mtime"))?,
            None => field(&header.as_old().mtime, header.mtime())?.cast_signed(),
        };
        Ok(Meta {
            mode: field(&header.as_old().mode, header.mode())? & 0o7777,
            uid,
            gid,
            mtime: u32::try_from(time).map_err(|_| refused(Refusal::Time(time)))?,
        })
    }

    /// A sparse file of pax format 1.0, whose map is in front of its data; its size.
    fn begin_sparse(&mut self, stored: u64, real_size: Option<u64>) -> Result<u64, ArchiveError> {
        let size = real_size.ok_or_else(|| self.bad("sparse file without its real size"))?;
        self.begin(stored);
        let mut map = MapText::default();
        while !map.is_complete() {
            if self.stored < RECORD as u64 || map.len() as u64 >= MAX_EXTENSION {
                return Err(self.bad(BAD_MAP));
            }
            let mut record = [0; RECORD];
            self.read_stored(&mut record)?;
            map.push(&record).ok_or_else(|| self.bad(BAD_MAP))?;
        }
        self.sparse = Some(Sparse::new(map.into_runs(), size, self.stored).ok_or_else(|| self.bad(BAD_MAP))?);
        Ok(size)
    }

    /// A sparse file of GNU's old format, whose map is in its header and in records behind that; its size.
    fn begin_old_sparse(&mut self, header: &Header, stored: u64) -> Result<u64, ArchiveError> {
        let gnu = header.as_gnu().ok_or_else(|| self.bad("sparse file without GNU's header"))?;
        let mut runs = sparse::runs_of(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            block.as_mut_bytes().copy_from_slice(&self.record()?.ok_or_else(|| self.cut())?[..]);
            runs.extend(sparse::runs_of(&block.sparse)?);
            more = block.is_extended();
            if runs.len() as u64 * size_of::<Run>() as u64 > MAX_EXTENSION {
                return Err(self.bad(BAD_MAP));
            }
        }
        self.begin(stored);
        let size = gnu.real_size()?;
        self.sparse = Some(Sparse::new(runs, size, stored).ok_or_else(|| self.bad(BAD_MAP))?);
        Ok(size)
    }

    /// So many bytes of a member follow.
    fn begin(&mut self, stored: u64) {
        self.stored = stored;
        self.padding = stored.wrapping_neg() % RECORD as u64;
        self.sparse = None;
    }

    /// A long name: the data of its header, without the NUL behind it.
    fn name(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let mut name = self.extension(header)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn records(&mut self, header: &Header) -> Result<Records, ArchiveError> {
        let bytes = self.extension(header)?;
        Records::parse(&bytes).ok_or_else(|| self.bad("malformed pax records"))
    }

    /// The data of a header that says more of the member behind it.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size = header.entry_size()?;
        if size > MAX_EXTENSION {
            return Err(self.bad(&format!("extended header of {size} bytes: more than 1 MiB is not read")));
        }
        self.begin(size);
        let mut bytes = vec![0; size as usize];
        self.read_stored(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads past what is left of the member.
    fn skip(&mut self) -> Result<(), ArchiveError> {
        let mut buf = [0; 4096];
        self.stored += std::mem::take(&mut self.padding);
        while self.stored > 0 {
            let len = self.stored.min(buf.len() as u64) as usize;
            self.read_stored(&mut buf[..len])?;
        }
        Ok(())
    }

    /// The end mark was read: nothing else may follow. All of it is read, so that whoever writes to a pipe can finish.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut buf = [0; 4096];
        loop {
            match self.fill(&mut buf)? {
                0 => return Ok(()),
                len if buf[..len].iter().all(|byte| *byte == 0) => {}
                _ => return Err(self.bad("something follows the end mark: one archive is wanted")),
            }
        }
    }

    fn read_stored(&mut self, buf: &mut [u8]) -> Result<(), ArchiveError> {
        if self.fill(buf)? < buf.len() {
            return Err(self.cut());
        }
        self.stored -= buf.len() as u64;
        Ok(())
    }

    fn record(&mut self) -> Result<Option<Box<[u8; RECORD]>>, ArchiveError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let mut record = Box::new([0; RECORD]);
        match self.fill(&mut record[..])? {
            0 => Ok(None),
            RECORD => Ok(Some(record)),
            _ => Err(self.cut()),
        }
    }

    /// Reads until the buffer is full or the source ends.
    fn fill(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.source.read(&mut buf[filled..]) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }

    fn cut(&self) -> ArchiveError {
        self.bad("the archive ends within a member: cut short?")
    }

    fn bad(&self, what: &str) -> ArchiveError {
        ArchiveError::Bad { at: self.at, what: what.into() }
    }
}

/// Bytes of a file; the holes of a sparse one are zeros.
struct Contents<'a, R> {
    archive: &'a mut Archive<R>,
}

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (zeros, wanted) = sparse::next(self.archive.sparse.as_mut(), self.archive.stored, buf.len());
        buf[..zeros].fill(0);
        self.archive.read_stored(&mut buf[zeros..zeros + wanted]).map_err(|error| match error {
            ArchiveError::Io(error) => error,
            other => io::Error::new(io::ErrorKind::UnexpectedEof, other.to_string()),
        })?;
        Ok(zeros + wanted)
    }
}

/// The sum of all bytes, those of the sum itself taken for spaces.
fn has_good_checksum(record: &[u8; RECORD]) -> bool {
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(record);
    let others = record[..148].iter().chain(&record[156..]);
    // Some old writers took bytes for signed.
    let (sum, signed) = others.fold((256_u32, 256_i32), |(sum, signed), byte| {
        (sum + u32::from(*byte), signed + i32::from(byte.cast_signed()))
    });
    header.cksum().is_ok_and(|said| said == sum || i64::from(said) == i64::from(signed))
}

fn device(header: &Header) -> io::Result<Device> {
    // Both formats have the numbers in one place.
    let (major, minor) = header.as_bytes()[329..345].split_at(8);
    let number = |bytes, said: io::Result<Option<u32>>| field(bytes, said.map(Option::unwrap_or_default));
    Ok(Device { major: number(major, header.device_major())?, minor: number(minor, header.device_minor())? })
}

/// The number in a field; a blank one is 0.
fn field<T: Default>(bytes: &[u8], said: io::Result<T>) -> io::Result<T> {
    let is_blank = bytes.iter().all(|byte| matches!(byte, 0 | b' '));
    if is_blank { Ok(T::default()) } else { said }
}
