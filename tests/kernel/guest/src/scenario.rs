//! A scenario: what the guest does, step by step, with its devices, its file systems and the programs in its root.
//!
//! A script of scenarios has a [`Line`] for the beginning of each and one for each of its steps. Words are separated by
//! blanks; bytes that are no printable ASCII, and `%`, stand as `%` and two hex digits, an empty word as a lone `%`.

use std::fmt;
use std::str::FromStr;

use crate::script::{Listing, ParseError};

/// A line of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The scenario of this name begins; what the one before has left behind is taken away.
    Begin(String),
    /// A step; if it fails, the scenario ends.
    Must(Act),
    /// A step that may fail.
    May(Act),
}

/// Bytes on the disk with the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub len: u64,
}

/// A step. Paths are the guest's own; a program is known by the number of the step that has started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Load a kernel module.
    Load {
        /// Its name.
        module: String,
        /// Its parameters, `key=value`.
        parameters: Vec<String>,
    },
    /// Unload a kernel module.
    Unload {
        /// Its name.
        module: String,
    },
    /// Write an image to an MTD device: every good eraseblock is erased, gets its cleanmarker on NAND, and then the
    /// next part of the image. A bad one is skipped.
    Flash {
        /// The character device.
        device: String,
        /// The image.
        image: Extent,
    },
    /// Tell the digest of all that an MTD device holds: data, cleanmarkers, bad marks.
    Digest {
        /// The character device.
        device: String,
    },
    /// Wait until what an MTD device holds stays the same for a while.
    Settle {
        /// The character device.
        device: String,
    },
    /// Copy the data of an MTD device to the second disk.
    Dump {
        /// The character device.
        device: String,
        /// Where on the disk to put it.
        offset: u64,
    },
    /// Clear bits in an error correction code of a NAND page that is programmed: with one bit, reads of the page are
    /// corrected, with two, error correction has to give up. The data stay as they are.
    Spoil {
        /// The character device.
        device: String,
        /// Where the page begins, bytes.
        at: u64,
        /// How many bits.
        bits: u32,
    },
    /// Make a volume on a UBI device.
    MakeVolume {
        /// The character device, such as `/dev/ubi0`.
        device: String,
        /// How large, bytes.
        len: u64,
    },
    /// Mount a jffs2 file system.
    Mount {
        /// What is mounted, such as `mtd0`.
        source: String,
        /// Where; made if it is not there.
        dir: String,
        /// Whether for reading only.
        read_only: bool,
    },
    /// Mount it another way.
    Remount {
        /// Where it is mounted.
        dir: String,
        /// Whether for reading only.
        read_only: bool,
    },
    /// Unmount.
    Unmount {
        /// Where it is mounted.
        dir: String,
    },
    /// Tell the digest and the number of entries of a tree.
    Walk {
        /// Its top.
        dir: String,
        /// When to print its lines.
        listing: Listing,
    },
    /// Work in a file system, and take back all that was done: the tree is the same afterwards.
    Work {
        /// Where it is mounted.
        dir: String,
        /// Size of the files to write, bytes.
        file: u32,
        /// How many to write.
        times: u32,
    },
    /// Make a file; directories on the way to it are made, too.
    Put {
        /// Its path.
        path: String,
        /// Its permissions.
        mode: u32,
        /// What it holds.
        content: Extent,
    },
    /// Write a line of text to a file that exists, such as one of sysfs.
    Write {
        /// Its path.
        path: String,
        /// The text.
        text: String,
    },
    /// Print the lines of a file.
    Read {
        /// Its path.
        path: String,
    },
    /// Remove a file, or a directory with all that is in it.
    Remove {
        /// Its path.
        path: String,
    },
    /// Start a program.
    Spawn {
        /// The user it runs as.
        uid: u32,
        /// Its path and its arguments.
        argv: Vec<String>,
    },
    /// Give a program a part of a file to read.
    Feed {
        /// Which program.
        program: u32,
        /// The file's path.
        path: String,
        /// Where the part begins, in percent of the file.
        from: u32,
        /// Where it ends, likewise.
        to: u32,
    },
    /// Let a program's input end.
    EndInput {
        /// Which program.
        program: u32,
    },
    /// Wait until a program has printed a line with a text in it, or has ended.
    Await {
        /// Which program.
        program: u32,
        /// The text.
        text: String,
    },
    /// Wait until a program has read all that it was given, and waits for more.
    AwaitIdle {
        /// Which program.
        program: u32,
    },
    /// Wait until a program ends, and tell how; its input ends first.
    Wait {
        /// Which program.
        program: u32,
    },
    /// Kill a program.
    Kill {
        /// Which program.
        program: u32,
    },
    /// Let time pass.
    Sleep {
        /// How much, milliseconds.
        millis: u64,
    },
    /// Begin to read a tree again and again, from the flash and not from memory, and to compare it.
    StartReader {
        /// Its top.
        dir: String,
        /// The digest that it must always have.
        digest: String,
    },
    /// Wait until the reader has read the whole tree so many times more, and tell how often it has in all.
    AwaitReader {
        /// How many times.
        rounds: u32,
    },
    /// End the reader. Fails if it ever saw anything else.
    StopReader,
}

