//! Each rule in which firmware differs, on flash made for it.

use jffs2_mkimage::{Compress, Method, Options, build};
use jffs2_tx::wire::{Cleanmarker, Compression, Dirent, Endian, Inode, Summary, SummaryEntry};
use nandsim::firmware::Firmware::{Barebox, OpenFirmware, UBoot2015, UBoot2026};
use nandsim::firmware::{
    ByteOrder, Files, Firmware, FirmwareContent, FirmwareError, FirmwareKind, MAX_FILE, Part, RawBlock,
};
use nandsim::sample;

const E: Endian = Endian::Big;
const NOR: Part = Part { order: ByteOrder::Big, nand: false, page: 1 };
const NAND: Part = Part { order: ByteOrder::Big, nand: true, page: 2048 };
const BLOCK: usize = 16 << 10;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;
const DIR: u32 = 0o040_755;

/// Nodes of an eraseblock.
#[derive(Clone, Default)]
struct Nodes(Vec<u8>);

impl Nodes {
    fn behind_blank(len: usize) -> Self {
        Self(vec![0xff; len])
    }

    fn name(mut self, parent: u32, version: u32, ino: u32, name: &str) -> Self {
        let kind = if ino == 0 { 0 } else { 8 };
        Dirent { pino: parent, version, ino, mctime: 0, kind, name: name.as_bytes() }.emit(E, &mut self.0);
        self
    }

    fn inode(self, ino: u32, mode: u32, data: &[u8]) -> Self {
        self.piece(ino, mode, 1, 0, data.len() as u32, data)
    }

    fn piece(mut self, ino: u32, mode: u32, version: u32, offset: u32, size: u32, data: &[u8]) -> Self {
        let dsize = data.len() as u32;
        Inode { isize: size, ..node(ino, mode, version, offset, dsize, Compression::None) }.emit(E, &mut self.0, data);
        self
    }

    fn hole(mut self, ino: u32, version: u32, offset: u32, len: u32, size: u32) -> Self {
        Inode { isize: size, ..node(ino, FILE, version, offset, len, Compression::Zero) }.emit(E, &mut self.0, &[]);
        self
    }

    /// Changes a byte of the last node, counted from its end.
    fn flipped(mut self, from_end: usize) -> Self {
        let at = self.0.len() - from_end;
        self.0[at] ^= 1;
        self
    }

    fn block(&self) -> Vec<u8> {
        let mut block = self.0.clone();
        assert!(block.len() <= BLOCK);
        block.resize(BLOCK, 0xff);
        block
    }
}

fn node(ino: u32, mode: u32, version: u32, offset: u32, dsize: u32, compression: Compression) -> Inode {
    let (uid, gid, isize, atime, mtime, ctime, csize, data_crc) = (0, 0, 0, 0, 0, 0, 0, 0);
    Inode { ino, version, mode, uid, gid, isize, atime, mtime, ctime, offset, csize, dsize, compression, data_crc }
}

fn mounted(firmware: Firmware, part: &Part, blocks: &[Vec<u8>]) -> Files {
    let blocks: Vec<_> = blocks.iter().map(|cells| RawBlock { cells, unreadable: Vec::new() }).collect();
    firmware.mount(part, &blocks).unwrap()
}

/// What each firmware reads at a path, in the order of [`Firmware::ALL`].
fn read(nodes: &Nodes, path: &str) -> [Result<Vec<u8>, FirmwareError>; 4] {
    Firmware::ALL.map(|firmware| mounted(firmware, &NOR, &[nodes.block()]).read(path.as_bytes()))
}

/// The same where all of it is readable.
fn texts(nodes: &Nodes, path: &str) -> [String; 4] {
    read(nodes, path).map(|bytes| String::from_utf8(bytes.unwrap()).unwrap())
}

/// Two files to lead names to.
fn two_files() -> Nodes {
    Nodes::default().inode(2, FILE, b"two").inode(3, FILE, b"three")
}

#[test]
fn blank_heads() {
    for (part, heads) in [(NOR, [256, 4096, 256, 1024]), (NAND, [256, 4096, 256, 2048])] {
        for (firmware, head) in Firmware::ALL.into_iter().zip(heads) {
            for (len, seen) in [(head - 4, true), (head, false)] {
                let block = Nodes::behind_blank(len).inode(2, FILE, b"x").name(1, 1, 2, "a").block();
                let found = mounted(firmware, &part, &[block]).read(b"a");
                assert_eq!(found.is_ok(), seen, "{} {len}", firmware.name());
            }
        }
    }
}

