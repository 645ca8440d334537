//! A file's bytes, as far as they can be read, in ascending order.

use std::io;

use jffs2_tx::flash::ImageFlash;
use jffs2_tx::tree::File;
use sha2::{Digest, Sha256};

/// Bytes read at once: some thirty nodes.
pub(super) const BUFFER: usize = 128 << 10;

/// A range of a file that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) start: u32,
    pub(super) end: u32,
    /// What is wrong, and where on the flash.
    pub(super) why: String,
}

/// Ranges of a file that nodes with data cover, joined where they touch.
pub(super) fn data_runs(file: &File<'_, ImageFlash>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (start, end) in file.data_ranges() {
        match runs.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => runs.push((start, end)),
        }
    }
    runs
}

/// Hands over the bytes of all runs that can be read; what cannot be.
pub(super) fn copy(
    file: &mut File<'_, ImageFlash>,
    buf: &mut [u8],
    mut put: impl FnMut(u32, &[u8]) -> io::Result<()>,
) -> io::Result<Vec<Lost>> {
    let mut lost = Vec::new();
    // Taken when the first read fails.
    let mut pieces = None;
    for (mut at, end) in data_runs(file) {
        while at < end {
            let len = buf.len().min((end - at) as usize);
            let buf = &mut buf[..len];
            if file.read_at(at, buf).is_ok() {
                put(at, buf)?;
            } else {
                let pieces = pieces.get_or_insert_with(|| file.data_ranges().collect::<Vec<_>>());
                let first = pieces.partition_point(|piece| piece.1 <= at);
                piecewise(file, &pieces[first..], at, buf, &mut lost, &mut put)?;
            }
            at += len as u32;
        }
    }
    Ok(lost)
}

/// The same for a part of a run, node by node.
fn piecewise(
    file: &mut File<'_, ImageFlash>,
    pieces: &[(u32, u32)],
    at: u32,
    buf: &mut [u8],
    lost: &mut Vec<Lost>,
    put: &mut impl FnMut(u32, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let end = at + buf.len() as u32;
    for piece in pieces.iter().take_while(|piece| piece.0 < end) {
        let (start, end) = (piece.0.max(at), piece.1.min(end));
        let buf = &mut buf[..(end - start) as usize];
        match file.read_at(start, buf) {
            Ok(_) => put(start, buf)?,
            Err(error) => lose(lost, start, end, error.to_string()),
        }
    }
    Ok(())
}

fn lose(lost: &mut Vec<Lost>, start: u32, end: u32, why: String) {
    match lost.last_mut() {
        Some(last) if last.end == start && last.why == why => last.end = end,
        _ => lost.push(Lost { start, end, why }),
    }
}

/// SHA-256 of a file whose bytes come in ascending order; what is left out is zeros.
pub(super) struct Hasher {
    hash: Sha256,
    at: u32,
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self { hash: Sha256::new(), at: 0 }
    }

    pub(super) fn put(&mut self, at: u32, bytes: &[u8]) {
        self.zeros(at);
        self.hash.update(bytes);
        self.at = at + bytes.len() as u32;
    }

    pub(super) fn finish(mut self, size: u32) -> [u8; 32] {
        self.zeros(size);
        self.hash.finalize().into()
    }

    fn zeros(&mut self, until: u32) {
        const ZEROS: &[u8] = &[0; 4096];
        while self.at < until {
            let len = ZEROS.len().min((until - self.at) as usize);
            self.hash.update(&ZEROS[..len]);
            self.at += len as u32;
        }
    }
}