impl Act {
    /// The content that it needs, if any.
    pub fn extent_mut(&mut self) -> Option<&mut Extent> {
        match self {
            Self::Flash { image: extent, .. } | Self::Put { content: extent, .. } => Some(extent),
            _ => None,
        }
    }

    fn words(&self) -> Vec<String> {
        fn words<const N: usize>(words: [&dyn ToString; N]) -> Vec<String> {
            words.map(ToString::to_string).to_vec()
        }
        match self {
            Self::Load { module, parameters } => [words([&"load", module]), parameters.clone()].concat(),
            Self::Unload { module } => words([&"unload", module]),
            Self::Flash { device, image } => words([&"flash", device, &image.offset, &image.len]),
            Self::Digest { device } => words([&"digest", device]),
            Self::Settle { device } => words([&"settle", device]),
            Self::Dump { device, offset } => words([&"dump", device, offset]),
            Self::Spoil { device, at, bits } => words([&"spoil", device, at, bits]),
            Self::MakeVolume { device, len } => words([&"make-volume", device, len]),
            Self::Mount { source, dir, read_only } => words([&"mount", source, dir, read_only]),
            Self::Remount { dir, read_only } => words([&"remount", dir, read_only]),
            Self::Unmount { dir } => words([&"unmount", dir]),
            Self::Walk { dir, listing } => words([&"walk", dir, listing]),
            Self::Work { dir, file, times } => words([&"work", dir, file, times]),
            Self::Put { path, mode, content } => words([&"put", path, mode, &content.offset, &content.len]),
            Self::Write { path, text } => words([&"write", path, text]),
            Self::Read { path } => words([&"read", path]),
            Self::Remove { path } => words([&"remove", path]),
            Self::Spawn { uid, argv } => [words([&"spawn", uid]), argv.clone()].concat(),
            Self::Feed { program, path, from, to } => words([&"feed", program, path, from, to]),
            Self::EndInput { program } => words([&"end-input", program]),
            Self::Await { program, text } => words([&"await", program, text]),
            Self::AwaitIdle { program } => words([&"await-idle", program]),
            Self::Wait { program } => words([&"wait", program]),
            Self::Kill { program } => words([&"kill", program]),
            Self::Sleep { millis } => words([&"sleep", millis]),
            Self::StartReader { dir, digest } => words([&"start-reader", dir, digest]),
            Self::AwaitReader { rounds } => words([&"await-reader", rounds]),
            Self::StopReader => words([&"stop-reader"]),
        }
    }

    fn parse(words: &[&str]) -> Option<Self> {
        Some(match *words {
            ["load", module, ref parameters @ ..] => Self::Load { module: text(module), parameters: texts(parameters) },
            ["unload", module] => Self::Unload { module: text(module) },
            ["flash", device, offset, len] => Self::Flash { device: text(device), image: extent(offset, len)? },
            ["digest", device] => Self::Digest { device: text(device) },
            ["settle", device] => Self::Settle { device: text(device) },
            ["dump", device, offset] => Self::Dump { device: text(device), offset: offset.parse().ok()? },
            ["spoil", device, at, bits] => {
                Self::Spoil { device: text(device), at: at.parse().ok()?, bits: bits.parse().ok()? }
            }
            ["make-volume", device, len] => Self::MakeVolume { device: text(device), len: len.parse().ok()? },
            ["mount", source, dir, read_only] => {
                Self::Mount { source: text(source), dir: text(dir), read_only: read_only.parse().ok()? }
            }
            ["remount", dir, read_only] => Self::Remount { dir: text(dir), read_only: read_only.parse().ok()? },
            ["unmount", dir] => Self::Unmount { dir: text(dir) },
            ["walk", dir, listing] => Self::Walk { dir: text(dir), listing: listing.parse().ok()? },
            ["work", dir, file, times] => {
                Self::Work { dir: text(dir), file: file.parse().ok()?, times: times.parse().ok()? }
            }
            ["put", path, mode, offset, len] => {
                Self::Put { path: text(path), mode: mode.parse().ok()?, content: extent(offset, len)? }
            }
            ["write", path, line] => Self::Write { path: text(path), text: text(line) },
            ["read", path] => Self::Read { path: text(path) },
            ["remove", path] => Self::Remove { path: text(path) },
            ["spawn", uid, ref argv @ ..] => Self::Spawn { uid: uid.parse().ok()?, argv: texts(argv) },
            ["feed", program, path, from, to] => Self::Feed {
                program: program.parse().ok()?,
                path: text(path),
                from: from.parse().ok()?,
                to: to.parse().ok()?,
            },
            ["end-input", program] => Self::EndInput { program: program.parse().ok()? },
            ["await", program, line] => Self::Await { program: program.parse().ok()?, text: text(line) },
            ["await-idle", program] => Self::AwaitIdle { program: program.parse().ok()? },
            ["wait", program] => Self::Wait { program: program.parse().ok()? },
            ["kill", program] => Self::Kill { program: program.parse().ok()? },
            ["sleep", millis] => Self::Sleep { millis: millis.parse().ok()? },
            ["start-reader", dir, digest] => Self::StartReader { dir: text(dir), digest: text(digest) },
            ["await-reader", rounds] => Self::AwaitReader { rounds: rounds.parse().ok()? },
            ["stop-reader"] => Self::StopReader,
            _ => return None,
        })
    }
}

