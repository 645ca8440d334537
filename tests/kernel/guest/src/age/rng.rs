//! Numbers that follow from a seed, and bytes of every kind that file systems hold.

/// splitmix64.
pub(crate) struct Rng(u64);

/// What lines of text are made of.
const WORDS: [&str; 12] =
    ["flash", "erase", "block", "node", "version", "0x1985", "log", "inode", "=", "\n", "dirent", "obsolete"];

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, or 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// At least `start`, less than `end`.
    pub(crate) fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Bytes that compress well, a little, or not at all.
    pub(crate) fn content(&mut self, len: u64) -> Vec<u8> {
        let len = len as usize;
        let mut bytes = Vec::with_capacity(len + 16);
        let class = self.below(100);
        while bytes.len() < len {
            match class {
                0..60 => {
                    bytes.extend_from_slice(self.pick(&WORDS).map_or(b"", |word| word.as_bytes()));
                    bytes.push(b' ');
                }
                60..80 => {
                    let byte = self.next() as u8;
                    bytes.resize(bytes.len() + self.between(1, 200) as usize, byte);
                }
                80..85 => bytes.resize(len, 0),
                _ => bytes.extend_from_slice(&self.next().to_le_bytes()),
            }
        }
        bytes.truncate(len);
        bytes
    }
}
