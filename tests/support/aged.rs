//! What the kernel listed of an aged flash against what our reader shows of its image: the library, `ls` and `extract`.

mod acl;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use jffs2_tx::flash::MemFlash;
use jffs2_tx::index::ROOT;
use jffs2_tx::tree::WalkEntry;
use jffs2_tx::{Endian, Index, Rules, Tree};
use serde_json::Value;

use self::acl::{contradicts_mode, without_acl};
use crate::kernel::Device;
use crate::listing::{self, DIRECTORY, Entry, REGULAR, SYMLINK, escape};
use crate::manifest::{self, UNREADABLE};
use crate::ours;
use crate::swap::swapped;
use crate::tools::{binary, run};

const CHAR_DEVICE: u32 = 0o020_000;
const BLOCK_DEVICE: u32 = 0o060_000;
const FIFO: u32 = 0o010_000;
const SOCKET: u32 = 0o140_000;

/// A flash that the kernel has listed.
#[derive(Debug)]
pub struct Aged {
    /// What to call it.
    pub name: String,
    /// What flash it is.
    pub device: Device,
    /// Byte order of the image.
    pub endian: Endian,
    /// What it holds.
    pub image: Vec<u8>,
    /// The kernel's [`manifest`].
    pub manifest: Vec<String>,
}

/// A device of so many eraseblocks.
pub type Make = fn(u32) -> Device;

/// NOR flash with eraseblocks of 64 KiB.
pub const NOR64: Make = |blocks| Device::Nor { block_size: 64 << 10, blocks };
/// Likewise 128 KiB.
pub const NOR128: Make = |blocks| Device::Nor { block_size: 128 << 10, blocks };
/// NAND flash with pages of 512 bytes.
pub const NAND512: Make = |blocks| Device::NandSmallPage { blocks };
/// Likewise 2048 bytes.
pub const NAND2048: Make = |blocks| Device::NandLargePage { blocks };

/// The devices by what names of flashes begin with.
const DEVICES: [(&str, Make); 4] = [("nor64", NOR64), ("nor128", NOR128), ("nand512", NAND512), ("nand2048", NAND2048)];

/// What one way to read an image shows, and what it cannot.
struct Shown {
    way: &'static str,
    lines: Vec<String>,
    /// Whether it shows a line of the kernel's at all.
    shows: fn(&str) -> bool,
    /// The fields of a line that it does not show.
    blind: &'static [usize],
    /// Paths whose ACLs for access it cannot show.
    no_acl: HashSet<String>,
}

/// A field of a [`manifest`]'s line.
const DIGEST: usize = 2;

impl Aged {
    /// Writes the flash and the manifest to a folder, packed.
    pub fn keep(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let manifest = self.manifest.iter().fold(String::new(), |text, line| text + line + "\n");
        for (suffix, bytes) in [("img", self.image.as_slice()), ("manifest", manifest.as_bytes())] {
            let file = dir.join(format!("{}.{suffix}", self.name.replace('/', "-")));
            fs::write(&file, bytes)?;
            run(Command::new("xz").args(["-9e", "-f"]).arg(&file));
        }
        Ok(())
    }

    /// What [`Aged::keep`] has written to a folder, by name.
    pub fn kept(dir: &Path) -> Result<Vec<Self>> {
        let mut names: Vec<String> = fs::read_dir(dir)?
            .filter_map(|item| Some(item.ok()?.file_name().to_str()?.strip_suffix(".img.xz")?.to_owned()))
            .collect();
        names.sort();
        let unpacked = |name: &str, suffix: &str| {
            run(Command::new("xz").arg("-dc").arg(dir.join(format!("{name}.{suffix}.xz")))).stdout
        };
        let read = |name: String| {
            let image = unpacked(&name, "img");
            let device = DEVICES.iter().find(|(prefix, _)| name.split('-').next() == Some(prefix));
            let device = device.with_context(|| format!("{name}: no device of that name"))?.1;
            let manifest = String::from_utf8(unpacked(&name, "manifest"))?.lines().map(str::to_owned).collect();
            let blocks = image.len() as u32 / device(1).block_size();
            Ok(Self { name, device: device(blocks), endian: Endian::Little, image, manifest })
        };
        names.into_iter().map(read).collect()
    }

