//! How file data is compressed.

use jffs2_tx::wire::Compression;

use crate::BuildError;

mod lzma;
mod lzo;
mod rtime;
mod zlib;

/// How file data is compressed: what is tried on each node, and which result is taken. What saves no flash, which
/// counts in words of four bytes, is stored as it is.
///
/// ```
/// use jffs2_mkimage::{Compress, Method, Options, Pick};
///
/// let compress = Compress { candidates: vec![Method::Zlib(9), Method::Rtime], pick: Pick::Smallest };
/// let options = Options { compress, ..Options::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// Tried in this order; none stores everything as it is.
    pub candidates: Vec<Method>,
    /// Which result is taken.
    pub pick: Pick,
}

/// A compressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// zlib, which every reader knows, by libdeflate at a level from 1 to 12.
    Zlib(u8),
    /// LZO1X: Linux with `CONFIG_JFFS2_LZO`, U-Boot with `CONFIG_JFFS2_LZO`. Open Firmware aborts on it.
    Lzo,
    /// rtime, which every reader knows; weak, but its streams have no header.
    Rtime,
    /// LZMA: OpenWrt's Linux only.
    Lzma,
}

/// Which result is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Of the first candidate that saves flash.
    First,
    /// The smallest on flash; of equal ones the first.
    Smallest,
}

// The presets' levels, by `tests/bench-builders`: 126 MB in 5018 files, eraseblocks of 128 KiB. Seconds of CPU, of which
// mkfs.jffs2 takes 4.5 on one core, and how much smaller the image is than its:
//     level     1     2     4     5     6     7     8     9    10    11    12
//     CPU    0.99  1.35  1.43  1.54  1.81  1.98  2.45  2.77  7.95  10.4  14.3
//     %      -0.4   1.6   1.9   2.8  2.94  2.97  3.01  3.02  4.53  4.61  4.62
// All but 0.3 seconds is libdeflate's. The smallest of levels 12 and 9 is 0.003 % smaller than level 12 and takes 15 %
// longer; rtime takes 2 %, and gains in files of a few equal bytes only.
impl Compress {
    /// Everything is stored as it is.
    #[must_use]
    pub fn none() -> Self {
        Self { candidates: Vec::new(), pick: Pick::First }
    }

    /// Nothing but this compressor.
    #[must_use]
    pub fn only(method: Method) -> Self {
        Self { candidates: vec![method], pick: Pick::First }
    }

    /// The quickest that is no larger than mkfs.jffs2's.
    #[must_use]
    pub fn fast() -> Self {
        Self::only(Method::Zlib(2))
    }

    /// The smallest that every reader knows, in up to twice the time of mkfs.jffs2 on two cores.
    #[must_use]
    pub fn best() -> Self {
        Self { candidates: vec![Method::Zlib(12), Method::Rtime], pick: Pick::Smallest }
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        for method in &self.candidates {
            if let Method::Zlib(level) = *method
                && !zlib::LEVELS.contains(&level)
            {
                return Err(BuildError::ZlibLevel(level));
            }
        }
        Ok(())
    }
}

impl Default for Compress {
    /// zlib: quicker and smaller than mkfs.jffs2.
    fn default() -> Self {
        Self::only(Method::Zlib(7))
    }
}

/// Compresses by a policy. One for each thread: its compressors are large.
pub(crate) struct Encoder {
    codecs: Vec<(Compression, Box<dyn Codec>)>,
    pick: Pick,
    best: Vec<u8>,
    trial: Vec<u8>,
}

/// One compressor.
trait Codec {
    /// Compresses `data` into `out` and says how long it got; `None` if it does not fit.
    fn encode(&mut self, data: &[u8], out: &mut [u8]) -> Option<usize>;
}

impl Encoder {
    pub(crate) fn new(compress: &Compress) -> Self {
        let codecs = compress.candidates.iter().map(|method| method.codec()).collect();
        Self { codecs, pick: compress.pick, best: Vec::new(), trial: Vec::new() }
    }

    /// `data` as a node stores it: as it is, or in fewer words of flash.
    pub(crate) fn encode<'a>(&'a mut self, data: &'a [u8]) -> (Compression, &'a [u8]) {
        let mut found = None;
        let mut limit = a_word_less(data.len());
        for (compression, codec) in &mut self.codecs {
            if limit == 0 {
                break;
            }
            if self.trial.len() < limit {
                self.trial.resize(limit, 0);
            }
            let Some(len) = codec.encode(data, &mut self.trial[..limit]) else { continue };
            found = Some((*compression, len));
            std::mem::swap(&mut self.best, &mut self.trial);
            if self.pick == Pick::First {
                break;
            }
            limit = a_word_less(len);
        }
        found.map_or((Compression::None, data), |(compression, len)| (compression, &self.best[..len]))
    }
}

/// The longest that takes a word of flash less than `len` bytes.
fn a_word_less(len: usize) -> usize {
    len.next_multiple_of(4).saturating_sub(4)
}

