//! Rubin's arithmetic coder: every bit of a byte, the lowest first, with a probability of its own.
//!
//! rubinmips has fixed probabilities; dynrubin stores eight bytes of them before the data.

use alloc::vec::Vec;

use super::CodecError;

/// Bits of the coder's register.
const REGISTER_BITS: usize = 16;
const UPPER_BIT: u32 = 1 << (REGISTER_BITS - 1);

/// How often each of a byte's bits is 1, out of [`MIPS_TOTAL`].
const MIPS_ONES: [u16; 8] = [277, 249, 290, 267, 229, 341, 212, 241];
const MIPS_TOTAL: u32 = 1043;
const DYN_TOTAL: u32 = 256;

/// Eight probabilities of a 1, the lowest bit's first.
#[derive(Clone, Copy)]
struct Model {
    ones: [u16; 8],
    total: u32,
}

impl Model {
    const MIPS: Self = Self { ones: MIPS_ONES, total: MIPS_TOTAL };

    fn dynamic(ones: [u8; 8]) -> Self {
        Self { ones: ones.map(u16::from), total: DYN_TOTAL }
    }
}

/// The part of all numbers that is left: `low..low + width`. Both coders walk through the same ones.
struct Interval {
    low: u32,
    width: u32,
}

impl Interval {
    const WHOLE: Self = Self { low: 0, width: 2 * UPPER_BIT };

    /// Whether all its numbers have the same upper bit.
    fn has_decided_bit(&self) -> bool {
        self.low >= UPPER_BIT || self.low + self.width <= UPPER_BIT
    }

    fn drop_upper_bit(&mut self) {
        self.low = (self.low & (UPPER_BIT - 1)) << 1;
        self.width <<= 1;
    }

    /// Where ones begin, from `low`. At least two wide when no bit is decided, so that both sides get something.
    fn split(&self, ones: u16, total: u32) -> u32 {
        ((total - u32::from(ones)) * self.width / total).clamp(1, self.width - 1)
    }

    fn take(&mut self, split: u32, bit: bool) {
        if bit {
            self.low += split;
            self.width -= split;
        } else {
            self.width = split;
        }
    }
}

pub(super) fn decode_mips(stored: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    decode(Model::MIPS, stored, len, out)
}

pub(super) fn decode_dyn(stored: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let (ones, stored) = stored.split_first_chunk().ok_or(CodecError::Damaged)?;
    decode(Model::dynamic(*ones), stored, len, out)
}

fn decode(model: Model, stored: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let result = decode_bytes(model, stored, start + len, out);
    if result.is_none() {
        out.truncate(start);
    }
    result.ok_or(CodecError::Damaged)
}