    /// The same file system as a machine of the other byte order would have written it.
    #[must_use]
    pub fn swapped(&self) -> Self {
        let endian = match self.endian {
            Endian::Little => Endian::Big,
            Endian::Big => Endian::Little,
        };
        Self {
            name: format!("{} swapped", self.name),
            image: swapped(&self.image, self.device.block_size() as usize, self.endian),
            manifest: self.manifest.clone(),
            endian,
            ..*self
        }
    }

    /// Every difference between what the kernel lists and what the three ways to read it show; a few words for each.
    pub fn differences(&self) -> Result<Vec<String>> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("flash.img");
        fs::write(&image, &self.image)?;
        let shown = [
            self.by_library().context("library")?,
            self.by_ls(&image).context("ls")?,
            self.by_extract(&image, &dir.path().join("tree")).context("extract")?,
        ];
        Ok(shown.iter().flat_map(|shown| self.compare(shown)).collect())
    }

    fn compare(&self, shown: &Shown) -> Vec<String> {
        let seen = |line: &String| shown.seen(line);
        let kernel: Vec<String> = self.manifest.iter().filter(|line| (shown.shows)(line)).map(seen).collect();
        let ours: Vec<String> = shown.lines.iter().map(seen).collect();
        let say = |who: &str, line: &String| format!("{} {}: only {who}: {line}", self.name, shown.way);
        let missing = kernel.iter().filter(|line| !ours.contains(line)).map(|line| say("the kernel", line));
        let extra = ours.iter().filter(|line| !kernel.contains(line)).map(|line| say("we", line));
        missing.chain(extra).collect()
    }

    fn by_library(&self) -> Result<Shown> {
        let flash = MemFlash::with_data(self.device.geometry()?, self.image.clone());
        let index = Index::open(&flash, Rules { endian: self.endian, summaries: true })?;
        let tree = Tree::new(&flash, &index);
        let line = |step: WalkEntry| match ours::entry(&tree, &step) {
            Ok(entry) => {
                let xattrs = tree.xattrs(step.ino)?.into_iter().map(|xattr| (xattr.name, xattr.value));
                Ok(manifest::line(&entry, &xattrs.collect::<Vec<_>>()))
            }
            Err(_) => Ok(unreadable(&step.path)),
        };
        let lines = tree.walk(ROOT).map(line).collect::<Result<_>>()?;
        Ok(Shown { way: "library", lines, shows: |_| true, blind: &[], no_acl: HashSet::new() })
    }

    fn by_ls(&self, image: &Path) -> Result<Shown> {
        let output = self.run(binary("jffs2-tx").args(["ls", "-R", "--json"]).arg(image))?;
        let rows = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        let lines = rows.map(|row| row_line(&row?)).collect::<Result<_>>()?;
        // It lists what is in directories, so not the root.
        Ok(Shown { way: "ls", lines, shows: |line| !line.starts_with(".|"), blind: &[DIGEST], no_acl: HashSet::new() })
    }

    fn by_extract(&self, image: &Path, to: &Path) -> Result<Shown> {
        self.run(binary("jffs2-tx").arg("extract").arg(image).arg(to))?;
        let mut entries = listing::walk(to)?;
        listing::count_links_as_jffs2(&mut entries);
        let line = |entry: &Entry| {
            let xattrs = manifest::xattrs(&to.join(OsStr::from_bytes(&entry.path)))?;
            Ok(manifest::line(entry, &xattrs))
        };
        let lines = entries.iter().map(line).collect::<Result<_>>()?;
        // A host's file system keeps the mode and the ACL in step; here a full flash can keep one from following.
        let no_acl = self.manifest.iter().filter(|line| contradicts_mode(line)).map(|line| path(line).to_owned());
        let no_acl = no_acl.collect();
        Ok(Shown { way: "extract", lines, shows: |line| !is_unreadable(line), blind: &[], no_acl })
    }

    /// Runs a command that must say by its exit code whether it could read all. Of a flash that was cut off it may also
    /// tell of what the kernel passes over: what was written last is torn. On a full flash the kernel itself can leave a name whose
    /// inode has gone.
    fn run(&self, command: &mut Command) -> Result<Output> {
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let may_lose = self.name.contains("cut") || said.contains("name leads to nothing: Linux drops it");
        let has_lost = may_lose && said.starts_with("jffs2-tx: error: ");
        let wanted = i32::from(has_lost || self.manifest.iter().any(|line| is_unreadable(line)));
        ensure!(output.status.code() == Some(wanted), "{command:?}: {}, not {wanted}: {said}", output.status);
        Ok(output)
    }
}