#[test]
fn a_cleanmarker_with_blank_bytes_behind_it_means_free() {
    for (blank, hidden) in [(16, false), (20, true)] {
        let mut marked = Vec::new();
        Cleanmarker::emit(E, &mut marked, 12);
        marked.resize(12 + blank, 0xff);
        let nodes = Nodes(marked).inode(2, FILE, b"x").name(1, 1, 2, "a");
        let found = read(&nodes, "a").map(|bytes| bytes.is_err());
        assert_eq!(found, [hidden, hidden, hidden, false]);
        let on_nand = mounted(UBoot2026, &NAND, &[nodes.block()]).read(b"a");
        assert_eq!(on_nand, Ok(b"x".to_vec()), "no cleanmarkers among nodes there");
    }
}

#[test]
fn deleted_names() {
    let nodes = two_files().name(1, 1, 2, "a").name(1, 2, 3, "other").name(1, 3, 0, "a");
    let gone = || Err(FirmwareError::NotFound);
    assert_eq!(read(&nodes, "a"), [gone(), Ok(b"two".to_vec()), gone(), gone()]);
}

#[test]
fn versions_of_names() {
    let higher_first = two_files().name(1, 5, 2, "a").name(1, 1, 3, "b").name(1, 4, 3, "a");
    assert_eq!(texts(&higher_first, "a"), ["two"; 4]);
    let adjacent = two_files().name(1, 5, 2, "a").name(1, 4, 3, "a");
    assert_eq!(texts(&adjacent, "a"), ["two", "two", "two", "three"]);
    let equal = two_files().name(1, 5, 2, "a").name(1, 1, 3, "b").name(1, 5, 3, "a");
    assert_eq!(texts(&equal, "a"), ["three", "three", "three", "two"]);
    let large = two_files().name(1, 1 << 31, 2, "a").name(1, 1, 3, "b").name(1, 4, 3, "a");
    assert_eq!(texts(&large, "a"), ["two", "two", "two", "three"]);
}

#[test]
fn dirents_with_bad_crcs() {
    let torn = two_files().name(1, 1, 2, "abcd").name(1, 2, 3, "other").name(1, 3, 3, "abce").flipped(1);
    assert_eq!(texts(&torn, "abcd"), ["two", "two", "two", "three"], "e, one bit flipped, is d");
}

#[test]
fn bytes_of_a_file() {
    let newer_first =
        Nodes::default().piece(2, FILE, 2, 1, 4, b"NEW").piece(2, FILE, 1, 0, 4, b"old!").name(1, 1, 2, "a");
    assert_eq!(texts(&newer_first, "a"), ["old!", "old!", "oNEW", "oNEW"]);
    let equal = Nodes::default().piece(2, FILE, 1, 0, 3, b"1st").piece(2, FILE, 1, 0, 3, b"2nd").name(1, 1, 2, "a");
    assert_eq!(texts(&equal, "a"), ["2nd", "2nd", "2nd", "1st"]);
    let shorter =
        Nodes::default().piece(2, FILE, 1, 0, 8, b"12345678").piece(2, FILE, 2, 0, 2, b"ab").name(1, 1, 2, "a");
    assert_eq!(texts(&shorter, "a"), ["ab"; 4]);
    let short_of_size = Nodes::default().piece(2, FILE, 1, 0, 4, b"12").name(1, 1, 2, "a");
    assert_eq!(texts(&short_of_size, "a"), ["12\0\0", "12\0\0", "12", "12\0\0"]);
}

#[test]
fn newest_node_with_bad_data() {
    let nodes = Nodes::default().piece(2, FILE, 1, 0, 4, b"good").piece(2, FILE, 2, 0, 8, b"evil1234").flipped(1);
    assert_eq!(texts(&nodes.name(1, 1, 2, "a"), "a"), ["good\0\0\0\0", "good\0\0\0\0", "good", "good"]);
    let nothing_good = Nodes::default().inode(2, FILE, b"evil").flipped(1).name(1, 1, 2, "a");
    let listed = mounted(Barebox, &NOR, &[nothing_good.block()]).tree();
    let entry = &listed[b"a".as_slice()];
    assert_eq!((entry.kind, &entry.content), (FirmwareKind::Unknown, &FirmwareContent::Failed(FirmwareError::Damaged)));
}

#[test]
fn holes() {
    let nodes =
        Nodes::default().inode(2, FILE, b"ab").hole(2, 2, 2, 3, 6).piece(2, FILE, 3, 5, 6, b"c").name(1, 1, 2, "a");
    let found = read(&nodes, "a");
    assert_eq!(found[..3], [const { b"ab\0\0\0c" }; 3].map(|bytes| Ok(bytes.to_vec())));
    assert_eq!(found[3], Err(FirmwareError::Abort(1)));
}

