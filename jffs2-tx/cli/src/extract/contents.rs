//! A file's bytes, as far as they can be read, in ascending order.

use std::io;

use jffs2_tx::tree::{File, Loss};
use sha2::{Digest, Sha256};

use crate::target::Target;

/// Bytes read at once: some thirty nodes.
pub(super) const BUFFER: usize = 128 << 10;

/// Ranges of a file that nodes with data cover, joined where they touch.
pub(super) fn data_runs(file: &File<'_, Target>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (start, end) in file.data_ranges() {
        match runs.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => runs.push((start, end)),
        }
    }
    runs
}

/// Hands over the bytes of all runs that can be read; what is lost, ascending.
pub(super) fn copy(
    file: &mut File<'_, Target>,
    buf: &mut [u8],
    mut put: impl FnMut(u32, &[u8]) -> io::Result<()>,
) -> io::Result<Vec<Loss>> {
    let mut lost = file.losses();
    for (mut at, end) in data_runs(file) {
        while at < end {
            let len = buf.len().min((end - at) as usize);
            let buf = &mut buf[..len];
            let mut unreadable = Vec::new();
            file.salvage_at(at, buf, &mut unreadable).map_err(io::Error::other)?;
            put_readable(at, buf, &unreadable, &mut put)?;
            unreadable.into_iter().for_each(|loss| join(&mut lost, loss));
            at += len as u32;
        }
    }
    lost.sort_by_key(|loss| (loss.start, loss.end));
    Ok(lost)
}

fn put_readable(
    offset: u32,
    buf: &[u8],
    unreadable: &[Loss],
    put: &mut impl FnMut(u32, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut from = 0;
    let behind = (buf.len(), buf.len());
    let ranges = unreadable.iter().map(|loss| ((loss.start - offset) as usize, (loss.end - offset) as usize));
    for (start, end) in ranges.chain([behind]) {
        if from < start {
            put(offset + from as u32, &buf[from..start])?;
        }
        from = end;
    }
    Ok(())
}

/// Adds a loss, or makes the last one longer: a node may be read in two parts.
fn join(lost: &mut Vec<Loss>, loss: Loss) {
    match lost.last_mut() {
        Some(last) if last.end == loss.start && (last.at, last.reason) == (loss.at, loss.reason) => last.end = loss.end,
        _ => lost.push(loss),
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
