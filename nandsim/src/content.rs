//! Content ids: equal flash states are found by comparing 128 bits.

use xxhash_rust::xxh3::Xxh3;

/// Identifies the content of an eraseblock or a chip. Not cryptographic: it separates the states of a run, and nobody
/// picks those to collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(pub u128);

/// XXH3, 128 bits: the same on every host.
#[derive(Clone)]
pub(crate) struct Hasher(Xxh3);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Xxh3::new())
    }

    /// Takes in `bytes` and their number: two updates differ from one with the bytes joined.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        self.0.update(&(bytes.len() as u64).to_le_bytes());
    }

    pub(crate) fn finish(&self) -> ContentId {
        ContentId(self.0.digest128())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn id(bytes: &[u8]) -> ContentId {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn every_bit_and_length_counts() {
        let mut bytes = vec![0xff; 300];
        let mut seen = HashSet::from([id(&bytes)]);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(id(&bytes)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!((0..300).all(|len| seen.insert(id(&bytes[..len]))));
    }
}
