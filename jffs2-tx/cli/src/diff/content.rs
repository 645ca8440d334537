//! Comparing contents piece by piece.

use std::io::{self, Read};

use jffs2_tx::tree::File;

use crate::target::Target;

/// Bytes that are compared at once.
const PIECE: usize = 1 << 16;

/// A file of an image, from its start on.
pub(super) struct ImageContent<'a> {
    file: File<'a, Target>,
    at: u32,
}

impl<'a> ImageContent<'a> {
    pub(super) fn new(file: File<'a, Target>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for ImageContent<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(self.at, buf).map_err(|error| io::Error::other(error.to_string()))?;
        self.at += len as u32;
        Ok(len)
    }
}

type Content<'a> = Result<Box<dyn Read + 'a>, String>;

/// Where the contents differ first, or what keeps either from being read, for each side; `None` if they are equal.
pub(super) fn first_difference([a, b]: [Content<'_>; 2]) -> Option<[String; 2]> {
    let fine = || String::from("can be read");
    let (mut a, mut b) = match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (a, b) => return Some([a.err().unwrap_or_else(fine), b.err().unwrap_or_else(fine)]),
    };
    let (mut piece_a, mut piece_b) = (vec![0; PIECE], vec![0; PIECE]);
    let mut offset = 0;
    loop {
        let (len_a, len_b) = match (fill(&mut *a, &mut piece_a), fill(&mut *b, &mut piece_b)) {
            (Ok(a), Ok(b)) => (a, b),
            (a, b) => {
                return Some([a, b].map(|outcome| outcome.err().map_or_else(fine, |error| error.to_string())));
            }
        };
        let (shown_a, shown_b) = (&piece_a[..len_a], &piece_b[..len_b]);
        if shown_a != shown_b {
            let same = shown_a.iter().zip(shown_b).take_while(|(a, b)| a == b).count();
            let at = offset + same as u64;
            let byte = |piece: &[u8]| match piece.get(same) {
                Some(byte) => format!("byte {at} {byte:#04x}"),
                None => format!("byte {at} end"),
            };
            return Some([byte(shown_a), byte(shown_b)]);
        }
        if len_a == 0 {
            return None;
        }
        offset += len_a as u64;
    }
}

/// Reads until the buffer is full or there is no more.
fn fill(from: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match from.read(&mut buf[filled..])? {
            0 => break,
            len => filled += len,
        }
    }
    Ok(filled)
}
