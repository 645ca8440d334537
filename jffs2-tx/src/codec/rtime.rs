//! rtime: each byte says what comes, and how many bytes follow that followed its last occurrence.

use alloc::vec::Vec;

use super::CodecError;

pub(super) fn decode(stored: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let result = decode_pairs(stored, start + len, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn decode_pairs(stored: &[u8], end: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    // For each byte value: where the byte after its last occurrence stands.
    let mut after = [out.len(); 256];
    let mut pairs = stored.chunks_exact(2);
    while out.len() < end {
        let pair = pairs.next().ok_or(CodecError::Damaged)?;
        let (value, repeat) = (pair[0], usize::from(pair[1]));
        out.push(value);
        let from = after[usize::from(value)];
        after[usize::from(value)] = out.len();
        if repeat > end - out.len() {
            return Err(CodecError::Damaged);
        }
        // The run may overlap what it makes: byte by byte.
        for at in from..from + repeat {
            out.push(*out.get(at).ok_or(CodecError::Damaged)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_runs_and_overlaps() {
        let mut out = Vec::from(*b"keep");
        // "aaaa": an 'a', then an 'a' whose last follower is itself, repeated twice more.
        decode(&[b'a', 0, b'a', 2], 4, &mut out).unwrap();
        assert_eq!(out, b"keepaaaa");
        assert_eq!(decode(&[b'a', 200], 4, &mut out), Err(CodecError::Damaged));
        assert_eq!(decode(b"a", 1, &mut out), Err(CodecError::Damaged));
        assert_eq!(out, b"keepaaaa");
    }
}
