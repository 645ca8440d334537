//! Pseudo-random numbers that are the same everywhere, so that a seed replays a run.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A sequence of its own for every seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for every list of numbers: a seed and what it is used for.
    #[must_use]
    pub fn keyed(key: &[u64]) -> Self {
        Self(key.iter().fold(0, |state, &part| Self(state ^ part).next_u64()))
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 8 bits.
    pub fn next_u8(&mut self) -> u8 {
        (self.next_u64() >> 56) as u8
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// Random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Random bytes in which about one bit in 2^`rarity` is set.
    pub fn fill_sparse(&mut self, bytes: &mut [u8], rarity: u32) {
        for chunk in bytes.chunks_mut(8) {
            let word = (0..rarity).fold(u64::MAX, |word, _| word & self.next_u64());
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_splitmix64() {
        let mut rng = Rng::new(1_234_567);
        assert_eq!((rng.next_u64(), rng.next_u64()), (6_457_827_717_110_365_317, 3_203_168_211_198_807_973));
    }

    #[test]
    fn keys_and_bounds() {
        assert_ne!(Rng::keyed(&[1, 2]).next_u64(), Rng::keyed(&[2, 1]).next_u64());
        let mut rng = Rng::new(1);
        assert!((0..1000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
        let mut bytes = [0; 4096];
        rng.fill_sparse(&mut bytes, 3);
        let ones: u32 = bytes.iter().map(|b| b.count_ones()).sum();
        assert!((3500..4700).contains(&ones), "{ones} of 32768");
    }
}
