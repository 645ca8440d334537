//! Content ids: equal flash states are found by comparing 128 bits.

/// Identifies the content of an eraseblock or a chip. Not cryptographic: it separates the states of a run, and nobody
/// picks those to collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(pub u128);

/// Odd, with no pattern: bits of e, pi and other constants.
const KEYS: [u64; 8] = [
    0xb7e1_5162_8aed_2a6b,
    0x2436_a885_a308_d313,
    0x9e37_79b9_7f4a_7c15,
    0xd1b5_4a32_d192_ed03,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6d,
];

/// Every word goes into two lanes with keys of their own; four such pairs keep the multiplier busy.
#[derive(Clone, Debug)]
pub(crate) struct Hasher {
    lanes: [u64; 8],
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { lanes: KEYS }
    }

    /// Takes in `bytes` and their number: two updates differ from one with the bytes joined.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let (chunks, tail) = bytes.as_chunks::<32>();
        for chunk in chunks {
            self.mix(chunk);
        }
        let mut last = [0; 32];
        last[..tail.len()].copy_from_slice(tail);
        self.mix(&last);
        last = [0; 32];
        last[..8].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.mix(&last);
    }

    fn mix(&mut self, chunk: &[u8; 32]) {
        for (i, word) in chunk.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            self.lanes[i] = folded_product(self.lanes[i] ^ word, KEYS[i]);
            self.lanes[i + 4] = folded_product(self.lanes[i + 4] ^ word, KEYS[i + 4]);
        }
    }

    pub(crate) fn finish(&self) -> ContentId {
        let join = |lanes: &[u64]| lanes.iter().zip(KEYS).fold(0, |h, (lane, key)| folded_product(h ^ lane, key));
        ContentId(u128::from(join(&self.lanes[..4])) << 64 | u128::from(join(&self.lanes[4..])))
    }
}

fn folded_product(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
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