impl Shown {
    /// A line without what cannot be seen this way.
    fn seen(&self, line: &str) -> String {
        let hide = |(at, field)| if self.blind.contains(&at) { "-" } else { field };
        let line = line.split('|').enumerate().map(hide).collect::<Vec<_>>().join("|");
        if self.no_acl.contains(path(&line)) { without_acl(&line) } else { line }
    }
}

fn path(line: &str) -> &str {
    line.split('|').next().unwrap_or_default()
}

fn unreadable(path: &[u8]) -> String {
    format!("{}|{UNREADABLE}", escape(&below_dot(path)))
}

fn is_unreadable(line: &str) -> bool {
    line.ends_with(&format!("|{UNREADABLE}"))
}

/// A path from the root as listings have it.
fn below_dot(path: &[u8]) -> Vec<u8> {
    if path.is_empty() { b".".to_vec() } else { [b"./", path].concat() }
}

/// A row of `ls --json` as a line.
fn row_line(row: &Value) -> Result<String> {
    let number = |field: &str| row[field].as_u64().with_context(|| format!("{field} of {row}"));
    let path = unescape(row["path"].as_str().context("path")?)?;
    let path = path.strip_prefix(b"/").context("no slash")?;
    if !row["error"].is_null() {
        return Ok(unreadable(path));
    }
    let permissions = u32::from_str_radix(row["mode"].as_str().context("mode")?, 8)?;
    let device = |field: &str| row[field].as_u64().unwrap_or(0) as u32;
    let entry = Entry {
        path: below_dot(path),
        mode: type_bits(row["type"].as_str().unwrap_or_default()).with_context(|| format!("type of {row}"))?
            | permissions,
        uid: number("uid")? as u32,
        gid: number("gid")? as u32,
        size: number("size")?,
        mtime: number("mtime")? as i64,
        nlink: number("links")?,
        rdev: (device("major"), device("minor")),
        sha256: None,
        target: row["target"].as_str().map_or(Ok(Vec::new()), unescape)?,
    };
    let xattrs = row["xattrs"].as_object().into_iter().flatten();
    let xattrs = xattrs.map(|(name, value)| Ok((unescape(name)?, bytes(value.as_str().context("value")?)?)));
    Ok(manifest::line(&entry, &xattrs.collect::<Result<Vec<_>>>()?))
}

/// The bytes that hex digits stand for.
fn bytes(digits: &str) -> Result<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| Ok(u8::from_str_radix(str::from_utf8(pair)?, 16)?));
    pairs.collect()
}

fn type_bits(name: &str) -> Option<u32> {
    Some(match name {
        "file" => REGULAR,
        "directory" => DIRECTORY,
        "symlink" => SYMLINK,
        "char" => CHAR_DEVICE,
        "block" => BLOCK_DEVICE,
        "fifo" => FIFO,
        "socket" => SOCKET,
        _ => return None,
    })
}

/// The bytes that the command line shows as this text.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let hex = escaped.strip_prefix('x').and_then(|escaped| escaped.split_at_checked(2));
        rest = match hex {
            Some((digits, behind)) => {
                bytes.push(u8::from_str_radix(digits, 16)?);
                behind
            }
            None => {
                bytes.push(b'\\');
                escaped.strip_prefix('\\').with_context(|| format!("{text:?} has a lone backslash"))?
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}
