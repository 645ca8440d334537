//! rtime: each byte, and how many of those that follow it are as after its last occurrence.

use super::Codec;

pub(super) struct Rtime;

impl Codec for Rtime {
    fn encode(&mut self, data: &[u8], out: &mut [u8]) -> Option<usize> {
        // For each byte value: where the byte after its last occurrence stands.
        let mut after = [0; 256];
        let mut pairs = out.chunks_exact_mut(2);
        let (mut at, mut len) = (0, 0);
        while let Some(&value) = data.get(at) {
            at += 1;
            let from = std::mem::replace(&mut after[usize::from(value)], at);
            // The run may overlap what it is compared with: decoders copy byte by byte.
            let run = data[at..].iter().zip(&data[from..]).take(usize::from(u8::MAX)).take_while(|(a, b)| a == b);
            let run = run.count();
            pairs.next()?.copy_from_slice(&[value, run as u8]);
            at += run;
            len += 2;
        }
        Some(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand, from what the decoder of Linux does.
    #[test]
    fn known_streams() {
        let mut out = [0; 64];
        for (data, stream) in [
            (&b""[..], &b""[..]),
            (b"a", b"a\0"),
            // At its first occurrence a byte is as if it stood before the data.
            (b"ba", b"b\0a\0"),
            (b"abab", b"a\0b\x02"),
            (b"aaaa", b"a\x03"),
            (b"xabcabd", b"x\0a\0b\0c\0a\x01d\0"),
            (&[7; 256], &[7, 255]),
            (&[7; 257], &[7, 255, 7, 0]),
        ] {
            let len = Rtime.encode(data, &mut out).unwrap();
            assert_eq!(&out[..len], stream, "{data:?}");
            if let Some(less) = len.checked_sub(1) {
                assert_eq!(Rtime.encode(data, &mut out[..less]), None);
            }
        }
    }
}