#[test]
fn compressors() {
    for (method, open_firmware) in
        [(Method::Zlib(9), Ok(())), (Method::Rtime, Ok(())), (Method::Lzo, Err(FirmwareError::Abort(7)))]
    {
        let options =
            Options { endian: E, eraseblock: BLOCK as u32, compress: Compress::only(method), ..Options::default() };
        let mut image = Vec::new();
        let report = build(&sample().old, &options, &mut image).unwrap();
        assert!(report.bytes > 0);
        let blocks: Vec<_> = image.chunks(BLOCK).map(<[u8]>::to_vec).collect();
        let wanted = b"All is well.".repeat(40);
        for firmware in Firmware::ALL {
            let found = mounted(firmware, &NOR, &blocks).read(b"/etc/motd");
            let fails = if firmware == OpenFirmware { open_firmware.clone() } else { Ok(()) };
            assert_eq!(found, fails.map(|()| wanted.clone()), "{} {method:?}", firmware.name());
        }
    }
}

#[test]
fn links() {
    // The link's inode has a newer dirent in a directory that no name leads to.
    let nodes = Nodes::default()
        .inode(2, FILE, b"right")
        .inode(3, FILE, b"wrong")
        .inode(4, LINK, b"file")
        .inode(5, DIR, b"")
        .inode(6, LINK, b"dir")
        .name(1, 1, 2, "file")
        .name(1, 2, 4, "link")
        .name(1, 3, 5, "dir")
        .name(1, 4, 6, "dirlink")
        .name(5, 1, 2, "inside")
        .name(9, 7, 4, "link")
        .name(9, 8, 3, "file");
    assert_eq!(texts(&nodes, "link"), ["wrong", "wrong", "right", "right"]);
    assert_eq!(texts(&nodes, "dir/inside"), ["right"; 4]);
    let through = read(&nodes, "dirlink/inside");
    let refused = || Err(FirmwareError::NotADirectory);
    assert_eq!(through, [refused(), refused(), Ok(b"right".to_vec()), Ok(b"right".to_vec())]);
    let up = Nodes::default().inode(2, FILE, b"x").inode(5, DIR, b"").inode(6, LINK, b"./../../file");
    let up = up.name(1, 1, 2, "file").name(1, 2, 5, "dir").name(5, 1, 6, "up");
    let unknown = || Err(FirmwareError::NotFound);
    assert_eq!(read(&up, "dir/up"), [unknown(), unknown(), Ok(b"x".to_vec()), Ok(b"x".to_vec())]);
}

#[test]
fn long_names() {
    let (fits, long) = ("a".repeat(216), "b".repeat(217));
    let nodes = Nodes::default().inode(2, FILE, b"x").name(1, 1, 2, &fits).name(1, 2, 2, &long);
    for firmware in Firmware::ALL {
        let listed = mounted(firmware, &NOR, &[nodes.block()]).tree();
        assert!(matches!(listed[fits.as_bytes()].content, FirmwareContent::Bytes { size: 1, .. }));
        let crashes = listed[long.as_bytes()].content == FirmwareContent::Failed(FirmwareError::LongName(217));
        assert_eq!(crashes, matches!(firmware, UBoot2026 | UBoot2015));
    }
}

#[test]
fn unreadable_pages() {
    let first = Nodes::default().inode(2, FILE, b"stale").name(1, 1, 2, "a").block();
    let second = Nodes::default().piece(2, FILE, 2, 0, 5, b"right").name(1, 2, 2, "a").block();
    let hidden = Nodes::behind_blank(4096).inode(2, FILE, b"hidden").name(1, 2, 2, "a").block();
    let block = |cells, unreadable: &[std::ops::Range<usize>]| RawBlock { cells, unreadable: unreadable.to_vec() };
    let in_use = [block(&first, &[]), block(&second, std::slice::from_ref(&(0..2048)))];
    for (firmware, wanted) in Firmware::ALL.into_iter().zip(["stale", "stale", "", "right"]) {
        match firmware.mount(&NAND, &in_use) {
            Ok(files) => assert_eq!(files.read(b"a"), Ok(wanted.into()), "{}", firmware.name()),
            Err(error) => assert_eq!((firmware, error), (Barebox, FirmwareError::Unreadable)),
        }
    }
    let behind = [block(&first, &[]), block(&hidden, std::slice::from_ref(&(4096..6144)))];
    assert_eq!(Barebox.mount(&NAND, &behind).unwrap().read(b"a"), Ok(b"stale".to_vec()));
    let head = [block(&first, &[]), block(&hidden, std::slice::from_ref(&(0..2048)))];
    assert_eq!(Barebox.mount(&NAND, &head).unwrap_err(), FirmwareError::Unreadable);
    // The head reads as what stood there in the eraseblock before, so not as blank.
    for firmware in [UBoot2026, UBoot2015] {
        assert_eq!(firmware.mount(&NAND, &head).unwrap().read(b"a"), Ok(b"hidden".to_vec()));
    }
}

