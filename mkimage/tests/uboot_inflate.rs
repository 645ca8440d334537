//! U-Boot's inflater fails where a dynamic block's code lengths repeat a zero by code 16 (zopfli writes such blocks;
//! codes 17 and 18 are for zeros). No preset may write one: every stream is decoded here with an eye on that.

use jffs2_mkimage::{Compress, Options, build};
use jffs2_tx::Meta;
use jffs2_tx::source::{Content, ROOT, SourceKind, SourceNode, SourceTree};
use jffs2_tx::wire::{Compression, Endian, Header, Inode, nodetype, pad4};

const PAGES: usize = 1500;

/// What a stream was made of.
#[derive(Debug, Default)]
struct Seen {
    dynamic: u32,
    repeats: u32,
    repeats_of_zero: u32,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> usize {
        let bit = |at: usize| usize::from(self.bytes[at / 8] >> (at % 8) & 1);
        let value = (0..count).map(|i| bit(self.at + i) << i).sum();
        self.at += count;
        value
    }
}

/// A canonical Huffman code: number of codes of each length, symbols in order.
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().filter(|len| **len > 0).for_each(|len| counts[*len] += 1);
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Self { counts, symbols }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code = code << 1 | bits.take(1);
            if code < first + count {
                return self.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
        }
        panic!("no such code");
    }
}

fn inflate(stream: &[u8], seen: &mut Seen) -> Vec<u8> {
    let mut bits = Bits { bytes: stream, at: 16 };
    let mut out = Vec::new();
    loop {
        let last = bits.take(1) == 1;
        match bits.take(2) {
            0 => stored(&mut bits, &mut out),
            1 => {
                let literals: Vec<usize> = [(144, 8), (112, 9), (24, 7), (8, 8)]
                    .iter()
                    .flat_map(|&(count, len)| std::iter::repeat_n(len, count))
                    .collect();
                symbols(&mut bits, &mut out, &Code::new(&literals), &Code::new(&[5; 30]));
            }
            2 => {
                seen.dynamic += 1;
                let (literals, distances) = code_lengths(&mut bits, seen);
                symbols(&mut bits, &mut out, &literals, &distances);
            }
            _ => panic!("no such block"),
        }
        if last {
            return out;
        }
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) {
    let start = bits.at.div_ceil(8);
    let len = usize::from(u16::from_le_bytes([bits.bytes[start], bits.bytes[start + 1]]));
    out.extend_from_slice(&bits.bytes[start + 4..start + 4 + len]);
    bits.at = (start + 4 + len) * 8;
}

fn code_lengths(bits: &mut Bits<'_>, seen: &mut Seen) -> (Code, Code) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, count) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut of_lengths = [0; 19];
    ORDER[..count].iter().for_each(|symbol| of_lengths[*symbol] = bits.take(3));
    let code = Code::new(&of_lengths);
    let mut lengths: Vec<usize> = Vec::new();
    while lengths.len() < literals + distances {
        let (len, times) = match code.symbol(bits) {
            16 => {
                let repeated = *lengths.last().expect("something to repeat");
                seen.repeats += 1;
                seen.repeats_of_zero += u32::from(repeated == 0);
                (repeated, 3 + bits.take(2))
            }
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            len => (len, 1),
        };
        lengths.extend(std::iter::repeat_n(len, times));
    }
    (Code::new(&lengths[..literals]), Code::new(&lengths[literals..]))
}

fn symbols(bits: &mut Bits<'_>, out: &mut Vec<u8>, literals: &Code, distances: &Code) {
    loop {
        match literals.symbol(bits) {
            256 => return,
            literal @ 0..256 => out.push(literal as u8),
            symbol => {
                let len = match symbol - 257 {
                    28 => 258,
                    short @ 0..8 => short + 3,
                    long => {
                        let extra = long / 4 - 1;
                        ((4 + long % 4) << extra) + 3 + bits.take(extra)
                    }
                };
                let distance = match distances.symbol(bits) {
                    short @ 0..4 => short + 1,
                    long => {
                        let extra = long / 2 - 1;
                        ((2 + long % 2) << extra) + 1 + bits.take(extra)
                    }
                };
                for _ in 0..len {
                    out.push(out[out.len() - distance]);
                }
            }
        }
    }
}

/// Pages of few and of many different bytes, in every distribution between text and noise.
fn pages() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::new();
    for page in 0..PAGES {
        let (kinds, shift) = (1 + next() % 255, page % 8);
        let start = bytes.len();
        while bytes.len() < start + 4096 {
            let byte = ((next() % kinds).pow(2) >> shift) as u8;
            let run = if next() % 7 == 0 { 1 + next() as usize % 40 } else { 1 };
            bytes.extend(std::iter::repeat_n(byte, run));
        }
        bytes.truncate(start + 4096);
    }
    bytes
}

#[test]
fn no_zero_is_repeated_by_code_16() {
    let bytes = pages();
    let meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 0 };
    let mut tree = SourceTree::new(Meta { mode: 0o755, ..meta });
    let kind = SourceKind::File { size: bytes.len() as u32, content: Content::Bytes(bytes.clone()) };
    tree.add(ROOT, b"pages", SourceNode { meta, kind }).unwrap();
    for compress in [Compress::fast(), Compress::default(), Compress::best()] {
        let mut image = Vec::new();
        build(&tree, &Options { compress: compress.clone(), ..Options::default() }, &mut image).unwrap();
        let mut seen = Seen::default();
        for block in image.chunks(64 << 10) {
            let mut at = 0;
            while let Ok(header) = Header::parse(Endian::Little, &block[at..]) {
                let node = &block[at..at + header.totlen as usize];
                if header.nodetype == nodetype::INODE {
                    let inode = Inode::parse(Endian::Little, node).unwrap();
                    if inode.compression == Compression::Zlib {
                        let start = inode.offset as usize;
                        let out = inflate(inode.data(node).unwrap(), &mut seen);
                        assert_eq!(out, bytes[start..start + inode.dsize as usize]);
                    }
                }
                at += pad4(header.totlen) as usize;
            }
        }
        assert!(seen.dynamic > PAGES as u32 / 2 && seen.repeats > 100, "{compress:?}: {seen:?} is no test");
        assert_eq!(seen.repeats_of_zero, 0, "{compress:?}: {seen:?}");
        println!("{compress:?}: {seen:?}");
    }
}