impl Method {
    fn codec(self) -> (Compression, Box<dyn Codec>) {
        match self {
            Self::Zlib(level) => (Compression::Zlib, Box::new(zlib::Zlib::new(level))),
            Self::Lzo => (Compression::Lzo, Box::new(lzo::Lzo::new())),
            Self::Rtime => (Compression::Rtime, Box::new(rtime::Rtime)),
            Self::Lzma => (Compression::Lzma, Box::new(lzma::Lzma::new())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jffs2_tx::codec::decode;
    use proptest::prelude::*;

    const METHODS: [Method; 6] =
        [Method::Zlib(1), Method::Zlib(9), Method::Zlib(12), Method::Lzo, Method::Rtime, Method::Lzma];

    fn text(len: usize) -> Vec<u8> {
        b"a text that repeats, repeats itself. ".iter().copied().cycle().take(len).collect()
    }

    fn decoded(compression: Compression, stored: &[u8], len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        decode(compression, stored, len as u32, &mut out).unwrap();
        out
    }

    #[test]
    fn every_length_reads_back() {
        for method in METHODS {
            let mut encoder = Encoder::new(&Compress::only(method));
            for len in (0..300).chain([4095, 4096, 4097, 65_535, 65_536]) {
                for data in [text(len), vec![0; len], (0..len).map(|i| ((i * i) >> 7) as u8).collect()] {
                    let (compression, stored) = encoder.encode(&data);
                    let saves = stored.len().div_ceil(4) < len.div_ceil(4);
                    assert_eq!(saves, compression != Compression::None, "{method:?} {len}");
                    assert!(decoded(compression, stored, len) == data, "{method:?} {len}");
                }
            }
            let (compression, _) = encoder.encode(&[0; 4096]);
            assert_eq!(compression, method.codec().0);
        }
    }

    #[test]
    fn fits_exactly_or_not_at_all() {
        let data = text(1000);
        for method in METHODS {
            let (compression, mut codec) = method.codec();
            let mut out = vec![0; 1000];
            let len = codec.encode(&data, &mut out).unwrap();
            for room in 0..len {
                assert_eq!(codec.encode(&data, &mut out[..room]), None, "{method:?} {room}");
            }
            assert_eq!(codec.encode(&data, &mut out[..len]), Some(len), "{method:?}");
            assert_eq!(decoded(compression, &out[..len], 1000), data, "works after failures");
        }
    }

    #[test]
    fn what_saves_no_word_is_stored_as_it_is() {
        // rtime makes two bytes of a byte, and of a run of up to 256.
        let mut encoder = Encoder::new(&Compress::only(Method::Rtime));
        for (data, saves) in [(&b"aaaa"[..], false), (b"aaaaa", true), (b"aabb", false), (b"aaabbb", false)] {
            assert_eq!(encoder.encode(data).0 == Compression::Rtime, saves, "{data:?}");
        }
    }

    #[test]
    fn picks_the_first_or_the_smallest() {
        let pick = |candidates: &[Method], pick, data: &[u8]| {
            let mut encoder = Encoder::new(&Compress { candidates: candidates.to_vec(), pick });
            let (compression, stored) = encoder.encode(data);
            assert_eq!(decoded(compression, stored, data.len()), data);
            (compression, stored.len().div_ceil(4))
        };
        let data = text(1000);
        let both = [Method::Rtime, Method::Zlib(9)];
        assert_eq!(pick(&both, Pick::First, &data).0, Compression::Rtime);
        assert_eq!(pick(&both, Pick::Smallest, &data).0, Compression::Zlib);
        // Where rtime gains nothing the next one has its turn.
        let noise_twice: Vec<u8> = (0..200).map(|i: u32| (i % 100 * 167 % 251) as u8).collect();
        assert_eq!(pick(&both, Pick::First, &noise_twice).0, Compression::Zlib);
        // Of equal ones the first: some run of zeros takes as many words either way.
        let words = |method, data: &[u8]| pick(&[method], Pick::First, data).1;
        let mut runs = (1..40).map(|pairs| vec![0; 256 * pairs]);
        let equal = runs.find(|run| words(Method::Rtime, run) == words(Method::Zlib(9), run)).unwrap();
        assert_eq!(pick(&both, Pick::Smallest, &equal).0, Compression::Rtime);
        assert_eq!(pick(&[Method::Zlib(9), Method::Rtime], Pick::Smallest, &equal).0, Compression::Zlib);
    }

    #[test]
    fn no_preset_has_what_boot_readers_abort_on() {
        for compress in [Compress::none(), Compress::fast(), Compress::default(), Compress::best()] {
            assert!(compress.candidates.iter().all(|method| matches!(method, Method::Zlib(1..=12) | Method::Rtime)));
            assert!(compress.check().is_ok());
        }
        for level in [0, 13, u8::MAX] {
            assert!(matches!(Compress::only(Method::Zlib(level)).check(), Err(BuildError::ZlibLevel(_))));
        }
    }

    proptest! {
        #[test]
        fn round_trip(data in prop::collection::vec(any::<u8>(), 0..3000), mask: u8) {
            let data: Vec<u8> = data.iter().map(|byte| byte & mask).collect();
            for method in METHODS {
                let mut encoder = Encoder::new(&Compress::only(method));
                let (compression, stored) = encoder.encode(&data);
                prop_assert_eq!(&decoded(compression, stored, data.len()), &data);
            }
        }
    }
}