/// The step as people read it.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, words) = match self {
            Self::Begin(name) => ("begin", vec![name.clone()]),
            Self::Must(act) => ("must", act.words()),
            Self::May(act) => ("may", act.words()),
        };
        f.write_str(kind)?;
        words.iter().try_for_each(|word| write!(f, " {}", escape(word)))
    }
}

impl FromStr for Line {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        parse_line(line).ok_or_else(|| ParseError::new("line of a scenario", line))
    }
}

fn parse_line(line: &str) -> Option<Line> {
    let words: Vec<String> = line.split(' ').map(unescape).collect::<Option<_>>()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["begin", name] => Some(Line::Begin(text(name))),
        ["must", ref act @ ..] => Act::parse(act).map(Line::Must),
        ["may", ref act @ ..] => Act::parse(act).map(Line::May),
        _ => None,
    }
}

fn text(word: &str) -> String {
    word.to_owned()
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| text(word)).collect()
}

fn extent(offset: &str, len: &str) -> Option<Extent> {
    Some(Extent { offset: offset.parse().ok()?, len: len.parse().ok()? })
}

/// A text as one word.
fn escape(text: &str) -> String {
    if text.is_empty() {
        return "%".to_owned();
    }
    let escaped = |byte: u8| match byte {
        b'!'..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    text.bytes().map(escaped).collect()
}

fn unescape(word: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = if word == "%" { "" } else { word };
    while let Some((plain, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        let (digits, behind) = behind.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn survives(line: Line) {
        let text = line.to_string();
        assert!(!text.contains('\n'), "{text:?}");
        assert_eq!(text.parse(), Ok(line));
    }

    #[test]
    fn lines_survive_the_way_to_the_guest() {
        let (device, dir, path) = (text("/dev/mtd0"), text("/flash"), text("/a b/c%d\u{e9}"));
        let extent = Extent { offset: 512, len: 7 };
        survives(Line::Begin(text("first")));
        let acts = [
            Act::Load { module: text("nandsim"), parameters: vec![text("parts=1,2"), text("badblocks=3")] },
            Act::Load { module: text("jffs2"), parameters: vec![] },
            Act::Unload { module: text("nandsim") },
            Act::Flash { device: device.clone(), image: extent },
            Act::Digest { device: device.clone() },
            Act::Settle { device: device.clone() },
            Act::Dump { device: device.clone(), offset: 4096 },
            Act::Spoil { device: device.clone(), at: 2048, bits: 2 },
            Act::MakeVolume { device, len: 4096 },
            Act::Mount { source: text("mtd0"), dir: dir.clone(), read_only: true },
            Act::Remount { dir: dir.clone(), read_only: false },
            Act::Unmount { dir: dir.clone() },
            Act::Walk { dir: dir.clone(), listing: Listing::Unless(vec![text("aa"), text("bb")]) },
            Act::Work { dir: dir.clone(), file: 9, times: 8 },
            Act::Put { path: path.clone(), mode: 0o755, content: extent },
            Act::Write { path: path.clone(), text: text("a line\nand one more") },
            Act::Write { path: path.clone(), text: text("") },
            Act::Read { path: path.clone() },
            Act::Remove { path: path.clone() },
            Act::Spawn { uid: 1000, argv: vec![text("/bin/x"), text(""), text("-")] },
            Act::Feed { program: 3, path, from: 50, to: 100 },
            Act::EndInput { program: 3 },
            Act::Await { program: 3, text: text("now it") },
            Act::AwaitIdle { program: 3 },
            Act::Wait { program: 3 },
            Act::Kill { program: 3 },
            Act::Sleep { millis: 10 },
            Act::StartReader { dir, digest: text("00ff") },
            Act::AwaitReader { rounds: 2 },
            Act::StopReader,
        ];
        for act in acts {
            survives(Line::Must(act.clone()));
            survives(Line::May(act));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["", "must", "may wait", "must wait x", "begin", "begin a b", "must read %4", "perhaps stop-reader"]
        {
            assert!(line.parse::<Line>().is_err(), "{line:?} was taken for a line");
        }
    }
}