/// `None` if the stored bits end before the data does. Linux reads on, past the node.
fn decode_bytes(model: Model, stored: &[u8], end: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut bits = stored.iter().flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    let mut code = 0;
    for _ in 0..REGISTER_BITS {
        code = code << 1 | bits.next()?;
    }
    let mut interval = Interval::WHOLE;
    while out.len() < end {
        let mut byte = 0;
        for (at, ones) in model.ones.into_iter().enumerate() {
            while interval.has_decided_bit() {
                interval.drop_upper_bit();
                code = (code & (UPPER_BIT - 1)) << 1 | bits.next()?;
            }
            let split = interval.split(ones, model.total);
            let bit = code >= interval.low + split;
            interval.take(split, bit);
            byte |= u8::from(bit) << at;
        }
        out.push(byte);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn encode(model: Model, data: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        let mut interval = Interval::WHOLE;
        for byte in data {
            for (at, ones) in model.ones.into_iter().enumerate() {
                while interval.has_decided_bit() {
                    bits.push(interval.low >= UPPER_BIT);
                    interval.drop_upper_bit();
                }
                let split = interval.split(ones, model.total);
                interval.take(split, byte >> at & 1 == 1);
            }
        }
        bits.extend((0..REGISTER_BITS).rev().map(|bit| interval.low >> bit & 1 == 1));
        bits.chunks(8).map(|byte| byte.iter().enumerate().map(|(at, bit)| u8::from(*bit) << (7 - at)).sum()).collect()
    }

    fn dyn_model(data: &[u8]) -> [u8; 8] {
        core::array::from_fn(|bit| {
            let ones = data.iter().filter(|byte| *byte >> bit & 1 == 1).count();
            (ones * 256 / data.len().max(1)).clamp(1, 255) as u8
        })
    }

    fn check_round_trip(data: &[u8]) {
        let ones = dyn_model(data);
        let stored = [&ones[..], &encode(Model::dynamic(ones), data)].concat();
        let mut out = Vec::from(*b"keep");
        decode_dyn(&stored, data.len(), &mut out).expect("decodes");
        assert_eq!((&out[..4], &out[4..]), (&b"keep"[..], data));
        let mut out = Vec::new();
        decode_mips(&encode(Model::MIPS, data), data.len(), &mut out).expect("decodes");
        assert_eq!(out, data);
    }

    const TEXT: &[u8] = b"The quick brown fox jumps over the lazy dog. ";

    #[test]
    fn text_and_zeros_of_every_length() {
        let text: Vec<u8> = TEXT.iter().copied().cycle().take(4096).collect();
        for len in (0..300).chain([1000, 4095, 4096]) {
            check_round_trip(&text[..len]);
            check_round_trip(&vec![0; len]);
            check_round_trip(&vec![0xff; len]);
        }
    }

    /// What the encoders of Linux 6.1 make, run outside of the kernel: one vector for each.
    #[test]
    fn as_linux_encodes() {
        let ticks: Vec<u8> = (0..64).map(|at| u8::from(at % 16 == 0)).collect();
        let mips = [
            0xbc, 2, 0, 0, 0, 0, 1, 0x1a, 0xdc, 0, 0, 0, 0, 1, 0xa9, 0x60, 0, 0, 0, 0, 2, 0x80, 0x64, 0, 0, 0, 0, 0, 0,
            5,
        ];
        let mut out = Vec::new();
        decode_mips(&mips, 64, &mut out).unwrap();
        assert_eq!(out, ticks);
        let dynamic = [16, 1, 1, 1, 1, 1, 1, 1, 0xf3, 0xba, 0x23, 0x9c, 1];
        let mut out = Vec::new();
        decode_dyn(&dynamic, 64, &mut out).unwrap();
        assert_eq!(out, ticks);
        let text = b"\x6c\x66\x71\x5b\x4f\xfa\xc7\x01\x43\x4e\x5b\x68\x35\xb5\x79\xf4\x3c\xbf\x4d\xcb\xd1\x32\x13\x16\
            \x68\x6f\x89\xeb\x9c\x32\x04\x1f\x86\x86\x4e\xbd\xdd\x31\x72\x0f\xd1\xcb\xbb\x2b\x86\x9f\xe3\x96\xf7\x1a\
            \xc5\x68\x9a\x72\x4c\x83\xb5\x15\xa9\x79\xeb\x4d\x75\x08\x59\xcb\x32\xc5\x80\xdd\x7a\xe0\x82\xb8\x5b\xfb\
            \x54\x4c\x30\x62\x37\x78\x14\x56\xda\xbe\x36\x62\x7a\x54\x79\xb7\x14\xc6\xfc\x12\x69\xae\x12\x82\x87\xbe\
            \xed\xab\x5e\xab\xa2\xb3\xa7\x3a\x2d\x29\x46\xee\xb8\x1d\xe4\x28\x6e\xfe\x30\xb3\xab\xe7\x2a\xb1\x73\x66\
            \x3b\xfb\x83\x9f\x6a\xaf\xcd\xb1\x4c\x08\x00";
        let mut out = Vec::new();
        decode_dyn(text, 180, &mut out).unwrap();
        assert_eq!(out, TEXT.repeat(4));
    }

    #[test]
    fn too_short_is_an_error() {
        let stored = encode(Model::MIPS, TEXT);
        let mut out = Vec::from(*b"keep");
        assert_eq!(decode_mips(&stored[..stored.len() - 2], TEXT.len(), &mut out), Err(CodecError::Damaged));
        assert_eq!(decode_mips(&[0], 0, &mut out), Err(CodecError::Damaged));
        assert_eq!(decode_dyn(&[1; 7], 1, &mut out), Err(CodecError::Damaged));
        assert_eq!(out, b"keep");
    }

    proptest! {
        #[test]
        fn round_trip(data in proptest::collection::vec(any::<u8>(), 0..600), mask: u8) {
            check_round_trip(&data);
            check_round_trip(&data.iter().map(|byte| byte & mask).collect::<Vec<_>>());
        }

        /// Probabilities of 0 as well, which no encoder writes.
        #[test]
        fn any_bytes(stored in proptest::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..200), len in 0usize..3000) {
            for decode in [decode_dyn, decode_mips] {
                let mut out = vec![7];
                let right = decode(&stored, len, &mut out).is_ok();
                prop_assert_eq!(out.len(), if right { 1 + len } else { 1 });
            }
        }
    }
}