#[test]
fn types_that_nobody_knows() {
    // A cleanmarker, its type and CRC changed.
    for (high, refuses) in [(0xe0, true), (0xa0, false), (0x60, false), (0x20, false)] {
        let mut header = vec![0x19, 0x85, high, 0x99, 0, 0, 0, 12];
        let mut hasher = crc32fast::Hasher::new_with_initial(!0);
        hasher.update(&header);
        header.extend((!hasher.finalize()).to_be_bytes());
        let cells = Nodes(header).inode(2, FILE, b"x").name(1, 1, 2, "a").block();
        for firmware in Firmware::ALL {
            let mounted = firmware.mount(&NOR, &[RawBlock { cells: &cells, unreadable: Vec::new() }]);
            if refuses && firmware == Barebox {
                assert_eq!(mounted.unwrap_err(), FirmwareError::Incompatible(0xe099));
            } else {
                assert_eq!(mounted.unwrap().read(b"a"), Ok(b"x".to_vec()));
            }
        }
    }
}

#[test]
fn obsolete_nodes() {
    let mut nodes = two_files().name(1, 1, 2, "a");
    let at = nodes.0.len();
    nodes = nodes.name(1, 2, 3, "a");
    assert_eq!(texts(&nodes, "a"), ["three"; 4]);
    nodes.0[at + 2] &= !0x20;
    assert_eq!(texts(&nodes, "a"), ["two"; 4]);
}

#[test]
fn summaries() {
    let nodes = two_files().name(1, 1, 2, "a");
    let listed = nodes.0.len();
    let mut block = nodes.name(1, 9, 3, "a").0;
    let at = block.len();
    let entries = vec![
        SummaryEntry::Inode { ino: 2, version: 1, offset: 0, totlen: 71 },
        SummaryEntry::Dirent {
            offset: (listed - 44) as u32,
            totlen: 41,
            pino: 1,
            version: 1,
            ino: 2,
            kind: 8,
            name: b"a",
        },
    ];
    Summary { cleanmarker: 0, padded: 0, entries }.emit(E, &mut block, BLOCK - at, BLOCK as u32);
    let found =
        |block: &[u8]| Firmware::ALL.map(|firmware| mounted(firmware, &NOR, &[block.to_vec()]).read(b"a").unwrap());
    assert_eq!(found(&block), [&b"three"[..], b"three", b"three", b"two"]);
    // A field of the summary, an entry, the magic behind it.
    for spoiled in [at + 12, at + 40, BLOCK - 1] {
        let mut block = block.clone();
        block[spoiled] ^= 1;
        assert_eq!(found(&block), [b"three"; 4], "byte {spoiled}");
    }
}

#[test]
fn made_to_harm() {
    let circle = Nodes::default().inode(5, DIR, b"").inode(6, LINK, b"/self").inode(2, FILE, b"x");
    let circle = circle.name(1, 1, 5, "dir").name(5, 1, 1, "root").name(5, 2, 5, "dir").name(1, 2, 6, "self");
    for firmware in Firmware::ALL {
        let files = mounted(firmware, &NOR, &[circle.block()]);
        let listed: Vec<_> = files.tree().into_keys().collect();
        assert_eq!(listed, [&b""[..], b"dir", b"dir/dir", b"dir/root", b"self"].map(<[u8]>::to_vec));
        assert_eq!(files.read(b"self"), Err(FirmwareError::TooManyLinks));
    }
    let huge = Nodes::default().hole(2, 1, 0, u32::MAX, u32::MAX).name(1, 1, 2, "a");
    assert_eq!(read(&huge, "a"), [const { Err(FirmwareError::TooLarge(u32::MAX)) }; 4]);
    let largest = Nodes::default().hole(2, 1, 0, MAX_FILE, MAX_FILE).name(1, 1, 2, "a");
    assert_eq!(read(&largest, "a")[0].as_ref().map(Vec::len), Ok(MAX_FILE as usize));
    let long_link = Nodes::default().inode(2, LINK, &[b'a'; 4097]).name(1, 1, 2, "a");
    assert_eq!(read(&long_link, "a"), [const { Err(FirmwareError::TooLarge(4097)) }; 4]);
}
